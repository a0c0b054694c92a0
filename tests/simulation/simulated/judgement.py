"""The last word on a run that is done: what its journal says, against what the gateway and the rows say."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from runner.core.limits import Budget
from runner.core.tasks import TaskMaker
from runner.storage.history import read_history
from runner.storage.journal import read
from runner.storage.rows import BadRow
from simulated.books import check
from simulated.gateway import Key, SimGateway, answer
from simulated.scenario import Scenario

MOST_REFUSALS = 8
"""By one limit in one session, where limits are as configured."""


def judge(
    scenario: Scenario,
    maker: TaskMaker,
    budgets: dict[str, Budget],
    gateway: SimGateway,
    content: bytes,
    path: Path,
    seen: Counter[str],
) -> None:
    """Raise Violation if the journal of a finished run breaks a promise."""
    path.write_bytes(content)
    frames = [frame.payload for frame in read(path)]
    finals = _finals(frames)
    _check_outcomes(scenario, maker, gateway, finals)
    _check_sums(frames, finals, path, maker, budgets)
    _check_refusals(scenario, gateway)
    _check_attempts(frames, scenario.job.attempts)
    _note(frames, finals, seen)


def _finals(frames: list[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """I2: the one frame that ends each task."""
    finals: dict[Key, dict[str, Any]] = {}
    for frame in frames:
        if frame.get("final"):
            key = (frame["row"], frame["slot"])
            check(key not in finals, "I2", f"{key} has two outcomes")
            finals[key] = frame
    return finals


def _check_outcomes(
    scenario: Scenario, maker: TaskMaker, gateway: SimGateway, finals: dict[Key, dict[str, Any]]
) -> None:
    """I2, I11: every task has its outcome, and answers are what the row's answer is, whatever happened on the way."""
    for record in scenario.rows:
        slots = range(maker.slots)
        if isinstance(record, BadRow) or scenario.words[record.index] >= 2000:
            slots = range(1)
        for slot in slots:
            final = finals.pop((record.index, slot), None)
            check(final is not None, "I2", f"row {record.index} has no outcome")
            assert final is not None
            if isinstance(record, BadRow):
                check(final["failure"]["kind"] == "bad_row", "I11", f"row {record.index} cannot be read, and {final}")
            elif final["final"] == "succeeded":
                _check_answer(scenario, gateway, record.index, slot, final)
    check(not finals, "I2", f"there are outcomes of tasks that do not exist: {finals}")


def _check_answer(scenario: Scenario, gateway: SimGateway, row: int, slot: int, final: dict[str, Any]) -> None:
    text = final["text"]
    check(text in gateway.answers.get((row, slot), ()), "I3", f"row {row}: {text!r} was never said")
    check(row not in scenario.poison, "I11", f"row {row} can have no answer, and has {text!r}")
    whole = scenario.job.cap_is == "exact" and isinstance(scenario.rows[row].columns, dict)  # type: ignore[union-attr]
    asked = scenario.rows[row].columns["max_tokens"]  # type: ignore[union-attr]
    outputs = [scenario.limits.per_model.output_tokens or math.inf, scenario.limits.per_model.input_tokens or math.inf]
    if whole and asked <= min(outputs):
        right = answer(row, cut=scenario.wanted[row] > asked)
        check(text == right, "I11", f"row {row} has {text!r}, not {right!r}")


def _check_refusals(scenario: Scenario, gateway: SimGateway) -> None:
    """I1: a ledger that learns sends more than there is room for only to find something out, and that is little."""
    lied_to = scenario.amounts or scenario.spent or any("refused" in fault for fault in scenario.faults)
    few = MOST_REFUSALS * len(gateway.keepers) * (gateway.session + 1)
    check(lied_to or gateway.refused <= few, "I1", f"{gateway.refused} requests were over a limit, with {few} allowed")


def _check_attempts(frames: list[dict[str, Any]], allowed: int) -> None:
    """I4: attempts are bounded over all sessions; none is forgotten where one process ends and another begins."""
    counted: Counter[Key] = Counter()
    for frame in frames:
        if frame["t"] == "landed" and frame.get("failure"):
            key = (frame["row"], frame["slot"])
            check(
                frame["attempts"] >= counted[key], "I4", f"{key} has {frame['attempts']} attempts after {counted[key]}"
            )
            counted[key] = frame["attempts"]
    most = max(counted.values(), default=0)
    check(most <= allowed, "I4", f"a task has {most} attempts, with {allowed} allowed")


def _check_sums(
    frames: list[dict[str, Any]],
    finals: dict[Key, dict[str, Any]],
    path: Path,
    maker: TaskMaker,
    budgets: dict[str, Budget],
) -> None:
    """I9, I11, I13: the sums are those of the frames, and reading twice gives the same."""
    history, again = read_history(path, maker.slots), read_history(path, maker.slots)
    check(history.tally == again.tally, "I11", "two readings of one journal differ")
    tally = history.tally
    ended = Counter(frame["final"] for frame in frames if frame.get("final"))
    check(tally.statuses == ended, "I13", f"outcomes are {dict(tally.statuses)}, not {dict(ended)}")
    replies = [frame for frame in frames if frame["t"] == "landed" and frame.get("usage")]
    for name, key in (("input_tokens", "input"), ("output_tokens", "output")):
        right = sum(frame["usage"][key] for frame in replies)
        check(tally.total(name) == right, "I9", f"{name} are {tally.total(name)}, not {right}")
    cost = sum(frame["cost"] for frame in replies)
    check(abs(tally.total("cost") - cost) < 1e-9, "I9", f"the cost is {tally.total('cost')}, not {cost}")
    check(tally.sent == sum(frame["t"] == "sent" for frame in frames), "I9", "requests are not counted as sent")
    ambiguous = sum(
        bool(frame["failure"]["ambiguous"]) for frame in frames if frame["t"] == "landed" and frame.get("failure")
    )
    unanswered = _unanswered(frames)
    check(
        tally.ambiguous == ambiguous + unanswered,
        "I9",
        f"ambiguous are {tally.ambiguous}, not {ambiguous} and {unanswered} without an answer",
    )


def _unanswered(frames: list[dict[str, Any]]) -> int:
    """How many requests were cut off by the end of their session."""
    sessions: list[set[tuple[int, int, int]]] = []
    for frame in frames:
        if frame["t"] == "session":
            sessions.append(set())
        elif frame["t"] in ("sent", "landed"):
            change = sessions[-1].add if frame["t"] == "sent" else sessions[-1].remove
            change((frame["row"], frame["slot"], frame["n"]))
    ended = sessions if frames[-1]["t"] == "closed" else sessions[:-1]
    return sum(map(len, ended))


def _note(frames: list[dict[str, Any]], finals: dict[Key, dict[str, Any]], seen: Counter[str]) -> None:
    doubtful: set[Key] = set()
    for frame in frames:
        if frame["t"] != "landed":
            continue
        key = (frame["row"], frame["slot"])
        failure = frame.get("failure")
        if failure and failure["ambiguous"]:
            doubtful.add(key)
        elif frame["final"] == "succeeded" and key in doubtful:
            seen["ambiguous, then answered"] += 1
        if not failure and not frame["final"]:
            seen["cut short and asked again"] += 1
    seen["sessions"] += sum(frame["t"] == "session" for frame in frames)
