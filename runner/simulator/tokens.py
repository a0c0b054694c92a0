"""How many tokens the gateway itself says a prompt has: the truth that the runner's estimate is judged by.

It is meant to differ from any estimate. Each family has a ratio of its own to a cheap base count, a constant for the
template around the prompt, and a few per cent that only the request knows.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.core.catalog import Model
from runner.simulator import chance

Counter = Callable[[str], int]

WOBBLE = 0.03
"""How far a request's own count may lie from its family's ratio, as a fraction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the models whose short id starts with `prefix` count."""

    prefix: str
    ratio: float
    """Tokens for one token of the base count."""
    template: int
    """Tokens that the chat template adds to every prompt."""
    image: int
    """Tokens of an image, whatever its size."""


FAMILIES = (
    Family(prefix="gpt-oss", ratio=1.00, template=67, image=0),  # Harmony's hidden system message.
    Family(prefix="gpt", ratio=1.00, template=7, image=1_229),
    Family(prefix="claude-opus-4-7", ratio=1.62, template=12, image=1_840),
    Family(prefix="claude-opus-4-8", ratio=1.62, template=12, image=1_840),
    Family(prefix="claude", ratio=1.22, template=9, image=1_440),
    Family(prefix="gemini-2", ratio=1.06, template=2, image=258),
    Family(prefix="gemini", ratio=1.06, template=2, image=1_080),
    Family(prefix="gemma", ratio=1.08, template=10, image=256),
    Family(prefix="meta-llama-3", ratio=1.01, template=11, image=0),
    Family(prefix="llama-4", ratio=0.99, template=8, image=1_300),
    Family(prefix="qwen", ratio=1.06, template=9, image=0),
    Family(prefix="", ratio=1.10, template=8, image=1_000),
)
"""The first whose prefix fits is the family. No row is taken from the project's own table of multipliers."""


@functools.cache
def family_of(short: str) -> Family:
    """The family of a model."""
    return next(family for family in FAMILIES if short.startswith(family.prefix))


def count_input(model: Model, text_tokens: int, messages: int, images: int, key: int) -> int:
    """Input tokens of a prompt with so many tokens in the base count."""
    family = family_of(model.short)
    wobble = 1 + WOBBLE * (2 * chance.uniform(key, chance.Purpose.COUNT) - 1)
    text = family.ratio * wobble * (text_tokens + 3 * messages)
    return math.ceil(text) + family.template + family.image * images


def count_output(model: Model, text: str, counter: Counter) -> int:
    """Output tokens of a text; the token that ends the turn is one of them."""
    return math.ceil(family_of(model.short).ratio * counter(text)) + 1


def bytes_over_four(text: str) -> int:
    """The cheapest count there is."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def default_counter() -> Counter:
    """The exact o200k count where tiktoken has its ranks on disk, bytes over four where it has not: no network."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", "")
    address = b"https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    name = hashlib.sha1(address, usedforsecurity=False).hexdigest()  # The name that tiktoken gives the file.
    if not folder or not (Path(folder) / name).is_file():
        return bytes_over_four
    import tiktoken  # Only here: it is slow to load, and callers who bring a counter do not need it.

    encode = tiktoken.get_encoding("o200k_base").encode_ordinary
    return lambda text: len(encode(text))
