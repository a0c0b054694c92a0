"""What may be spent: limits, and the budget of each model.

A limit is an amount of one measure per window. A budget is all the limits that bind one model; the combined limit is
one `Limit` that stands in every model's budget and needs no code of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.core.catalog import PREFIX, Catalogue, Model
from runner.core.errors import UsageError
from runner.core.values import Charge, Measure

ALL = "*"
"""The scope of a limit that every model shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An allowance: at most `amount` of `measure` in any `window` seconds."""

    scope: str
    """The short id of a model, or `ALL`."""
    measure: Measure
    amount: int
    window: float

    def of(self, charge: Charge) -> int:
        """How much of this limit a charge takes."""
        measure = self.measure
        if measure == "input":
            return charge.input
        if measure == "output":
            return charge.output
        return charge.requests if measure == "requests" else charge.input + charge.output

    @property
    def gives_back(self) -> bool:
        """Whether what an answer did not use of its cap is given back."""
        return self.measure in ("output", "total")

    def __str__(self) -> str:
        whose = "all models" if self.scope == ALL else self.scope
        what = "requests" if self.measure == "requests" else f"{self.measure} tokens"
        return f"{self.amount:,} {what} in {self.window:g} s for {whose}"


Budget = tuple[Limit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Amounts for one model, or for all together. None means that nothing is said here."""

    input_tokens: int | None = None
    """Per window."""
    output_tokens: int | None = None
    """Per window."""
    requests_per_second: int | None = None

    def over(self, below: Allowance) -> Allowance:
        """This allowance, with what it leaves open taken from `below`."""
        return Allowance(
            input_tokens=self.input_tokens or below.input_tokens,
            output_tokens=self.output_tokens or below.output_tokens,
            requests_per_second=self.requests_per_second or below.requests_per_second,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All limits of an account, as a limits file states them. The default is to have none."""

    window_seconds: float = 60.0
    count: Measure = "input"
    """What the input limits count: "input", or "total" for input and output together."""
    combined: Allowance = Allowance()
    per_model: Allowance = Allowance()
    models: Mapping[str, Allowance] = field(default_factory=dict)
    """By short id."""

    def budgets(self, models: Iterable[Model]) -> dict[str, Budget]:
        """The budget of each model, by short id. A combined limit is the same object in all of them."""
        combined = self._limits(ALL, self.combined)
        return {
            model.short: self._limits(model.short, self.models.get(model.short, Allowance()).over(self.per_model))
            + combined
            for model in models
        }

    def _limits(self, scope: str, allowance: Allowance) -> Budget:
        amounts: list[tuple[Measure, int | None, float]] = [
            (self.count, allowance.input_tokens, self.window_seconds),
            ("output", allowance.output_tokens, self.window_seconds),
            ("requests", allowance.requests_per_second, 1.0),
        ]
        return tuple(
            Limit(scope=scope, measure=measure, amount=amount, window=window)
            for measure, amount, window in amounts
            if amount is not None
        )

    def with_upstream(self, models: Iterable[Model]) -> Limits:
        """These limits, with what the catalogue knows of single models filled in where they say nothing themselves."""
        known = {
            model.short: Allowance(
                input_tokens=model.input_tokens_per_minute, output_tokens=model.output_tokens_per_minute
            )
            for model in models
            if model.input_tokens_per_minute or model.output_tokens_per_minute
        }
        merged = {**known, **{name: own.over(known.get(name, Allowance())) for name, own in self.models.items()}}
        return replace(self, models=merged)

    def to_table(self) -> dict[str, Any]:
        """The limits as a limits file states them."""
        table: dict[str, Any] = {"window_seconds": self.window_seconds, "count": self.count}
        for name in ("combined", "per_model"):
            table[name] = _stated(getattr(self, name))
        table["models"] = {name: _stated(own) for name, own in self.models.items()}
        return table


def _stated(allowance: Allowance) -> dict[str, int]:
    names = ("input_tokens", "output_tokens", "requests_per_second")
    return {name: getattr(allowance, name) for name in names if getattr(allowance, name) is not None}


def from_table(
    table: Mapping[str, Any], origin: str, base: Limits | None = None, catalogue: Catalogue | None = None
) -> Limits:
    """Limits from a limits file's table, over those of `base`; its models go by any name that `catalogue` knows.

    A `per_model` figure of the file also goes over what `base` says of single models: the file is the last word.
    Raises UsageError, naming the file and the key, for anything that is not as it should be.
    """
    base = base or Limits()
    known = ("window_seconds", "count", "combined", "per_model", "models")
    _only(table, known, origin, "")
    window = table.get("window_seconds", base.window_seconds)
    if isinstance(window, bool) or not isinstance(window, int | float) or not 0.1 <= window <= 86_400:
        raise UsageError(f"{origin}: window_seconds is a number of seconds from 0.1 to 86400; got {window!r}.")
    count = table.get("count", base.count)
    if count not in ("input", "total"):
        raise UsageError(f'{origin}: count is "input" or "total"; got {count!r}.')
    per_model = _allowance(table.get("per_model", {}), origin, "per_model")
    models = {name: per_model.over(own) for name, own in base.models.items()}
    stated = table.get("models", {})
    if not isinstance(stated, Mapping):
        raise UsageError(f"{origin}: [models] is a table.")
    for name, own in stated.items():
        allowance = _allowance(own, origin, f'models."{name}"')
        short = _short(name, catalogue, origin)
        models[short] = allowance.over(models.get(short, Allowance()))
    return Limits(
        window_seconds=float(window),
        count=count,
        combined=_allowance(table.get("combined", {}), origin, "combined").over(base.combined),
        per_model=per_model.over(base.per_model),
        models=models,
    )


def _short(name: str, catalogue: Catalogue | None, origin: str) -> str:
    if catalogue is None:
        return name.removeprefix(PREFIX)
    try:
        return catalogue.find(name).short
    except UsageError as error:
        raise UsageError(f"{origin}: models: {error}") from None


def _allowance(table: Any, origin: str, where: str) -> Allowance:
    if not isinstance(table, Mapping):
        raise UsageError(f"{origin}: [{where}] is a table.")
    _only(table, ("input_tokens", "output_tokens", "requests_per_second"), origin, where)
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
            what = "below 2**63" if isinstance(value, int) and value >= 2**63 else "above zero"
            raise UsageError(
                f"{origin}: {where}.{key} is a whole number {what}; got {value!r}. What is left out keeps "
                "its default; --no-limits keeps none."
            )
    return Allowance(**table)


def _only(table: Mapping[str, Any], known: tuple[str, ...], origin: str, where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" There are {', '.join(known)}."
            raise UsageError(f"{origin}: there is no key {where + '.' if where else ''}{key}.{hint}")
