"""Telling somebody that a run has ended: a command or an address gets counts, and never data, and no say in the run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from yarl import URL

from runner.core.errors import UsageError

SECONDS = 20.0
"""For a command or an exchange, in all."""
SECRETS = "NEON_AI_GATEWAY_"
"""Variables that a command does not get begin with it."""


def report(job: str, run: str, slot: str | None, exit_code: int, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is told: names, counts and sums. A reason may quote rows or answers, so none is in it."""
    told: dict[str, Any] = {"job": job, "run": run, "slot": slot, "exit_code": exit_code}
    if summary is not None:
        told |= {name: summary[name] for name in ("tasks", "requests", "tokens", "cost_usd", "elapsed_s", "sessions")}
        if gates := summary.get("gates"):
            holds = [check["holds"] for check in gates["checks"]]
            told["gates"] = {"passed": gates["passed"], "checks": len(holds), "failed": holds.count(False)}
    return told


def tell(told: Mapping[str, Any], command: str | None, url: str | None) -> list[str]:
    """Hand over a report; what went wrong with it, a sentence each."""
    body = orjson.dumps(told)
    failed = []
    if command is not None and (why := _run(shlex.split(command), body)):
        failed.append(f"--notify-command {shlex.split(command)[0]}: {why}.")
    if url is not None and (why := asyncio.run(_post(url, body))):
        failed.append(f"--notify-url {URL(url).host}: {why}.")
    return failed


def check(command: str | None, url: str | None) -> None:
    """Raise UsageError for a command or an address that can never be told anything."""
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--notify-command: {error}.") from None
        if not words:
            raise UsageError("--notify-command is empty.")
    if url is not None:
        try:
            parsed = URL(url)
        except ValueError:
            raise UsageError("--notify-url is not a URL.") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UsageError("--notify-url is an address that begins with https:// or http://.")


def _run(words: list[str], body: bytes) -> str | None:
    """Run a command with the report on its standard input, without a shell; why that failed, if it did."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}
    null = subprocess.DEVNULL
    try:
        process = subprocess.Popen(  # noqa: S603 - the command is what the user wrote
            words, stdin=subprocess.PIPE, stdout=null, stderr=null, env=env, start_new_session=True
        )
    except OSError as error:
        return str(error.strerror)
    try:
        process.communicate(body, SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"took longer than {SECONDS:g} seconds"
    return f"ended with {process.returncode}" if process.returncode else None


async def _post(url: str, body: bytes) -> str | None:
    """POST the report as JSON; why that failed, if it did. Redirects are not followed."""
    bound = aiohttp.ClientTimeout(total=SECONDS)
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=bound) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return None if answer.status < 300 else f"answered {answer.status}"
    except TimeoutError:
        return f"took longer than {SECONDS:g} seconds"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"no connection ({type(error).__name__})"
