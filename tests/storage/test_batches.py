"""The state of a run in the words of the batch APIs, and the object that OpenAI's SDK reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from openai.types.batch import Batch

from runner.core.errors import RunBusy, StorageFailed
from runner.storage import marks
from runner.storage.batches import Facts, batch, word_of
from runner.storage.marks import Mark, Wish
from runner.storage.rundir import RunDirectory

MANIFEST = {
    "run": "20261124-020000-x",
    "created": "2026-11-24T02:00:00+0100",
    "job": {"caps": {"deadline": 3600.0}},
    "input": {"path": "/in.jsonl"},
}
DEADLINE = {"exit_code": 4, "reason": "--deadline: 3600 seconds are over"}
COST = {"exit_code": 4, "reason": "--max-cost 1: $0.9 are spent or in flight"}

STOPPED = {"exit_code": 130, "reason": "interrupted"}


def facts(**more: Any) -> Facts:
    some: dict[str, Any] = {"locked": False, "sent": 5, "ended": 4, "total": 10, "wish": None, "summary": None}
    some["judged"] = False
    return Facts(**some | more)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"locked": True, "sent": 0, "ended": 0, "total": None}, "validating"),
        ({"locked": True, "sent": 1, "ended": 0, "total": None}, "in_progress"),
        ({"locked": True}, "in_progress"),
        ({"locked": True, "ended": 10}, "finalizing"),
        ({"locked": True, "wish": Wish(Mark.PAUSED, 1.0)}, "in_progress"),
        ({"locked": True, "wish": Wish(Mark.CANCELLED, 1.0)}, "cancelling"),
        ({"ended": 10}, "completed"),
        ({"ended": 10, "wish": Wish(Mark.PAUSED, 1.0)}, "completed"),
        ({"ended": 10, "summary": STOPPED}, "completed"),
        ({"ended": 10, "summary": STOPPED, "wish": Wish(Mark.CANCELLED, 1.0)}, "completed"),
        ({"ended": 10, "summary": STOPPED, "judged": True}, "failed"),
        ({"ended": 10, "summary": STOPPED, "judged": True, "wish": Wish(Mark.CANCELLED, 1.0)}, "cancelled"),
        ({"wish": Wish(Mark.PAUSED, 1.0)}, "paused"),
        ({"wish": Wish(Mark.CANCELLED, 1.0), "summary": DEADLINE}, "cancelled"),
        ({"summary": DEADLINE}, "expired"),
        ({"summary": COST}, "failed"),
        ({}, "failed"),
        ({"total": None, "ended": 0, "sent": 0}, "failed"),
    ],
)
def test_the_state_of_a_run_in_one_word(more: dict[str, Any], word: str) -> None:
    """From whether somebody works in it, what is wished, how far it is, and what its last session left."""
    assert word_of(facts(**more)) == word


def read(directory: RunDirectory, found: Facts, succeeded: int = 3, errored: int = 1) -> Batch:
    counts = {"succeeded": succeeded, "errored": errored, "canceled": 0, "expired": 0}
    return Batch.model_validate(batch(directory, MANIFEST, found, counts), strict=True)


def test_the_object_is_read_by_openai_s_sdk(tmp_path: Path) -> None:
    """Every field that there is has the SDK's name and type."""
    directory = RunDirectory.create(tmp_path / "run", "x")
    directory.results_path.touch()
    found = read(directory, facts(ended=10), succeeded=9)
    assert (found.status, found.id, found.object) == ("completed", MANIFEST["run"], "batch")
    assert found.request_counts is not None
    assert found.request_counts.to_dict() == {"total": 10, "completed": 9, "failed": 1}
    assert found.created_at == 1795482000
    assert found.expires_at == found.created_at + 3600
    assert found.output_file_id == str(directory.results_path)
    assert found.errors is None


def test_a_run_that_stands_still_says_why(tmp_path: Path) -> None:
    """As the batch APIs say it: a list of errors with a code and a message."""
    directory = RunDirectory.create(tmp_path / "run", "x")
    for summary, code in ((COST, "exit_4"), (None, "killed")):
        errors = read(directory, facts(summary=summary)).errors
        assert errors is not None
        assert errors.data is not None
        assert (errors.data[0].code, bool(errors.data[0].message)) == (code, True)


# Marks.


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", "x")


def test_a_mark_is_read_back_and_lifted(run: RunDirectory) -> None:
    """It is a file, so it outlives the one who set it."""
    assert marks.read(run) is None
    marks.put(run, Wish(Mark.PAUSED, 12.5))
    assert marks.read(RunDirectory(run.path)) == Wish(Mark.PAUSED, 12.5)
    marks.lift(run)
    marks.lift(run)
    assert marks.read(run) is None


def test_a_person_who_goes_on_lifts_the_mark_and_a_process_obeys_it(run: RunDirectory) -> None:
    """What was paused while its process was being started does not go on."""
    marks.put(run, Wish(Mark.PAUSED, 1.0))
    with pytest.raises(RunBusy, match="was paused"):
        marks.mind(run.path, lifts=False)
    marks.mind(run.path, lifts=True)
    assert marks.read(run) is None


def test_the_mark_of_a_run_that_still_ends_stays(run: RunDirectory) -> None:
    """Whoever tries to go on too early does not make a pause into a failure."""
    marks.put(run, Wish(Mark.PAUSED, 1.0))
    run.lock()
    marks.mind(run.path, lifts=True)
    assert marks.read(run) is not None
    run.unlock()


@pytest.mark.parametrize("content", [b"{}", b'{"mark": "x", "at": 1}', b'{"mark": "paused", "at": "x"}', b"{"])
def test_a_damaged_mark_is_told(run: RunDirectory, content: bytes) -> None:
    """With the file's name."""
    (run.path / marks.NAME).write_bytes(content)
    with pytest.raises(StorageFailed, match=r"mark\.json"):
        marks.read(run)
