"""Counting tokens: the same numbers as tiktoken, without a network, and in nobody else's cache."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.gateway import tokens
from runner.gateway.tokens import RANKS, RanksMissing, counter, unpack

OFFLINE = """
import socket, sys, warnings
def refuse(*_a, **_k):
    raise AssertionError("the network was used")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
warnings.simplefilter("always")
from runner.gateway.tokens import counter
print(counter("o200k_base")("hello world"))
"""


def offline(script: str = OFFLINE, **environment: str) -> subprocess.CompletedProcess[str]:
    """Count `hello world` in a process of its own that has no network."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR")
    }
    return subprocess.run(
        [sys.executable, "-c", script], env=kept | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ranks of o200k_base, unpacked where this module's tests can copy them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return unpack("o200k_base")


@pytest.fixture(autouse=True, scope="module")
def own_cache(ranks: Path) -> object:
    """Counters of this module are loaded from a cache of its own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(ranks.parents[2]))
    yield
    patch.undo()


# Numbers.


@pytest.mark.parametrize(
    ("encoding", "text", "ids"),
    [
        ("o200k_base", "hello world", [24912, 2375]),
        ("cl100k_base", "hello world", [15339, 1917]),
        ("o200k_base", "", []),
    ],
)
def test_counts_are_those_of_known_tokens(encoding: str, text: str, ids: list[int]) -> None:
    """The encoding is the published one, token for token."""
    assert counter(encoding)(text) == len(ids)
    assert tiktoken.get_encoding(encoding).encode_ordinary(text) == ids


@pytest.mark.parametrize("text", ["<|endoftext|>", "<|im_start|>user", "a\ud800b", "\0", "\u2028", "🧪" * 100])
def test_any_text_is_counted(text: str) -> None:
    """Special tokens are text like any other, and lone surrogates are no crash."""
    assert counter("o200k_base")(text) > 0


@settings(deadline=None)
@given(text=st.text(), size=st.integers(1, 20))
def test_a_long_text_is_counted_in_pieces(text: str, size: int) -> None:
    """Every character is in one piece. A cut may cost a token or save one: it moves where the encoding splits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "LONGEST_PIECE", size)
        pieces = counter("o200k_base")(text)
    assert pieces == sum(counter("o200k_base")(text[start : start + size]) for start in range(0, len(text), size))


def test_the_pieces_of_a_real_text_have_the_tokens_of_the_whole() -> None:
    """To within a few for each cut: hundred thousandths of what there is."""
    text = (Path(__file__).parents[2] / "samples" / "packages.jsonl").read_text("utf-8") * 4
    cuts = len(text) // tokens.LONGEST_PIECE
    assert cuts >= 2
    whole = len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))
    assert abs(counter("o200k_base")(text) - whole) <= 5 * cuts


def test_text_without_spaces_is_counted_in_bounded_time() -> None:
    """A million of the same letter is a row like any other: the time grows with the text and not faster."""
    assert 100_000 <= counter("o200k_base")("a" * 1_000_000) <= 500_000


# Where the ranks come from.


@pytest.mark.fault("S4")
def test_ranks_are_unpacked_into_a_fresh_cache_without_a_network(tmp_path: Path) -> None:
    """The first run on a machine behind a firewall counts as the thousandth does."""
    run = offline(XDG_CACHE_HOME=str(tmp_path))
    assert (run.stdout, run.stderr) == ("2\n", "")
    name, digest = RANKS["o200k_base"]
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file == tmp_path / "runner" / "tiktoken" / name
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("encoding", RANKS)
def test_ranks_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """A file that is whole stays as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = unpack(encoding).stat()
    after = unpack(encoding).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_damaged_file_in_our_cache_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """A disk that was full once does not spoil every count after it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name, digest = RANKS["o200k_base"]
    path = tmp_path / "runner" / "tiktoken" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert hashlib.sha256(unpack("o200k_base").read_bytes()).hexdigest() == digest
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_a_cache_of_the_user_s_is_looked_into_first(tmp_path: Path, ranks: Path) -> None:
    """Where it holds the ranks, ours are not unpacked."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    shutil.copy(ranks, theirs)
    run = offline(TIKTOKEN_CACHE_DIR=str(theirs), XDG_CACHE_HOME=str(ours))
    assert (run.stdout, run.stderr) == ("2\n", "")
    assert not ours.exists()


def test_a_cache_of_the_user_s_is_left_alone(tmp_path: Path) -> None:
    """Nothing is put into it."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    run = offline(TIKTOKEN_CACHE_DIR=str(theirs), XDG_CACHE_HOME=str(tmp_path / "ours"))
    assert (run.stdout, run.stderr) == ("2\n", "")
    assert list(theirs.iterdir()) == []


def test_a_damaged_file_in_a_cache_of_the_user_s_is_left_alone(tmp_path: Path) -> None:
    """It is neither believed nor removed, and there is no network to replace it from."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    file = theirs / RANKS["o200k_base"][0]
    file.write_bytes(b"half")
    run = offline(TIKTOKEN_CACHE_DIR=str(theirs), XDG_CACHE_HOME=str(tmp_path / "ours"))
    assert (run.stdout, run.stderr) == ("2\n", "")
    assert file.read_bytes() == b"half"


def test_the_variable_is_as_before_when_the_ranks_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's tiktoken in this process finds what its user set."""
    counter.cache_clear()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    counter("cl100k_base")
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(tmp_path)
    counter.cache_clear()
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    counter("cl100k_base")
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


# Without ranks.


def test_an_encoding_without_ranks_is_estimated_with_a_warning() -> None:
    """UTF-8 bytes / 4, rounded up, and it is said."""
    with pytest.warns(RanksMissing, match="(?s)nobody_base: .*bytes / 4"):
        count = counter("nobody_base")
    assert [count(text) for text in ("", "a", "abcd", "abcde", "é" * 4, "a\ud800")] == [0, 1, 1, 2, 2, 1]


@pytest.mark.fault("P18")
def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    """A home that is read-only costs accuracy, not the run."""
    blocked = tmp_path / "file"
    blocked.touch()
    run = offline(XDG_CACHE_HOME=str(blocked))
    assert run.stdout in ("2\n", "3\n")
    assert run.stdout == "2\n" or "RanksMissing" in run.stderr


@pytest.mark.fault("P18")
def test_a_cache_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """A job of each night would fill /tmp with ranks."""
    blocked, spare = tmp_path / "file", tmp_path / "tmp"
    blocked.touch()
    spare.mkdir()
    assert offline(XDG_CACHE_HOME=str(blocked), TMPDIR=str(spare)).stdout == "2\n"
    assert list(spare.iterdir()) == []


def test_a_disk_that_is_full_leaves_no_half_of_the_ranks(tmp_path: Path) -> None:
    """What could not be written whole is removed, so that a full disk becomes no fuller with each run."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    cache, spare = tmp_path / "cache", tmp_path / "tmp"
    spare.mkdir()
    script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, {hard}))\n{OFFLINE}"
    run = offline(script, XDG_CACHE_HOME=str(cache), TMPDIR=str(spare))
    assert "RanksMissing" in run.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_warning_comes_once(tmp_path: Path) -> None:
    """Not once for every row."""
    counter.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            counter("nobody_base")("a")
    assert len(caught) == 1
