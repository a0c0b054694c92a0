"""Results as other programs read them: nothing that runs in a spreadsheet, and lines that OpenAI's own types accept."""

from __future__ import annotations

import csv
import datetime as dt
import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from openai.types import BatchError
from openai.types.chat import ChatCompletion

from runner.core.errors import StorageFailed, UsageError
from runner.storage.exports import export
from runner.storage.results import RESULT_SCHEMA, batches_of
from runner.storage.rundir import RunDirectory

CALL = {"id": "c1", "type": "function", "function": {"name": "depth", "arguments": '{"of":"Elbe"}'}}


def line(row: int, **more: Any) -> dict[str, Any]:
    """A line of a results table that succeeded."""
    line: dict[str, Any] = dict.fromkeys(RESULT_SCHEMA)
    return (
        line
        | {
            "row": row,
            "id": f"id-{row}",
            "model": "gpt-5-mini",
            "status": "succeeded",
            "outcome": "ok",
            "text": "Elbe",
            "answer": "Elbe",
            "finish_reason": "stop",
            "input_tokens": 10,
            "output_tokens": 3,
            "cost_usd": 0.5,
        }
        | more
    )


def errored(row: int, **more: Any) -> dict[str, Any]:
    return (
        line(
            row,
            status="errored",
            outcome=None,
            text=None,
            answer=None,
            input_tokens=None,
            output_tokens=None,
            error_type="context_length",
            error_message="Too long.",
        )
        | more
    )


class Run:
    """A run directory with a results table."""

    def __init__(self, path: Path) -> None:
        self.path = path / "run"
        self.directory = RunDirectory.create(self.path, "r")
        self.directory.write_json(self.directory.manifest_path, {"run": "r"})

    def hold(self, *lines: dict[str, Any], **columns: Any) -> None:
        pl.DataFrame(list(lines), schema={**RESULT_SCHEMA, **columns}).write_parquet(self.directory.results_path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def objects(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(text) for text in path.read_bytes().split(b"\n")[:-1]]


def cells(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_times_that_are_finer_than_pythons_are_written_whole(run: Run, out: Path, form: str) -> None:
    """To the nanosecond, by ISO 8601."""
    kinds = {"at": pl.Datetime("ns", "Europe/Berlin"), "took": pl.Duration("ns"), "time": pl.Time()}
    run.hold(line(0, **dict.fromkeys(kinds, 1_123_456_789)), **kinds)
    export(run.path, form, out)
    [found] = cells(out) if form == "csv" else objects(out)
    assert {name: found[name] for name in kinds} == {
        "at": "1970-01-01T01:00:01.123456789+01:00",
        "took": "PT1.123456789S",
        "time": "00:00:01.123456789",
    }


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_columns_may_have_any_name(run: Run, out: Path, form: str) -> None:
    """A name is a name, and no pattern that finds other columns."""
    kinds = {"^t.*$": pl.Time(), "*": pl.Time(), "": pl.String()}
    run.hold(line(0, **dict.fromkeys(kinds)), **kinds)
    export(run.path, form, out)
    [found] = cells(out) if form == "csv" else objects(out)
    assert list(found) == [*RESULT_SCHEMA, *kinds]
    assert found["text"] == "Elbe"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_integers_of_128_bits_are_written_whole(run: Run, out: Path, form: str) -> None:
    """As texts, in every row: they are too large for numbers in JSON. One below zero is no formula."""
    kinds = {"huge": pl.Int128(), "small": pl.Int128()}
    run.hold(line(0, huge=2**100, small=-5), **kinds)
    export(run.path, form, out)
    [found] = cells(out) if form == "csv" else objects(out)
    assert {name: found[name] for name in kinds} == {"huge": str(2**100), "small": "-5"}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_durations_are_written_in_one_way(run: Run, out: Path, form: str, unit: Any) -> None:
    """By ISO 8601, whatever their unit; one below zero is no formula."""
    run.hold(line(0, took=dt.timedelta(seconds=-90)), took=pl.Duration(unit))
    export(run.path, form, out)
    [found] = cells(out) if form == "csv" else objects(out)
    assert found["took"] == "-PT1M30S"


# CSV.


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\0", "＝", "＋", "－", "＠"])
@pytest.mark.fault("O2")
def test_cells_that_a_spreadsheet_would_run_are_defused(run: Run, out: Path, start: str) -> None:
    """O2: an apostrophe in front makes a formula a text, in answers and in the input's columns."""
    formula = f"{start}HYPERLINK(1)"
    run.hold(line(0, text=formula, prompt=formula), prompt=pl.String)
    assert export(run.path, "csv", out) == [(str(out), 1)]
    [cell] = cells(out)
    assert (cell["text"], cell["prompt"]) == (f"'{formula}", f"'{formula}")


@pytest.mark.fault("O2")
def test_names_of_columns_are_defused_too(run: Run, out: Path) -> None:
    """O2: the header is cells, and the input's author chose them."""
    run.hold(line(0, **{"=1+1": "x"}), **{"=1+1": pl.String})
    export(run.path, "csv", out)
    assert "'=1+1" in cells(out)[0]


@pytest.mark.fault("O2")
def test_raw_cells_are_left_as_they_are(run: Run, out: Path) -> None:
    """O2: for programs, which run nothing."""
    run.hold(line(0, text="=1+1"))
    export(run.path, "csv", out, raw_cells=True)
    assert cells(out)[0]["text"] == "=1+1"


def test_numbers_below_zero_are_no_formulas(run: Run, out: Path) -> None:
    """A number stays a number."""
    run.hold(line(0, n=-5), n=pl.Int64)
    export(run.path, "csv", out)
    assert cells(out)[0]["n"] == "-5"


def test_csv_has_every_line_with_quotes_and_newlines_kept(run: Run, out: Path) -> None:
    """What was answered comes back out of a CSV reader."""
    texts = ['a "quoted", text\nof two lines', "é\u2028", "", "plain"]
    run.hold(*[line(n, text=text) for n, text in enumerate(texts)])
    assert export(run.path, "csv", out) == [(str(out), 4)]
    assert [cell["text"] for cell in cells(out)] == texts
    assert list(cells(out)[0]) == list(RESULT_SCHEMA)


# JSONL and Parquet.


def test_jsonl_has_one_object_for_each_line(run: Run, out: Path) -> None:
    """Every column is there, and nothing is null."""
    lines = [line(0, text="é\u2028\n"), errored(1)]
    run.hold(*lines)
    assert export(run.path, "jsonl", out) == [(str(out), 2)]
    assert objects(out) == lines


def test_parquet_is_the_table_itself(run: Run, out: Path) -> None:
    """Byte for byte."""
    run.hold(line(0), line(1))
    assert export(run.path, "parquet", out) == [(str(out), 2)]
    assert out.read_bytes() == run.directory.results_path.read_bytes()


def test_without_a_target_lines_go_to_standard_output(run: Run, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """For a pipe."""
    run.hold(line(0), line(1))
    assert export(run.path, "jsonl", None) == [("-", 2)]
    assert [orjson.loads(text)["row"] for text in capfdbinary.readouterr().out.splitlines()] == [0, 1]


# OpenAI's batch files.


@pytest.fixture
def batch(run: Run, out: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The output and the error file of a run with a task of every sort."""
    run.hold(
        line(0),
        errored(1),
        line(2, outcome="truncated", finish_reason="max_tokens", text="El"),
        line(3, outcome="refused", finish_reason="refusal", text="I will not."),
        line(4, outcome="filtered", text=""),
        line(5, outcome="tool_calls", text="", tool_calls=orjson.dumps([CALL]).decode()),
        line(6, status="expired", outcome=None, text=None),
        line(7, status="canceled", outcome=None, text=None),
    )
    errors = out.with_name("out.errors.jsonl")
    assert export(run.path, "openai-batch", out) == [(str(out), 5), (str(errors), 3)]
    return objects(out), objects(errors)


def test_batch_output_reads_as_chat_completions(batch: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """The bodies are what OpenAI's SDK makes of an answer."""
    read = [ChatCompletion.model_validate(one["response"]["body"], strict=True) for one in batch[0]]
    assert [one.choices[0].finish_reason for one in read] == [
        "stop",
        "length",
        "stop",
        "content_filter",
        "tool_calls",
    ]
    assert [one.choices[0].message.content for one in read] == ["Elbe", "El", None, "", ""]
    assert read[2].choices[0].message.refusal == "I will not."
    assert [call.to_dict() for call in read[4].choices[0].message.tool_calls or ()] == [CALL]
    assert (read[0].usage and read[0].usage.total_tokens, read[0].model) == (13, "gpt-5-mini")


def test_batch_output_has_the_envelope_of_openai(batch: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """`id`, `custom_id`, `response` with its status, and `error`, on every line."""
    for one in batch[0]:
        assert set(one) == {"id", "custom_id", "response", "error"}
        assert set(one["response"]) == {"status_code", "request_id", "body"}
        assert (one["error"], one["response"]["status_code"]) == (None, 200)
    assert [one["custom_id"] for one in batch[0]] == ["id-0", "id-2", "id-3", "id-4", "id-5"]


def test_batch_errors_say_why(batch: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """What was not answered is in the error file, with OpenAI's codes where it has one."""
    read = {one["custom_id"]: BatchError.model_validate(one["error"], strict=True) for one in batch[1]}
    assert {name: error.code for name, error in read.items()} == {
        "id-1": "context_length",
        "id-6": "batch_expired",
        "id-7": "batch_cancelled",
    }
    assert read["id-1"].message == "Too long."
    assert all(error.message for error in read.values())
    assert all(one["response"] is None for one in batch[1])


def test_every_task_is_in_one_of_the_batch_files(batch: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """G1: none is in both and none in neither."""
    assert sorted(one["custom_id"] for file in batch for one in file) == [f"id-{n}" for n in range(8)]


def test_ids_of_batch_lines_differ(run: Run, out: Path) -> None:
    """A row that two models answered makes two lines."""
    run.hold(line(0, model="a"), line(0, model="b"))
    export(run.path, "openai-batch", out)
    assert len({one["id"] for one in objects(out)}) == 2


# Targets.


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "openai-batch"])
@pytest.mark.fault("O18")
def test_an_existing_target_is_refused(run: Run, out: Path, form: str) -> None:
    """O18: nothing is overwritten."""
    run.hold(line(0))
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists; nothing was written"):
        export(run.path, form, out)
    assert out.read_bytes() == b"mine"


@pytest.mark.fault("O18")
def test_an_existing_error_file_is_refused_before_anything_is_written(run: Run, out: Path) -> None:
    """O18: of two files, both are written or none."""
    run.hold(line(0), errored(1))
    out.with_name("out.errors.jsonl").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"out\.errors\.jsonl exists; nothing was written"):
        export(run.path, "openai-batch", out)
    assert not out.exists()


@pytest.mark.fault("O8")
def test_a_link_to_nowhere_is_not_followed(run: Run, out: Path) -> None:
    """O8: a prepared link does not say where the answers go."""
    run.hold(line(0))
    out.symlink_to(out.with_name("elsewhere"))
    with pytest.raises((UsageError, StorageFailed)):
        export(run.path, "jsonl", out)
    assert not out.with_name("elsewhere").exists()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "openai-batch"])
@pytest.mark.fault("O8")
def test_exports_are_for_their_owner_alone(run: Run, out: Path, form: str) -> None:
    """O8: answers are nobody else's to read."""
    run.hold(line(0))
    export(run.path, form, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.fault("P10")
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "openai-batch"])
def test_a_full_disk_leaves_no_half_of_an_export(run: Run, out: Path, form: str, disk_full_at: Any) -> None:
    """A file that is there is whole, and the next try is not refused because of the last."""
    run.hold(*[line(n, text=f"{n * 7919:x}" * 20) for n in range(2000)])
    with disk_full_at(4096), pytest.raises(StorageFailed, match=r"out\.jsonl cannot be written"):
        export(run.path, form, out)
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_named(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be made, nothing can be taken away either."""

    def refuses(*_words: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    run.hold(line(0))
    monkeypatch.setattr(os, "open", refuses)
    monkeypatch.setattr(os, "unlink", refuses)
    with pytest.raises(StorageFailed, match="cannot be written: Read-only file system"):
        export(run.path, "jsonl", out)


def test_a_run_without_results_has_nothing_to_export(run: Run, out: Path) -> None:
    """The message says when there will be."""
    with pytest.raises(UsageError, match="has no results: they are written when"):
        export(run.path, "csv", out)
    assert not out.exists()


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path, out: Path) -> None:
    """A wrong path is a usage error."""
    with pytest.raises(UsageError, match="no run in"):
        export(tmp_path, "csv", out)


@pytest.mark.fault("P20")
def test_results_that_do_not_read_back_are_a_storage_failure(run: Run, out: Path) -> None:
    """A damaged table is told, and no export is left of it."""
    run.directory.results_path.write_bytes(b"PAR1 damaged")
    with pytest.raises(StorageFailed):
        export(run.path, "jsonl", out)


def test_large_lines_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    """Five thousand lines with a document each would be gigabytes."""
    texts = ["x" * 1_000_000, "y" * 1_000_000] * 30
    table = pl.DataFrame([line(row, text=text) for row, text in enumerate(texts)], schema=RESULT_SCHEMA)
    table.write_parquet(tmp_path / "results.parquet", row_group_size=10)
    batches = list(batches_of(pl.scan_parquet(tmp_path / "results.parquet")))
    assert max(len(batch) for batch in batches) <= 16
    assert pl.concat(batches).equals(table)
