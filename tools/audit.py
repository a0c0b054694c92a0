"""Hold every pin of our locks against the advisories that we know of, without a network.

python tools/audit.py [LOCK ...]

Prints a line for each finding, and ends with 1 if there is one. It says nothing of what nobody wrote into
`advisories.toml` yet.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
ADVISORIES = ROOT / "tools" / "advisories.toml"
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")


@dataclass(frozen=True)
class Pin:
    """One version of a package that a lock names."""

    lock: str
    line: int
    package: str
    version: str
    hashed: bool


def pins(lock: Path) -> Iterator[Pin]:
    """What a lock names; raises ValueError for a line that is neither a pin nor belongs to one."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        found = PIN.match(line)
        if found is not None:
            hashed = number < len(lines) and lines[number].strip().startswith("--hash=sha256:")
            yield Pin(lock.name, number, canonicalize_name(found[1]), found[2], hashed)
        elif line.strip() and not line.startswith((" ", "#")):
            raise ValueError(f"{lock.name}: line {number} is no pin: {line[:80]}")


def findings(locks: list[Path], advisories: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each pin that an advisory speaks of, and for each that has no hash."""
    for lock in locks:
        for pin in pins(lock):
            where = f"{pin.lock}:{pin.line}: {pin.package} {pin.version}"
            if not pin.hashed:
                yield f"{where} has no hash"
            for advisory in advisories:
                if canonicalize_name(advisory["package"]) != pin.package:
                    continue
                if SpecifierSet(advisory["affected"], prereleases=True).contains(Version(pin.version)):
                    yield f"{where}: {advisory['id']}, fixed in {advisory['fixed']}: {advisory['what']}"


def known(path: Path = ADVISORIES) -> list[dict[str, Any]]:
    """The advisories."""
    advisories: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["advisory"]
    return advisories


def main(words: list[str]) -> int:
    """Print what was found."""
    locks = [Path(word) for word in words] or sorted(ROOT.glob("requirements*.lock"))
    found = list(findings(locks, known()))
    for line in found:
        sys.stdout.write(f"{line}\n")
    if not found:
        count = sum(1 for lock in locks for _ in pins(lock))
        sys.stdout.write(f"{count} pins in {len(locks)} locks: nothing known of them\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
