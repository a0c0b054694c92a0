"""The token is in no byte that a run writes: real processes, and a search through everything that they leave.

The gateways here are the local one, and one that echoes what it was sent, in errors and in answers, in every form.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODEL = "claude-haiku-4-5"
TOKEN = 'dapiSENTINEL/7f+3c=9"e41\\b8a06d52cfe91'
"""With all the characters that encodings change."""


def needles() -> dict[str, bytes]:
    """Pieces of the token in every form that is searched for: half of it would be too much already."""
    forms = {"plain": TOKEN, "percent": urllib.parse.quote(TOKEN, safe=""), "JSON": json.dumps(TOKEN)[1:-1]}
    forms["escaped"] = "".join(f"\\u{ord(character):04x}" for character in TOKEN)
    forms["percent, all of it"] = "".join(f"%{ord(character):02x}" for character in TOKEN)
    forms["HTML"] = "".join(f"&#{ord(character)};" for character in TOKEN)
    for before in range(3):
        for name in ("standard_b64encode", "urlsafe_b64encode"):
            text = getattr(base64, name)(b"x" * before + TOKEN.encode() + b"xxx").decode()
            forms[f"{name} {before}"] = text[4 : len(TOKEN) * 4 // 3]
    return {name: text[: len(text) // 2 + 4].encode() for name, text in forms.items()}


NEEDLES = needles()


def found(data: bytes) -> list[str]:
    return [name for name, needle in NEEDLES.items() if needle in data]


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of the header": lambda text: base64.b64encode(f"Authorization: Bearer {text}".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"xx{text}".encode()).decode(),
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "percent, all of it": lambda text: "".join(f"%{ord(character):02x}" for character in text),
    "JSON": lambda text: json.dumps(text),
    "HTML": lambda text: "".join(f"&#{ord(character)};" for character in text),
}


@dataclass
class Echo:
    """A gateway that says back what it was sent."""

    url: str
    server: ThreadingHTTPServer
    asked: list[str]
    """The Authorization headers that came."""
    say: Callable[[str, int], tuple[int, bytes]] = lambda _token, _number: (500, b"")
    """What it answers to a token and the number of the request: status and body."""


@pytest.fixture
def echo() -> Iterator[Echo]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            said = self.headers["Authorization"]
            asked.append(said)
            status, body = gateway.say(said.removeprefix("Bearer "), len(asked))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that was killed is none
    gateway = Echo(f"http://127.0.0.1:{server.server_port}", server, asked)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield gateway
    server.shutdown()
    thread.join()
    server.server_close()


class Runs:
    """Starts `runner` with the token in its environment, and searches what it left."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        self.state = state
        (folder / "rows.jsonl").write_text(
            "".join(json.dumps({"prompt": f"Say {n}."}) + "\n" for n in range(len(FORMS)))
        )

    def start(self, *words: str, url: str = "", **env: str) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if name not in ("RUNNER_DEBUG", "NO_COLOR")}
        ours = {"NEON_AI_GATEWAY_TOKEN": TOKEN, "NEON_AI_GATEWAY_BASE_URL": url, "PYTHONPATH": str(ROOT)}
        with (self.folder / "out").open("ab") as out, (self.folder / "err").open("ab") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "runner", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env={**kept, **ours, "RUNNER_STATE_DIR": str(self.state), **env},
            )

    def __call__(self, *words: str, url: str = "", **env: str) -> int:
        return self.start(*words, url=url, **env).wait(60)

    def searched(self) -> list[str]:
        """Where the token was found; every byte under the folder and the state directory is looked at."""
        files = [path for top in (self.folder, self.state) for path in top.rglob("*") if path.is_file()]
        assert any(path.stat().st_size for path in files)
        return [f"{path.relative_to(path.parents[1])}: {form}" for path in files for form in found(path.read_bytes())]

    @property
    def said(self) -> str:
        """All that was printed."""
        return (self.folder / "out").read_text() + (self.folder / "err").read_text()


@pytest.fixture
def runs(tmp_path: Path, state_folder: Path) -> Runs:
    folder = tmp_path / "work"
    folder.mkdir()
    return Runs(folder, state_folder)


def written(number: int) -> Callable[[str], str]:
    """A form for each request."""
    return list(FORMS.values())[number % len(FORMS)]


def error(status: int) -> Callable[[str, int], tuple[int, bytes]]:
    def say(token: str, number: int) -> tuple[int, bytes]:
        text = written(number)(token)
        return status, json.dumps({"error": {"message": f"bad request with {text} in it", "code": text}}).encode()

    return say


def answer(token: str, number: int) -> tuple[int, bytes]:
    text = written(number)(token)
    body = {
        "id": text,
        "model": text,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": f"you sent {text}"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
    }
    return 200, json.dumps(body).encode()


# The search itself.


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_search_finds_what_it_searches_for(form: Callable[[str], str]) -> None:
    """A search that finds nothing anywhere shows nothing."""
    assert found(f"before {form(TOKEN)} behind".encode())


# Runs.


@pytest.mark.fault("O5")
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["plain", "json"])
@pytest.mark.promise("token")
def test_a_run_that_succeeds_writes_the_token_nowhere(runs: Runs, options: list[str]) -> None:
    """Nor does a resume, a status, an export, a plan, the memory or the doctor."""
    local = ["--gateway", "local?no-limits"]
    assert runs("run", "rows.jsonl", "-m", MODEL, "--out", "run", *local, *options, RUNNER_DEBUG="1") == 0
    assert runs("status", "run", *options) == 0
    assert runs("resume", "run", *options, RUNNER_DEBUG="1") == 0
    for form in ("csv", "jsonl", "parquet", "openai-batch"):
        assert runs("results", "run", "--to", form, "--out", f"x.{form}") == 0
    runs("limits", *options, url="http://127.0.0.1:1")
    assert runs.searched() == []


@pytest.mark.fault("O5")
@pytest.mark.fault("O6")
@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.promise("token")
def test_a_token_that_errors_echo_is_written_nowhere(runs: Runs, echo: Echo, status: int) -> None:
    """In every form, in messages and codes, with all that is said and shown."""
    echo.say = error(status)
    words = ["run", "rows.jsonl", "-m", MODEL, "--out", "run", "--attempts", "1", "--json"]
    ends = [] if status in (400, 401) else ["--deadline", "1"]
    assert runs(*words, *ends, url=echo.url, RUNNER_DEBUG="1") in (3, 4, 5)
    runs("results", "run", "--to", "csv")
    assert echo.asked[0] == f"Bearer {TOKEN}"
    assert runs.searched() == []
    assert status != 400 or runs.said.count("bad request with") >= len(FORMS)
    assert status != 400 or "***" in runs.said


@pytest.mark.fault("O6")
@pytest.mark.promise("token")
def test_a_token_that_answers_echo_is_written_nowhere(runs: Runs, echo: Echo) -> None:
    """An answer is data like any other, and is redacted before it is read."""
    echo.say = answer
    assert runs("run", "rows.jsonl", "-m", MODEL, "--out", "run", "--endpoint", "chat", url=echo.url) == 0
    runs("results", "run")
    assert runs.searched() == []
    assert runs.said.count("***") >= len(FORMS)


@pytest.mark.fault("O6")
def test_a_token_that_is_cut_in_two_is_written_nowhere(runs: Runs, echo: Echo) -> None:
    """Messages are cut; half a token in front of the cut is a token, too."""
    places = (170, 180, 190, 480, 490, 1970, 1980, 1990)
    echo.say = lambda token, number: (400, b"x" * places[number % len(places)] + token.encode() + b"y" * 3000)
    runs("run", "rows.jsonl", "-m", MODEL, "--out", "run", "--json", url=echo.url)
    assert len(echo.asked) == len(FORMS) == len(places)
    assert runs.searched() == []


@pytest.mark.fault("O5")
@pytest.mark.promise("token")
def test_a_crash_shows_its_place_without_the_token(runs: Runs, echo: Echo) -> None:
    """An internal error with RUNNER_DEBUG prints a traceback: of places, never of values."""
    echo.say = answer
    (runs.folder / "sitecustomize.py").write_text(
        "import runner.gateway.client as client\n"
        "async def send(self, wire, lane):\n"
        "    headers = dict(self._session.headers)\n"
        "    raise RuntimeError('broken')\n"
        "client.Client.send = send\n"
    )
    path = os.pathsep.join([str(runs.folder), str(ROOT)])
    words = ["run", "rows.jsonl", "-m", MODEL, "--out", "run", "--json"]
    code = runs(*words, url=echo.url, RUNNER_DEBUG="1", PYTHONPATH=path)
    assert code == 70
    assert "RuntimeError" in runs.said
    assert runs.searched() == []


@pytest.mark.fault("O5")
@pytest.mark.promise("token")
def test_a_killed_run_leaves_the_token_nowhere(runs: Runs, echo: Echo) -> None:
    """Not in what it had written, not in a core, and not on the command line of anything that it had started."""
    held = threading.Event()

    def wait(_token: str, _number: int) -> tuple[int, bytes]:
        held.wait(20)
        return 500, b""

    echo.say = wait
    process = runs.start("run", "rows.jsonl", "-m", MODEL, "--out", "run", url=echo.url)
    ends = time.monotonic() + 20
    while len(echo.asked) < 3:
        assert time.monotonic() < ends
        time.sleep(0.02)
    lines = b"".join(command_lines(process.pid))
    process.send_signal(signal.SIGABRT)
    process.wait(20)
    held.set()
    assert sys.platform != "linux" or b"rows.jsonl" in lines
    assert found(lines) == []
    assert runs.searched() == []


def command_lines(pid: int) -> Iterator[bytes]:
    """Those of a process and all its children: everybody on the machine may read them."""
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            if str(pid) in (path.name, parent):
                yield (path / "cmdline").read_bytes()


@pytest.mark.fault("O5")
def test_the_local_gateway_is_started_without_the_token_on_its_command_line(runs: Runs) -> None:
    """Its own word for a token is no secret; the user's is not handed on."""
    local = "local?no-limits&latency=20&time-scale=1"
    process = runs.start("run", "rows.jsonl", "-m", MODEL, "--out", "run", "--gateway", local)
    ends = time.monotonic() + 20
    while len(lines := list(command_lines(process.pid))) < 2 and sys.platform == "linux":
        assert time.monotonic() < ends
        time.sleep(0.02)
    process.terminate()
    process.wait(30)
    assert found(b"".join(lines)) == []
    assert runs.searched() == []
