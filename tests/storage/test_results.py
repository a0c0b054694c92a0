"""Tables folded from a journal and an input: complete, in order, and the same however often they are made."""

from __future__ import annotations

import datetime as dt
import decimal
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from runner.core.errors import InputRejected, StorageFailed
from runner.core.values import Status
from runner.storage import results
from runner.storage.history import read_history
from runner.storage.journal import DiskFile, Journal
from runner.storage.results import ATTEMPT_SCHEMA, ERROR_COLUMNS, RESULT_SCHEMA, Tables
from runner.storage.rows import BadRow, Record, Row, Source

USAGE = {"input": 10, "output": 3, "reasoning": 1, "cached_input": 2, "cache_write": 0, "reported": True}


BEFORE = {"est": 24, "input": 20, "cached_input": 4, "output": 6, "reasoning": 2, "cost": 0.5}
"""What two replies cost together."""


def replied(row: int, slot: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "t": "landed",
        "row": row,
        "slot": slot,
        "id": str(row),
        "n": 1,
        "model": "m",
        "est": 12,
        "cap": 64,
        "at": 5.0,
        "latency": 0.5,
        "final": "succeeded",
        "attempts": 1,
        "outcome": "ok",
        "finish": "stop",
        "text": " yes\n",
        "calls": [],
        "usage": USAGE,
        "cost": 0.25,
    } | more


def failed(row: int, slot: int = 0, **more: Any) -> dict[str, Any]:
    failure = {"kind": "server_error", "message": "it broke", "status": 500, "ambiguous": False}
    whole = replied(row, slot)
    return {key: whole[key] for key in list(whole)[:11]} | {"attempts": 1, "final": None, "failure": failure} | more


def row(index: int, **columns: Any) -> Row:
    return Row(index, f"line {index + 1}", columns, "d")


class Run:
    """A journal and an input, and the tables folded from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal.jsonl"
        self.results = folder / "results.parquet"

    def tables(
        self,
        records: list[Record],
        frames: list[dict[str, Any]],
        columns: dict[str, Any] | None = None,
        models: tuple[str, ...] = ("m",),
        **options: Any,
    ) -> Tables:
        if frames or not self.journal.exists():
            book = Journal(DiskFile(self.journal))
            for frame in frames:
                book.append(frame)
            book.close()
        return Tables(
            lambda: records,
            lambda one: [(slot, f"id-{one.index}", model, model) for slot, model in enumerate(models)],
            read_history(self.journal, len(models)),
            self.journal,
            columns or {},
            **options,
        )

    def fold(self, *args: Any, **options: Any) -> list[dict[str, Any]]:
        """The lines of the results table."""
        self.tables(*args, **options).write_results(self.results)
        return pl.read_parquet(self.results).to_dicts()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


# What a line says.


def test_a_reply_fills_its_line(run: Run) -> None:
    """The runner's columns come from the frame that ended the task."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    [line] = run.fold([row(0)], [replied(0, calls=[call], outcome="tool_calls", attempts=2)])
    assert line == {
        "row": 0,
        "id": "id-0",
        "model": "m",
        "annotator": "m",
        "status": "succeeded",
        "outcome": "tool_calls",
        "text": " yes\n",
        "answer": "yes",
        "answer_status": None,
        "repairs": None,
        "invalid_reason": None,
        "confidence": None,
        "tool_calls": orjson.dumps([call]).decode(),
        "error_type": None,
        "error_message": None,
        "finish_reason": "stop",
        "estimated_input_tokens": 12,
        "input_tokens": 10,
        "cached_input_tokens": 2,
        "output_tokens": 3,
        "reasoning_tokens": 1,
        "max_tokens": 64,
        "cost_usd": 0.25,
        "attempts": 2,
        "latency_s": 0.5,
    }


@pytest.mark.parametrize(
    ("last", "times"),
    [
        (replied(0, before=BEFORE), 3),
        (failed(0, final="errored", before=BEFORE), 2),
        (None, 2),
        (replied(0), 3),
        (failed(0, final="errored"), 2),
    ],
    ids=["answered", "errored", "open", "answered, early", "errored, early"],
)
def test_a_line_has_what_all_replies_to_its_task_have_cost(run: Run, last: dict[str, Any] | None, times: int) -> None:
    """Those among them that were asked again, however the task ended: the table's sums are those of the run."""
    asked = [replied(0, final=None), replied(0, final=None, outcome="truncated")]
    [line] = run.fold([row(0)], asked + ([last] if last else []))
    spent = {name: line[name] / times for name in results.SPENT}
    assert spent == {
        "estimated_input_tokens": 12,
        "input_tokens": 10,
        "cached_input_tokens": 2,
        "output_tokens": 3,
        "reasoning_tokens": 1,
        "cost_usd": 0.25,
    }


@pytest.mark.parametrize(
    "kind",
    [pl.Datetime("ns"), pl.Datetime("ns", "Europe/Berlin"), pl.Duration("ns"), pl.Time()],
    ids=["moment", "moment in a zone", "duration", "time"],
)
def test_nanoseconds_come_out_as_they_went_in(run: Run, tmp_path: Path, kind: Any) -> None:
    """Python's times end at microseconds; a row has the rest beside them."""
    given = pl.Series("at", [1_123_456_789, None, 86_399_999_999_999], dtype=pl.Int64).cast(kind)
    given.to_frame().write_parquet(tmp_path / "input.parquet")
    records = list(Source(tmp_path / "input.parquet"))
    run.fold(records, [replied(number) for number in range(3)], {"at": kind})
    found = pl.read_parquet(run.results)["at"]
    assert found.dtype == kind
    assert found.to_physical().to_list() == given.to_physical().to_list()


def test_times_within_lists_and_structs_are_text_to_the_nanosecond(run: Run, tmp_path: Path) -> None:
    """Such columns are JSON in the table."""
    whole = pl.List(pl.Struct({"at": pl.Int64, "n": pl.Int64}))
    given = pl.Series("steps", [[{"at": 1_123_456_789, "n": 1}, None], None], dtype=whole)
    kind = pl.List(pl.Struct({"at": pl.Datetime("ns"), "n": pl.Int64}))
    given.cast(kind).to_frame().write_parquet(tmp_path / "input.parquet")
    records = list(Source(tmp_path / "input.parquet"))
    lines = run.fold(records, [replied(number) for number in range(2)], {"steps": pl.String})
    assert [line["steps"] for line in lines] == ['[{"at":"1970-01-01T00:00:01.123456789","n":1},null]', None]


def test_nanoseconds_of_a_column_that_is_text_in_the_table_are_no_number(run: Run) -> None:
    """As where another file has a text in this column."""
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    fine = Row(0, "row 0", {"at": moment}, "d", {"at": 1_767_323_045_000_000_001})
    [line] = run.fold([fine], [replied(0)], {"at": pl.String()})
    assert line["at"] == '"2026-01-02T03:04:05+00:00"'


def test_what_a_reply_means_is_handed_in(run: Run) -> None:
    """It is read from the journal's text each time the table is made, so that a better reader needs no new request."""

    def cells(text: str, outcome: str, columns: Mapping[str, Any]) -> dict[str, str | None]:
        return {"answer": f"{text.strip()}-{columns['n']}", "answer_status": outcome, "invalid_reason": "a \udc80 b"}

    lines = run.fold([row(0, n=7), row(1, n=8)], [replied(0), failed(1, final="errored")], {"n": pl.Int64}, cells=cells)
    assert [(line["answer"], line["answer_status"], line["invalid_reason"]) for line in lines] == [
        ("yes-7", "ok", "a ? b"),
        (None, None, None),
    ]


def test_a_failure_fills_its_line(run: Run) -> None:
    """An errored task says what went wrong, and has no answer."""
    [line] = run.fold([row(0)], [failed(0, final="errored", attempts=3)])
    assert {name: value for name, value in line.items() if value is not None} == {
        "row": 0,
        "id": "id-0",
        "model": "m",
        "annotator": "m",
        "status": "errored",
        "error_type": "server_error",
        "error_message": "it broke",
        "estimated_input_tokens": 12,
        "max_tokens": 64,
        "attempts": 3,
        "latency_s": 0.5,
    }


def test_lines_stand_in_input_order_whatever_the_order_of_answers(run: Run) -> None:
    """Answers come as they come; the table is in the order of the input."""
    lines = run.fold([row(n) for n in range(5)], [replied(n, text=str(n)) for n in (4, 0, 3, 1, 2)])
    assert [(line["row"], line["text"]) for line in lines] == [(n, str(n)) for n in range(5)]


def test_every_task_has_one_line(run: Run) -> None:
    """G1: answered, failed, tried again, unreadable or never sent, each is there once."""
    records: list[Record] = [row(0), BadRow(1, "line 2", "not JSON"), row(2), row(3)]
    bad = {"kind": "bad_row", "message": "line 2: not JSON"}
    frames = [
        failed(0),
        replied(0),
        {"t": "ended", "row": 1, "slot": 0, "model": "", "attempts": 0, "final": "errored", "failure": bad},
        failed(3, final="errored"),
    ]
    lines = run.fold(records, frames)
    assert [(line["row"], line["status"]) for line in lines] == [
        (0, "succeeded"),
        (1, "errored"),
        (2, "canceled"),
        (3, "errored"),
    ]
    assert lines[1]["error_message"] == "line 2: not JSON"


def test_every_model_of_a_row_has_its_own_line(run: Run) -> None:
    """With `--each`, a row is as many tasks as there are models."""
    frames = [replied(0, 1, model="b", text="of b"), replied(0, 0, model="a", text="of a")]
    lines = run.fold([row(0), row(1)], frames, models=("a", "b"))
    assert [(line["row"], line["model"], line["text"]) for line in lines] == [
        (0, "a", "of a"),
        (0, "b", "of b"),
        (1, "a", None),
        (1, "b", None),
    ]


@pytest.mark.parametrize("status", [Status.CANCELED, Status.EXPIRED])
def test_tasks_without_an_outcome_have_the_open_status(run: Run, status: Status) -> None:
    """What a run did not get to says why, and nothing else."""
    [line] = run.fold([row(0)], [], open_status=status)
    assert {name: value for name, value in line.items() if value is not None} == {
        "row": 0,
        "id": "id-0",
        "model": "m",
        "annotator": "m",
        "status": status,
    }


def test_the_model_that_answered_is_named(run: Run) -> None:
    """Of a pool, the line names the one that was asked."""
    [line] = run.fold([row(0)], [replied(0, model="other")], models=("a|b",))
    assert line["model"] == "other"


# The input's columns.


def test_the_input_s_columns_follow_with_their_types(run: Run) -> None:
    """Numbers stay numbers; what differs from row to row becomes JSON text."""
    records: list[Record] = [
        row(0, n=1, x=1, flag=True, mixed={"a": [1, None]}, words="é"),
        row(1, n=2, x=0.5, flag=False, mixed="plain", words="b"),
        row(2),
    ]
    types = {"n": pl.Int64, "x": pl.Float64, "flag": pl.Boolean, "mixed": pl.String, "words": pl.String}
    lines = run.fold(records, [], types)
    assert list(lines[0])[len(RESULT_SCHEMA) :] == list(types)
    assert [[line[name] for name in types] for line in lines] == [
        [1, 1.0, True, '{"a":[1,null]}', "é"],
        [2, 0.5, False, "plain", "b"],
        [None] * 5,
    ]


@pytest.mark.fault("O14")
def test_columns_that_the_runner_has_too_are_renamed(run: Run) -> None:
    """O14: an input that is somebody's results table loses nothing and hides nothing."""
    [line] = run.fold([row(0, status="mine", text="asked")], [replied(0)], {"status": pl.String, "text": pl.String})
    assert (line["status"], line["input_status"]) == ("succeeded", "mine")
    assert (line["text"], line["input_text"]) == (" yes\n", "asked")


@pytest.mark.fault("O14")
def test_renamed_columns_do_not_hide_others(run: Run) -> None:
    """O14: results of results have `input_status` already, and it keeps its values, too."""
    [line] = run.fold(
        [row(0, status="mine", input_status="older")], [], {"status": pl.String, "input_status": pl.String}
    )
    assert {"mine", "older"} <= set(line.values())


def test_an_id_column_that_did_not_name_the_task_is_kept(run: Run) -> None:
    """A row whose id came from another column keeps its own `id` as data."""
    [line] = run.fold([row(0, custom_id="id-0", id="other")], [], {"custom_id": pl.String, "id": pl.String})
    assert line["id"] == "id-0"
    assert "other" in line.values()


def test_columns_of_parquet_keep_their_types(run: Run) -> None:
    """Times, decimals and small integers come out as they went in; nested values and bytes as text."""
    types = {
        "day": pl.Date(),
        "at": pl.Datetime("us", "UTC"),
        "took": pl.Duration("us"),
        "money": pl.Decimal(10, 2),
        "small": pl.UInt8(),
        "big": pl.UInt64(),
        "kind": pl.Enum(["a", "b"]),
        "nothing": pl.Null(),
        "list": pl.String(),
        "bytes": pl.String(),
    }
    values = {
        "day": dt.date(2026, 1, 2),
        "at": dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC),
        "took": dt.timedelta(seconds=1.5),
        "money": decimal.Decimal("1.25"),
        "small": 255,
        "big": 2**64 - 1,
        "kind": "b",
        "nothing": None,
    }
    [line] = run.fold([row(0, **values, list=[dt.date(2026, 1, 2)], bytes=b"\xff\0")], [], types)
    assert {name: line[name] for name in values} == values
    assert (line["list"], line["bytes"]) == ('["2026-01-02"]', '"/wA="')
    assert dict(pl.read_parquet_schema(run.results)) == RESULT_SCHEMA | types


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, -(2**63)])
@pytest.mark.fault("I10")
def test_integers_that_json_allows_do_not_stop_the_table(run: Run, number: int) -> None:
    """I10: a column of whole numbers may hold one that is larger than 64 bits with a sign."""
    lines = run.fold([row(0, n=1), row(1, n=number)], [replied(0)], {"n": pl.Int64})
    assert [line["row"] for line in lines] == [0, 1]


@pytest.mark.parametrize(("kind", "cell"), [(pl.String, str(10**300)), (pl.Float64, 1e300), (pl.Int64, None)])
def test_integers_of_any_size_do_not_stop_the_table(run: Run, kind: Any, cell: Any) -> None:
    """They are text, where a survey has seen them; nested ones are JSON."""
    [line] = run.fold([row(0, n=10**300, inner=[10**30])], [replied(0)], {"n": kind, "inner": pl.String})
    assert (line["n"], line["inner"]) == (cell, f"[{10**30}]")


@pytest.mark.parametrize("text", ["a\ud800b", "\udfff"])
@pytest.mark.fault("I4")
def test_lone_surrogates_do_not_stop_the_table(run: Run, text: str) -> None:
    """I4: what is legal in JSON and no UTF-8 is replaced, in an input column as in an answer."""
    [line] = run.fold([row(0, t=text)], [replied(0)], {"t": pl.String})
    assert line["t"] == text.encode("utf-8", "replace").decode()


# The file.


def folded(run: Run, write: Callable[[Tables, Path], None]) -> set[bytes]:
    """The bytes of three foldings of one journal."""
    records: list[Record] = [row(n, n=n, text=f"text {n}") for n in range(50)]
    frames = [replied(n) if n % 3 else failed(n, final="errored") for n in range(40)]
    made = set()
    for turn in range(3):
        tables = run.tables(records, frames if turn == 0 else [], {"n": pl.Int64, "text": pl.String})
        tables.write_results(run.results)
        target = run.folder / f"{turn}.parquet"
        write(tables, target)
        made.add(target.read_bytes())
    return made


@pytest.mark.parametrize("batch", [7, 5000])
@pytest.mark.parametrize("table", ["results", "errors", "attempts"])
@pytest.mark.promise("tables")
def test_folding_again_gives_the_same_bytes(run: Run, table: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """G7: tables can be thrown away and made again."""
    monkeypatch.setattr(results, "BATCH", batch)
    write: dict[str, Callable[[Tables, Path], None]] = {
        "results": lambda tables, path: tables.write_results(path),
        "errors": lambda tables, path: tables.write_errors(run.results, path),
        "attempts": lambda tables, path: tables.write_attempts(path),
    }
    assert len(folded(run, write[table])) == 1


@pytest.mark.fault("I19")
def test_rows_over_several_batches_stay_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """I19: a batch is a matter of memory only."""
    monkeypatch.setattr(results, "BATCH", 10)
    monkeypatch.setattr(results, "GROUP", 4)
    lines = run.fold([row(n) for n in range(105)], [replied(n) for n in reversed(range(105))])
    assert [line["row"] for line in lines] == list(range(105))


@pytest.mark.fault("O16")
def test_large_rows_are_written_a_few_at_a_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory goes by bytes: a batch of five thousand rows of a megabyte would be none."""
    sizes: list[int] = []
    frame = results._frame

    def noted(batch: list[dict[str, Any]], *rest: Any) -> pl.DataFrame:
        sizes.append(len(batch))
        return frame(batch, *rest)

    monkeypatch.setattr(results, "_frame", noted)
    monkeypatch.setattr(results, "BATCH_BYTES", 30_000)
    lines = run.fold([row(n) for n in range(25)], [replied(n, text="x" * 10_000) for n in range(25)])
    assert [line["row"] for line in lines] == list(range(25))
    assert max(sizes[1:]) <= 3


@pytest.mark.fault("I12")
def test_a_run_of_no_rows_has_tables_with_all_columns(run: Run) -> None:
    """I12: an empty table has its full schema."""
    tables = run.tables([], [], {"n": pl.Int64})
    tables.write_results(run.results)
    tables.write_errors(run.results, run.folder / "errors.parquet")
    tables.write_attempts(run.folder / "attempts.parquet")
    assert dict(pl.read_parquet_schema(run.results)) == {**RESULT_SCHEMA, "n": pl.Int64}
    assert tuple(pl.read_parquet_schema(run.folder / "errors.parquet")) == ERROR_COLUMNS
    assert dict(pl.read_parquet_schema(run.folder / "attempts.parquet")) == ATTEMPT_SCHEMA


@pytest.mark.fault("O8")
def test_tables_are_for_their_owner_alone(run: Run) -> None:
    """O8: answers are nobody else's to read."""
    run.fold([row(0)], [replied(0)])
    assert stat.S_IMODE(run.results.stat().st_mode) == 0o600


def test_the_errors_table_has_what_did_not_succeed(run: Run) -> None:
    """Errored and open tasks, in input order, with the reason."""
    tables = run.tables([row(n) for n in range(3)], [failed(2, final="errored"), replied(1)])
    tables.write_results(run.results)
    tables.write_errors(run.results, run.folder / "errors.parquet")
    assert pl.read_parquet(run.folder / "errors.parquet").rows() == [
        (0, "id-0", "m", "canceled", None, None, None),
        (2, "id-2", "m", "errored", "server_error", "it broke", 1),
    ]


def test_the_attempts_table_has_every_landing_in_its_order(run: Run) -> None:
    """What was paid for twice or refused is there, too."""
    ambiguous = {"kind": "timeout", "message": "a\ud800", "status": None, "ambiguous": True}
    frames = [
        {"t": "header", "version": 1, "run": "r"},
        {"t": "sent", "row": 1, "slot": 0, "n": 1, "model": "m", "est": 12, "cap": 64, "at": 1.0},
        failed(1, n=1),
        replied(0),
        replied(1, n=3),
    ]
    frames[2]["failure"] = {**ambiguous, "message": "late"}
    run.tables([], frames).write_attempts(run.folder / "attempts.parquet")
    lines = pl.read_parquet(run.folder / "attempts.parquet").to_dicts()
    assert [(line["row"], line["attempt"], line["status"], line["http_status"]) for line in lines] == [
        (1, 1, "failed", None),
        (0, 1, "replied", 200),
        (1, 3, "replied", 200),
    ]
    assert (lines[0]["error_type"], lines[0]["error_message"], lines[0]["ambiguous"]) == ("timeout", "late", True)
    assert (lines[1]["input_tokens"], lines[1]["ambiguous"], lines[1]["landed_at"]) == (10, False, 5.0)


def test_the_attempts_table_has_what_a_session_left_without_an_answer(run: Run) -> None:
    """It may have been billed; what is under way in the last session is not known yet."""
    sent = [{"t": "sent", "row": n, "slot": 0, "n": 1, "model": "m", "est": 12, "cap": 64, "at": 1.0} for n in (0, 1)]
    run.tables([], [*sent, replied(0), {"t": "session"}, sent[1]]).write_attempts(run.folder / "attempts.parquet")
    lines = pl.read_parquet(run.folder / "attempts.parquet").to_dicts()
    assert [(line["row"], line["status"], line["ambiguous"]) for line in lines] == [
        (0, "replied", False),
        (1, "unanswered", True),
    ]
    assert (lines[1]["landed_at"], lines[1]["estimated_input_tokens"], lines[1]["input_tokens"]) == (None, 12, None)


# Failure.


@pytest.mark.fault("P10")
def test_a_full_disk_leaves_the_table_that_was_there(run: Run, disk_full_at: Any) -> None:
    """A table is replaced whole or not at all, and no half of one stays beside it."""
    run.fold([row(0)], [replied(0)])
    before = run.results.read_bytes()
    more = run.tables([row(n, text=f"{n * 7919:x}" * 20) for n in range(2000)], [], {"text": pl.String})
    with disk_full_at(4096), pytest.raises(StorageFailed, match=r"results\.parquet cannot be written"):
        more.write_results(run.results)
    assert run.results.read_bytes() == before
    assert sorted(path.name for path in run.folder.iterdir()) == ["journal.jsonl", "results.parquet"]


@pytest.mark.fault("P20")
def test_a_journal_that_no_longer_reads_leaves_the_table_that_was_there(run: Run) -> None:
    """Damage that is found while folding is told, and nothing is replaced."""
    run.fold([row(0)], [replied(0)])
    before = run.results.read_bytes()
    again = run.tables([row(0)], [])
    content = bytearray(run.journal.read_bytes())
    content[30] ^= 1
    run.journal.write_bytes(content)
    with pytest.raises(StorageFailed, match="no longer reads back"):
        again.write_results(run.results)
    assert run.results.read_bytes() == before


@pytest.mark.fault("P13")
def test_a_folder_that_is_gone_is_a_storage_failure(run: Run) -> None:
    """The path is named."""
    with pytest.raises(StorageFailed, match=r"gone/results\.parquet cannot be written"):
        run.tables([row(0)], []).write_results(run.folder / "gone" / "results.parquet")


@pytest.mark.parametrize("name", ["run[1]", "run?", "50%", "a b"])
def test_folders_may_have_any_name(tmp_path: Path, name: str) -> None:
    """A name is a name, and no pattern that finds other files."""
    folder = tmp_path / name
    folder.mkdir()
    run = Run(folder)
    tables = run.tables([row(0)], [])
    tables.write_results(run.results)
    tables.write_errors(run.results, folder / "errors.parquet")
    assert {path.name for path in folder.iterdir()} == {"journal.jsonl", "results.parquet", "errors.parquet"}


# An input that was changed.


@pytest.mark.fault("I15")
@pytest.mark.parametrize("at", [0, 200], ids=["an early row", "a late row"])
def test_no_answer_stands_beside_a_row_that_was_not_asked(run: Run, at: int) -> None:
    """A file that was written over while the run went is told, and makes no table."""
    records: list[Record] = [row(n) for n in range(201)]
    frames = [replied(n, key="d") for n in range(201)]
    run.fold(records, frames)
    before = run.results.read_bytes()
    records[at] = Row(at, f"line {at + 1}", {}, "another")
    with pytest.raises(InputRejected, match=f"changed while the run went: line {at + 1} is not what was asked"):
        run.fold(records, [])
    assert run.results.read_bytes() == before


@pytest.mark.fault("I15")
@pytest.mark.parametrize("at", [0, 200], ids=["an early row", "a late row"])
def test_no_answer_stands_beside_a_row_that_can_no_longer_be_read(run: Run, at: int) -> None:
    """A line that was an object when it was asked, and is none now, is a changed one as well."""
    records: list[Record] = [row(n) for n in range(201)]
    records[at] = BadRow(at, f"line {at + 1}", "not JSON")
    with pytest.raises(InputRejected, match=f"changed while the run went: line {at + 1} is not what was asked"):
        run.fold(records, [replied(n, key="d") for n in range(201)])
    assert [path.name for path in run.folder.iterdir()] == ["journal.jsonl"]


@pytest.mark.fault("I15")
def test_rows_that_are_gone_are_missed(run: Run) -> None:
    """Nor does one that was cut short: answers would be nowhere."""
    with pytest.raises(InputRejected, match="changed while the run went: row 2 is not what was asked"):
        run.fold([row(0), row(1)], [replied(n, key="d") for n in range(3)])


def test_a_row_that_could_not_be_asked_is_no_changed_row(run: Run) -> None:
    """Its frame knows no content, because nothing was asked."""
    assert run.fold([row(0)], [replied(0, key="")])[0]["status"] == "succeeded"
