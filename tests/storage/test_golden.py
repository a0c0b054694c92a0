"""Journals that earlier versions wrote, kept in tests/golden: every later version reads them and goes on with them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from runner import app
from runner.storage.history import read_history
from runner.storage.rundir import RunDirectory

GOLDEN = sorted((Path(__file__).parent.parent / "golden").iterdir())


@pytest.fixture(params=GOLDEN, ids=[path.name for path in GOLDEN])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A run directory as an earlier version left it, before it wrote its tables."""
    run = tmp_path / "run"
    shutil.copytree(request.param, run)
    manifest = (run / "manifest.json").read_text("utf-8").replace('"input.jsonl"', json.dumps(str(run / "input.jsonl")))
    (run / "manifest.json").write_text(manifest, "utf-8")
    return run


def expected(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "results.jsonl").read_bytes().splitlines()]


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
