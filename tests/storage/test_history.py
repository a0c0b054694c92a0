"""What a journal says of a run so far, read back or just being written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.core.errors import StorageFailed
from runner.core.limits import ALL
from runner.storage.history import History, read_history
from runner.storage.journal import VERSION, DiskFile, Journal
from runner.storage.takeover import Answers

USAGE = {"input": 10, "output": 3, "reasoning": 1, "cached_input": 0, "cache_write": 0, "reported": True}


def sent(row: int, slot: int = 0, n: int = 1) -> dict[str, Any]:
    return {"t": "sent", "row": row, "slot": slot, "n": n, "model": "m", "est": 12, "cap": 64, "at": 1.0}


def replied(row: int, slot: int = 0, **more: Any) -> dict[str, Any]:
    frame = sent(row, slot) | {"t": "landed", "id": str(row), "latency": 0.5, "final": "succeeded", "attempts": 1}
    return frame | {"outcome": "ok", "usage": USAGE, "cost": 0.25, "text": "x", "finish": "stop"} | more


def failed(row: int, slot: int = 0, final: str | None = None, **failure: Any) -> dict[str, Any]:
    told = {"kind": "server_error", "message": "no", "ambiguous": False} | failure
    return sent(row, slot) | {"t": "landed", "latency": 0.5, "final": final, "attempts": 1, "failure": told}


def ended(row: int, slot: int = 0, final: str = "errored") -> dict[str, Any]:
    return {"t": "ended", "row": row, "slot": slot, "model": "m", "final": final, "failure": None}


FRAMES = [
    {"t": "header", "version": VERSION, "run": "r"},
    {"t": "session", "at": 0.0},
    sent(0),
    replied(0),
    sent(3, 1),
    failed(3, 1, kind="rate_limited"),
    failed(3, 1, ambiguous=True),
    replied(3, 1),
    ended(1),
    {"t": "closed", "at": 9.0, "elapsed": 9.0, "reason": None},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def write(path: Path, frames: list[dict[str, Any]], slots: int = 2) -> History:
    """Write frames as a run does: into the journal and the history that grows with it."""
    history = History(slots)
    book = Journal(DiskFile(path))
    for frame in frames:
        history.add(frame, book.append(frame))
    book.close()
    return history


def test_a_task_has_ended_when_a_frame_with_its_outcome_was_read(path: Path) -> None:
    """Only a final frame ends a task, and only its own."""
    write(path, FRAMES)
    history = read_history(path, 2)
    over = {(row, slot) for row in range(6) for slot in range(2) if history.has_ended(row, slot)}
    assert over == {(0, 0), (3, 1), (1, 0)}


@pytest.mark.fault("R3")
def test_a_task_that_was_only_sent_or_failed_for_now_is_open(path: Path) -> None:
    """What a kill left under way is asked again."""
    write(path, [sent(0), sent(1), failed(1)])
    history = read_history(path, 1)
    assert not history.has_ended(0, 0)
    assert not history.has_ended(1, 0)


def test_history_that_is_read_is_the_history_that_was_written(path: Path) -> None:
    """I11: offsets and sums are the same in the session that wrote them and in the next."""
    lived = write(path, FRAMES)
    read = read_history(path, 2)
    places = [(row, slot) for row in range(6) for slot in range(2)]
    assert [read.offset(*place) for place in places] == [lived.offset(*place) for place in places]
    assert read.tally == lived.tally
    assert read.end == path.stat().st_size


@pytest.mark.fault("R4")
def test_the_sums_are_those_of_the_frames(path: Path) -> None:
    """Tokens, cost, attempts and sessions over everything that was written."""
    tally = write(path, FRAMES).tally
    assert (tally.sent, tally.sessions, tally.elapsed, tally.ambiguous, tally.ended) == (2, 1, 9.0, 1, 3)
    assert tally.statuses == {"succeeded": 2, "errored": 1}
    assert [tally.total(name) for name in ("requests", "refused", "input_tokens", "output_tokens", "cost")] == [
        4,
        1,
        20,
        6,
        0.5,
    ]


def test_the_first_word_on_a_task_stands(path: Path) -> None:
    """I2: outcomes are immutable, also where a frame says otherwise later."""
    history = write(path, [replied(0), ended(0, final="canceled")], slots=1)
    assert history.offset(0, 0) == 0


def test_two_words_on_a_task_count_as_one(path: Path) -> None:
    """G8: the sum of all statuses is never more than the number of tasks."""
    assert write(path, [replied(0), ended(0, final="canceled")], slots=1).tally.ended == 1


def test_tasks_far_apart_are_kept_apart(path: Path) -> None:
    """The first row and the millionth need no rows between them."""
    history = write(path, [replied(1_000_000, 1), replied(0, 0)])
    assert history.has_ended(1_000_000, 1)
    assert history.has_ended(0, 0)
    assert not history.has_ended(1_000_000, 0)
    assert history.offset(5_000_000, 0) == -1


def test_the_last_row_with_an_outcome_is_known(path: Path) -> None:
    """A run that was stopped before its input was looked over has tables as far as there."""
    write(path, [replied(4), failed(9), ended(2)])
    assert read_history(path, 2).last == 4
    assert History(2).last == -1


@pytest.mark.fault("B12")
def test_spending_is_remembered_for_a_window(path: Path) -> None:
    """What was sent before that is of no account any more."""
    write(path, [sent(0) | {"at": 1.0}, sent(1) | {"at": 50.0}, sent(2) | {"at": 70.0}, replied(2)])
    assert [(spent.at, spent.charge.input) for spent in read_history(path, 1, 60.0).recent] == [(50.0, 12), (70.0, 10)]


def test_spending_of_two_sessions_on_one_task_is_remembered_twice(path: Path) -> None:
    """G3: what a kill cut off may have been counted all the same, and its task is sent again as its first sending."""
    session = {"t": "session", "version": VERSION, "at": 1.0}
    write(path, [session, sent(0) | {"at": 1.0}, session, sent(0) | {"at": 2.0}, failed(0), session])
    recent = read_history(path, 1, 60.0).recent
    assert [(spent.at, spent.charge.input) for spent in recent] == [(1.0, 12), (2.0, 0)]


@pytest.mark.fault("R1")
def test_a_run_without_a_journal_has_no_history(path: Path) -> None:
    """A run that was killed before its first frame begins anew."""
    history = read_history(path, 1)
    assert (history.end, history.tally.ended, history.offset(0, 0)) == (0, 0, -1)


@pytest.mark.fault("P19")
def test_a_torn_tail_ends_the_history_where_it_begins(path: Path) -> None:
    """The end that is given is where the tail is to be cut."""
    history = write(path, FRAMES)
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"0000ffff 0000")
    assert read_history(path, 2).end == whole
    assert read_history(path, 2).tally == history.tally


@pytest.mark.fault("P21")
def test_a_journal_of_a_newer_runner_is_refused(path: Path) -> None:
    """What a later version means by its frames nobody here knows."""
    write(path, [{"t": "header", "version": VERSION + 1, "run": "r"}, replied(0)])
    with pytest.raises(StorageFailed, match=f"newer runner .journal version {VERSION + 1}"):
        read_history(path, 1)


@pytest.mark.fault("P20")
def test_a_damaged_journal_is_no_history(path: Path) -> None:
    """No half of a run is taken for all of it."""
    write(path, FRAMES)
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageFailed, match="damaged"):
        read_history(path, 2)


@pytest.mark.fault("R7")
def test_attempts_outlive_the_session_in_which_they_were_made(path: Path) -> None:
    """A task that is open goes on where it was; 429s and replies that were asked for again are no attempts."""
    again = replied(2, final=None)
    frames = [failed(0), failed(0) | {"attempts": 2}, failed(1, kind="rate_limited") | {"attempts": 0}, again, again]
    lived = write(path, frames, slots=1)
    for history in (lived, read_history(path, 1)):
        assert [history.tried(row, 0) for row in range(4)] == [(2, 0), (0, 0), (0, 2), (0, 0)]


@pytest.mark.fault("R14")
def test_a_task_that_is_opened_again_has_all_its_attempts(path: Path) -> None:
    """What had ended has been decided on; whoever asks again wants it tried."""
    errored = failed(0, final="errored") | {"attempts": 5}
    reopened = {"t": "reopened", "row": 0, "slot": 0, "landed": "m"}
    assert write(path, [failed(0), errored, reopened], slots=1).tried(0, 0) == (0, 0)


@pytest.mark.fault("H1")
def test_until_when_nothing_is_to_come_is_kept(path: Path) -> None:
    """The later of two times holds, for a model or for all; a 429 without a time says nothing of the next process."""
    refusals = [
        failed(0, kind="rate_limited", scope="model", retry_after=9.0),
        failed(1, kind="rate_limited", scope="model", retry_after=5.0),
        failed(2, kind="rate_limited", scope="all", retry_after=2.0),
        failed(3, kind="rate_limited", scope="all", retry_after=None),
        failed(4, kind="overloaded", scope="model", retry_after=500.0),
    ]
    assert write(path, refusals, slots=1).shut == {"m": 10.0, ALL: 3.0}


def test_what_replies_have_cost_is_known_until_the_last_word(path: Path) -> None:
    """Of a task that ended in vain it stays known, since it may be opened again."""
    asked = [replied(row, final=None, outcome=outcome) for outcome in ("ok", "truncated") for row in range(3)]
    twice = {"est": 24, "input": 20, "cached_input": 0, "output": 6, "reasoning": 2, "cost": 0.5}
    write(path, [*asked, replied(1, before=twice), failed(2, final="errored")], slots=1)
    history = read_history(path, 1)
    assert [dict(history.paid(row, 0)) for row in range(3)] == [twice, {}, twice]


def test_an_answer_that_is_taken_over_says_what_all_replies_to_its_task_have_cost(path: Path) -> None:
    """Also where its early frame tells of one reply only."""
    write(path, [replied(0, final=None), replied(0, key="d")], slots=1)
    task: Any = SimpleNamespace(row=7, slot=0, id="7", models=("m",), digest="d", escalated=False)
    with path.open("rb") as file:
        [taken] = Answers(path, 1).take(file, [task])
    once = {"est": 12, "input": 10, "cached_input": 0, "output": 3, "reasoning": 1, "cost": 0.25}
    assert (taken["row"], taken["before"]) == (7, once)
