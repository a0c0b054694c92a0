"""What people have decided about rows that annotators left open: read from a CSV file, kept with the run."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from runner.core.answers import Answer, Invalid
from runner.core.errors import StorageFailed, UsageError
from runner.labelling.tables import DECISION
from runner.labelling.votes import Verdict, Votes
from runner.reading import Replies, as_text
from runner.storage.rows import LONGEST_LINE

FILE = "decisions.jsonl"
MOST_SHOWN = 10
"""Lines that are named when a file is refused, and labels where one is."""
_NUMBER = re.compile(r"0*([0-9]+)(?:\.0*)?")


def read_decisions(path: Path, ids: Mapping[int, str], replies: Replies) -> dict[int, str]:
    """Row -> label from a file like disagreements.csv; empty decisions are left out. `ids` are those of the run's rows.

    Raises UsageError, naming lines, for rows that the run does not have or calls otherwise, for what is no label, and
    for two decisions about one row.
    """
    rows = {str(row): row for row in ids}
    found: dict[int, tuple[Answer, int]] = {}
    wrong: list[str] = []
    for number, line in _lines(path, needed=("row", *_ids_needed(ids), DECISION)):
        row, answer = rows.get(_plain(line["row"])), _answer(line[DECISION], replies)
        if row is None:
            said = f"the run has no row {line['row'][:60]!r}"
        elif "id" in line and _plain(line["id"]) != _plain(ids[row]):
            called = f"{ids[row][:60]!r} in the run, and not {line['id'][:60]!r}"
            said = f"row {row} is {called}: keep each decision beside its own row and id"
        elif isinstance(answer, Invalid):
            said = f"{line[DECISION][:60]!r} is no label: {answer.reason}{_nearest(line[DECISION], replies.labels)}"
        else:
            first, before = found.setdefault(row, (answer, number))
            if first.value == answer.value:
                continue
            said = f"row {row} is {as_text(answer)!r} here, and {as_text(first)!r} in line {before}: leave one of them"
        wrong.append(f"line {number}: {said}")
    if wrong:
        more = f"\n  and {len(wrong) - MOST_SHOWN:,} more" if len(wrong) > MOST_SHOWN else ""
        shown = "".join(f"\n  {line}" for line in wrong[:MOST_SHOWN])
        raise UsageError(f"{path}: nothing was adopted.{shown}{more}")
    return {row: as_text(answer) for row, (answer, _) in found.items()}


def _answer(cell: str, replies: Replies) -> Answer | Invalid:
    answer = replies.read(cell)
    return replies.read(_plain(cell)) if isinstance(answer, Invalid) else answer


def _nearest(cell: str, labels: Sequence[str]) -> str:
    """The label that is meant, or else all that there are."""
    if meant := difflib.get_close_matches(cell, labels, 1):
        return f". Did you mean {meant[0]!r}?"
    more = f" and {len(labels) - MOST_SHOWN:,} more" if len(labels) > MOST_SHOWN else ""
    return f"; the labels are {', '.join(labels[:MOST_SHOWN])}{more}" if labels else ""


def _ids_needed(ids: Mapping[int, str]) -> Sequence[str]:
    """The column that shows whose row a line is, unless all rows go by their number."""
    return ("id",) if any(name != str(row) for row, name in ids.items()) else ()


def _lines(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines with a decision, by number; raises UsageError for a file that cannot be read, or lacks columns."""
    csv.field_size_limit(LONGEST_LINE)
    try:
        file = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
        mark = _mark(file.readline())
        file.seek(0)
        lines = csv.DictReader(file, delimiter=mark, restval="")
        _mind_the_columns(path, lines.fieldnames or (), needed)
        for line in lines:
            line[DECISION] = line[DECISION].strip().removeprefix("'")
            if line[DECISION]:
                yield lines.line_num, line
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8: save it as CSV in UTF-8.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except csv.Error as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None


def _mark(header: str) -> str:
    """What stands between cells: a comma, or what spreadsheets of some countries write."""
    marks = (mark for mark in ",;\t" if DECISION in next(csv.reader([header], delimiter=mark), ()))
    return next(marks, ",")


def _mind_the_columns(path: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    counts = {name: names.count(name) for name in ("row", "id", DECISION)}
    wrong = [name for name, count in counts.items() if count > 1 or (count == 0 and name in needed)]
    if wrong:
        has = f"{counts[wrong[0]] or 'no'} column{'s' if counts[wrong[0]] else ''} {wrong[0]!r}"
        how = ""
        if counts[DECISION] > 1:  # as runs of earlier versions have written it
            how = " Perhaps one of them is the input's own: give that another name."
        raise UsageError(
            f"{path} has {has}; it needs {', '.join(needed)}, each once and as the run has written them.{how}"
        )


def _plain(cell: str) -> str:
    """A cell without what spreadsheets do to it: spaces, a quote before it, 7 or 7.0 for 007."""
    text = cell.strip().removeprefix("'").strip()
    number = _NUMBER.fullmatch(text)
    return text if number is None else number[1]


def keep(path: Path, decisions: Mapping[int, str], origin: str) -> None:
    """Add decisions to those in a run's file; the last one about a row holds."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    lines = [{"row": row, "label": label, "from": origin, "at": at} for row, label in decisions.items()]
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "ab") as file:
            file.write(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}.") from None


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
