"""What runs have learned of one gateway, as a plain value that the next run begins with.

Everything here is a hint: it was true when it was learned, may be wrong now, and is corrected by what comes back.
What is read is checked entry by entry, since a file may hold anything; what is not as it should be is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.core.latency import Speed
from runner.core.limits import ALL, Limit

LONGEST_NAME = 300
LONGEST_FACT = 3_000
"""Characters: what was spent in every second of two windows (`core.handover`) is no longer."""
LARGEST = 1e15
MOST_FACTS = 32
"""Of one limit."""
MOST_LENGTHS = 200
"""Of the answers of one model in one job: the last ones."""
MOST_MODELS = 100
"""Of one job."""
MOST_REPLIES = 10**9
LONGEST_ANSWER = 7 * 86_400.0
"""Seconds; and tokens that it has, too."""
MOST_SPREAD = 3.0
"""Of the logarithm of the time to answer."""
LEAST_RATIO, MOST_RATIO = 0.01, 100.0
"""True tokens for one that was guessed: beyond this a file is wrong, not a tokenizer."""

Facts = Mapping[str, float | str]
"""What is known of one limit, by name; only who wrote it knows what it means."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How a model's input tokens compare with our guesses, over its last replies."""

    guessed: float
    true: float
    replies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known of a gateway, beside its catalogue. The default is nothing."""

    limits: Mapping[str, Facts] = field(default_factory=dict)
    """By `limit_key`."""
    ratios: Mapping[str, Ratio] = field(default_factory=dict)
    """By model."""
    output_caps: Mapping[str, int] = field(default_factory=dict)
    """The largest cap on output tokens that each model takes."""
    lengths: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    """By a job's key and model, a sample of the output tokens of answers, the latest last."""
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    """By model, how long it takes to answer."""

    @property
    def models(self) -> frozenset[str]:
        """Every model that something is known of."""
        scopes = (scope_of(key) for key in self.limits)
        named = (name for by_model in self.lengths.values() for name in by_model)
        return frozenset((*scopes, *self.ratios, *self.output_caps, *self.speeds, *named)) - {ALL}

    def without(self, model: str) -> Knowledge:
        """The same, as if nothing had ever been learned of this model."""
        lengths = {job: _others(by_model, model) for job, by_model in self.lengths.items()}
        return replace(
            self,
            limits={key: facts for key, facts in self.limits.items() if scope_of(key) != model},
            ratios=_others(self.ratios, model),
            output_caps=_others(self.output_caps, model),
            lengths={job: by_model for job, by_model in lengths.items() if by_model},
            speeds=_others(self.speeds, model),
        )

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Sections by name, and in each its entries by name, as JSON values."""
        return {
            "limits": {key: dict(facts) for key, facts in self.limits.items()},
            "ratios": {
                name: {"guessed": ratio.guessed, "true": ratio.true, "replies": ratio.replies}
                for name, ratio in self.ratios.items()
            },
            "output_caps": dict(self.output_caps),
            "lengths": {
                job: {name: list(sample[-MOST_LENGTHS:]) for name, sample in by_model.items()}
                for job, by_model in self.lengths.items()
            },
            "speeds": {
                name: {figure: getattr(speed, figure) for figure in SPEED_FIGURES}
                for name, speed in self.speeds.items()
            },
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Knowledge:
        """What `to_json` wrote; entries that are not as it writes them are left out."""
        return cls(**{section: _entries(table.get(section), read) for section, read in SECTIONS.items()})


def limit_key(limit: Limit) -> str:
    """What a limit is known by: its amount may change, its scope and measure are what it is."""
    return f"{limit.scope}/{limit.measure}"


def scope_of(key: str) -> str:
    """The model of such a key, or `ALL`."""
    return key.rpartition("/")[0]


def _others(by_model: Mapping[str, Any], model: str) -> dict[str, Any]:
    return {name: value for name, value in by_model.items() if name != model}


def _entries(section: Any, read: Callable[[Any], Any]) -> dict[str, Any]:
    if not isinstance(section, Mapping):
        return {}
    entries = ((name, read(value)) for name, value in section.items() if _is_name(name))
    return {name: value for name, value in entries if value is not None}


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME


def _is_number(value: Any, least: float = -LARGEST, most: float = LARGEST) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= value <= most
    )


def _is_count(value: Any, least: int, most: float = LARGEST) -> bool:
    return isinstance(value, int) and _is_number(value, least, most)


def _facts(value: Any) -> Facts | None:
    if not isinstance(value, Mapping):
        return None
    facts = {
        name: fact
        for name, fact in value.items()
        if _is_name(name) and (_is_number(fact) or (isinstance(fact, str) and len(fact) <= LONGEST_FACT))
    }
    return facts if 0 < len(facts) <= MOST_FACTS else None


def _ratio(value: Any) -> Ratio | None:
    if not isinstance(value, Mapping):
        return None
    guessed, true, replies = value.get("guessed"), value.get("true"), value.get("replies")
    if not (_is_number(guessed, 1e-6) and _is_number(true, 1e-6) and _is_count(replies, 1, MOST_REPLIES)):
        return None
    ratio = Ratio(float(guessed), float(true), int(replies))  # type: ignore[arg-type]
    return ratio if LEAST_RATIO <= ratio.true / ratio.guessed <= MOST_RATIO else None


def _cap(value: Any) -> int | None:
    return int(value) if _is_count(value, 1) else None


SPEED_FIGURES: Mapping[str, float] = {
    "first": LONGEST_ANSWER,
    "per_token": LONGEST_ANSWER,
    "spread": MOST_SPREAD,
    "tokens": LONGEST_ANSWER,
    "tokens_spread": LONGEST_ANSWER,
    "replies": MOST_REPLIES,
}
"""What is written of a speed, and the most that each figure may be."""


def _speed(value: Any) -> Speed | None:
    if not isinstance(value, Mapping) or not all(
        _is_number(value.get(figure), 0.0, most) for figure, most in SPEED_FIGURES.items()
    ):
        return None
    figures = {figure: float(value[figure]) for figure in SPEED_FIGURES if figure != "replies"}
    return Speed(**figures, replies=int(value["replies"])) if _is_count(value["replies"], 1) else None


def _lengths(value: Any) -> dict[str, tuple[int, ...]] | None:
    if not isinstance(value, Mapping) or len(value) > MOST_MODELS:
        return None
    samples = {name: _sample(lengths) for name, lengths in value.items() if _is_name(name)}
    return {name: sample for name, sample in samples.items() if sample} or None


def _sample(value: Any) -> tuple[int, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        return ()
    return tuple(length for length in value if _is_count(length, 0))[-MOST_LENGTHS:]


SECTIONS: Mapping[str, Callable[[Any], Any]] = {
    "limits": _facts,
    "ratios": _ratio,
    "output_caps": _cap,
    "lengths": _lengths,
    "speeds": _speed,
}
"""What reads an entry of each section: a value, or None for one that cannot be used."""
