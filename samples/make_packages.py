"""Make packages.jsonl and packages.parquet: 360 Debian packages, 30 from each of 12 archive sections.

Source: the Debian package index (bookworm, main) that apt keeps on the machine this runs on: `Packages` for
names, sections and short lines, `Translation-en` for the long texts.

Licence: the descriptions are part of Debian's packages, free to redistribute under the packages' own
licences.

To make them again, on a Debian 12 machine (container images leave the long texts out, hence the option):

    apt-get -o Acquire::Languages=en update
    python samples/make_packages.py                  # --lists DIR if apt keeps its lists elsewhere

The same index gives the same files. Which packages are taken, and their order, depend on hashes of their
names alone, so a point release, or the index of another architecture, changes few rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl

SECTIONS = (
    "admin", "database", "editors", "games", "graphics", "mail",
    "math", "net", "science", "sound", "video", "web",
)  # fmt: skip
PER_SECTION = 30
MAX_CHARS = 1200
MIN_CHARS = 250
"""A shorter description says too little to be labelled."""

LISTS = Path("/var/lib/apt/lists")
APT_HELPER = "/usr/lib/apt/apt-helper"
"""Reads apt's lists however they are compressed (.lz4, .gz, .xz or not at all)."""

PACKAGES = "*_debian_dists_bookworm_main_binary-*_Packages*"
LONG_TEXTS = "*_debian_dists_bookworm_main_i18n_Translation-en*"

PARTS = re.compile(r"^lib|-(data|dev|doc|docs|dbg|common|plugins?|examples|l10n|utils)$")
"""Names of packages that are only a part of something; their descriptions speak of the whole."""
UNFIT = re.compile(
    r"://|\bwww\.|@\w|transitional|dummy package|meta-?package|no longer (maintained|developed)",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\betc\.)(?= [A-Z*\"'(-])")


def main() -> None:
    """Read the index, pick the packages, write both files beside this script."""
    parser = argparse.ArgumentParser(description="Make packages.jsonl and packages.parquet.")
    parser.add_argument("--lists", type=Path, default=LISTS, help="where apt keeps its package lists")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the folder to write into")
    arguments = parser.parse_args()
    rows = pick(candidates(arguments.lists))
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (arguments.out / "packages.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    pl.DataFrame(rows).write_parquet(arguments.out / "packages.parquet")
    print(f"{len(rows)} packages, {len(SECTIONS)} sections")


def candidates(lists: Path) -> list[dict[str, str]]:
    """Every package of our sections that is the main one of its source and is described well enough."""
    long_texts = {
        stanza["Description-md5"]: stanza["Description-en"]
        for stanza in stanzas(lists, LONG_TEXTS)
        if "Description-en" in stanza
    }
    found = {}
    for stanza in stanzas(lists, PACKAGES):
        name, section = stanza["Package"], stanza.get("Section", "")
        if section not in SECTIONS or PARTS.search(name) or stanza.get("Source", name).split()[0] != name:
            continue
        text = describe(long_texts.get(stanza.get("Description-md5", ""), ""))
        if is_fit(text, section):
            found[name] = {"name": name, "description": text, "section": section}
    return list(found.values())


def stanzas(lists: Path, pattern: str) -> Iterator[dict[str, str]]:
    """The paragraphs of all lists whose file name matches; continuation lines stay part of their field."""
    paths = sorted(lists.glob(pattern))
    if not paths:
        message = f"no {pattern} in {lists}; run: apt-get -o Acquire::Languages=en update"
        raise SystemExit(message)
    for path in paths:
        command = [APT_HELPER, "cat-file", str(path)]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
        for paragraph in text.split("\n\n"):
            fields = re.findall(r"^([\w-]+): ?(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
            if fields:
                yield dict(fields)


def describe(field: str) -> str:
    """The short line and the long text as one paragraph, cut at a sentence; empty without a long text."""
    short, _, long = field.partition("\n")
    body = " ".join(line.strip() for line in long.split("\n") if line.strip() != ".")
    body = " ".join(body.split())
    if not body:
        return ""
    short = " ".join(short.split())
    return cut(short + (" " if short.endswith((".", "!", "?")) else ". ") + body)


def cut(text: str) -> str:
    """As many whole sentences as fit into MAX_CHARS; empty where the first ones do not end in time."""
    if len(text) <= MAX_CHARS:
        return text
    ends = [end.start() for end in SENTENCE_END.finditer(text) if end.start() <= MAX_CHARS]
    return text[: ends[-1]] if ends else ""


def is_fit(text: str, section: str) -> bool:
    """Whether it can be asked about: long enough, about one real package, not opening with the answer."""
    if len(text) < MIN_CHARS or UNFIT.search(text):
        return False
    first = re.split(r"\W+", text.casefold(), maxsplit=1)[0]
    return first not in {section, section.removesuffix("s")}


def pick(packages: list[dict[str, str]]) -> list[dict[str, str]]:
    """PER_SECTION packages of each section, in an order that mixes the sections."""
    chosen = []
    for section in SECTIONS:
        ranked = sorted(
            (package for package in packages if package["section"] == section),
            key=lambda package: digest("pick", package["name"]),
        )
        if len(ranked) < PER_SECTION:
            message = f"only {len(ranked)} packages to choose from in section {section}"
            raise SystemExit(message)
        chosen += ranked[:PER_SECTION]
    return sorted(chosen, key=lambda package: digest("order", package["name"]))


def digest(purpose: str, name: str) -> str:
    """A number for a name, as hex: the same on every machine, and another one for each purpose."""
    return hashlib.sha256(f"{purpose}:{name}".encode()).hexdigest()


if __name__ == "__main__":
    main()
