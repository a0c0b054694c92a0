"""Starts one harness under atheris: bytes that change by what they reach, until an exception or the end of the time.

A harness is a module with `one(data)`, which must not raise, and `SEEDS`, from which the bytes begin. Options are
libFuzzer's: `-max_total_time=30`, or the path of an input that failed, to run it again.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

LIMITS = ("-rss_limit_mb=2048", "-timeout=20", "-max_len=65536")


def drive(one: Callable[[bytes], None], seeds: Sequence[bytes]) -> None:
    """Fuzz `one` as the command line says; does not return."""
    import atheris  # here, because the tests run the harnesses, too, where it is not installed

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        again = any(Path(word).is_file() for word in sys.argv[1:])
        atheris.instrument_all()
        atheris.Setup([*sys.argv, *LIMITS, *([] if again else [folder])], one)
        atheris.Fuzz()
