"""The run directory: whose it is, who works in it, and files that are whole or not there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import RunBusy, StorageFailed, UsageError
from runner.storage.rundir import RunDirectory, replace_file

HOLD = (
    "import sys; from pathlib import Path; from runner.storage.rundir import RunDirectory\n"
    "RunDirectory(Path(sys.argv[1])).lock(); print('held', flush=True); sys.stdin.read()"
)

Hold = Callable[[Path], subprocess.Popen[bytes]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Start another process that holds a run directory."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(path: Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", "r")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Making one.


@pytest.mark.fault("O8")
def test_a_run_is_for_its_owner_alone(tmp_path: Path) -> None:
    """O8: whatever the umask, the folder is 0700 and its files 0600."""
    before = os.umask(0)
    try:
        run = RunDirectory.create(tmp_path / "a" / "run", "r")
        run.lock()
        run.write_json(run.manifest_path, {"a": 1})
        run.unlock()
    finally:
        os.umask(before)
    assert mode(run.path) == 0o700
    assert {path.name: mode(path) for path in run.path.iterdir()} == {"lock": 0o600, "manifest.json": 0o600}


@pytest.mark.fault("O8")
def test_an_empty_folder_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    """O8: a folder that was made beforehand with a loose mode is made the owner's."""
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(0o777)
    assert mode(RunDirectory.create(path, "r").path) == 0o700


def test_an_existing_run_is_refused_and_its_resume_is_named(run: RunDirectory) -> None:
    """A run is never written over."""
    run.write_json(run.manifest_path, {"a": 1})
    before = run.manifest_path.read_bytes()
    with pytest.raises(UsageError, match=f"holds a run already.*runner resume {run.path}"):
        RunDirectory.create(run.path, "r")
    assert run.manifest_path.read_bytes() == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """Nothing is mixed into somebody's files, and the folder's mode stays."""
    (tmp_path / "notes.txt").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match="not empty"):
        RunDirectory.create(tmp_path, "r")
    assert mode(tmp_path) == 0o755


def test_a_folder_of_a_run_that_never_came_to_be_is_taken(tmp_path: Path) -> None:
    """P15: killed between its first and its second file, a run leaves a folder that is nobody's."""
    path = tmp_path / "run"
    path.mkdir()
    for name in ("lock", "log", ".manifest.json.new"):
        (path / name).touch()
    assert RunDirectory.create(path, "r").path == path


@pytest.mark.fault("P13")
def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """Before anything is sent, with the path named."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises((UsageError, StorageFailed), match=f"{path}"):
        RunDirectory.create(path, "r")


@pytest.mark.fault("P17")
def test_runs_without_a_path_get_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also two of one name within a second."""
    monkeypatch.chdir(tmp_path)
    paths = [RunDirectory.create(None, "My job") for _ in range(4)]
    assert len({run.path for run in paths}) == 4
    assert all(run.path.parent == Path("runs") and "-My-job" in run.path.name for run in paths)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/abs", "a\0b", "x" * 300, "", "..", "CON\n"])
@pytest.mark.fault("O1")
def test_no_name_leads_out_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """O1: the name of a job is a name, not a path."""
    monkeypatch.chdir(tmp_path)
    run = RunDirectory.create(None, name)
    assert run.path.resolve().parent == tmp_path / "runs"


def test_opening_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """A wrong path is a usage error."""
    with pytest.raises(UsageError, match="no run in"):
        RunDirectory.open(tmp_path)


# The lock.


@pytest.mark.fault("P14")
def test_a_second_process_is_refused_and_the_first_is_named(run: RunDirectory, hold: Hold) -> None:
    """The message says which process works there, and where."""
    process = hold(run.path)
    with pytest.raises(RunBusy, match=rf"process {process.pid} on .+ since \d{{4}}-"):
        run.lock()
    assert run.is_locked


@pytest.mark.fault("P14")
def test_a_refused_lock_leaves_the_holder_s_name(run: RunDirectory, hold: Hold) -> None:
    """Asking twice gives the same answer."""
    process = hold(run.path)
    for _ in range(2):
        with pytest.raises(RunBusy, match=f"process {process.pid} "):
            run.lock()


@pytest.mark.fault("P15")
def test_a_killed_process_holds_nothing(run: RunDirectory, hold: Hold) -> None:
    """The lock goes with the process, and the file that stays is no lock."""
    process = hold(run.path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not run.is_locked
    run.lock()
    assert (run.path / "lock").read_text().startswith(f"process {os.getpid()} ")
    run.unlock()


def test_an_unlocked_run_can_be_locked_again(run: RunDirectory) -> None:
    """A run can be gone on with in the same process."""
    run.lock()
    assert RunDirectory(run.path).is_locked
    run.unlock()
    assert not run.is_locked
    run.lock()
    run.unlock()


def test_looking_at_a_lock_does_not_make_one(tmp_path: Path) -> None:
    """Status leaves nothing behind."""
    assert not RunDirectory(tmp_path).is_locked
    assert list(tmp_path.iterdir()) == []


def test_a_look_at_a_lock_is_in_nobody_s_way(run: RunDirectory) -> None:
    """Whoever watches a run holds its lock for moments, and yet it can be begun."""
    watched = RunDirectory(run.path)
    stop = threading.Event()
    watcher = threading.Thread(target=lambda: [watched.is_locked for _ in iter(stop.is_set, True)])
    run.lock()
    watcher.start()
    try:
        for _ in range(50):
            run.unlock()
            run.lock()
    finally:
        stop.set()
        watcher.join()
    run.unlock()


@pytest.mark.fault("P13")
def test_a_lock_that_cannot_be_made_is_a_storage_failure(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(StorageFailed, match="cannot be opened"):
        RunDirectory(tmp_path / "gone").lock()


# Files that are replaced.


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """A reader has the old file or the new one, and nothing stays beside it."""
    path = tmp_path / "a.json"
    replace_file(path, b"old")
    with path.open("rb") as before:
        replace_file(path, b"new")
        assert before.read() == b"old"
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.fault("P6")
def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path, disk_full_at: Any) -> None:
    """A file is never half new."""
    path = tmp_path / "a.json"
    replace_file(path, b"old")
    with disk_full_at(1000), pytest.raises(StorageFailed, match=r"a\.json cannot be written"):
        replace_file(path, b"new" * 1000)
    assert path.read_bytes() == b"old"


@pytest.mark.fault("P6")
def test_what_a_killed_process_left_is_in_nobody_s_way(tmp_path: Path) -> None:
    """Half a file from before is written over."""
    (tmp_path / ".a.json.new").write_bytes(b"half of something longer")
    replace_file(tmp_path / "a.json", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.json": b"new"}


def test_json_is_read_back_as_it_was_written(run: RunDirectory) -> None:
    """What a manifest says is what it said."""
    value = {"text": "é\u2028", "none": None, "number": 2**53, "list": [1.5, True], "nested": {"a": {}}}
    run.write_json(run.path / "said.json", value)
    assert run.read_json(run.path / "said.json") == value


@pytest.mark.fault("P20")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", None], ids=["empty", "torn", "list", "bytes", "gone"])
def test_json_that_does_not_read_back_is_a_storage_failure(run: RunDirectory, content: bytes | None) -> None:
    """The file is named."""
    if content is not None:
        run.manifest_path.write_bytes(content)
    with pytest.raises(StorageFailed, match=r"manifest\.json"):
        run.read_json(run.manifest_path)
