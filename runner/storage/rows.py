"""Input rows, read lazily: JSONL (plain, gzip, zstd), CSV and Parquet.

A file is never in memory whole. Text is split at newlines (the byte 0x0A) only. A record that cannot be read becomes
a `BadRow` that says where and why, and the reading goes on behind it.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson
import polars as pl

from runner.core.errors import InputRejected
from runner.storage.json_objects import complaint_about, exact
from runner.storage.lines import UNREADABLE, Lines, Text, opened, packing_of
from runner.storage.names import complaint_about_name
from runner.storage.parquet import DECODER, BrokenDown, Undecodable
from runner.storage.times import Exact, nanoseconds, told

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one record of text."""
UNCLOSED = "unexpected end of data"
"""What the library says where a file ends within quotes."""
CHUNK = 10_000
CHUNK_BYTES = 1 * 1024 * 1024
"""Rows of Parquet that are decoded at once, at most: so many, and about so many bytes."""
FIRST_CHUNK = 100
"""Rows by which the others' size is judged."""
SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers")
STDIN = "-"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""What a text begins with that is written in two bytes a character, and what no text in UTF-8 does."""

NOT_PARQUET = (Undecodable, pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, OverflowError)
"""What is raised for a file that is damaged, and by Python for a time that it has no date for."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its position from 0, what to call it in messages, and its columns."""

    index: int
    where: str
    columns: Mapping[str, Any]
    digest: str
    """Of the record's content: the same record has the same digest wherever it stands."""
    exact: Exact = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that could not be read."""

    index: int
    where: str
    reason: str


Record = Row | BadRow


class Source:
    """One input file."""

    def __init__(self, path: Path) -> None:
        """Raises InputRejected if there is nothing at `path` that can be read."""
        self.path = path
        if complaint := complaint_about_name(path):
            raise InputRejected(complaint)
        try:
            status = path.stat()
        except FileNotFoundError:
            raise InputRejected(f"There is no input at {path}.") from None
        except OSError as error:
            raise InputRejected(f"{str(path)[:200]} cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise InputRejected(f"{str(path)[:200]} cannot be read: {error}.") from None
        if not stat.S_ISREG(status.st_mode):
            raise InputRejected(
                f"{path} is not a regular file. Give a JSONL, CSV or Parquet file, or - for standard input."
            )
        try:
            with path.open("rb") as file:
                head = file.read(4)
        except OSError as error:
            raise InputRejected(f"{path} cannot be read: {error.strerror}.") from None
        self._schema: dict[str, pl.DataType] | None = None
        self.stamp = _stamp(status)
        """Size and time of the last change: while these are the same, the content is taken to be."""
        if head.startswith(UTF16):
            raise InputRejected(
                f"{path} is UTF-16, as programs on Windows write it, and an input is UTF-8. This makes one of it: "
                f"iconv -f UTF-16 -t UTF-8{_into_utf8(path)}"
            )
        self.packing = packing_of(head)
        self.format = "parquet" if head == b"PAR1" else self._format_by_name(head)

    def _format_by_name(self, head: bytes) -> str:
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        if suffixes and suffixes[-1] in (".gz", ".gzip", ".zst", ".zstd"):
            suffixes.pop()
        suffix = suffixes[-1] if suffixes else ""
        if suffix in (".parquet", ".pq"):
            raise InputRejected(f"{self.path} is not a Parquet file: it does not begin with PAR1.")
        if suffix in SPREADSHEETS:
            raise InputRejected(f"{self.path} is a spreadsheet: save it as CSV, and give that file.")
        if suffix == ".json" and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            raise InputRejected(
                f"{self.path} is one JSON array, and an input has an object on each line. This makes one of it: "
                f"jq -c '.[]' {shlex.quote(str(self.path))} > {shlex.quote(str(self.path.with_suffix('.jsonl')))}"
            )
        return {".csv": "csv", ".tsv": "tsv"}.get(suffix, "jsonl")

    def move(self, path: Path, now_at: Path) -> None:
        """It is to be read at another place from now on, and lies at a third one until it gets there."""
        self.path, self.stamp = now_at, _stamp(now_at.stat())
        self._schema = self.schema()  # nobody can ask it on the way
        self.path = path

    def __iter__(self) -> Iterator[Record]:
        """All records, from the first; raises InputRejected if the file is no longer as long as it was."""
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise InputRejected(f"{self.path} can no longer be read: {error.strerror}.") from None
        if size != (before := self.stamp["bytes"]):
            raise InputRejected(f"{self.path} was changed meanwhile: it had {before:,} bytes and has {size:,}.")
        if self.format == "parquet":
            return self._parquet()
        return self._csv() if self.format in ("csv", "tsv") else self._jsonl()

    def digest(self) -> str:
        """SHA-256 of the file as it lies there."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _jsonl(self) -> Iterator[Record]:
        index = 0
        with opened(self.path, self.packing, self.stamp["bytes"]) as file:
            for line, offset, data in self._lines(file):
                where = f"line {line}"
                if data is None:
                    yield BadRow(index, where, f"longer than {LONGEST_LINE // 2**20} MiB (byte {offset})")
                else:
                    yield _parse(index, where, data, offset)
                index += 1

    def _lines(self, file: Lines) -> Iterator[tuple[int, int, bytes | None]]:
        """Line number from 1, byte offset, and content; None for a line that is too long."""
        number, offset = 0, 0
        while True:
            data: bytes | None = self._readline(file)
            if not data:
                return
            number += 1
            start, length = offset, len(data)
            mark = len(BYTE_ORDER_MARK) if number == 1 and data.startswith(BYTE_ORDER_MARK) else 0
            data = data[mark:]
            while length >= LONGEST_LINE and data and not data.endswith(b"\n"):
                data = self._readline(file)
                length += len(data or b"")
                if not data or data.endswith(b"\n"):
                    data = None
            offset += length
            if data is None:
                yield number, start, None
            elif data.strip():
                yield number, start + mark, data

    def _readline(self, file: Lines) -> bytes:
        try:
            return file.readline(LONGEST_LINE)
        except UNREADABLE as error:
            raise InputRejected(f"{self.path} cannot be read to its end: {error}.") from None

    def _csv(self) -> Iterator[Record]:
        delimiter = self._delimiter()
        with opened(self.path, self.packing, self.stamp["bytes"]) as raw:
            csv.field_size_limit(LONGEST_LINE)
            text = Text(raw, LONGEST_LINE)
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            while not (header := self._csv_next(reader)):
                if header is None:
                    return
            if len(set(header)) != len(header):
                twice = next(name for place, name in enumerate(header) if name in header[:place])
                called = f"are called {twice[:60]!r}" if twice else "have no name"
                raise InputRejected(f"{self.path}: line {reader.line_num}: two columns {called}.")
            index = 0
            while (fields := self._csv_next(reader)) is not None:
                text.taken = 0
                if not fields:
                    continue
                where = f"line {reader.line_num}"
                if len(fields) != len(header):
                    yield BadRow(index, where, f"{len(fields)} fields where the header has {len(header)}")
                else:
                    columns = dict(zip(header, fields, strict=True))
                    yield Row(index, where, columns, _digest(orjson.dumps(fields)))
                index += 1

    def _delimiter(self) -> str:
        """What stands between cells: spreadsheets of many countries write semicolons, the comma being in numbers."""
        if self.format == "tsv":
            return "\t"
        with opened(self.path, self.packing, self.stamp["bytes"]) as file:
            _, _, header = next(self._lines(file), (0, 0, b""))
        return ";" if header and b";" in header and b"," not in header else ","

    def _csv_next(self, reader: Any) -> list[str] | None:
        begin = reader.line_num + 1
        try:
            return next(reader, None)
        except csv.Error as error:
            if str(error) == UNCLOSED:
                said = f"line {begin}: a quote is opened in this row, and never closed"
            else:
                said = f"line {reader.line_num}: {error}"
        except UnicodeDecodeError as error:  # the line that could not be read is not counted yet
            said = f"line {reader.line_num + 1}: byte {error.start} is not UTF-8"
        except UNREADABLE as error:
            said = f"line {reader.line_num + 1}: {error}"
        raise InputRejected(f"{self.path}: {said}.")

    def _parquet(self) -> Iterator[Record]:
        try:
            total = DECODER.count(self.path)
            start, rows = 0, FIRST_CHUNK
            while start < total:
                try:
                    chunk = DECODER.rows(self.path, start, rows)
                except BrokenDown:
                    if rows == 1:
                        raise
                    rows = max(1, rows // 16)  # the next rows may be much larger than those before
                    continue
                if chunk.is_empty():  # the file is being written over
                    return
                fit = max(1, min(CHUNK, CHUNK_BYTES * len(chunk) // max(1, int(chunk.estimated_size()))))
                # A chunk may hold one text for many rows; as rows, each has its own.
                pairs = zip(chunk.iter_rows(named=True, buffer_size=fit), nanoseconds(chunk, fit), strict=False)
                for index, (columns, exact) in enumerate(pairs, start):
                    said = told(columns, exact)
                    content = _content(said)
                    if len(content) > LONGEST_LINE:
                        yield BadRow(index, f"row {index}", f"larger than {LONGEST_LINE // 2**20} MiB")
                    else:
                        yield Row(index, f"row {index}", said, _digest(content), exact)
                start += len(chunk)
                rows = fit
        except NOT_PARQUET as error:
            raise InputRejected(f"{self.path} cannot be read as Parquet: {_first_line(error)}") from None

    def schema(self) -> dict[str, pl.DataType] | None:
        """The columns' types where the file states them: Parquet."""
        if self.format != "parquet" or self._schema is not None:
            return self._schema
        try:
            return DECODER.schema(self.path)
        except NOT_PARQUET as error:
            raise InputRejected(f"{self.path} cannot be read as Parquet: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]


def _parse(index: int, where: str, data: bytes, offset: int) -> Record:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if (wrong := _not_utf8(data)) is not None:
            return BadRow(index, where, f"not JSON at byte {offset + wrong}: it is not UTF-8")
        text = data.decode("utf-8", "replace")
        byte = offset + len(text[: error.pos].encode("utf-8", "replace"))
        if error.pos >= len(text.rstrip("\r\n")):
            said = "the line ends in the middle, and an object has to stand on one"
            first = data.strip() if index == 0 else b""
            if first == b"{" or first.startswith(b"["):  # JSON that is set out for people
                program = "." if first == b"{" else ".[]"
                said += f": `jq -c '{program}'` writes them so"
            return BadRow(index, where, f"not JSON at byte {byte}: {said}")
        return BadRow(index, where, f"not JSON at byte {byte}: {error.msg}")
    if not isinstance(value, dict):
        said = "; `jq -c '.[]'` writes its elements in lines" if index == 0 and isinstance(value, list) else ""
        return BadRow(index, where, f"a JSON {_json_name(value)}, not an object (byte {offset}){said}")
    complaint = complaint_about(data, value)
    if complaint is not None:
        return BadRow(index, where, f"{complaint} (byte {offset})")
    return Row(index, where, exact(data, value), _digest(data.strip()))


def _not_utf8(data: bytes) -> int | None:
    """The first byte that is not UTF-8, if there is one."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _stamp(status: os.stat_result) -> dict[str, int]:
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _json_name(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _content(columns: Mapping[str, Any]) -> bytes:
    values = tuple(columns.values())
    try:
        content = orjson.dumps(values, default=repr)
    except TypeError:  # integers of more than 64 bits
        return repr(values).encode()
    # As JSON, what is no number is null.
    return repr(values).encode() if b"null" in content and any(map(_is_no_number, values)) else content


def _is_no_number(value: Any) -> bool:
    """Whether a value is NaN or infinite, or holds one that is."""
    if isinstance(value, list | dict):
        return any(map(_is_no_number, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def spool(stream: IO[bytes], target: Path) -> Path:
    """Copy standard input to a file, so that it can be read again by a resume."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o600)
        shutil.copyfileobj(stream, file, 1024 * 1024)
    return target


def named_by_content(path: Path) -> Path:
    """Name a copy of standard input, whose name says nothing, by what it holds: JSONL or CSV. Its new place."""
    return path.rename(path.with_suffix(f".{_format_by_content(path)}"))


def said_of_stdin(message: str, copy: Path) -> str:
    """What is said of a copy of standard input, said of standard input: the copy is gone when that is read."""
    return message.replace(_into_utf8(copy), "").replace(str(copy), "standard input")


def _into_utf8(path: Path) -> str:
    """How a command that decodes a file goes on."""
    return f" {shlex.quote(str(path))} > {shlex.quote(str(path.with_stem(f'{path.stem}-utf8')))}"


def _format_by_content(path: Path) -> str:
    """A text whose first lines are no JSON is CSV; other rows than text are known by their first bytes anyway."""
    with path.open("rb") as file:
        packing = packing_of(file.read(4))
    try:
        with opened(path, packing, path.stat().st_size) as lines:
            every = iter(partial(lines.readline, LONGEST_LINE), b"")
            head = list(islice(filter(None, map(bytes.strip, every)), 2))
    except UNREADABLE:
        return "jsonl"
    if not head or any(_may_be_json(line.removeprefix(BYTE_ORDER_MARK)) for line in head):
        return "jsonl"
    return "tsv" if b"\t" in head[0] else "csv"


def _may_be_json(line: bytes) -> bool:
    """Whether a line is a row of JSON, a damaged one too, or no text at all."""
    try:
        if b"\0" in line or line.decode().startswith(("{", "[")):
            return True
        orjson.loads(line)
    except ValueError as error:
        return isinstance(error, UnicodeDecodeError)
    return True
