"""What was learned of a gateway, in real files: kept, shared between runs, and never in the way of one."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import StorageFailed
from runner.core.knowledge import Knowledge, Ratio
from runner.gateway.secret import Secret
from runner.storage import knowledge as storage
from runner.storage.knowledge import LASTS, Memory, all_memories, state_folder

ORIGIN = "https://gateway.example"
TOKEN = Secret("dapi-0123456789abcdef")
KNOWN = Knowledge(ratios={"a": Ratio(100.0, 120.0, 9)}, output_caps={"a": 8192}, lengths={"label": {"a": (1, 2)}})


class Clock:
    """The wall clock, set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(tmp_path: Path, clock: Clock) -> Callable[..., Memory]:
    """Makes what a run holds of a gateway's memory; all of one test share one folder."""

    def make(origin: str = ORIGIN, token: Secret = TOKEN) -> Memory:
        return Memory(origin, token.fingerprint, folder=tmp_path / "gateways", wall=clock)

    return make


def saved(memory: Memory, known: Knowledge = KNOWN) -> Memory:
    memory.load()
    memory.save(known)
    assert memory.notices == []
    return memory


def test_what_one_run_learned_the_next_one_knows(memory: Callable[..., Memory]) -> None:
    """Nothing is known before."""
    assert memory().load() == Knowledge()
    saved(memory())
    assert memory().load() == KNOWN


def test_another_gateway_or_another_token_is_another_memory(memory: Callable[..., Memory]) -> None:
    """Limits belong to an account at a gateway."""
    saved(memory())
    assert memory(origin="https://other.example").load() == Knowledge()
    assert memory(token=Secret("another token")).load() == Knowledge()


def test_the_token_is_nowhere_in_it_and_nobody_else_can_read_it(memory: Callable[..., Memory]) -> None:
    """Neither in a name nor in a file; the folder is the user's alone."""
    path = saved(memory()).path
    for file in path.parent.iterdir():
        assert TOKEN.reveal() not in file.name
        assert TOKEN.reveal().encode() not in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_runs_that_end_together_do_not_undo_each_other(memory: Callable[..., Memory]) -> None:
    """Each writes what it learned itself; where both learned the same thing, the later one has the last word."""
    first, second = memory(), memory()
    first.load()
    second.load()
    first.save(Knowledge(output_caps={"a": 1, "b": 2}, ratios={"a": Ratio(1.0, 2.0, 3)}))
    second.save(Knowledge(output_caps={"a": 7, "c": 3}))
    assert memory().load() == Knowledge(output_caps={"a": 7, "b": 2, "c": 3}, ratios={"a": Ratio(1.0, 2.0, 3)})


def test_what_a_run_only_recalled_it_does_not_write_again(memory: Callable[..., Memory]) -> None:
    """So that what is forgotten while it goes stays forgotten, and what is old grows old."""
    saved(memory())
    run = memory()
    known = run.load()
    memory().forget()
    run.save(known)
    assert memory().load() == Knowledge()


def test_what_is_too_old_is_not_believed(memory: Callable[..., Memory], clock: Clock) -> None:
    """A month later the account may be another; what was learned since counts."""
    saved(memory())
    clock.now += LASTS - 60
    saved(memory(), Knowledge(output_caps={"b": 2}))
    clock.now += 120
    assert memory().load() == Knowledge(output_caps={"b": 2})


def test_a_clock_that_was_ahead_is_set_right(memory: Callable[..., Memory], clock: Clock) -> None:
    """What was learned in the future was learned now."""
    saved(memory())
    clock.now -= 400 * 86_400.0
    again = memory()
    assert again.load() == KNOWN
    assert set(again.learned.values()) == {clock.now}


def test_of_many_jobs_the_latest_are_kept(
    memory: Callable[..., Memory], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cron job that is changed every day does not fill the disk."""
    monkeypatch.setattr(storage, "MOST_JOBS", 5)
    for number in range(8):
        clock.now += 1
        saved(memory(), Knowledge(lengths={f"job {number}": {"a": (number,)}}))
    jobs = memory().load().lengths
    assert sorted(jobs) == [f"job {number}" for number in range(3, 8)]


def test_a_file_that_would_be_too_large_loses_its_oldest(
    memory: Callable[..., Memory], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than being refused by the next run."""
    monkeypatch.setattr(storage, "MOST_BYTES", 1000)
    for number in range(10):
        clock.now += 1
        saved(memory(), Knowledge(lengths={f"job {number}": {"a": (number,)}}))
    again = memory()
    assert "job 9" in again.load().lengths
    assert (again.notices, again.path.stat().st_size <= 1000) == ([], True)


def _damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _large(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(storage.MOST_BYTES + 1)


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _another(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "gateway": "https://other.example"}))


@pytest.mark.parametrize(
    "harm", [_damaged, _large, _link, _pipe, _another, lambda path: path.write_text("[]")], ids=lambda harm: ""
)
def test_a_file_that_cannot_be_used_is_put_aside_and_told(
    memory: Callable[..., Memory], harm: Callable[[Path], Any]
) -> None:
    """The run begins without it, and what it learns is kept again."""
    path = saved(memory()).path
    harm(path)
    again = memory()
    assert again.load() == Knowledge()
    assert len(again.notices) == 1
    assert "cannot be used" in again.notices[0]
    again.save(KNOWN)
    assert memory().load() == KNOWN


def test_the_file_of_a_newer_runner_is_left_alone(memory: Callable[..., Memory]) -> None:
    """Two versions on one machine do not take turns in throwing away what the other learned."""
    path = saved(memory()).path
    path.write_text(json.dumps({"version": 99, "gateway": ORIGIN}))
    again = memory()
    assert again.load() == Knowledge()
    again.save(KNOWN)
    assert json.loads(path.read_text())["version"] == 99
    assert [notice for notice in again.notices if "newer runner" in notice] == again.notices != []
    with pytest.raises(StorageFailed, match="newer runner"):
        again.forget("a")


def test_a_place_that_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """A run needs no memory."""
    (tmp_path / "file").write_text("")
    memory = Memory(ORIGIN, "0123", folder=tmp_path / "file" / "gateways")
    assert memory.load() == Knowledge()
    memory.save(KNOWN)
    assert any("is not kept" in notice for notice in memory.notices)


def test_a_place_that_cannot_be_written_can_be_told_beforehand(tmp_path: Path) -> None:
    """Once: whoever was told so at the start need not be told at the end."""
    (tmp_path / "file").write_text("")
    memory = Memory(ORIGIN, "0123", folder=tmp_path / "file" / "gateways")
    memory.check()
    memory.save(KNOWN)
    assert len(memory.notices) == 1
    assert "will not be kept" in memory.notices[0]


def test_a_full_disk_leaves_what_was_there(memory: Callable[..., Memory], disk_full_at: Callable[[int], Any]) -> None:
    """A file is replaced whole or not at all."""
    saved(memory())
    run = memory()
    run.load()
    with disk_full_at(100):
        run.save(Knowledge(output_caps={"z": 5}))
    assert any("is not kept" in notice for notice in run.notices)
    assert memory().load() == KNOWN


def test_what_cannot_be_written_as_json_is_told(memory: Callable[..., Memory]) -> None:
    """Half a character in a job's name is no reason to lose the run's summary."""
    run = memory()
    run.load()
    run.save(Knowledge(lengths={"\ud800": {"a": (1,)}}))
    assert any("is not kept" in notice for notice in run.notices)


def test_a_file_that_another_run_holds_is_not_waited_for_long(
    memory: Callable[..., Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has become of that run, this one comes to its end."""
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.0)
    run = saved(memory())
    with run.path.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run.save(Knowledge(output_caps={"z": 5}))
    assert any("another run holds" in notice for notice in run.notices)


def test_one_model_or_all_can_be_forgotten(memory: Callable[..., Memory]) -> None:
    """The others stay as they are, with the time at which they were learned."""
    saved(memory(), Knowledge(output_caps={"a": 1, "b": 2}, lengths={"label": {"a": (1,), "b": (2,)}}))
    memory().forget("a")
    left = memory()
    assert left.load() == Knowledge(output_caps={"b": 2}, lengths={"label": {"b": (2,)}})
    assert set(left.learned) == {("output_caps", "b"), ("lengths", "label")}
    left.forget()
    assert memory().load() == Knowledge()


def test_all_that_is_remembered_can_be_found(memory: Callable[..., Memory], tmp_path: Path) -> None:
    """With a word on what cannot be read."""
    saved(memory())
    saved(memory(origin="https://other.example"))
    folder = tmp_path / "gateways"
    (folder / "odd.json").write_text("nonsense")
    found, notices = all_memories(folder)
    assert {each.gateway for each in found} == {ORIGIN, "https://other.example"}
    assert [each.load() for each in found] == [KNOWN, KNOWN]
    assert len(notices) == 1
    assert all_memories(tmp_path / "nowhere") == ([], [])


def test_another_place_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a variable, as cron jobs and tests do."""
    monkeypatch.setenv("RUNNER_STATE_DIR", str(tmp_path))
    assert state_folder() == tmp_path / "gateways"
    monkeypatch.delenv("RUNNER_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert tmp_path in state_folder().parents
