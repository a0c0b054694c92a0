"""What was found out of one limit, in the form in which it is handed on.

The next run is given what it can begin with, by the time of day (`remember`, `recall`). Others that spend of the same
limit at the same time are told it by the same clock (`tell`, `hear`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from runner.core.belief import LEAST
from runner.core.counting import Counting, Kind
from runner.core.mirrors import Bucket, Calendar, Mirror, SlidingLog
from runner.core.probing import Probing

PARTS = 60
"""Of a window: how finely what was spent last is remembered for the next run."""


def remember(counting: Counting, wall: float, now: float) -> dict[str, float | str]:
    """What the next run can begin with; `wall` is the time of day at `now`, in seconds since the epoch."""
    window, mirror = counting.limit.window, counting.mirror
    facts: dict[str, float | str] = {"kind": counting.kind.value, "sure": float(counting.sure)}
    facts |= {"amount": round(counting.belief.amount(now), 1), "configured": counting.limit.amount, "window": window}
    if isinstance(mirror, Calendar):
        facts |= {"border": round((mirror.border + wall - now) % window, 3), "early": round(mirror.early, 3)}
    if isinstance(mirror, Bucket):
        facts |= {"burst": round(mirror.burst, 1), "level": round(mirror.level(now), 1)}
    spent: dict[int, int] = {}
    for take in counting.recent:
        part = int((now - take.at) / window * PARTS)
        if take.amount and part < 2 * PARTS:
            spent[part] = spent.get(part, 0) + take.amount
    facts["spent"] = " ".join(f"{part}:{amount}" for part, amount in sorted(spent.items(), reverse=True))
    facts["until"] = round(wall, 3)
    return facts


def recall(
    counting: Counting, facts: Mapping[str, float | str], wall: float, now: float, *, spending: bool
) -> list[tuple[int, float]]:
    """Begin with what an earlier run remembered. Raises ValueError if that is garbled, KeyError if it is not whole.

    What that run had just spent, and when, is returned, oldest first; nothing of it without `spending`.
    """
    window = counting.limit.window
    if _number(facts, "window") != window:
        raise ValueError("it was learned of windows of another length")
    kind, believed, sure = Kind(str(facts["kind"])), _number(facts, "amount"), bool(_number(facts, "sure"))
    since = max(0.0, wall - _number(facts, "until"))  # a clock that was set back must not make it last
    entries = (entry.partition(":") for entry in str(facts["spent"]).split())
    most = 2 * counting.limit.amount
    parts = [(max(0, int(part)), min(most, max(0, int(amount)))) for part, _, amount in entries]
    mirror = _recalled(counting, kind, facts, wall, now, since if spending else math.inf)
    if believed != _number(facts, "configured"):  # all of what was configured then says nothing of more
        counting.belief.recall(believed, now)
    counting.begin(kind, mirror, now, sure=sure and kind is not Kind.UNKNOWN)
    if not spending or kind is Kind.BUCKET:
        return []
    return [(spent, now - since - part * window / PARTS) for part, spent in parts]


def _recalled(
    counting: Counting, kind: Kind, facts: Mapping[str, float | str], wall: float, now: float, since: float
) -> Mirror:
    """The mirror of what was remembered `since` seconds ago."""
    window = counting.limit.window
    if kind in (Kind.CALENDAR, Kind.COUNTER):
        border = (_number(facts, "border") - (wall - now)) % window
        border += math.floor((now - border) / window) * window
        made = counting.calendar if kind is Kind.CALENDAR else counting.counter
        return made(border, min(window, max(0.0, _number(facts, "early"))))
    if kind is Kind.BUCKET:
        scale, burst = _bucket(counting, facts)
        bucket = counting.bucket(max(1.0, _number(facts, "amount")), burst)
        if since < math.inf:
            level = max(-burst, scale * _number(facts, "level")) + since * bucket.rate
            bucket.correct(min(0.0, level - burst), now)
        else:  # what was taken in the last window is told next; how much there was before it, nobody knows
            bucket.correct(-burst, now - window)
        return bucket
    return counting.log()


def _bucket(counting: Counting, facts: Mapping[str, float | str]) -> tuple[float, float]:
    """How much of it such a bucket holds here, and how much that is: a limit that was lowered since is kept."""
    limit, configured = counting.limit, _number(facts, "configured")
    scale = min(1.0, limit.amount / configured) if configured > 0 else 1.0
    return scale, min(limit.amount, max(LEAST * limit.amount, scale * _number(facts, "burst")))


def _number(facts: Mapping[str, float | str], name: str) -> float:
    """A fact that is to be a number. Raises KeyError or ValueError where it is none, or endless."""
    number = float(facts[name])
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}")
    return number


def tell(counting: Counting, now: float) -> dict[str, float | str] | None:
    """What is known here, for others with the same clock; None while that is nothing."""
    if counting.changed_at == -math.inf and counting.kind is Kind.UNKNOWN:
        return None
    mirror = counting.mirror
    told: dict[str, float | str] = {"at": max(0.0, counting.changed_at), "now": now, "kind": counting.kind.value}
    told |= {"sure": float(counting.sure), "configured": counting.limit.amount, **counting.belief.tell()}
    if isinstance(mirror, SlidingLog):
        told["span"] = mirror.span
    if isinstance(mirror, Calendar):
        told |= {"border": mirror.border, "early": mirror.early}
    if isinstance(mirror, Bucket):
        told |= {"burst": mirror.burst, "level": mirror.level(now)}
    return told


def hear(counting: Counting, probing: Probing, told: Mapping[str, float | str], now: float) -> None:
    """Take over what somebody else found out since anything was found out here. Raises KeyError or ValueError."""
    found_at, kind = min(_number(told, "at"), now), Kind(str(told["kind"]))
    if found_at <= counting.changed_at:
        return
    mirror = _heard(counting, kind, told, now)
    counting.belief.hear(told)
    probing.hear(found_at)
    counting.become(kind, mirror, now, sure=bool(told["sure"]))
    counting.changed_at = found_at


def _heard(counting: Counting, kind: Kind, told: Mapping[str, float | str], now: float) -> Mirror:
    """The mirror of what was told, filled with what was taken here."""
    if kind in (Kind.CALENDAR, Kind.COUNTER):
        made = counting.calendar if kind is Kind.CALENDAR else counting.counter
        early = min(counting.limit.window, max(0.0, _number(told, "early")))
        return made(_number(told, "border"), early, counting.recent)
    if kind is Kind.BUCKET:
        told_at, (scale, burst) = _number(told, "now"), _bucket(counting, told)
        bucket = counting.bucket(max(1.0, counting.belief.amount(now)), burst)
        bucket.correct(min(0.0, scale * _number(told, "level") - burst), told_at)
        for take in counting.recent:
            if take.sent > told_at:
                bucket.take(take, take.sent)
        return bucket
    span = min(float(told.get("span", 0.0)), counting.longest)
    return counting.log(counting.recent.current(now), span=span)
