"""What is known of each model, and how a name finds one.

A catalogue is made from plain tables (`storage.specs` reads the TOML files). A fact in a model's table is either a
plain value or `{ value = ..., source = "..." }`; sources are kept for `runner models NAME`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from runner.core.errors import UsageError

PREFIX = "databricks-"
"""Both id forms, short and prefixed, name one model and share one budget."""

DIALECTS = ("chat", "messages", "responses", "gemini")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    long_above: int | None = None
    """Input tokens of one request above which the long prices hold for all of it."""
    long_input: float | None = None
    long_output: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a family of models counts tokens.

    `multiplier` is the family's tokens for one token of `encoding`; `images` names the provider's formula.
    """

    name: str
    encoding: str = "o200k_base"
    multiplier: float = 1.0
    images: str = "patches-28"
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the gateway. None means: not stated anywhere we know of."""

    id: str
    """The id as the gateway's page lists it; this is what is sent."""
    short: str = field(init=False, repr=False)
    """The id without the `databricks-` prefix: the name that tables and budgets go by."""
    provider: str
    inputs: tuple[str, ...] = ("text",)
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    endpoints: tuple[str, ...] = ("chat",)
    """The dialects it answers on, the recommended one first."""
    notes: str = ""
    terms: tuple[str, ...] = ()
    """URLs of the terms that its use is bound by."""
    family: Family = Family(name="unknown")
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    """Limits upstream of the gateway, where they differ from the account's default."""
    price: Price | None = None
    rejects: tuple[str, ...] = ()
    """Parameters that end in a 400; `temperature+top_p` means: not both."""
    thinking: str = "none"
    """How reasoning is asked for: none, effort, adaptive, budget or level (`gateway.dialects` reads it)."""
    reasons: bool = False
    """Whether it writes hidden reasoning tokens without being asked to."""
    aliases: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each fact comes from, by the field's name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that means this model: the short id first."""
        return (self.short, PREFIX + self.short, *self.aliases)

    def __post_init__(self) -> None:
        object.__setattr__(self, "short", _short(self.id))

    def accepts(self, parameter: str) -> bool:
        """Whether the model takes this parameter."""
        return parameter not in self.rejects


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models that can be asked, and the names that find them."""

    models: Mapping[str, Model]
    """By short id, in the order of the page."""
    picks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Short names of tasks, with the models recommended for each."""

    def find(self, name: str) -> Model:
        """The model of this name, in either form or by alias or as `pick:TASK` (its first choice).

        Raises UsageError with the nearest names when there is none.
        """
        if name.startswith("pick:"):
            return self.find(self._pick(name.removeprefix("pick:")))
        wanted = _short(name)
        model = self.models.get(wanted) or next((m for m in self.models.values() if wanted in m.aliases), None)
        if model is None:
            raise UsageError(f"There is no model {name!r} in the catalogue.{self._nearest(wanted)}")
        return model

    def _pick(self, task: str) -> str:
        if task in self.picks:
            return self.picks[task][0]
        raise UsageError(f"There is no pick {task!r}. The picks are: {', '.join(self.picks)}.")

    def _nearest(self, wanted: str) -> str:
        near = difflib.get_close_matches(wanted, self.models, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        return hint + " `runner models` lists them all; a TOML file of your own (--catalog) can add one."

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def __len__(self) -> int:
        return len(self.models)


Facts = Mapping[str, Any]

_WORDS = {
    "rejects": (
        "temperature",
        "top_p",
        "temperature+top_p",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "effort",
    ),
    "thinking": ("none", "effort", "adaptive", "budget", "level"),
    "endpoints": DIALECTS,
    "images": ("patches-28", "patches-28-large", "patches-32", "tiles-768", "flat-1100", "none"),
}
"""Facts that take only certain words."""


def build(tables: Iterable[tuple[str, Facts]]) -> Catalogue:
    """A catalogue from (origin, table) pairs; later tables add to earlier ones and override them fact by fact.

    A table may hold `families`, `providers`, `models` and `picks`. `origin` names the file in messages, and is the
    source of facts that name none. Raises UsageError for a fact that does not exist or has the wrong type.
    """
    families: dict[str, dict[str, _Fact]] = {}
    providers: dict[str, dict[str, _Fact]] = {}
    models: dict[str, dict[str, _Fact]] = {}
    picks: dict[str, tuple[str, ...]] = {}
    ids: dict[str, str] = {}
    for origin, table in tables:
        unknown = set(table) - {"families", "providers", "models", "picks", "sources"}
        if unknown:
            raise UsageError(
                f"{origin}: there is no table [{min(unknown)}]; there are families, providers, models, picks."
            )
        _gather(families, table.get("families", {}), origin, "families")
        _gather(providers, table.get("providers", {}), origin, "providers")
        stated = _mapping(table.get("models", {}), f"{origin}: [models]")
        for name in stated:
            ids.setdefault(_short(name), name)
        _gather(models, {_short(name): facts for name, facts in stated.items()}, origin, "models")
        for task, names in _mapping(table.get("picks", {}), f"{origin}: [picks]").items():
            picks[task] = _typed(names, "tuple", f"{origin}: picks.{task}")
    made = {name: _make(Family(name=name), facts) for name, facts in families.items()}
    catalogue = Catalogue({name: _model(ids[name], facts, made, providers) for name, facts in models.items()}, picks)
    for task, names in picks.items():
        for name in names or ("",):
            if name.startswith("pick:") or not name:
                raise UsageError(f"picks.{task}: names of models are wanted, and at least one.")
            catalogue.find(name)
    return catalogue


@dataclass(frozen=True, slots=True)
class _Fact:
    value: Any
    source: str
    where: str


def _gather(into: dict[str, dict[str, _Fact]], table: Any, origin: str, kind: str) -> None:
    """Put a table's facts over those that are there, each with its source and its place."""
    for name, facts in _mapping(table, f"{origin}: [{kind}]").items():
        where = f'{origin}: {kind}."{name}"'
        own = into.setdefault(name, {})
        shared = facts.get("source", origin) if isinstance(facts, Mapping) else origin
        for key, fact in _mapping(facts, where).items():
            if key == "source":
                continue
            if isinstance(fact, Mapping) and "value" in fact:
                own[key] = _Fact(fact["value"], str(fact.get("source", shared)), f"{where}.{key}")
            elif isinstance(fact, Mapping):
                value = {name: part for name, part in fact.items() if name != "source"}
                own[key] = _Fact(value, str(fact.get("source", shared)), f"{where}.{key}")
            else:
                own[key] = _Fact(fact, str(shared), f"{where}.{key}")


def _mapping(value: Any, where: str) -> Facts:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: expected a table.")
    return value


def _model(
    name: str, facts: Mapping[str, _Fact], families: Mapping[str, Family], providers: Mapping[str, Mapping[str, _Fact]]
) -> Model:
    provider = facts.get("provider")
    if provider is None or not isinstance(provider.value, str):
        where = next((fact.where.rpartition(".")[0] for fact in facts.values()), f'models."{name}"')
        raise UsageError(f"{where}: a new model needs a `provider`.")
    own = dict(facts)
    terms = providers.get(provider.value, {}).get("terms")
    if terms is not None:
        own.setdefault("terms", terms)
    family = own.pop("family", None)
    model = Model(id=name, provider=provider.value)
    if family is not None:
        if family.value not in families:
            raise UsageError(f"{family.where}: there is no family {family.value!r}; there are {', '.join(families)}.")
        model = replace(model, family=families[family.value])
    made: Model = _make(model, own)
    return made


def _make(blank: Any, facts: Mapping[str, _Fact]) -> Any:
    """`blank` with facts filled in, each checked against its field."""
    known = {f.name: str(f.type) for f in fields(blank) if f.init and f.name not in ("id", "name", "sources")}
    values: dict[str, Any] = {}
    for key, fact in facts.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise UsageError(f"{fact.where}: there is no such fact.{f' Did you mean {near[0]!r}?' if near else ''}")
        values[key] = _typed(fact.value, known[key], fact.where)
        for word in values[key] if key in ("rejects", "endpoints") else (values[key],):
            if key in _WORDS and word not in _WORDS[key]:
                raise UsageError(f"{fact.where}: {word!r} is none of {', '.join(_WORDS[key])}.")
    if isinstance(blank, Model):
        values["sources"] = {key: fact.source for key, fact in facts.items()}
        values["aliases"] = tuple(_short(alias) for alias in values.get("aliases", ()))
    return replace(blank, **values)


def _short(name: str) -> str:
    return name.strip().lower().removeprefix(PREFIX)


def _typed(value: Any, annotation: str, where: str) -> Any:
    if annotation.startswith("Price"):
        return _price(value, where)
    if annotation.startswith("tuple"):
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(items)
        raise UsageError(f"{where}: expected a list of texts; got {value!r}.")
    if annotation.startswith("bool"):
        if isinstance(value, bool):
            return value
    elif annotation.startswith("str"):
        if isinstance(value, str):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**63:
        if annotation.startswith("float"):
            return float(value)
        if isinstance(value, int):
            return value
    number = f"number {'below 2**63' if isinstance(value, int | float) and value >= 2**63 else 'above zero'}"
    kind = {"s": "a text", "b": "true or false", "i": f"a whole {number}", "f": f"a {number}"}
    raise UsageError(f"{where}: expected {kind[annotation[0]]}; got {value!r}.")


def _price(value: Any, where: str) -> Price:
    table = _mapping(value, where)
    for key, number in table.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 2**63:
            raise UsageError(f"{where}.{key}: expected dollars for a million tokens; got {number!r}.")
    try:
        return Price(**table)
    except TypeError:
        names = ", ".join(f.name for f in fields(Price))
        raise UsageError(f"{where}: a price has `input` and `output`, and may have others of {names}.") from None
