"""Journals that earlier versions wrote, kept in tests/golden: every later version reads them and goes on with them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner import app, finishing, forking, rescoring
from runner.core.job import Job
from runner.preparing import Setup, prepare
from runner.storage.history import read_history
from runner.storage.rundir import RunDirectory

FOLDER = Path(__file__).parent.parent / "golden"
GOLDEN = sorted(FOLDER.glob("version-*"))


@pytest.fixture(params=GOLDEN, ids=[path.name for path in GOLDEN])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run directory as an earlier version left it, before it wrote its tables."""
    return laid_out(request.param, tmp_path)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """The same of batch lines, when a system prompt and a schema beside them were dropped and `n` was sent."""
    return laid_out(FOLDER / "batch-lines", tmp_path)


def laid_out(kept: Path, place: Path) -> Path:
    run = place / "run"
    shutil.copytree(kept, run)
    manifest = (run / "manifest.json").read_text("utf-8").replace('"input.jsonl"', json.dumps(str(run / "input.jsonl")))
    (run / "manifest.json").write_text(manifest, "utf-8")
    return run


def expected(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "results.jsonl").read_bytes().splitlines()]


def unfinished(run: Path) -> Path:
    """The same run, killed when one of the answers was there."""
    journal = run / "journal.jsonl"
    frames = journal.read_bytes().splitlines(keepends=True)
    landed = next(number for number, frame in enumerate(frames) if b'"t":"landed"' in frame)
    journal.write_bytes(b"".join(frames[: landed + 1]))
    return run


@pytest.mark.fault("P21")
def test_an_old_journal_makes_the_tables_that_it_made(golden: Path) -> None:
    """The same rows, with the same answers, and nothing is asked."""
    before = (golden / "journal.jsonl").read_bytes()
    finish = app.resume(golden, memory=False)
    assert finish.ending.exit_code == 3
    assert (golden / "journal.jsonl").read_bytes().startswith(before)
    wanted = expected(golden)
    assert finish.results().select(list(wanted[0])).to_dicts() == wanted
    assert b'"t":"sent"' not in (golden / "journal.jsonl").read_bytes()[len(before) :]


@pytest.mark.fault("P21")
def test_an_old_journal_that_breaks_off_is_gone_on_with(golden: Path) -> None:
    """What it acknowledged stands, and the rest is asked again."""
    directory = RunDirectory.open(golden)
    half = directory.journal_path.stat().st_size // 2
    os.truncate(directory.journal_path, half)
    known = {row for row in range(12) if read_history(directory.journal_path, 1).has_ended(row, 0)}
    assert 0 < len(known) < 12
    table = app.resume(golden, memory=False).results().to_dicts()
    assert [line["status"] in ("succeeded", "errored") for line in table] == [True] * 12
    wanted = expected(golden)
    assert [table[row]["text"] for row in known] == [wanted[row]["text"] for row in known]


def test_old_batch_lines_keep_the_answers_that_were_paid_for(lines: Path) -> None:
    """What is refused of new lines was asked then, of every model, and is no reason to lose it."""
    table = app.resume(lines, memory=False).results()
    assert table["status"].to_list() == ["succeeded"] * 6
    assert table["annotator"].to_list() == ["gpt-5-4-nano", "claude-haiku-4-5"] * 3


def test_old_batch_lines_are_gone_on_with_as_they_were_begun(lines: Path) -> None:
    """Each line is asked of each model, and what was given beside it is sent with none of them."""
    frames = [json.loads(frame.split(b" ", 3)[3]) for frame in (lines / "journal.jsonl").read_bytes().splitlines()]
    landed = sorted((frame for frame in frames if frame["t"] == "landed"), key=itemgetter("row", "slot"))
    wanted = [frame["text"] for frame in landed]
    finish = app.resume(unfinished(lines), memory=False)
    assert (finish.ending.exit_code, finish.summary["tasks"]["succeeded"]) == (0, 6)
    assert finish.results()["text"].to_list() == wanted
    assert finish.summary["notices"] == [
        "Options are not sent with batch lines: they were not when this run was begun."
    ]


def test_old_batch_lines_are_cancelled_with_what_they_have(lines: Path) -> None:
    """The answer stands in the table, and the others are canceled."""
    finishing.fold(unfinished(lines))
    assert pl.read_parquet(lines / "results.parquet")["status"].to_list() == ["succeeded"] + ["canceled"] * 5


def test_old_batch_lines_are_scored(lines: Path) -> None:
    """Read anew, nothing is missing."""
    app.resume(lines, memory=False)
    rescoring.rescore(lines, None)
    assert pl.read_parquet(lines / "results.parquet")["status"].to_list() == ["succeeded"] * 6


def test_an_old_run_whose_schema_is_none_is_cancelled(lines: Path) -> None:
    """Any schema was sent unseen then; answers are taken as they are."""
    manifest = (lines / "manifest.json").read_text("utf-8").replace('"type": "object"', '"type": "objct"')
    (lines / "manifest.json").write_text(manifest, "utf-8")
    finishing.fold(unfinished(lines))
    table = pl.read_parquet(lines / "results.parquet")
    assert (table["answer"][0], table["answer_status"][0]) == (table["text"][0], None)
    notices = json.loads((lines / "summary.json").read_bytes())["notices"]
    assert notices[-1].startswith("The answer's schema is no JSON schema: ")


@pytest.mark.parametrize(("option", "taken"), [({}, 2), ({"temperature": 0.5}, 0)])
def test_a_fork_takes_over_no_old_batch_lines_that_options_fill_in_now(lines: Path, option: Any, taken: int) -> None:
    """The options were dropped then; without any, the lines are asked as they were, but for `n`."""
    said = json.loads((lines / "manifest.json").read_bytes())
    said["job"] |= {"system": None, "settings": said["job"]["settings"] | {"schema": None, **option}}
    (lines / "manifest.json").write_text(json.dumps(said))
    job = replace(Job.from_json(said["job"]), bad_rows="record")
    prepared = prepare(job, Setup(gateway="local"))
    fork = forking.read(prepared, lines)
    new = RunDirectory.create(lines.parent / "new", "new")
    assert forking.begin(prepared, new, fork).tally.statuses["succeeded"] == 2 * taken
    assert any("batch lines that were not taken over" in notice for notice in prepared.notices) == (not taken)
