"""Which gateway a run talks to, and with which token: from the environment, `.env`, or one that it starts itself.

Nothing falls back to the local gateway silently: it is used when it is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import stat
import sys
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from dotenv import dotenv_values

from runner.core.errors import GatewayUnavailable, UsageError
from runner.core.limits import Limits
from runner.gateway.client import origin_of
from runner.gateway.secret import Secret

TOKEN = "NEON_AI_GATEWAY_TOKEN"  # noqa: S105 - the name of a variable
BASE_URL = "NEON_AI_GATEWAY_BASE_URL"
PREFIX = "NEON_AI_GATEWAY_"
LOCAL = "local"
"""What a user gives for the local gateway; options may follow: local?latency=0.1."""
LOCAL_TOKEN = "local-gateway-needs-no-secret"  # noqa: S105 - the local gateway takes any
START_SECONDS = 30.0


def take_from(path: Path) -> None:
    """Set this process's NEON_AI_GATEWAY_* variables from a file; raises UsageError as `check_file` does."""
    os.environ.update(check_file(path))


def check_file(path: Path) -> dict[str, str]:
    """The NEON_AI_GATEWAY_* variables that a file sets.

    Raises UsageError if somebody else could have written or read it, for there is a token in it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(f"--env-file {path}: {error.strerror}.") from None
    with os.fdopen(fd, encoding="utf-8") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"--env-file {path} is not a file.")
        if found.st_uid != os.geteuid():
            raise UsageError(f"--env-file {path} belongs to another account; it has to be your own.")
        if stat.S_IMODE(found.st_mode) not in (0o600, 0o400):
            raise UsageError(
                f"--env-file {path} has mode {stat.S_IMODE(found.st_mode):04o}, and holds a token: chmod 600 {path}"
            )
        try:
            values = dotenv_values(stream=file, interpolate=False)
        except UnicodeDecodeError:
            raise UsageError(f"--env-file {path} is not UTF-8 text.") from None
    taken = {name: value for name, value in values.items() if name.startswith(PREFIX) and value}
    if not taken:
        raise UsageError(f"--env-file {path} sets none of {BASE_URL} and {TOKEN}.")
    return taken


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that was chosen: a URL with its token, or the local one with its options."""

    url: str | None
    token: Secret
    options: Mapping[str, str]
    """Of the local gateway."""

    @property
    def local(self) -> bool:
        """Whether the run starts it itself."""
        return self.url is None

    @property
    def choice(self) -> str:
        """What a user would give to choose it again."""
        return self.url if self.url is not None else f"{LOCAL}?{urllib.parse.urlencode(self.options)}"

    def manifest(self) -> dict[str, Any]:
        """What the run's manifest says of it. The token is there only as a hash."""
        if self.local:
            return {"local": True, "options": dict(self.options)}
        return {"local": False, "origin": self.url, "credential": self.token.fingerprint}


def is_local(choice: str | None) -> bool:
    """Whether a choice means the local gateway, with options or without."""
    return choice is not None and choice.partition("?")[0] == LOCAL


def resolve(choice: str | None, environ: Mapping[str, str] = os.environ, *, lasting: bool = False) -> Gateway:
    """The gateway for a new run: `choice` if given, else the environment's; a local one is none that is `lasting`.

    Raises UsageError, saying what to set, if there is none.
    """
    if choice is not None and is_local(choice):
        options = dict(urllib.parse.parse_qsl(choice.partition("?")[2], keep_blank_values=True, strict_parsing=False))
        return Gateway(None, Secret(LOCAL_TOKEN), options)
    values = values_of(environ)
    url = choice or values.get(BASE_URL)
    if not url:
        raise UsageError(
            f"No gateway is named. Set {BASE_URL} (and {TOKEN}), in the environment or in .env, or give --gateway URL"
            + ("." if lasting else "; --gateway local starts one on this machine to try things out.")
        )
    origin = str(origin_of(url))
    token = (values.get(TOKEN) or "").strip()
    if not token:
        raise UsageError(f"No token for {origin}: set {TOKEN} in the environment or in .env.")
    if any(character.isspace() or not character.isprintable() for character in token) or not token.isascii():
        raise UsageError(f"{TOKEN} holds characters that no token has; was it copied whole?")
    return Gateway(origin, Secret(token), {})


def values_of(environ: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """What is set in an environment, over what `.env` sets; raises UsageError where that cannot be read."""
    try:
        return {**dotenv_values(Path(".env")), **environ}
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise UsageError(f".env in this folder {reason}.") from None


def again(choice: str | None, env_file: Path | None = None) -> str:
    """The words, with a blank before, by which a command finds a gateway that was named so; none where it does anyway.

    The local gateway stands in the manifest; another's address is never taken from there. One that is refused is not
    repeated: it may hold a password.
    """
    file = "" if env_file is None else f" --env-file {shlex.quote(str(env_file))}"
    if choice is None or is_local(choice):
        return file
    try:
        origin_of(choice)
        if choice == values_of().get(BASE_URL):
            return file
    except UsageError:
        return file
    return f" --gateway {shlex.quote(choice)}{file}"


def resolve_again(manifest: Mapping[str, Any], choice: str | None) -> Gateway:
    """The gateway to go on with: the same as before, as the environment names it now.

    A token is only ever sent to an address that the user names now, never to one that a file remembers.
    """
    if manifest["local"]:
        if choice is not None and not is_local(choice):
            raise UsageError("The run was begun against the local gateway; begin a new one for another gateway.")
        options = manifest["options"] if choice in (None, LOCAL) else resolve(choice).options
        return Gateway(None, Secret(LOCAL_TOKEN), options)
    begun = f"The run was begun against {manifest['origin']}"
    try:
        gateway = resolve(choice, lasting=True)
    except UsageError as error:
        raise UsageError(f"{begun}. {error}") from None
    if gateway.url != manifest["origin"]:
        raise UsageError(
            f"{begun}, and the gateway is now {gateway.url or 'local'}. Name the first one again, or begin a new run: "
            "--fork takes over what this one has answered."
        )
    return gateway


@contextlib.asynccontextmanager
async def opened(gateway: Gateway, limits: Limits) -> AsyncIterator[tuple[str, Secret]]:
    """The gateway's URL and token, for as long as the context lasts; starts the local one if that is meant."""
    if gateway.url is not None:
        yield gateway.url, gateway.token
        return
    options = [f"--{name}={value}" if value else f"--{name}" for name, value in gateway.options.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # a runner.py or an orjson.py in the folder where the user stands is not ours to start
        "-m",
        "runner",
        "simulate",
        "--port=0",
        f"--limits-json={orjson.dumps(limits.to_table()).decode()}",
        "--until-stdin-closes",
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is for the run, which still needs its gateway
    )
    try:
        yield await _address(process), gateway.token
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    if process.stdout is None or process.stderr is None:
        raise GatewayUnavailable("The local gateway was started without pipes.")
    with contextlib.suppress(TimeoutError):
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        if line.startswith(b"http"):
            return line.decode().strip()
    if process.returncode is None:
        process.kill()
    said = (await process.stderr.read()).decode("utf-8", "replace").strip()
    raise UsageError(f"The local gateway did not start: {said.splitlines()[-1] if said else 'it said nothing'}")
