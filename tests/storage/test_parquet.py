"""Parquet of others is decoded in a process of its own: what becomes of the run when that process is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.core.errors import InputRejected
from runner.storage import parquet
from runner.storage.parquet import DECODER, Decoder, Undecodable
from runner.storage.rows import Record, Row, Source

ROOT = Path(__file__).parents[2]
ABORT = Path(__file__).parent / "damaged" / "abort.parquet"
"""One byte of it was changed: it makes polars 2.1 ask for two exabytes and abort."""


def pid() -> int:
    """The process that decodes; a question starts it."""
    with contextlib.suppress(Undecodable):
        DECODER.schema(Path(os.devnull))
    process = DECODER._process
    assert process is not None
    return process.pid


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    return path


@pytest.mark.fault("I16")
def test_a_file_on_which_the_library_aborts_is_rejected() -> None:
    """One sentence that names the file, says how the decoding ended, and how to mend it."""
    with pytest.raises(InputRejected, match=r"abort\.parquet cannot be read as Parquet: .* \(SIGABRT: .*Write it anew"):
        list(Source(ABORT))


@pytest.mark.fault("I16")
def test_a_sound_file_is_read_after_a_damaged_one(table: Path) -> None:
    """A process that was lost is replaced."""
    with pytest.raises(InputRejected):
        list(Source(ABORT))
    assert len(list(Source(table))) == 1000


@pytest.mark.fault("I16")
def test_a_run_says_one_sentence_about_it(processes: Any, gateways: Any) -> None:
    """Exit code 7, and nothing on standard error beside: no panic of the library, and no request."""
    gateway = gateways()
    done = processes("run", ABORT, "-p", "{{ text }}", "-m", "gpt-5-4", env=gateway.env).done(60)
    assert done.code == 7, done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert str(ABORT) in done.err
    assert not gateway.meter()["statuses"]


@pytest.mark.fault("I16")
@pytest.mark.parametrize("words", ["plan", "check"])
def test_commands_that_send_nothing_say_the_same(words: str, command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the input reads it so."""
    done = command(words, ABORT, "-p", "{{ text }}", "-m", "gpt-5-4")
    assert done.code == 7
    assert str(ABORT) in done.err
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.fault("I16")
def test_large_rows_behind_small_ones_are_read_fewer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of them as there were small ones are too much for one answer; that is no damage."""
    path = tmp_path / "rows.parquet"
    lengths = [1] * 300 + [100_000] * 50
    pl.DataFrame({"a": [chr(97 + n % 26) * length for n, length in enumerate(lengths)]}).write_parquet(path)
    monkeypatch.setattr(parquet, "LONGEST_ANSWER", 2_000_000)
    assert [len(record.columns["a"]) for record in Source(path) if isinstance(record, Row)] == lengths


@pytest.mark.fault("I16")
def test_rows_before_the_damage_are_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before the process broke down stands, and one sentence follows."""
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    monkeypatch.setattr("runner.storage.rows.FIRST_CHUNK", 10)
    monkeypatch.setattr("runner.storage.rows.CHUNK", 10)
    rows = Decoder.rows

    def until_30(self: Decoder, path: Path, start: int, count: int) -> pl.DataFrame:
        if start + count > 30:
            os.kill(pid(), signal.SIGSEGV)
        return rows(self, path, start, count)

    monkeypatch.setattr(Decoder, "rows", until_30)
    read: list[Record] = []
    with pytest.raises(InputRejected, match=r"rows\.parquet .* \(SIGSEGV\)"):
        read.extend(Source(path))
    assert [record.columns["a"] for record in read if isinstance(record, Row)] == list(range(30))


@pytest.mark.fault("I16")
def test_memory_without_end_ends_the_decoding(tmp_path: Path) -> None:
    """A text of 150 MB in a file of some kilobytes, where the machine lets a process have 250."""
    path = tmp_path / "bomb.parquet"
    make = "import sys, polars as pl; pl.DataFrame({'a': ['x' * 150_000_000]}).write_parquet(sys.argv[1])"
    subprocess.run([sys.executable, "-c", make, str(path)], check=True)
    assert path.stat().st_size < 1_000_000
    read = (
        "import sys; from pathlib import Path; from runner.storage.rows import Source;list(Source(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        ["sh", "-c", 'ulimit -d 250000 && exec "$@"', "sh", sys.executable, "-c", read, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert "bomb.parquet cannot be read as Parquet" in done.stderr.splitlines()[-1], done.stderr


def test_it_ends_with_whoever_asks(table: Path, wait_for: Any) -> None:
    """A run that is killed leaves no process behind."""
    script = (
        "import sys, time; from pathlib import Path; from runner.storage.parquet import DECODER;"
        "DECODER.count(Path(sys.argv[1])); print(DECODER._process.pid, flush=True); time.sleep(600)"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", script, str(table)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert asking.stdout is not None
    with asking.stdout:
        decoding = int(asking.stdout.readline())
        assert is_alive(decoding)
        asking.kill()
        asking.wait()
    wait_for(lambda: not is_alive(decoding))


@pytest.mark.fault("O5")
def test_it_does_not_have_the_token(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a file makes it do, there is no token in its environment or on its command line."""
    monkeypatch.setenv("NEON_AI_GATEWAY_TOKEN", "a-sentinel")
    DECODER.stop()
    DECODER.count(table)
    for name in ("environ", "cmdline"):
        assert b"a-sentinel" not in Path(f"/proc/{pid()}/{name}").read_bytes()


def test_it_is_bounded(table: Path) -> None:
    """Memory, processor time and cores have bounds, and where memory runs out the kernel takes this process first."""
    DECODER.count(table)
    limits = Path(f"/proc/{pid()}/limits").read_text()
    bounds = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}
    assert int(bounds["Max data size"]) == parquet.memory()
    assert int(bounds["Max cpu time"]) < 1000
    assert bounds["Max core file size"] == "0"
    assert Path(f"/proc/{pid()}/oom_score_adj").read_text().strip() == "1000"


@pytest.mark.parametrize("said", [b"", b"F", b"X" + bytes(8), b"F" + b"\xff" * 8, b"F\x09" + bytes(7) + b"too few"])
def test_an_answer_that_is_none_ends_the_process(
    said: bytes, table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing, half of one, another kind, a length beyond all bounds: no frame is made of it, and no memory taken."""
    script = tmp_path / "liar.py"
    script.write_text(f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({said!r})")
    popen = subprocess.Popen
    monkeypatch.setattr(parquet.subprocess, "Popen", lambda words, **options: popen([words[0], str(script)], **options))
    decoder = Decoder()
    with pytest.raises(Undecodable, match="broke down"):
        decoder.count(table)
    assert decoder._process is None
