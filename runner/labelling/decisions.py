"""What people have decided about rows that annotators left open: read from a CSV file, kept with the run."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from runner.core.answers import Answer, Invalid
from runner.core.errors import StorageFailed, UsageError
from runner.labelling.tables import DECISION
from runner.labelling.votes import Verdict, Votes
from runner.reading import Replies, as_text

FILE = "decisions.jsonl"
MOST_SHOWN = 10
"""Lines that are named when a file is refused."""


def read_decisions(path: Path, votes: Votes, replies: Replies) -> dict[int, str]:
    """Row -> label from a file like disagreements.csv; empty decisions are left out.

    Raises UsageError, naming lines, for rows that the run does not have, and for what is no label.
    """
    known = set(votes.rows)
    found: dict[int, str] = {}
    wrong: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            missing = [name for name in ("row", DECISION) if name not in (lines.fieldnames or ())]
            if missing:
                raise UsageError(f"{path} has no column {missing[0]!r}; it needs `row` and `{DECISION}`.")
            for line in lines:
                said = (line[DECISION] or "").strip().removeprefix("'")
                if not said:
                    continue
                row = int(line["row"]) if (line["row"] or "").strip().isdecimal() else None
                answer = replies.read(said)
                if row is None or row not in known:
                    wrong.append(f"line {lines.line_num}: the run has no row {line['row']!r}")
                elif isinstance(answer, Invalid):
                    wrong.append(f"line {lines.line_num}: {said[:60]!r} is no label: {answer.reason}")
                elif isinstance(answer, Answer):
                    found[row] = as_text(answer)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if wrong:
        more = f"\n  and {len(wrong) - MOST_SHOWN:,} more" if len(wrong) > MOST_SHOWN else ""
        shown = "".join(f"\n  {line}" for line in wrong[:MOST_SHOWN])
        raise UsageError(f"{path}: nothing was adopted.{shown}{more}")
    return found


def keep(directory: Path, decisions: Mapping[int, str], origin: str) -> None:
    """Add decisions to those of a run; the last one about a row holds."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    lines = [{"row": row, "label": label, "from": origin, "at": at} for row, label in decisions.items()]
    try:
        with (directory / FILE).open("ab") as file:
            file.write(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
        (directory / FILE).chmod(0o600)
    except OSError as error:
        raise StorageFailed(f"{directory / FILE} cannot be written: {error.strerror}.") from None


def kept(directory: Path) -> dict[int, str]:
    """Row -> label as decided so far."""
    path = directory / FILE
    if not path.is_file():
        return {}
    try:
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, orjson.JSONDecodeError) as error:
        raise StorageFailed(f"{path} cannot be read: {error}.") from None
    return {line["row"]: line["label"] for line in lines}


def decided(votes: Votes, verdicts: Sequence[Verdict], decisions: Mapping[int, str]) -> list[Verdict]:
    """The verdicts with a person's over the vote's."""
    return [
        replace(verdict, label=decisions[row], status="decided", reason="") if row in decisions else verdict
        for row, verdict in zip(votes.rows, verdicts, strict=True)
    ]
