"""A run's manifest, and the job that it declares: written when the run is founded, completed after the look, reopened.

A run is bound to it: whoever goes on with the run asks what it says, with the limits that it holds.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.core.errors import UsageError
from runner.core.job import Job
from runner.core.limits import from_table
from runner.core.survey import Survey
from runner.core.values import Settings
from runner.gateway.environment import Gateway
from runner.preparing import Prepared, Setup, prepare_with
from runner.reading import mind_the_schema
from runner.storage.rows import Source
from runner.storage.rundir import COPIES, RunDirectory
from runner.storage.specs import load_catalogue

VERSION = 2
FILLS = 2
"""The first version in whose runs options fill in what batch lines leave open."""


def found(prepared: Prepared, directory: RunDirectory, gateway: Gateway) -> Prepared:
    """Write down what a new run is; its input is at another place then if it was a copy of standard input."""
    prepared.take_digest()
    if prepared.setup.spooled:
        prepared = _moved(prepared, directory)
    directory.write_json(directory.manifest_path, _manifest(prepared, directory, gateway))
    return prepared


def read(directory: RunDirectory) -> dict[str, Any]:
    """What a run is. A copy of standard input that it holds is where the run is now, wherever that was begun."""
    said = directory.read_json(directory.manifest_path)
    copy = directory.path / Path(Job.from_json(said["job"]).input).name
    if copy.name in COPIES and copy.is_file():
        said["job"]["input"] = str(copy.absolute())
    return said


def complete(prepared: Prepared, directory: RunDirectory) -> None:
    """Add what the look over the whole input found."""
    manifest = directory.read_json(directory.manifest_path)
    manifest["job"]["bad_rows"] = prepared.job.bad_rows
    manifest["input"] = _input(prepared)
    manifest["models"] = {name: model.id for name, model in prepared.models.items()}
    directory.write_json(directory.manifest_path, manifest)


def reopen(
    directory: RunDirectory,
    manifest: Mapping[str, Any],
    caps: Mapping[str, Any],
    changes: Mapping[str, Any],
    gateway: str | None = None,
    env_file: Path | None = None,
) -> Prepared:
    """A run's job as it was declared; raises InputRejected if the input is not what it was.

    `caps` replaces caps by name, `changes` what else of the job may change; None changes nothing. `gateway` and
    `env_file` are those that are named now.
    """
    job = Job.from_json(manifest["job"])
    given = {name: value for name, value in changes.items() if value is not None}
    job = replace(job, caps=replace(job.caps, **caps), **given)
    setup = Setup(gateway=gateway, env_file=env_file, catalogs=tuple(Path(name) for name in manifest["catalogs"]))
    said = manifest["input"]
    catalogue, limits = load_catalogue(setup.catalogs), from_table(manifest["limits"], "manifest.json")
    known = None if said.get("survey") is None else Survey.from_json(said["survey"])
    prepared = prepare_with(job, setup, catalogue, limits, known=known, fills=fills(manifest))
    prepared.digest = said["digest"]
    if not prepared.fills and _leaves_out(prepared):
        prepared.notices.append("Options are not sent with batch lines: they were not when this run was begun.")
    try:
        mind_the_schema(job)
    except UsageError as error:  # an early run sent it unseen
        prepared.notices.append(f"{error} Answers are taken as they are.")
    prepared.check(directory.path)
    prepared.take_digest()
    if prepared.is_whole:
        complete(prepared, directory)
    return prepared


def fills(manifest: Mapping[str, Any]) -> bool:
    """Whether options fill in what a run's batch lines leave open; in an early run they are asked as they were."""
    return bool(manifest["version"] >= FILLS)


def _leaves_out(prepared: Prepared) -> bool:
    """Whether something is said beside batch lines that is not sent with them."""
    job = prepared.job
    said = job.system is not None or replace(job.settings, max_tokens=None) != Settings()
    return said and job.prompt is None and {"url", "body"} <= prepared.columns.keys()


def version() -> str:
    """The installed version."""
    try:
        return importlib.metadata.version("runner")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


def _moved(prepared: Prepared, directory: RunDirectory) -> Prepared:
    """The same job with its input in the run's directory, where it has its name once the run has a manifest."""
    source = Source(prepared.source.path)
    name = f"input{source.path.suffix}"
    source.move(directory.path / name, directory.take_over(source.path, name))
    job = replace(prepared.job, input=str(source.path.absolute()))
    prepared.maker.job = job
    return replace(prepared, job=job, source=source)


def _manifest(prepared: Prepared, directory: RunDirectory, gateway: Gateway) -> dict[str, Any]:
    return {
        "version": VERSION,
        "run": directory.path.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "runner": version(),
        "python": platform.python_version(),
        "job": prepared.job.to_json(),
        "fingerprint": prepared.job.fingerprint,
        "input": _input(prepared),
        "models": {name: model.id for name, model in prepared.models.items()},
        "limits": prepared.limits.to_table(),
        "catalogs": [str(path.resolve()) for path in prepared.setup.catalogs],
        "gateway": gateway.manifest(),
    }


def _input(prepared: Prepared) -> dict[str, Any]:
    """What the manifest says of the input: rows, tasks and digest once all of it was looked over."""
    survey, source, whole = prepared.survey, prepared.source, prepared.is_whole
    return {
        "path": str(source.path),
        "format": source.format,
        "columns": list(prepared.columns),
        **source.stamp,
        "digest": prepared.digest,
        "rows": survey.selected if whole else None,
        "tasks": survey.total if whole else None,
        "survey": survey.to_json() if whole else None,
        **({"mixed_in_from": prepared.gold[0].index, "mixed_in": len(prepared.gold)} if prepared.gold else {}),
    }
