"""The harnesses of `fuzz/`, each for a second or two: with inputs near to good ones, and with any bytes at all.

`make fuzz` runs the same for as long as you like, guided by what the inputs reach.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
HARNESSES = ("fuzz_rows", "fuzz_decoders", "fuzz_headers")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "fuzz" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULES = {name: load(name) for name in HARNESSES}
PIECES = (
    b"",
    b"\0",
    b"\n",
    b"\r",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\xff",
    b"\xed\xa0\x80",
    b"\\ud800",
)
PIECES += (b"1e400", b"-0", b"9" * 30, b"null", b"NaN", b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x1b[2J")


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with some places cut, doubled, or written over."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 16)))
        data[start:end] = draw(st.sampled_from([*PIECES, bytes(data[start:end]) * 2]) | st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", HARNESSES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_nearly_right_raises_nothing_else(name: str, data: Any) -> None:
    """Only what the readers document, for any change to a good input."""
    MODULES[name].one(data.draw(mutated(MODULES[name].SEEDS) | st.binary(max_size=200)))


@pytest.mark.parametrize("name", HARNESSES)
def test_what_is_right_is_taken(name: str) -> None:
    """The seeds themselves pass; without that, nothing would be shown by changing them."""
    for seed in MODULES[name].SEEDS:
        MODULES[name].one(seed)


def _every_type() -> bytes:
    file = io.BytesIO()
    frame = pl.DataFrame(
        {
            "text": ["a", None, "c"],
            "list": [[1, 2], [], None],
            "struct": [{"a": 1}, {"a": None}, None],
            "time": pl.Series([0, 1, None], dtype=pl.Datetime("us", "UTC")),
            "decimal": pl.Series(["1.5", None, "2"]).cast(pl.Decimal(10, 2)),
            "kind": pl.Series(["x", "y", "x"], dtype=pl.Categorical),
            "bytes": [b"\0", None, b"\xff"],
        }
    )
    frame.write_parquet(file, compression="uncompressed", row_group_size=2)
    return file.getvalue()


TYPES = _every_type()


@pytest.mark.fault("I16")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(at=st.integers(0, len(TYPES) - 1), value=st.binary(min_size=1, max_size=4))
@example(at=609, value=b"]")  # polars 2.1 asks for two exabytes, and aborts
@example(at=1080, value=b"w")
def test_a_table_with_damage_anywhere_raises_nothing_else(at: int, value: bytes) -> None:
    """Lengths, types and statistics in pages and in the footer, over every type of column; this process lives on."""
    MODULES["fuzz_rows"].one(TYPES[:at] + value + TYPES[at + len(value) :])
