"""Input rows out of files as people and programs write them, whole or damaged."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import os
import random
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.core.errors import InputRejected
from runner.storage import rows
from runner.storage.rows import BadRow, Row, Source, named_by_content, spool

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LINES = b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a file and give it back as a source."""

    def make(content: bytes | str, name: str = "input.jsonl") -> Source:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Source(path)

    return make


def columns(source: Source) -> list[Any]:
    """The columns of all records, and the reason where a record is bad."""
    return [record.columns if isinstance(record, Row) else record.reason for record in source]


# JSONL.


@pytest.mark.parametrize(
    "content",
    {
        "plain": b'{"a": 1}\n{"a": 2}\n',
        "no newline at the end": b'{"a": 1}\n{"a": 2}',
        "a byte order mark": b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n',
        "CRLF": b'{"a": 1}\r\n{"a": 2}\r\n',
        "blank lines": b'\n\n{"a": 1}\n   \n\r\n\t\n{"a": 2}\n\n',
        "spaces around": b'  {"a": 1}\t\n {"a": 2} \n',
    }.values(),
    ids=["plain", "no newline at the end", "byte order mark", "CRLF", "blank lines", "spaces around"],
)
def test_objects_are_read_however_their_lines_end(write: Any, content: bytes) -> None:
    """Line ends, blank lines, spaces and a byte order mark are no part of the data."""
    assert columns(write(content)) == [{"a": 1}, {"a": 2}]


def test_blank_lines_are_counted_in_line_numbers_and_not_in_positions(write: Any) -> None:
    """A message names the line that an editor shows; positions count records."""
    read = list(write(b'\n{"a": 1}\n\n\n{"a": 2}\n'))
    assert [(record.index, record.where) for record in read] == [(0, "line 2"), (1, "line 5")]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x1c", "\x0b"])
@pytest.mark.fault("I5")
def test_unicode_line_separators_inside_texts_do_not_end_a_line(write: Any, separator: str) -> None:
    """I5: only the byte 0x0A ends a line."""
    escaped = separator if separator > "\x1f" else f"\\u{ord(separator):04x}"
    assert columns(write(f'{{"a": "x{escaped}y"}}\n{{"a": 2}}\n')) == [{"a": f"x{separator}y"}, {"a": 2}]


@pytest.mark.fault("I1")
def test_a_bad_line_is_named_by_line_and_byte_and_the_rest_is_read(write: Any) -> None:
    """I1: one bad line is one bad record."""
    good, bad, last = write(b'{"a": "\xc3\xa9"}\n{"a": "\xc3\xa9", b}\n{"a": 3}\n')
    assert (good.columns, last.columns, last.index) == ({"a": "é"}, {"a": 3}, 2)
    assert isinstance(bad, BadRow)
    assert (bad.index, bad.where) == (1, "line 2")
    assert bad.reason.startswith("not JSON at byte 24:")  # 12 bytes of line 1, and `{"a": "é", ` with é as two


def test_a_line_in_another_encoding_is_named_by_its_first_byte(write: Any) -> None:
    """Not by where it begins."""
    [_, bad] = write(b'{"a": 1}\n{"a": "caf\xe9"}\n')
    assert bad.reason == "not JSON at byte 19: it is not UTF-8"


def test_the_byte_of_an_error_behind_a_byte_order_mark_counts_the_mark(write: Any) -> None:
    """The byte that is named is where a hex editor finds the error."""
    [bad] = write(b"\xef\xbb\xbf{x}\n")
    assert bad.reason.startswith("not JSON at byte 4:")


@pytest.mark.parametrize(
    ("line", "kind"),
    [("[1]", "array"), ('"a"', "string"), ("1", "number"), ("1.5", "number"), ("null", "null"), ("true", "boolean")],
)
def test_json_that_is_no_object_is_a_bad_row(write: Any, line: str, kind: str) -> None:
    """The reason says what there is in place of an object, and where."""
    assert columns(write(f'{{"a": 1}}\n{line}\n{{"a": 2}}\n'))[1] == f"a JSON {kind}, not an object (byte 9)"


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800"}',
        b'{"a": NaN}',
        b'{"a": 1}{"a": 2}',
        b'{"a": 1}\r{"a": 2}',
        b"\xef\xbb\xbf{}",
        b"\0\0\0",
        b"[" * 100_000,
        b'{"a": ' * 100_000,
    ],
    ids=[
        "not UTF-8",
        "an encoded surrogate",
        "a lone surrogate",
        "NaN",
        "two objects",
        "CR only",
        "a late byte order mark",
        "zero bytes",
        "deep lists",
        "deep objects",
    ],
)
@pytest.mark.fault("I2")
@pytest.mark.fault("I3")
@pytest.mark.fault("I4")
@pytest.mark.fault("I6")
@pytest.mark.fault("I10")
def test_a_line_that_cannot_be_read_costs_only_itself(write: Any, line: bytes) -> None:
    """I2, I3, I4, I6, I10: nothing in a line reaches beyond it, and nothing is replaced silently."""
    before, bad, behind = columns(write(b'{"a": 0}\n' + line + b'\n{"a": 3}\n'))
    assert (before, behind) == ({"a": 0}, {"a": 3})
    assert bad.startswith("not JSON at byte ")


@pytest.mark.fault("I10")
def test_numbers_of_any_size_are_read_without_error(write: Any) -> None:
    """I10: 5,000 digits and exponents beyond a double are at worst a bad row."""
    read = columns(write(b'{"a": ' + b"9" * 5000 + b'}\n{"a": 1e400}\n{"a": 18446744073709551616}\n{"a": -0}\n'))
    assert len(read) == 4
    assert read[3] == {"a": 0}


@pytest.mark.fault("I11")
def test_a_line_that_is_too_long_is_named_and_the_next_is_read(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """I11: the reader finds the next newline, however many pieces away."""
    monkeypatch.setattr(rows, "LONGEST_LINE", 64)
    long = [b'{"a": "' + b"x" * size + b'"}\n' for size in (60, 64, 119, 120, 1000)]
    read = list(write(b'{"a": 1}\n' + b"".join(line + b'{"a": 2}\n' for line in long)))
    assert [record.where for record in read if isinstance(record, BadRow)] == [f"line {n}" for n in (2, 4, 6, 8, 10)]
    assert [record.columns for record in read if isinstance(record, Row)] == [{"a": 1}, *[{"a": 2}] * 5]
    assert read[3].reason.endswith(f"(byte {9 + len(long[0]) + 9})")


@pytest.mark.parametrize("size", [52, 53, 54])
def test_a_line_as_long_as_is_allowed_is_read(write: Any, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The bound is on the line with its newline, and is itself allowed."""
    monkeypatch.setattr(rows, "LONGEST_LINE", 64)
    line = b'{"a": "' + b"x" * size + b'"}\n'
    assert len(line) <= 64
    assert columns(write(line + line)) == [{"a": "x" * size}] * 2


def test_a_too_long_last_line_without_a_newline_ends_the_reading(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is one endless line is one bad record."""
    monkeypatch.setattr(rows, "LONGEST_LINE", 64)
    [bad] = write(b"x" * 1000)
    assert isinstance(bad, BadRow)


@pytest.mark.fault("I12")
def test_an_empty_file_has_no_rows(write: Any) -> None:
    """I12: nothing is an input of no rows."""
    assert columns(write(b"")) == []


def test_the_first_row_is_read_without_the_rest(write: Any) -> None:
    """A file of 50 MB is not in memory because of its first record."""
    source = write(b'{"a": 1}\n')
    os.truncate(source.path, 50 * 2**20)
    source = Source(source.path)
    tracemalloc.start()
    try:
        assert next(iter(source)).columns == {"a": 1}
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_many_rows_are_never_in_memory_together(write: Any) -> None:
    """Reading 5 MB row by row takes no more memory than a few rows do."""
    source = write(b'{"a": "' + b"x" * 500 + b'"}\n' * 1 + (b'{"a": "' + b"x" * 500 + b'"}\n') * 10_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in source) == 10_001
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_source_can_be_read_again_from_its_beginning(write: Any) -> None:
    """Every iteration starts at the first record."""
    source = write(LINES)
    assert columns(source) == columns(source)


names = st.text(st.characters(codec="utf-8"), max_size=5)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
blanks = st.lists(st.sampled_from([b"", b" ", b"\t", b"\r", b" \r"]), max_size=2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    objects=st.lists(st.tuples(st.dictionaries(names, values, max_size=4), blanks), max_size=6),
    ascii_only=st.booleans(),
    ends=st.booleans(),
)
def test_any_objects_are_read_back_as_they_were_written(
    tmp_path: Path, objects: list[tuple[dict[str, Any], list[bytes]]], ascii_only: bool, ends: bool
) -> None:
    """Whatever JSON objects are written as JSONL come back equal, with blank lines anywhere between them."""
    lines = []
    for value, empty in objects:
        lines += [*empty, json.dumps(value, ensure_ascii=ascii_only).encode()]
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends else b""))
    read = list(Source(path))
    assert [record.columns for record in read if isinstance(record, Row)] == [value for value, _ in objects]
    assert [record.index for record in read] == list(range(len(objects)))


def test_integers_of_any_size_are_read_exactly(write: Any) -> None:
    """Ids among them, wherever they stand: as floats two of them would be one."""
    huge = 10**300 + 1
    [row] = write(f'{{"id": {huge}, "in": [{{"n": -{huge}}}, 1e30, 1.5], "most": {2**64 - 1}}}'.encode())
    assert row.columns == {"id": huge, "in": [{"n": -huge}, 1e30, 1.5], "most": 2**64 - 1}
    assert type(row.columns["in"][1]) is float


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=300), name=st.sampled_from(["any.jsonl", "any.csv", "any.tsv"]))
def test_any_bytes_are_read_or_rejected(tmp_path: Path, content: bytes, name: str) -> None:
    """No content of a file ends in anything but records or InputRejected."""
    path = tmp_path / name
    path.write_bytes(content)
    try:
        read = list(Source(path))
    except InputRejected:
        return
    assert [record.index for record in read] == list(range(len(read)))


# Digests.


@pytest.mark.fault("I7")
def test_equal_records_have_equal_digests_wherever_they_stand(write: Any) -> None:
    """I7: position, line end and byte order mark are no part of a record's content."""
    marked = list(write(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\n', "one.jsonl"))
    moved = list(write(b'\n{"a": 2}\n  {"a": 1}', "two.jsonl"))
    assert [record.digest for record in marked] == [record.digest for record in reversed(moved)]
    assert marked[0].digest != marked[1].digest


@pytest.mark.parametrize("name", ["input.csv", "input.parquet"])
def test_equal_records_of_tables_have_equal_digests(tmp_path: Path, name: str) -> None:
    """The same holds for CSV and Parquet."""
    frame = pl.DataFrame({"a": [1, 2, 1], "b": ["x", "y", "x"]})
    path = tmp_path / name
    (frame.write_csv if name.endswith("csv") else frame.write_parquet)(path)
    first, second, third = (record.digest for record in Source(path))
    assert first == third != second


@pytest.mark.fault("I15")
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pl.Float64, [float("nan"), None, float("inf"), float("-inf")]),
        (pl.List(pl.Float64), [[float("nan")], [None], [float("inf")], None, []]),
        (pl.Struct({"x": pl.Float64}), [{"x": float("nan")}, {"x": None}, {"x": float("inf")}]),
        (pl.Datetime("ns"), [1, 2, 1_001, None]),
        (pl.List(pl.Time), [[1], [2], [None]]),
    ],
    ids=["float", "list", "struct", "moment", "list of times"],
)
def test_rows_that_differ_have_digests_that_differ(tmp_path: Path, kind: Any, values: list[Any]) -> None:
    """Also where JSON writes both alike, and where times differ by nanoseconds: else a changed row is the same."""
    pl.DataFrame({"a": values}, schema={"a": kind}, strict=False).write_parquet(tmp_path / "rows.parquet")
    again = [record.digest for record in Source(tmp_path / "rows.parquet")]
    assert len(set(again)) == len(values)
    assert [record.digest for record in Source(tmp_path / "rows.parquet")] == again


@pytest.mark.fault("I15")
def test_a_file_digest_tells_changed_files_apart(write: Any) -> None:
    """I15: one byte more is another input."""
    before = write(LINES, "one.jsonl").digest()
    assert write(LINES, "two.jsonl").digest() == before != write(LINES + b"\n", "three.jsonl").digest()


# Packed files.


def packed(how: str, content: bytes) -> bytes:
    return gzip.compress(content, mtime=0) if how == "gzip" else zstd.compress(content)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("name", ["input.jsonl", "input.jsonl.gz", "input.jsonl.zst", "input", "input.txt"])
@pytest.mark.fault("I13")
def test_packed_files_are_known_by_their_first_bytes(write: Any, how: str, name: str) -> None:
    """I13: what a file is called does not matter."""
    assert columns(write(packed(how, LINES), name)) == [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_packed_csv_is_read(write: Any, how: str) -> None:
    """The name under the packing's own ending says what is inside."""
    suffix = {"gzip": "gz", "zstd": "zst"}[how]
    assert columns(write(packed(how, b"a,b\n1,2\n"), f"input.csv.{suffix}")) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.fault("I13")
def test_archives_of_several_members_are_read_through(write: Any, how: str) -> None:
    """I13: `cat a.gz b.gz` is one file."""
    assert len(columns(write(packed(how, LINES) + packed(how, LINES)))) == 6


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("name", ["input.jsonl", "input.csv"])
@pytest.mark.fault("I13")
def test_a_truncated_archive_is_rejected(write: Any, how: str, name: str) -> None:
    """I13: the end that is missing is not taken for the end of the data."""
    source = write(packed(how, LINES)[:-6], name)
    with pytest.raises(InputRejected, match=name):
        list(source)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("name", ["input.jsonl", "input.csv"])
@pytest.mark.fault("I13")
def test_an_archive_with_any_damage_is_read_or_rejected(write: Any, how: str, name: str) -> None:
    """I13: a flipped byte anywhere is no crash."""
    whole = packed(how, random.Random(1).randbytes(60).hex().encode() + b"\n" + LINES)
    for position in range(4, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        try:
            list(write(bytes(damaged), name))
        except InputRejected:
            continue


# CSV and TSV.


def test_csv_fields_keep_quotes_commas_and_newlines(write: Any) -> None:
    """What RFC 4180 quotes is data."""
    content = 'id,text\n1,"a ""quoted"", text\nof two lines"\n2, plain \n'
    assert columns(write(content, "input.csv")) == [
        {"id": "1", "text": 'a "quoted", text\nof two lines'},
        {"id": "2", "text": " plain "},
    ]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_csv_is_read_with_a_byte_order_mark_and_either_line_end(write: Any, ends: str) -> None:
    """Files as spreadsheets save them."""
    assert columns(write(f"\ufeffa,b{ends}1,2{ends}{ends}3,4", "input.csv")) == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]


def test_tsv_is_split_at_tabs(write: Any) -> None:
    """The file's name says so."""
    assert columns(write("a\tb\n1,5\tx\n", "input.TSV")) == [{"a": "1,5", "b": "x"}]


@pytest.mark.parametrize("fields", ["1", "1,2,3"])
def test_a_line_with_the_wrong_number_of_fields_is_a_bad_row(write: Any, fields: str) -> None:
    """The line is named, and the next ones are read."""
    bad, good = write(f"a,b\n{fields}\n3,4\n", "input.csv")
    assert bad == BadRow(0, "line 2", f"{len(fields.split(','))} fields where the header has 2")
    assert (good.index, good.where, good.columns) == (1, "line 3", {"a": "3", "b": "4"})


@pytest.mark.fault("I8")
def test_two_columns_of_one_name_are_rejected(write: Any) -> None:
    """I8: one of them would be lost."""
    with pytest.raises(InputRejected, match="two columns are called 'a'"):
        list(write("a,b,a\n1,2,3\n", "input.csv"))


def test_blank_lines_before_a_header_are_no_header(write: Any) -> None:
    [row] = write(b"\n\na,b\n1,2\n", "rows.csv")
    assert (row.columns, row.where) == ({"a": "1", "b": "2"}, "line 4")


@pytest.mark.parametrize("content", ["", "a,b\n"], ids=["empty", "header only"])
@pytest.mark.fault("I12")
def test_csv_without_data_has_no_rows(write: Any, content: str) -> None:
    """I12: nothing is an input of no rows."""
    assert columns(write(content, "input.csv")) == []


@pytest.mark.parametrize(
    ("content", "first"),
    [
        ("id;price\n1;2,50\n", {"id": "1", "price": "2,50"}),
        ('\ufeff"id";"text"\r\n"1";"a; b, c"\r\n', {"id": "1", "text": "a; b, c"}),
        ("\n\nid;text\n1;x\n", {"id": "1", "text": "x"}),
        ('id,"a;b"\n1;2,3\n', {"id": "1;2", "a;b": "3"}),
        ("id;text,more\n1;x,y\n", {"id;text": "1;x", "more": "y"}),
        ("text\na;b\n", {"text": "a;b"}),
    ],
)
def test_csv_of_spreadsheets_that_write_semicolons_is_read(write: Any, content: str, first: dict[str, str]) -> None:
    """Where the header has semicolons and no comma, they stand between the cells."""
    assert columns(write(content, "input.csv")) == [first]


def test_csv_with_semicolons_names_the_line_of_a_row_with_too_many(write: Any) -> None:
    """Lines are counted as in files with commas."""
    good, bad = write("\nid;text\n1;x\n2;y;z\n", "input.csv")
    assert (good.where, bad.where, bad.reason) == ("line 3", "line 4", "3 fields where the header has 2")


def test_a_long_csv_field_is_read(write: Any) -> None:
    """A document of 200,000 characters is a field like any other: the bound is the one on lines."""
    text = "x" * 200_000
    assert columns(write(f"a,b\n{text},1\n", "input.csv")) == [{"a": text, "b": "1"}]


def test_csv_that_breaks_its_quotes_is_rejected_with_the_line(write: Any) -> None:
    """Behind a wrong quote nobody knows where fields end."""
    with pytest.raises(InputRejected, match=r"line 3: "):
        list(write('a,b\n1,2\n"x"y,2\n3,4\n', "input.csv"))


def test_csv_that_never_closes_a_quote_is_rejected_with_the_line_of_its_row(write: Any) -> None:
    """The last line of the file, where the reader has given up, says nothing."""
    with pytest.raises(InputRejected, match="line 3: a quote is opened in this row, and never closed"):
        list(write('a,b\n1,2\n3,"4\n5,6\n7,8\n', "input.csv"))


@pytest.mark.fault("I3")
def test_csv_that_is_not_utf8_is_rejected_with_the_line(write: Any) -> None:
    """I3: nothing is replaced silently, and a person can find the place."""
    with pytest.raises(InputRejected, match="line 102: byte 0 is not UTF-8"):
        list(write(b"a,b\n" + b"1,2\n" * 100 + b"\xff,2\n" + b"3,4\n" * 100, "input.csv"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(table=st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2), max_size=5))
def test_any_fields_survive_csv(tmp_path: Path, table: list[list[str]]) -> None:
    """Fields written by Python's csv module come back equal."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *table])
    path = tmp_path / "any.csv"
    path.write_bytes(text.getvalue().encode())
    assert columns(Source(path)) == [dict(zip("ab", fields, strict=True)) for fields in table]


# Parquet.


def test_parquet_values_keep_their_types(tmp_path: Path) -> None:
    """Numbers, times, nothing, lists and structures come as Python's own."""
    row = {
        "int": 2**62,
        "float": 0.5,
        "text": "é\u2028",
        "flag": True,
        "nothing": None,
        "day": dt.date(2026, 1, 2),
        "list": [1, 2],
        "struct": {"x": 1, "y": "z"},
        "bytes": b"\xff\0",
    }
    path = tmp_path / "typed.parquet"
    pl.DataFrame([row]).write_parquet(path)
    [read] = Source(path)
    assert read.columns == row
    assert read.where == "row 0"


def test_parquet_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    """What a file is called does not matter."""
    path = tmp_path / "data.jsonl"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    source = Source(path)
    assert columns(source) == [{"a": 1}]
    assert source.schema() == {"a": pl.Int64()}


@pytest.mark.fault("I19")
def test_parquet_rows_stay_in_order_over_row_groups_and_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I19: positions are those in the file, whatever it is cut into."""
    monkeypatch.setattr(rows, "CHUNK", 64)
    monkeypatch.setattr(rows, "FIRST_CHUNK", 5)
    path = tmp_path / "many.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path, row_group_size=37)
    read = list(Source(path))
    assert [record.columns["a"] for record in read] == list(range(1000))
    assert [record.index for record in read] == list(range(1000))


@pytest.mark.fault("I12")
def test_parquet_without_rows_has_no_rows_and_a_schema(tmp_path: Path) -> None:
    """I12: an empty table is an input of no rows."""
    path = tmp_path / "empty.parquet"
    pl.DataFrame(schema={"a": pl.Int64}).write_parquet(path)
    source = Source(path)
    assert list(source) == []
    assert source.schema() == {"a": pl.Int64()}


@pytest.mark.parametrize("name", ["a[1].parquet", "what?.parquet", "all*.parquet"])
def test_parquet_files_may_have_any_name(tmp_path: Path, name: str) -> None:
    """A name is a name, and no pattern that finds other files."""
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "allother.parquet")
    path = tmp_path / name
    with path.open("wb") as file:
        pl.DataFrame({"a": [2]}).write_parquet(file)
    source = Source(path)
    assert columns(source) == [{"a": 2}]
    assert source.schema() == {"a": pl.Int64()}


def test_columns_of_parquet_may_have_any_name(tmp_path: Path) -> None:
    """A name is a name, and no pattern that finds other columns."""
    moments = pl.Series([1, 2]).cast(pl.Time)
    frame = pl.DataFrame({"taken": [1, 2], "^t.*$": moments, "*": moments, "": ["a", "b"]})
    frame.write_parquet(tmp_path / "odd.parquet")
    first = next(iter(Source(tmp_path / "odd.parquet")))
    assert isinstance(first, Row)
    assert list(first.columns) == frame.columns
    assert first.exact == {"^t.*$": 1, "*": 1}


@pytest.fixture
def broken(tmp_path: Path) -> Source:
    """A Parquet file whose footer is damaged."""
    path = tmp_path / "broken.parquet"
    pl.DataFrame({"a": range(100)}).write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:-40] + b"\xff" * 32 + content[-8:])
    return Source(path)


@pytest.mark.fault("I16")
def test_parquet_with_a_corrupt_footer_is_rejected(broken: Source) -> None:
    """I16: the file is named."""
    with pytest.raises(InputRejected, match=r"broken\.parquet"):
        list(broken)


@pytest.mark.fault("I16")
def test_parquet_with_a_corrupt_footer_has_no_schema(broken: Source) -> None:
    """I16: asking for the types rejects the input in the same way."""
    with pytest.raises(InputRejected, match=r"broken\.parquet"):
        broken.schema()


@pytest.mark.parametrize("keep", [4, 12, 300, -1])
@pytest.mark.fault("I16")
def test_truncated_parquet_is_rejected(tmp_path: Path, keep: int) -> None:
    """I16: a download that stopped is no input."""
    path = tmp_path / "broken.parquet"
    pl.DataFrame({"a": range(100)}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputRejected, match=r"broken\.parquet"):
        list(Source(path))


@pytest.mark.fault("I16")
def test_parquet_with_any_damage_is_read_or_rejected(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """I16: no flipped byte ends in anything but records or InputRejected, not even where polars panics."""
    path = tmp_path / "broken.parquet"
    pl.DataFrame({"a": range(50), "b": [f"text {n}" for n in range(50)]}).write_parquet(path)
    whole = path.read_bytes()
    wrong = []
    for position in range(4, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            list(Source(path))
        except InputRejected:
            continue
        except BaseException as error:
            wrong.append((position, type(error).__name__))
    capfd.readouterr()
    assert wrong == []


# Files that are none.


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(InputRejected, match=r"no input at .*gone\.jsonl"):
        Source(tmp_path / "gone.jsonl")


@pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
@pytest.mark.fault("I14")
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    """I14: nothing that would block or never end is opened."""
    path = tmp_path / "odd.jsonl"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputRejected, match="not a regular file"):
        Source(path)


@pytest.mark.fault("I14")
def test_links_are_followed_to_regular_files_and_loops_are_rejected(tmp_path: Path) -> None:
    """I14: a link to a file is that file; a loop leads nowhere."""
    (tmp_path / "real.jsonl").write_bytes(LINES)
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    assert len(list(Source(tmp_path / "link.jsonl"))) == 3
    with pytest.raises(InputRejected):
        Source(tmp_path / "loop.jsonl")


def test_a_name_longer_than_any_file_can_have_is_rejected(tmp_path: Path) -> None:
    """A text given in place of a path is an input that does not exist."""
    with pytest.raises(InputRejected):
        Source(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["fake.parquet", "fake.pq", "fake.parquet.gz"])
@pytest.mark.parametrize("content", [b"", LINES])
def test_a_file_that_is_only_called_parquet_is_rejected(write: Any, name: str, content: bytes) -> None:
    """It is not read as JSONL behind the name's back."""
    with pytest.raises(InputRejected, match="not a Parquet file"):
        write(content, name)


@pytest.mark.fault("I14")
def test_standard_input_is_copied_byte_for_byte(tmp_path: Path) -> None:
    """I14: what came once can be read again by a resume."""
    target = spool(io.BytesIO(LINES), tmp_path / "input.jsonl")
    assert target.read_bytes() == LINES


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"id,text\n1,Elbe\n", "stdin.csv"),
        (b"\xef\xbb\xbftext\nElbe\n", "stdin.csv"),
        (gzip.compress(b'"id","text"\n1,Elbe\n', mtime=0), "stdin.csv"),
        (b"id\ttext\n1\tElbe\n", "stdin.tsv"),
        (LINES, "stdin.jsonl"),
        (gzip.compress(LINES, mtime=0), "stdin.jsonl"),
        (b'\n\n {"a": 1, "b": 2\n', "stdin.jsonl"),
        (b'Some program says hello\n{"a": 1, "b": 2}\n', "stdin.jsonl"),
        (b"null\n1\n", "stdin.jsonl"),
        (b"PAR1\0\0", "stdin.jsonl"),
        (b"\xff\xfe,a\n", "stdin.jsonl"),
        (b"\x1f\x8b\0damaged", "stdin.jsonl"),
        (b"", "stdin.jsonl"),
    ],
)
def test_standard_input_is_named_by_what_it_holds(tmp_path: Path, content: bytes, name: str) -> None:
    """It is CSV where nothing in its first lines looks like JSON; what is neither is told of as JSONL."""
    place = named_by_content(spool(io.BytesIO(content), tmp_path / "stdin.jsonl"))
    assert (place.name, place.read_bytes()) == (name, content)


def test_a_spreadsheet_is_rejected_with_what_to_do(write: Any) -> None:
    """By its name, in one sentence."""
    with pytest.raises(InputRejected, match=r"book\.xlsx is a spreadsheet: save it as CSV"):
        write(b"PK\x03\x04", "book.xlsx")


@pytest.mark.parametrize("begin", ["[{", "\n[\n", "\ufeff["])
def test_a_json_array_is_rejected_with_what_to_do(write: Any, begin: str) -> None:
    """It is no input, however it is laid out: each of its lines was named, with another reason each."""
    with pytest.raises(
        InputRejected, match=r"is one JSON array, .*: jq -c '\.\[\]' .*my rows\.json' > .*my rows\.jsonl'$"
    ):
        write(begin, "my rows.json")
    assert [row.columns for row in write('{"a": 1}\n', "lines.json")] == [{"a": 1}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["my rows.jsonl", "my rows.csv"])
def test_a_text_in_two_bytes_a_character_is_rejected_with_what_to_do(write: Any, encoding: str, name: str) -> None:
    """Redirected output is, on some Windows: by its first bytes, in one sentence."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    with pytest.raises(
        InputRejected, match=r"is UTF-16, .*: iconv -f UTF-16 -t UTF-8 .*my rows\.\w+' > .*my rows-utf8\."
    ):
        write(f'{mark}{{"a": 1}}\n'.encode(encoding), name)


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ('{\n  "a": 1\n}\n', "."),
        ('[\n{\n"a": 1\n}\n]\n', ".[]"),
        ('[{\n"a": 1\n}]\n', ".[]"),
        ('[{"a": 1}]\n', ".[]"),
        ('[{"a": 1},\n{"a": 2}]\n', ".[]"),
    ],
)
def test_json_that_is_no_line_an_object_is_told_of_with_what_to_do(write: Any, text: str, program: str) -> None:
    """Set out over lines, or an array in one: its first row says how it is written in lines, and no other."""
    first, *others = write(text)
    assert isinstance(first, BadRow)
    assert f"`jq -c '{program}'`" in first.reason
    assert not any(isinstance(row, BadRow) and "jq" in row.reason for row in others)
