"""The folder that runs stand in: finding them, a line for each, and removing old ones.

A run stands right under it, or under a folder of its job, by its slot.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.core.errors import RunBusy, RunnerError, StorageFailed, UsageError
from runner.core.values import Status
from runner.storage import batches
from runner.storage.rundir import RUNS, RunDirectory
from runner.storage.states import status_of

DOOMED = ".pruned-"
"""How the name of a run begins while it is being removed."""


def find(name: Path) -> Path:
    """The run that a person names, by its directory or by its id under runs/; a name of none is left as it is."""
    if (name / "manifest.json").is_file() or name.is_absolute():
        return name
    found = [path for path in every(RUNS) if path in (RUNS / name, path.parent / name)]
    return found[0] if len(found) == 1 else name


def id_of(path: Path) -> str:
    """What a person says for a run: its path under runs/, or else all of it."""
    try:
        return str(path.absolute().relative_to(RUNS.absolute()))
    except ValueError:
        return str(path)


def every(base: Path) -> Iterator[Path]:
    """The runs under a folder, by name. Links are not followed: what they lead to is somebody else's."""
    for path in _folders(base):
        if _is_run(path):
            yield path
        elif not path.name.startswith(DOOMED):
            yield from (inner for inner in _folders(path) if _is_run(inner))


def _is_run(path: Path) -> bool:
    return (path / "manifest.json").is_file() and not path.name.startswith(DOOMED)


def _folders(base: Path) -> list[Path]:
    try:
        with os.scandir(base) as entries:
            return sorted(Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def brief(path: Path) -> dict[str, Any]:
    """A line about a run: its state, counts and beginning. Its journal is read only where no summary says the same."""
    directory = RunDirectory(path)
    names = {"id": id_of(path), "path": str(path)}
    summary = None if directory.is_locked else batches.last_summary(directory)
    manifest = directory.read_json(directory.manifest_path)
    if summary is None or manifest["input"]["tasks"] is None:  # its input has not been looked over to the end
        said = status_of(path)
        return {name: said[name] for name in ("status", "created_at", "tasks")} | names
    tasks = summary["tasks"]
    ended = tasks["total"] - tasks["open"]
    facts = batches.facts_of(directory, manifest, summary["requests"]["sent"], ended, tasks["total"])
    shown = batches.batch(directory, manifest, facts, {str(status): tasks[status] for status in Status})
    return {"status": shown["status"], "created_at": shown["created_at"], "tasks": tasks} | names


def briefs(base: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """A line about each run under a folder, oldest first; and a sentence for each that cannot be read."""
    found, unreadable = [], []
    for path in every(base):
        try:
            found.append(brief(path))
        except (RunnerError, KeyError, TypeError, ValueError) as error:
            unreadable.append(
                str(error) if isinstance(error, RunnerError) else f"{path} holds no run that can be read."
            )
    return sorted(found, key=lambda run: (run["created_at"], run["id"])), unreadable


def is_finished(directory: RunDirectory) -> bool:
    """Whether a run has come to its end, and nobody works in it. Its journal is not read."""
    try:
        return not directory.is_locked and batches.has_ended(directory)
    except StorageFailed:
        return False


def prunable(base: Path, keep: int, job: str | None) -> list[Path]:
    """Finished runs of a job, or of each, but for the newest `keep`, oldest first; UsageError if the job has none."""
    by_job: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in every(base):
        directory = RunDirectory(path)
        try:
            manifest = directory.read_json(directory.manifest_path)
            name, created = str(manifest["job"]["name"]), batches.created_at(manifest)
        except (StorageFailed, KeyError, TypeError, ValueError):
            continue
        if is_finished(directory):
            by_job[name].append((created, path))
    if job is not None and job not in by_job:
        there_are = f"; there are finished runs of {', '.join(sorted(by_job))}" if by_job else ""
        raise UsageError(f"There is no finished run of {job} in {base}{there_are}.")
    names = by_job if job is None else [job]
    return [path for name in names for _, path in sorted(by_job[name])[: max(0, len(by_job[name]) - keep)]]


def remove(path: Path) -> bool:
    """Remove a finished run, and say whether it was: not if a process works in it by now. Links are not followed."""
    directory = RunDirectory(path)
    if path.is_symlink() or path.parent.is_symlink():
        return False
    try:
        directory.lock()
    except RunBusy:
        return False
    try:
        # Under another name first: what is interrupted then is no run any more, and the next time goes on with it.
        doomed = path.rename(path.with_name(DOOMED + path.name))
        shutil.rmtree(doomed)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be removed: {error.strerror}.") from None
    finally:
        directory.unlock()
    return True


def sweep(base: Path) -> None:
    """Remove what an interrupted removal has left."""
    for folder in (base, *_folders(base)):
        for path in _folders(folder):
            if path.name.startswith(DOOMED):
                shutil.rmtree(path, ignore_errors=True)
