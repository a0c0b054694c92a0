"""What is known of each model, and how a name finds one.

A catalogue is made from plain tables (`storage.specs` reads the TOML files). A fact in a model's table is either a
plain value or `{ value = ..., source = "..." }`; sources are kept for `runner models NAME`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
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
        short = self.id.removeprefix(PREFIX)
        return (short, PREFIX + short, *self.aliases)

    @property
    def short(self) -> str:
        """The id without the `databricks-` prefix: the name that tables and budgets go by."""
        return self.id.removeprefix(PREFIX)

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
        wanted = name.strip().lower()
        model = self.models.get(wanted.removeprefix(PREFIX))
        if model is None:
            model = next((m for m in self.models.values() if wanted in m.aliases), None)
        if model is None:
            raise UsageError(f"There is no model {name!r} in the catalogue.{self._nearest(wanted)}")
        return model

    def _pick(self, task: str) -> str:
        if task in self.picks:
            return self.picks[task][0]
        raise UsageError(f"There is no pick {task!r}. The picks are: {', '.join(self.picks)}.")

    def _nearest(self, wanted: str) -> str:
        near = difflib.get_close_matches(wanted.removeprefix(PREFIX), self.models, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        return hint + " `runner models` lists them all; a TOML file of your own (--catalog) can add one."

    def __iter__(self) -> Any:
        return iter(self.models.values())

    def __len__(self) -> int:
        return len(self.models)


def build(tables: Iterable[tuple[str, Mapping[str, Any]]]) -> Catalogue:
    """A catalogue from (origin, table) pairs; later tables add to earlier ones and override them fact by fact.

    A table may hold `families`, `providers`, `models` and `picks`. `origin` names the file in messages, and is the
    source of facts that name none. Raises UsageError for a fact that does not exist or has the wrong type.
    """
    families: dict[str, Family] = {}
    providers: dict[str, dict[str, Any]] = {}
    models: dict[str, Model] = {}
    picks: dict[str, tuple[str, ...]] = {}
    for origin, table in tables:
        unknown = set(table) - {"families", "providers", "models", "picks", "sources"}
        if unknown:
            raise UsageError(f"{origin}: unknown table [{sorted(unknown)[0]}]; there are families, providers, models, picks.")
        for name, facts in table.get("families", {}).items():
            old = families.get(name, Family(name=name))
            families[name] = _override(old, facts, origin, f"families.{name}")
        for name, facts in table.get("providers", {}).items():
            providers.setdefault(name, {}).update(facts)
        for name, facts in table.get("models", {}).items():
            model = _model(name, facts, models, families, providers, origin)
            models[model.short] = model
        picks.update({task: tuple(names) for task, names in table.get("picks", {}).items()})
    catalogue = Catalogue(models, picks)
    for names in picks.values():
        for name in names:
            catalogue.find(name)
    return catalogue


def _model(
    name: str,
    facts: Mapping[str, Any],
    models: Mapping[str, Model],
    families: Mapping[str, Family],
    providers: Mapping[str, Mapping[str, Any]],
    origin: str,
) -> Model:
    where = f'models."{name}"'
    old = models.get(name.removeprefix(PREFIX))
    if old is None:
        provider = _value(facts.get("provider", ""))
        if not provider:
            raise UsageError(f"{origin}: {where}: a new model needs a `provider`.")
        terms = tuple(providers.get(provider, {}).get("terms", ()))
        old = Model(id=name, provider=provider, terms=terms)
    facts = dict(facts)
    family = _value(facts.pop("family", None))
    if family is not None:
        if family not in families:
            raise UsageError(f"{origin}: {where}.family: there is no family {family!r}; there are {', '.join(families)}.")
        old = replace(old, family=families[family])
    model = _override(old, facts, origin, where)
    bad = [endpoint for endpoint in model.endpoints if endpoint not in DIALECTS]
    if bad:
        raise UsageError(f"{origin}: {where}.endpoints: {bad[0]!r} is none of {', '.join(DIALECTS)}.")
    return model


def _value(fact: Any) -> Any:
    return fact["value"] if isinstance(fact, Mapping) and "value" in fact else fact


def _override(old: Any, facts: Mapping[str, Any], origin: str, where: str) -> Any:
    known = {f.name: f.type for f in fields(old)}
    values: dict[str, Any] = {}
    sources = dict(getattr(old, "sources", {}))
    for key, fact in facts.items():
        if key not in known or key in ("id", "name", "sources"):
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{origin}: {where}: there is no fact {key!r}.{hint}")
        values[key] = _typed(_value(fact), str(known[key]), f"{origin}: {where}.{key}")
        sources[key] = str(fact.get("source", origin)) if isinstance(fact, Mapping) else origin
    if "sources" in known:
        values["sources"] = sources
    return replace(old, **values)


def _typed(value: Any, annotation: str, where: str) -> Any:
    if annotation.startswith("Price"):
        numbers = {k: v for k, v in value.items() if k != "source"} if isinstance(value, Mapping) else {}
        try:
            return Price(**numbers)
        except TypeError:
            raise UsageError(f"{where}: a price is a table with `input` and `output`, dollars for a million tokens.") from None
    if annotation.startswith("tuple"):
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(items)
        raise UsageError(f"{where}: expected a list of strings.")
    if annotation.startswith("int") and isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if annotation.startswith("float") and isinstance(value, int | float) and value > 0:
        return float(value)
    if annotation.startswith("bool") and isinstance(value, bool):
        return value
    if annotation.startswith("str") and isinstance(value, str):
        return value
    raise UsageError(f"{where}: expected {annotation.split(' ')[0]}, and above zero if a number; got {value!r}.")
