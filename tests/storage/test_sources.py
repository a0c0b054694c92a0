"""Inputs of several files: which ones, in which order, what their folders say, and when they have changed."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from runner.core.errors import InputRejected, RunnerError
from runner.storage.jobs import read_words
from runner.storage.rows import BadRow, Row, Source
from runner.storage.rundir import RunDirectory
from runner.storage.sources import Files, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A partitioned folder with three forms of rows, and what holds none."""
    for month, name, text in (
        ("2026-02", "b.jsonl", '{"n": 2}\n'), ("2026-01", "a.jsonl", '{"n": 0}\n{"n": 1}\nno row\n'),
        ("2026-02", "_SUCCESS.csv", "n\n9\n"), ("2026-02", "notes.txt", "x"), ("2026-02/.tmp", "c.jsonl", '{"n": 8}\n'),
    ):  # fmt: skip
        path = tmp_path / "data" / f"month={month}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "data" / "month=2026-03").mkdir()
    with gzip.open(tmp_path / "data" / "month=2026-03" / "z.csv.gz", "wt") as file:
        file.write("n\n7\n")
    return tmp_path / "data"


def test_a_folder_is_read_as_one_input_in_the_order_of_its_names(folder: Path) -> None:
    """Rows are counted through; each says its file, and has the values that its folder says."""
    records = list(open_source(folder))
    rows = [record for record in records if isinstance(record, Row)]
    assert [(row.index, str(row.columns["n"]), row.columns["month"]) for row in rows] == [
        (0, "0", "2026-01"), (1, "1", "2026-01"), (3, "2", "2026-02"), (4, "7", "2026-03"),
    ]  # fmt: skip
    bad = records[2]
    assert isinstance(bad, BadRow)
    assert bad.where == "month=2026-01/a.jsonl, line 3"


def test_a_glob_takes_what_it_names(folder: Path) -> None:
    """Its fixed beginning says nothing about the rows."""
    files = open_source(folder / "month=2026-02" / "*.jsonl")
    assert isinstance(files, Files)
    assert [record.columns for record in files if isinstance(record, Row)] == [{"n": 2}]
    assert len(list(open_source(folder / "**" / "*.jsonl"))) == 4


def test_a_glob_takes_files_whose_name_says_no_format_as_a_single_one_is_taken(tmp_path: Path) -> None:
    """As JSONL; hidden ones only if it begins so itself."""
    for name in ("a.jsonl", "b.json", "part-0", "_c.jsonl", ".d.jsonl"):
        (tmp_path / name).write_text(f'{{"n": "{name}"}}\n')
    for pattern, names in (
        ("*", ["a.jsonl", "b.json", "part-0"]), ("*.json", ["b.json"]), ("_*.jsonl", ["_c.jsonl"]), ("p*", ["part-0"]),
    ):  # fmt: skip
        found = [row.columns["n"] for row in open_source(tmp_path / pattern) if isinstance(row, Row)]
        assert found == names


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="it is one there")
def test_what_is_no_glob_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="names no files"):
        open_source(tmp_path / "**.jsonl")


@pytest.mark.parametrize("read", [read_words, RunDirectory.open])
def test_what_is_too_long_for_a_name_is_said(read: Callable[[Path], object], tmp_path: Path) -> None:
    """A question, perhaps, where a file was to be named."""
    with pytest.raises(RunnerError, match="is no name of a file: it has more than 255 bytes"):
        read(tmp_path / ("é" * 150))


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    """What is there is taken as it is called."""
    (tmp_path / "a[1].jsonl").write_text('{"n": 1}\n')
    assert isinstance(open_source(tmp_path / "a[1].jsonl"), Source)


def test_the_same_record_in_another_part_is_another_one(tmp_path: Path) -> None:
    """A part's value is a column like any other."""
    for part in ("k=1", "k=2"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.jsonl").write_text('{"n": 1}\n')
    one, other = open_source(tmp_path)
    assert isinstance(one, Row)
    assert isinstance(other, Row)
    assert one.digest != other.digest


def test_a_change_of_any_file_shows(folder: Path) -> None:
    """A new file, or other content, is another input."""
    before = open_source(folder)
    (folder / "month=2026-01" / "new.jsonl").write_text("")
    after = open_source(folder)
    assert (before.stamp != after.stamp, before.digest() != after.digest()) == (True, True)


def test_parquet_files_that_agree_have_their_types(tmp_path: Path) -> None:
    """And others have none: their rows are looked at."""
    for name in ("a", "b"):
        (tmp_path / f"k={name}").mkdir()
        pl.DataFrame({"n": [1]}, schema={"n": pl.Int32}).write_parquet(tmp_path / f"k={name}" / "x.parquet")
    assert open_source(tmp_path).schema() == {"n": pl.Int32, "k": pl.String}
    pl.DataFrame({"n": ["x"]}).write_parquet(tmp_path / "y.parquet")
    assert open_source(tmp_path).schema() is None


@pytest.mark.parametrize("name", ["", "*.jsonl"])
def test_where_no_rows_are_the_message_says_so(name: str, tmp_path: Path) -> None:
    """An empty folder, or a glob that names nothing."""
    with pytest.raises(InputRejected, match="There is no JSONL, CSV or Parquet file at"):
        open_source(tmp_path / name)


def test_a_folder_with_rows_and_without_a_job_is_an_input(folder: Path) -> None:
    """`runner run data/` needs no job file."""
    assert read_words(folder) == {"input": str(folder)}
