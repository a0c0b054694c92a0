"""The look in a process of its own: what it says, and when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner import surveyor
from runner.core.errors import InputRejected, UsageError
from runner.core.job import Job

ROOT = Path(__file__).parent.parent


def question(source: Path, look: bool = True) -> dict[str, object]:
    job = Job(input=str(source), models=("gpt-5-4",))
    return {"job": job.to_json(), "limits": {}, "catalogs": [], "fills": True, "look": look}


async def test_what_the_look_refuses_is_raised_here(tmp_path: Path) -> None:
    """An input that cannot be read says the same sentence from afar."""
    source = tmp_path / "rows.jsonl.gz"
    source.write_bytes(b"\x1f\x8b\x08\x00cut")
    with pytest.raises(InputRejected, match="cannot be read to its end"):
        await surveyor.survey(question(source))


async def test_a_process_that_does_not_understand_is_a_look_that_broke_off(tmp_path: Path) -> None:
    """Its last words are passed on."""
    with pytest.raises(InputRejected, match="broke off: KeyError"):
        await surveyor.survey({"nothing": 0})


@pytest.mark.parametrize(
    ("complained", "code", "said"),
    [("", -9, "ended by signal 9"), ("", 1, "ended with 1"), ("Traceback\nMemoryError", 1, "MemoryError")],
)
def test_a_process_that_ended_without_a_word_is_reported(complained: str, code: int, said: str) -> None:
    """Killed for its memory, for one: the run must not wait for ever."""
    with pytest.raises(InputRejected, match=f"broke off: .*{said}"):
        surveyor.understood(b"", complained, code)


def test_errors_keep_their_kind() -> None:
    """A wrong word is a wrong word, whoever noticed."""
    with pytest.raises(UsageError, match="no such thing"):
        surveyor.understood(b'{"error": "no such thing", "exit_code": 2}', "", 0)


def test_it_ends_when_whoever_asked_is_gone(tmp_path: Path) -> None:
    """A run that was killed leaves no process behind that reads ten gigabytes for nobody."""
    source = tmp_path / "rows.jsonl"
    source.touch()
    os.truncate(source, 2**36)  # so large a hole takes minutes to read
    process = subprocess.Popen(
        [sys.executable, "-m", "runner.surveyor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    said, _ = process.communicate(json.dumps(question(source, look=False)).encode() + b"\n", timeout=30)
    assert (process.returncode, said) == (1, b"")


async def test_batch_lines_of_an_early_run_are_looked_over_as_it_asks_them(tmp_path: Path) -> None:
    """What is refused of new lines stops no run that has asked such lines."""
    source = tmp_path / "lines.jsonl"
    body = {"messages": [{"role": "user", "content": "hi"}], "n": 2}
    source.write_text(json.dumps({"custom_id": "a", "url": "/v1/chat/completions", "body": body}) + "\n")
    assert surveyor.find(question(source))["survey"]["bad"] == 1
    assert surveyor.find(question(source) | {"fills": False})["survey"]["bad"] == 0
