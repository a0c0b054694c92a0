"""What several annotators together say of one row. A tie is named, never broken; whoever did not answer has no vote."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.core.answers.values import Invalid
from runner.core.values import Json

CLOSE = 1e-9
"""Sums of weights that differ by less, relative to all weights, are the same: 0.1 + 0.2 ties with 0.3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """The outcome of a vote on one row."""

    value: Json
    """What was decided, or None."""
    reason: str = ""
    """Why nothing was decided; empty if something was."""
    share: float = 0.0
    """The weight behind the winner (or behind each of those that tie), as a share of all valid votes' weight."""
    support: Mapping[Hashable, float] = field(default_factory=dict)
    """Each value voted for -> its share of all valid votes' weight, the largest first."""
    tied: tuple[Json, ...] = ()
    """The values that share the lead, if several do."""
    votes: int = 0
    """Valid votes."""
    missing: tuple[str, ...] = ()
    """Annotators without an answer."""
    invalid: tuple[str, ...] = ()
    """Annotators whose answer could not be read."""


def majority(votes: Mapping[str, Json | Invalid], weights: Mapping[str, float] | None = None) -> Poll:
    """The value with the most weight behind it.

    None and NaN are no votes, and are named. Annotators without a weight of their own weigh 1.
    """
    valid, missing, invalid = _sorted_out(votes)
    if not valid:
        return Poll(value=None, reason="there is no valid vote", missing=missing, invalid=invalid)
    values: dict[Hashable, Json] = {}
    behind: dict[Hashable, list[float]] = {}
    for name, value in valid.items():
        key = contents(value)
        values.setdefault(key, value)
        behind.setdefault(key, []).append(_weight(name, weights))
    total = math.fsum(weight for found in behind.values() for weight in found)
    shares = {key: math.fsum(found) / total for key, found in behind.items()}
    support = dict(sorted(shares.items(), key=lambda item: -item[1]))
    share = max(shares.values())
    leading = tuple(values[key] for key in values if shares[key] >= share - CLOSE)
    tied = leading if len(leading) > 1 else ()
    return Poll(
        value=None if tied else leading[0], reason=f"{len(tied)} values tie" if tied else "", share=share,
        support=support, tied=tied, votes=len(valid), missing=missing, invalid=invalid,
    )  # fmt: skip


def majority_of_each(
    votes: Mapping[str, Sequence[str] | Invalid | None], weights: Mapping[str, float] | None = None
) -> Poll:
    """For answers of several labels: those that more than half of the weight is for, in the order of first mention.

    A label that exactly half is for is tied: nothing is decided, and all such labels are named.
    """
    valid, missing, invalid = _sorted_out(votes)
    if not valid:
        return Poll(value=None, reason="there is no valid vote", missing=missing, invalid=invalid)
    total = math.fsum(_weight(name, weights) for name in valid)
    labels = dict.fromkeys(label for chosen in valid.values() for label in chosen)
    shares = {
        label: math.fsum(_weight(name, weights) for name, chosen in valid.items() if label in chosen) / total
        for label in labels
    }
    tied = tuple(label for label, share in shares.items() if abs(share - 0.5) <= CLOSE)
    chosen = tuple(label for label, share in shares.items() if share > 0.5 + CLOSE)
    support = dict(sorted(shares.items(), key=lambda item: -item[1]))
    # How sure the whole set is: as sure as its least sure member, or the surest that was left out.
    share = min((max(share, 1 - share) for share in shares.values()), default=1.0)
    reason = f"half of the votes are for {', '.join(tied)}" if tied else ""
    return Poll(
        value=None if tied else chosen, reason=reason, share=share, support=support, tied=tied,
        votes=len(valid), missing=missing, invalid=invalid,
    )  # fmt: skip


def middle(votes: Mapping[str, float | Invalid | None], weights: Mapping[str, float] | None = None) -> Poll:
    """For ratings: the weighted median; between two values that halve the weight, their mean."""
    valid, missing, invalid = _sorted_out(votes)
    if not valid:
        return Poll(value=None, reason="there is no valid vote", missing=missing, invalid=invalid)
    poll = majority(valid, weights)
    ratings = sorted(poll.support.items(), key=lambda item: item[0])  # type: ignore[arg-type, return-value]
    below, median = 0.0, 0.0
    for at, (rating, share) in enumerate(ratings):
        below += share
        if below >= 0.5 - CLOSE:
            halved = below <= 0.5 + CLOSE and at + 1 < len(ratings)
            median = (rating + ratings[at + 1][0]) / 2 if halved else rating  # type: ignore[operator, assignment]
            break
    share = poll.support.get(median, 0.0)
    return Poll(
        value=median, share=share, support=dict(ratings), votes=len(valid), missing=missing, invalid=invalid
    )  # fmt: skip


def is_below(share: float, least: float) -> bool:
    """Whether a share of the weight is less than a poll needs."""
    return share < least - CLOSE


def _sorted_out(votes: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...], tuple[str, ...]]:
    """The valid votes, and the annotators whose vote is missing or invalid."""
    missing = tuple(name for name, value in votes.items() if value is None or value != value)
    invalid = tuple(name for name, value in votes.items() if isinstance(value, Invalid))
    return {name: value for name, value in votes.items() if name not in (*missing, *invalid)}, missing, invalid


def contents(value: Json) -> Hashable:
    """What makes two votes the same: JSON values by what they hold, whatever the order of keys; 1.0 is 1."""
    return (
        json.dumps(_by_value(value), sort_keys=True, ensure_ascii=False) if isinstance(value, (dict, list)) else value
    )


def _by_value(value: Json) -> Json:
    """The same with whole numbers written as such."""
    if isinstance(value, dict):
        return {name: _by_value(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_by_value(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _weight(annotator: str, weights: Mapping[str, float] | None) -> float:
    return 1.0 if weights is None else weights.get(annotator, 1.0)
