"""What `runner doctor` looks at: whether a run would work, found out by doing a little of everything a run does."""

from __future__ import annotations

import asyncio
import email.utils
import os
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import platformdirs

from runner.core.catalog import Model
from runner.core.errors import RunnerError
from runner.core.retry import is_astray
from runner.core.values import Failure, Kind, Message, Reply, Request, Response, Settings
from runner.gateway import environment
from runner.gateway.client import Client
from runner.gateway.dialects import DIALECTS, choose
from runner.gateway.secret import Secret
from runner.gateway.tokens import counter
from runner.storage.knowledge import state_folder
from runner.storage.rundir import replace_file
from runner.storage.specs import load_catalogue, load_limits

CLOCK_TOLERANCE = 5.0
"""Seconds that our clock may differ from the gateway's."""
KEPT_HEADERS = (
    "retry-after",
    "ratelimit",
    "x-ratelimit",
    "anthropic-ratelimit",
    "date",
    "server",
    "content-type",
    "x-request-id",
)
"""Headers that say something of limits and clocks; no other is recorded."""
EXIT_CODES = {Kind.UNAUTHORIZED: 5, Kind.FORBIDDEN: 5, Kind.CERTIFICATE: 5, Kind.REDIRECTED: 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool | None
    """None: neither good nor bad, but worth knowing."""
    said: str
    mend: str = ""
    exit_code: int = 2

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return asdict(self)


def examine(
    models: tuple[str, ...] = (),
    gateway: str | None = None,
    limits: Path | None = None,
    catalogs: tuple[Path, ...] = (),
) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Look at everything; the findings, and what the gateway answered."""
    return asyncio.run(_examine(models, gateway, limits, catalogs))


async def _examine(
    models: tuple[str, ...], gateway: str | None, limits_file: Path | None, catalogs: tuple[Path, ...]
) -> tuple[list[Finding], list[dict[str, Any]]]:
    answers: list[dict[str, Any]] = []
    findings = [
        _directory("run directory", Path.cwd()),
        _directory("cache", Path(platformdirs.user_cache_path("runner"))),
        _directory("state", state_folder()),
        _tokens(),
    ]
    try:
        catalogue = load_catalogue(catalogs)
        names = [name for given in models for name in given.split(",") if name] or list(catalogue.picks["cheap"])
        chosen = [catalogue.find(name) for name in names]
        limits = load_limits(catalogue, limits_file)
        where = environment.resolve(gateway)
    except RunnerError as error:
        findings.append(Finding(what="configuration", good=False, said=str(error), exit_code=error.exit_code))
        return findings, answers
    kind = (
        "the local gateway, which is no model" if where.local else f"{where.url} (credential {where.token.fingerprint})"
    )
    findings.append(Finding(what="gateway", good=None, said=kind))
    try:
        async with environment.opened(where, limits) as (url, token), Client(url, token, timeout=60.0) as client:
            findings += [finding async for finding in _ask_all(client, token, chosen, answers)]
    except RunnerError as error:
        findings.append(Finding(what="gateway", good=False, said=str(error), exit_code=error.exit_code))
    return findings, answers


def _directory(what: str, path: Path) -> Finding:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path) as file:
            file.write(b"runner")
            file.flush()
            os.fsync(file.fileno())
        free = os.statvfs(path)
    except OSError as error:
        return Finding(what=what, good=False, said=f"{path} cannot be written: {error.strerror}", exit_code=8)
    room = free.f_bavail * free.f_frsize / 2**30
    return Finding(what=what, good=True, said=f"{path} can be written, {room:.0f} GiB are free")


def _tokens() -> Finding:
    exact = counter("o200k_base")("hello world") == 2
    return Finding(
        what="token counter",
        good=True if exact else None,
        said="tiktoken, offline" if exact else "bytes / 4: the ranks could not be loaded",
    )


async def _ask_all(
    client: Client, token: Secret, models: list[Model], answers: list[dict[str, Any]]
) -> AsyncIterator[Finding]:
    for model in models:
        before = time.time()
        dialect = DIALECTS[choose(Request(), model)]
        request = Request(messages=(Message(role="user", content="Say yes."),), settings=Settings(max_tokens=64))
        response = await client.send(dialect.encode(request, model), model.short)
        took = time.time() - before
        if isinstance(response, Failure):
            yield _unreached(model, response)
            if response.scope == "all":
                return
            continue
        answers.append(_redacted(model, response, token))
        if len(answers) == 1:
            yield _clock(response, before, took)
        result = dialect.decode(response)
        yield _asked(model, result, took)
        if isinstance(result, Failure) and result.kind in EXIT_CODES:
            return


def _unreached(model: Model, failure: Failure) -> Finding:
    code = EXIT_CODES.get(failure.kind, 9)
    return Finding(
        what=model.short, good=False, said=failure.message, mend="Check the address and the network.", exit_code=code
    )


def _asked(model: Model, result: Reply | Failure, took: float) -> Finding:
    if isinstance(result, Reply):
        return Finding(
            what=model.short,
            good=True,
            said=f"{result.outcome} in {took:.2f} s, {result.usage.input} tokens in, {result.usage.output} out",
        )
    mend = {
        Kind.UNAUTHORIZED: f"Set {environment.TOKEN} to a valid token.",
        Kind.FORBIDDEN: "The token lacks the scope ai_gateway:invoke, or belongs to another branch.",
        Kind.MODEL_UNAVAILABLE: "Choose another model, or ask for access to this one.",
    }.get(result.kind, "Check the address." if is_astray(result) else "")
    return Finding(
        what=model.short,
        good=False,
        said=f"{result.kind}: {result.message}",
        mend=mend,
        exit_code=EXIT_CODES.get(result.kind, 9),
    )


def _clock(response: Response, before: float, took: float) -> Finding:
    try:
        theirs = email.utils.parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        return Finding(what="clock", good=None, said="the gateway tells no time to compare with")
    off = before + took / 2 - theirs
    good = abs(off) <= CLOCK_TOLERANCE + took
    said = "agrees with the gateway's" if good else f"differs from the gateway's by {off:+.0f} s"
    return Finding(
        what="clock",
        good=good,
        said=said,
        mend="" if good else "Set the clock: dated Retry-After headers depend on it.",
    )


def _redacted(model: Model, response: Response, token: Secret) -> dict[str, Any]:
    headers = {name: token.redact(value) for name, value in response.headers.items() if name.startswith(KEPT_HEADERS)}
    body = token.redact(response.body[:4000].decode("utf-8", "replace"))
    return {"model": model.short, "status": response.status, "headers": headers, "body": body}


def record(answers: list[dict[str, Any]], path: Path) -> None:
    """Write what the gateway answered, for a bug report or a fixture."""
    replace_file(path, orjson.dumps(answers, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
