"""What a run waits for, in words: at a moment, and as shares of its whole time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from runner.core.waiting import BY_LIMIT, Cause, Holds
from runner.report.durations import clock
from runner.report.safe import safe

WAITED_FOR: Mapping[Cause, str] = {
    Cause.COMBINED_INPUT: "the combined input limit",
    Cause.COMBINED_OUTPUT: "the combined output limit",
    Cause.COMBINED_TOTAL: "the combined token limit",
    Cause.COMBINED_REQUESTS: "the combined request limit",
    Cause.INPUT: "input limits",
    Cause.OUTPUT: "output limits",
    Cause.TOTAL: "token limits",
    Cause.REQUESTS: "request limits",
    Cause.COOL_DOWN: "cool-downs",
    Cause.OUTAGE: "an outage to end",
    Cause.QUOTA: "a quota that is used up",
    Cause.CONGESTION: "fewer requests under way",
    Cause.RETRY: "new attempts",
    Cause.ANSWERS: "answers",
}
DONE: Mapping[Cause, str] = {Cause.READING: "reading rows", Cause.OWN_WORK: "own work"}
"""What is no waiting: work of our own."""

LIMITS_SHOWN, LEAST_SHOWN = 12, 0.1
"""How many limits a summary names, and how full the emptiest of them is, as a fraction."""


def now_waiting(holds: Holds) -> str:
    """What is being waited for at this moment, and by whom; nothing where nothing is."""
    by_causes: dict[tuple[Cause, ...], list[str]] = {}
    for model, causes in holds.items():
        if not DONE.keys() & set(causes):
            by_causes.setdefault(causes, []).append(model)
    said = [" and ".join(WAITED_FOR[cause] for cause in causes) + _who(models) for causes, models in by_causes.items()]
    return "waiting for " + ", ".join(said) if said else ""


def silence(length: float, since_answer: float | None, heard: str, left: float, *, reached: bool) -> str:
    """A gateway that fails, in words: for how long, since its last answer, with what, and when the run gives up.

    `reached` says whether anything ever came back from it. Lengths are in seconds.
    """
    before = "" if since_answer is None else f" (the last one {clock(since_answer)} ago)"
    why = "--patience" if reached else "nothing has ever come from it"
    said = safe(heard, 200).rstrip(".")
    return f"no answer for {clock(length)}{before}: {said} · gives up in {clock(max(0.0, left))} ({why})"


def _who(models: list[str]) -> str:
    if models == [""]:
        return ""
    return f" ({models[0] if len(models) == 1 else f'{len(models)} models'})"


def divided(parts: Mapping[str, float]) -> str:
    """Where the time went: "41 s waited for the combined input limit, 6 s for answers, 5 s own work"."""
    shown, long = _shown(parts)
    waits = [f"{_seconds(shown[cause], long)} for {words}" for cause, words in _longest(shown, WAITED_FOR)]
    if waits:
        waits[0] = waits[0].replace(" for ", " waited for ", 1)
    return ", ".join([*waits, *(f"{_seconds(shown[cause], long)} {words}" for cause, words in _longest(shown, DONE))])


def waits_for_limits(parts: Mapping[str, float]) -> bool:
    """Whether that says that limits were waited for."""
    return not {*BY_LIMIT.values()}.isdisjoint(_shown(parts)[0])


def _shown(parts: Mapping[str, float]) -> tuple[dict[Cause, float], bool]:
    """The seconds that are worth a word, and whether all of them together are many."""
    seconds = {Cause(name): length for name, length in parts.items() if name in {*Cause}}
    long = sum(seconds.values()) >= 10
    return {cause: length for cause, length in seconds.items() if length >= (0.5 if long else 0.05)}, long


def _longest(seconds: Mapping[Cause, float], words: Mapping[Cause, str]) -> list[tuple[Cause, str]]:
    found = [(cause, words[cause]) for cause in seconds if cause in words]
    return sorted(found, key=lambda part: -seconds[part[0]])


def _seconds(length: float, long: bool) -> str:
    return f"{length:,.0f} s" if long else f"{length:.1f} s"


def time_line(summary: Mapping[str, Any]) -> str:
    """A run's whole time, what it went into, and the least that it could have been."""
    elapsed, least = summary["elapsed_s"], summary["least_possible_s"]
    line = f"{_seconds(elapsed, elapsed >= 10)}: {divided(summary['waiting_s'])}"
    return f"{line}; the least possible was {_seconds(least, elapsed >= 10)}" if least >= 1 else line


HELD_BY_CAPS = (Cause.OUTPUT, Cause.TOTAL, Cause.COMBINED_OUTPUT, Cause.COMBINED_TOTAL)
"""The limits of which a request holds all that its cap allows."""
GENEROUS = 1.25
"""How many times as much of a limit a cap must have held before a summary speaks of it."""


def cap_lines(summary: Mapping[str, Any]) -> list[str]:
    """What became of output caps: those that cost time, and the answers that were cut short and asked again."""
    waited = sum(summary["waiting_s"].get(cause, 0.0) for cause in HELD_BY_CAPS)
    lines = []
    again = sum(caps["cut_short"] for caps in summary["caps"].values())
    if again:
        lines.append(f"{again:,} answers were cut short by caps that followed their lengths, and were asked for again")
    generous = {name: caps for name, caps in summary["caps"].items() if caps["held_times"] >= GENEROUS}
    if generous and waited >= 1:
        name, caps = max(generous.items(), key=lambda each: each[1]["held_times"])
        others = f" and {len(generous) - 1} more" if len(generous) > 1 else ""
        spare = waited * (1 - 1 / caps["held_times"])
        lines.append(
            f"{name}{others}: caps of {caps['sent']:,} held up to {caps['held_times']:.1f} times as much of the limit "
            f"as {caps['enough']:,} would have, for answers of {caps['answers']:,}; "
            f"--caps ceiling may save up to {_seconds(spare, spare >= 10)}"
        )
    return lines


def limit_lines(summary: Mapping[str, Any]) -> list[str]:
    """How much of each limit a run has used, combined limits first and then the fullest; little used ones in a word."""
    limits = sorted(summary["limits"], key=lambda limit: (limit["scope"] != "all", -limit["used_share"]))
    most = max((limit["used_share"] for limit in limits), default=0.0)
    if most < LEAST_SHOWN:
        return [f"No limit was used by more than {math.ceil(round(100 * most, 6))}%"] if limits else []
    shown = [limit for limit in limits if limit["used_share"] >= LEAST_SHOWN][:LIMITS_SHOWN]
    lines = [
        f"{limit['used_share']:>5.0%} of {limit['limit']:,} {limit['measure']} tokens in {limit['window_s']:g} s "
        f"for {'all models' if limit['scope'] == 'all' else limit['scope']}"
        for limit in shown
    ]
    left = len(limits) - len(lines)
    more = [f"      and {left} more limit{'' if left == 1 else 's'}, used less"] if left else []
    return ["Used of the limits:", *lines, *more]
