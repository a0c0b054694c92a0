"""A look at the whole input in a process of its own, on another processor than the run's.

It is asked one question, a line of JSON on its standard input, and answers with one on its standard output. It ends
with whoever asked: its standard input closes then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from runner.core.errors import InputRejected, RunnerError, UsageError
from runner.core.job import Job
from runner.core.limits import from_table
from runner.preparing import Setup, prepare_with
from runner.storage.sources import open_source
from runner.storage.specs import load_catalogue

ERRORS = {error.exit_code: error for error in (UsageError, InputRejected)}
"""What a look may raise."""


async def survey(question: Mapping[str, Any]) -> dict[str, Any]:
    """What the process found: the survey if the question wants a `look`, notices, and the input's digest and stamp.

    Raises what the look raised, and InputRejected if the process ended without a word.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # nothing that lies in the folder where the user stands is imported
            "-m",
            "runner.surveyor",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for the run, which decides what becomes of its look
        )
    except OSError as error:
        raise InputRejected(f"The look over the input could not begin: {error.strerror}.") from None
    try:
        said, complained = await _exchange(process, orjson.dumps(question) + b"\n")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return understood(said, complained, process.returncode or 0)


async def _exchange(process: asyncio.subprocess.Process, question: bytes) -> tuple[bytes, str]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise InputRejected("The look over the input began without pipes.")
    with contextlib.suppress(ConnectionError):  # it ended already: that is said below
        process.stdin.write(question)
        await process.stdin.drain()
    said, complained = await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.wait()
    process.stdin.close()
    return said, complained.decode("utf-8", "replace").strip()


def understood(said: bytes, complained: str, code: int) -> dict[str, Any]:
    """What the process said, or the error that it means."""
    try:
        found: dict[str, Any] = orjson.loads(said)
    except orjson.JSONDecodeError:
        how = f"it was ended by signal {-code}" if code < 0 else f"it ended with {code}"
        last = complained.splitlines()[-1] if complained else how
        raise InputRejected(f"The look over the input broke off: {last}.") from None
    if "error" in found:
        raise ERRORS.get(found["exit_code"], InputRejected)(found["error"])
    return found


# The process.


def main() -> None:
    """Answer the question that stands on standard input; end at once when that closes."""
    question = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    try:
        found = find(question)
    except RunnerError as error:
        found = {"error": str(error), "exit_code": error.exit_code}
    sys.stdout.buffer.write(orjson.dumps(found))


def _end_with_the_run() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


def find(question: Mapping[str, Any]) -> dict[str, Any]:
    """Look at the input, as far as the question asks, and take its digest."""
    job = Job.from_json(question["job"])
    source = open_source(Path(job.input))
    found: dict[str, Any] = {"survey": None, "notices": []}
    if question["look"]:
        setup = Setup(catalogs=tuple(Path(name) for name in question["catalogs"]))
        catalogue, limits = load_catalogue(setup.catalogs), from_table(question["limits"], "limits")
        prepared = prepare_with(job, setup, catalogue, limits, whole=True, fills=question["fills"])
        found = {"survey": prepared.survey.to_json(), "notices": prepared.notices}
    found["digest"] = source.digest()
    if open_source(source.path).stamp != source.stamp:
        raise InputRejected(f"{source.path} was changed while it was looked over.")
    return {**found, "stamp": source.stamp}


if __name__ == "__main__":
    main()
