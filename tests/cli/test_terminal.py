"""What rows say does not move the terminal of the one who reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.cli.main import main


@pytest.mark.fault("O4")
def test_a_refusal_that_quotes_a_row_cannot_move_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """O4: escape sequences in a column's name are taken out of the sentence that names it."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"evil\x1b[2J\x1b]0;title\x07\u202e": 1}) + "\n")
    monkeypatch.setattr("sys.argv", ["runner", "run", str(rows), "-m", "gpt-5-4", "--gateway", "local"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr().err
    assert end.value.code == 7
    assert "its columns are evil" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
