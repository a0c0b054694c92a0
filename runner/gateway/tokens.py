"""Counting tokens with tiktoken, offline.

tiktoken downloads its ranks on first use. The same files come with this package; they are unpacked once into the
user's cache directory, under the names that tiktoken looks for, and tiktoken verifies their hashes itself. A
`TIKTOKEN_CACHE_DIR` that the user has set is left alone and looked into first.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import lzma
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import platformdirs
import tiktoken

from runner.core.ports import TokenCounter

RANKS = {
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}
"""By encoding: the file's name in tiktoken's cache (the SHA-1 of its address), and its SHA-256."""

ENCODING = "o200k_base"
"""What texts are counted in; a model's own factor comes on top."""
LONGEST_PIECE = 200_000
"""Characters handed to tiktoken at once: its time grows faster than the text on some texts."""


class RanksMissing(UserWarning):
    """The ranks of an encoding could not be loaded: tokens are estimated as UTF-8 bytes / 4."""


@cache
def counter(encoding: str) -> TokenCounter:
    """A counter of tokens in this encoding; UTF-8 bytes / 4 only where the ranks cannot be loaded, with a warning."""
    try:
        with _cache_directory(encoding):
            encode = tiktoken.get_encoding(encoding).encode_ordinary
    except Exception as error:  # tiktoken raises whatever its download raises
        warnings.warn(f"{encoding}: {error}; tokens are estimated as bytes / 4", RanksMissing, stacklevel=2)
        return _bytes_over_four

    def count(text: str) -> int:
        if len(text) <= LONGEST_PIECE:
            return len(encode(text))
        pieces = (text[start : start + LONGEST_PIECE] for start in range(0, len(text), LONGEST_PIECE))
        return sum(len(encode(piece)) for piece in pieces)

    return count


def _bytes_over_four(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // 4)


@contextmanager
def _cache_directory(encoding: str) -> Iterator[None]:
    """TIKTOKEN_CACHE_DIR for the time of loading: the user's own if it holds the file, else ours, or a passing one."""
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    known = RANKS.get(encoding)
    if known is None or (before and _is_whole(Path(before) / known[0], known[1])):
        yield
        return
    with ExitStack() as stack:
        try:
            path = unpack(encoding)
        except OSError:  # a home that cannot be written, as cron may have it
            path = unpack(encoding, Path(stack.enter_context(TemporaryDirectory(prefix="runner-"))))
        os.environ["TIKTOKEN_CACHE_DIR"] = str(path.parent)
        try:
            yield
        finally:
            if before is None:
                del os.environ["TIKTOKEN_CACHE_DIR"]
            else:
                os.environ["TIKTOKEN_CACHE_DIR"] = before


def _is_whole(path: Path, digest: str) -> bool:
    """Whether the file is there and what it should be: tiktoken deletes one that is not."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def unpack(encoding: str, folder: Path | None = None) -> Path:
    """The ranks' file in a folder, or the user's cache directory, put there whole and verified if it was not there."""
    name, digest = RANKS[encoding]
    target = (folder or Path(platformdirs.user_cache_path("runner")) / "tiktoken") / name
    if _is_whole(target, digest):
        return target
    packed = importlib.resources.files("runner.gateway") / "ranks" / f"{encoding}.tiktoken.xz"
    ranks = lzma.decompress(packed.read_bytes())
    if hashlib.sha256(ranks).hexdigest() != digest:
        raise ValueError(f"the packaged ranks of {encoding} are damaged")
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=target.parent, delete=False) as file:
        try:
            file.write(ranks)
            file.flush()
            return Path(file.name).replace(target)
        except OSError:
            Path(file.name).unlink()
            raise
