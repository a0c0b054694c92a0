"""Simulates many seeds and sums up; names the seeds in which a promise was broken. `make soak`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from simulated import simulate


def main() -> int:
    """Simulate, and say how it went; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--trace", action="store_true", help="print what identifies each run, and nothing else")
    parser.add_argument("--stop", type=int, default=20, help="after so many violations")
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    broken: list[int] = []
    seconds, began = 0.0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        path.mkdir()
        for seed in range(options.first, options.first + options.seeds):
            told = simulate(seed, path)
            if options.trace:
                print(seed, told.trace)
                continue
            seconds += told.seconds
            seen.update(name for name, times in told.seen.items() if times)
            if told.violation is not None:
                broken.append(seed)
                print(f"seed {seed}: {told.violation}", flush=True)
                if len(broken) >= options.stop:
                    break
    if options.trace:
        return 0
    taken = time.monotonic() - began
    print(f"{options.seeds:,} seeds in {taken:.0f} s: {seconds / 3600:,.0f} hours of virtual time")
    for name, runs in sorted(seen.items()):
        print(f"{runs:9,} {name}")
    if broken:
        print(f"A promise was broken in {len(broken)} seeds: {' '.join(map(str, broken))}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
