"""Makes each mistake of tests/mutants.toml in a copy of the tree, and expects its tests to fail. `make mutants`.

One that survives, or that can no longer be made since its line is gone, is an error: then the tests are too weak, or
the table is out of date.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "mutants.toml"
LEFT_OUT = (".*", "__pycache__", "runs", "bench-out", "build", "dist", "*.egg-info")
SIMULATED_SEEDS = "1000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One mistake."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ("tests/simulation",)
    """What pytest is given; one of them must fail."""

    def applies(self, root: Path) -> bool:
        """Whether what it replaces stands exactly once in its file."""
        path = root / self.file
        return path.is_file() and path.read_text().count(self.old) == 1


def read_table() -> Iterator[Mutant]:
    """All mutants, in order."""
    for values in tomllib.loads(TABLE.read_text())["mutant"]:
        tests = tuple(values.pop("tests", Mutant.__dataclass_fields__["tests"].default))
        yield Mutant(**values, tests=tests)


def failing(tests: tuple[str, ...], copy: Path) -> str | None:
    """The first test of these that fails in a copy of the tree; None if none does."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {"SIMULATED_SEEDS": SIMULATED_SEEDS, **os.environ, "PYTHONPATH": str(copy)}
    ran = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode == 0:
        return None
    failed = [line.split(" - ")[0] for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not failed:
        raise SystemExit(f"pytest ended with {ran.returncode}\n{ran.stdout[-3000:]}{ran.stderr[-1000:]}")
    return failed[0].partition(" ")[2].rpartition("/")[2]


def killed_by(mutant: Mutant, copy: Path) -> str | None:
    """The test that fails with the mistake made in a copy of the tree; None if none does."""
    path = copy / mutant.file
    before = path.read_text()
    path.write_text(before.replace(mutant.old, mutant.new))
    try:
        return failing(mutant.tests, copy)
    finally:
        path.write_text(before)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Try all mutants, or those with a word in their name; 1 if one survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only mutants with this in their name")
    word = parser.parse_args().word
    problems = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        chosen = [mutant for mutant in read_table() if word in mutant.name]
        without = failing(tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests)), copy)
        if without is not None:
            raise SystemExit(f"{without} fails without any mistake, and so can notice none.")
        for mutant in chosen:
            began = time.monotonic()
            if not mutant.applies(copy):
                verdict = "DOES NOT APPLY: its line does not stand exactly once in the file"
            else:
                killer = killed_by(mutant, copy)
                verdict = "SURVIVED" if killer is None else f"killed by {killer}"
            problems += not verdict.startswith("killed")
            say(f"{mutant.name:<72} {time.monotonic() - began:5.1f} s  {verdict}")
    say(f"{problems} of them were not noticed" if problems else "All of them were noticed")
    return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main())
