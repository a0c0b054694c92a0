"""Input that does harm where it can: each case of the catalogue's part I that no other test shows."""

from __future__ import annotations

import functools
import gzip
import itertools
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import InputRejected
from runner.core.prompt import RowError
from runner.core.values import Status
from runner.storage import lines, rows
from runner.storage.history import History
from runner.storage.json_objects import DEEPEST
from runner.storage.results import Tables
from runner.storage.rows import BadRow, Row, Source
from runner.storage.templates import Template

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Source]:
    """Write a file and give it back as a source."""

    def wrote(content: bytes, name: str = "rows.jsonl") -> Source:
        path = tmp_path / name
        path.write_bytes(content)
        return Source(path)

    return wrote


def reasons(source: Source) -> list[str]:
    return [record.reason for record in source if isinstance(record, BadRow)]


def read(source: Source) -> list[dict[str, Any]] | str:
    """The columns of all rows, or what is said of a file that has none."""
    try:
        return [dict(record.columns) for record in source if isinstance(record, Row)]
    except InputRejected as error:
        return str(error).split(": ")[0].removeprefix(f"{source.path} ")


# Names that stand twice.


@pytest.mark.fault("I8")
@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1, "a": 1}',
        '{"a":1,"a" :2}',
        '{"a":1,"\\u0061":2}',
        '{"b": {"a": 1, "a": 2}}',
        '{"b": [[{"a": 1}, {"a": 1, "a": 2}]]}',
        '{"a": "\\u003a", "a": "x"}',
        '{"a": "\\u003A\\u003a", "a": "x:"}',
        '{"a": "a:b", "a": "\\"a\\":"}',
        '{"a": {"x": ":"}, "a": 2}',
    ],
)
def test_an_object_with_a_name_twice_is_a_bad_row(write: Any, line: str) -> None:
    """Parsers keep one of the two silently, and which one is a matter of the parser."""
    [reason] = reasons(write(line.encode() + b"\n"))
    assert reason == "the name 'a' stands twice in one object (byte 0)"


@pytest.mark.fault("I8")
@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "b": {"a": 2}, "c": [{"a": 3}, {"a": 4}]}',
        '{"a": ": ", "b": ":", "c:": "\\"a\\":"}',
        '{"a\\\\": 1, "a": 2}',
        '{"a": "\\u003a"}',
        '{"a" : 1, "b"\t:2}',
        "{}",
    ],
)
def test_an_object_with_each_name_once_is_a_row(write: Any, line: str) -> None:
    """Colons and names inside texts, and the same name in another object, are none that stand twice."""
    assert reasons(write(line.encode() + b"\n")) == []


NAMES = st.sampled_from(["a", "b", "a:", ":", '"', "\\", "a\\", "\u003a"])
TEXTS = st.text(alphabet='a:"\\{}[], \u00e9', max_size=6)


@st.composite
def objects(draw: st.DrawFn, depth: int = 2) -> tuple[str, bool]:
    """A JSON object as somebody may write it, and whether a name stands twice in it or in one within."""
    parts, seen, twice = [], set(), False
    for name in draw(st.lists(NAMES, max_size=4)):
        twice |= name in seen
        seen.add(name)
        value, inner = json.dumps(draw(TEXTS)), False
        if depth and draw(st.booleans()):
            value, inner = draw(objects(depth - 1))
            twice |= inner
            value = draw(st.sampled_from([value, f"[{value}]"]))
        written = draw(st.sampled_from([json.dumps(name), escaped(name)]))
        parts.append(written + draw(st.sampled_from([":", " :", ": ", "\t:\t"])) + value)
    return "{" + ", ".join(parts) + "}", twice


def escaped(text: str) -> str:
    return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'


@pytest.mark.fault("I8")
@settings(max_examples=300, deadline=None)
@given(written=objects())
def test_names_that_stand_twice_are_always_found(tmp_path_factory: pytest.TempPathFactory, written: Any) -> None:
    """However the text is written: the shortcut over bytes never hides one, and never sees one that is not there."""
    line, twice = written
    assert isinstance(rows._parse(0, "line 1", line.encode(), 0), BadRow) is twice


# Sizes.


@pytest.mark.fault("I10")
@pytest.mark.parametrize("shape", ["[{}]", '{{"a": {}}}'])
def test_a_row_that_is_nested_too_deep_is_a_bad_row(write: Any, shape: str) -> None:
    """What no table could hold is refused where it is read, and the next row is read."""
    just = "1"
    for _ in range(DEEPEST - 1):
        just = shape.format(just)
    source = write(f'{{"a": {shape.format(just)}}}\n{{"a": {just}}}\n'.encode())
    assert reasons(source) == [f"nested more than {DEEPEST} levels deep (byte 0)"]


@pytest.mark.fault("I10")
@pytest.mark.parametrize("value", [[[[]]] * 300, {"a": {"b": [1]}}], ids=["many", "nested"])
def test_a_row_with_many_brackets_is_read(write: Any, value: Any) -> None:
    """Depth is bounded, not the number of lists."""
    assert reasons(write(orjson.dumps({"a": value}) + b"\n")) == []


@pytest.mark.fault("I10")
def test_what_is_deep_in_parquet_does_not_stop_the_table(tmp_path: Path) -> None:
    """A value that no JSON can hold is written as text."""
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    line = fold(tmp_path, [Row(0, "row 0", {"a": deep}, "d")], {"a": pl.String})[0]
    assert line["a"].startswith("[[[")


def fold(folder: Path, records: list[Any], columns: dict[str, Any]) -> list[dict[str, Any]]:
    journal = folder / "journal.jsonl"
    journal.touch()
    tables = Tables(
        lambda: records, lambda one: [(0, str(one.index), "m", "")], History(1), journal, columns, Status.CANCELED
    )
    tables.write_results(folder / "results.parquet")
    return pl.read_parquet(folder / "results.parquet").to_dicts()


@pytest.mark.fault("I11")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"a\n" + b"x" * 300, id="one line"),
        pytest.param(b"a\n" + b'"' + b"x\n" * 300, id="a quote that is never closed"),
        pytest.param(b"a,b\n" + b'"x\n",' * 300, id="a record of many lines"),
        pytest.param(b"x" * 300, id="a header"),
    ],
)
def test_a_csv_record_that_does_not_end_is_rejected(
    write: Any, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """A file without an end to a record is never in memory whole."""
    monkeypatch.setattr(rows, "LONGEST_LINE", 100)
    with pytest.raises(InputRejected, match=r"longer than|field larger than"):
        list(write(content, "rows.csv"))


PACKED = {
    "gzip": lambda data: gzip.compress(data, 9, mtime=0),
    "zstd": lambda data: zstd.compress(data, level=19),
}


@pytest.mark.fault("I13")
@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
@pytest.mark.parametrize("unit", [b"\n", b" ", b'{"a": 1}\n'], ids=["lines", "one line", "rows"])
def test_a_bomb_is_rejected_after_a_bounded_amount(
    write: Any, monkeypatch: pytest.MonkeyPatch, how: str, name: str, unit: bytes
) -> None:
    """What unpacks to a thousand times its size is no data, and the sentence says what to do if it is."""
    monkeypatch.setattr(lines, "LARGEST_UNPACKED", 100_000)
    monkeypatch.setattr(lines, "MOST_TIMES", 20)
    source = write(PACKED[how](unit * (4_000_000 // len(unit))), name)
    with pytest.raises(InputRejected, match="it unpacks to more than 20 times its size"):
        list(source)


@pytest.mark.fault("I13")
@pytest.mark.parametrize("how", PACKED)
def test_well_packed_data_is_no_bomb(write: Any, how: str) -> None:
    """Rows that are all alike pack a hundred times and more."""
    source = write(PACKED[how](b'{"prompt": "Say something."}\n' * 20_000))
    assert sum(isinstance(record, Row) for record in source) == 20_000


@pytest.mark.fault("I11")
@pytest.mark.fault("I13")
def test_a_bomb_of_one_line_takes_no_memory(write: Any) -> None:
    """A line of 200 MB in 200 kB is read in pieces, and forgotten."""
    source = write(gzip.compress(b" " * 200_000_000, 9, mtime=0))
    tracemalloc.start()
    assert len(reasons(source)) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * rows.LONGEST_LINE


# Parquet.


@pytest.mark.fault("I17")
def test_extension_types_are_read_as_what_they_store(tmp_path: Path) -> None:
    """A name in a file's metadata makes no code run: a type that nobody registered is its storage."""
    path = tmp_path / "rows.parquet"
    script = (
        "import sys, warnings, polars as pl\n"
        "warnings.simplefilter('ignore')\n"
        "class Evil(pl.BaseExtension):\n"
        "    def __init__(self): super().__init__('evil.type', pl.String(), 'cos\\nsystem\\n(S\"exit\"\\ntR.')\n"
        "pl.register_extension_type('evil.type', Evil)\n"
        "pl.DataFrame({'prompt': pl.Series(['a', 'b']).ext.to(Evil())}).write_parquet(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    source = Source(path)
    assert [record.columns for record in source if isinstance(record, Row)] == [{"prompt": "a"}, {"prompt": "b"}]
    assert source.schema() is not None


@pytest.mark.fault("I17")
@pytest.mark.parametrize(
    "schema", ["zzzz", "AAAA", "gASVKgAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAtlY2hvIGhlbGxvlIWUUpQu", ""]
)
def test_a_schema_in_the_metadata_is_read_or_rejected(
    tmp_path: Path, schema: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands there (even a pickle) is no schema: one sentence, and nothing is unpickled."""
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"prompt": ["a"]}).write_parquet(path, metadata={"ARROW:schema": schema})
    assert read(Source(path)) in ([{"prompt": "a"}], "cannot be read as Parquet")
    assert "hello" not in capfd.readouterr().out


@pytest.mark.fault("I16")
def test_encrypted_parquet_is_rejected(write: Any) -> None:
    """Its magic bytes are others."""
    with pytest.raises(InputRejected, match="does not begin with PAR1"):
        write(b"PARE" + b"\0" * 100 + b"PARE", "rows.parquet")


@pytest.mark.fault("I16")
def test_parquet_whose_footer_lies_about_its_length_is_rejected(write: Any) -> None:
    """A footer of two gigabytes in a file of a hundred bytes."""
    source = write(b"PAR1" + b"\0" * 100 + (2**31 - 1).to_bytes(4, "little") + b"PAR1", "rows.parquet")
    with pytest.raises(InputRejected, match="cannot be read as Parquet"):
        list(source)


@pytest.mark.fault("I16")
def test_a_dictionary_that_unfolds_is_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    """Four hundred rows of one megabyte each, in a file of a few kilobytes, are never in memory together."""
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"prompt": pl.Series(["x" * 1_000_000] * 400)}).write_parquet(path, compression="zstd")
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    lengths = [
        len(record.columns["prompt"]) for record in itertools.islice(Source(path), 20) if isinstance(record, Row)
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lengths == [1_000_000] * 20
    assert peak < 50_000_000


@pytest.mark.fault("I16")
@pytest.mark.parametrize("moment", [-(2**62), 2**62])
@pytest.mark.parametrize("kind", [pl.Datetime("us"), pl.Datetime("us", "UTC"), pl.Duration("ms")], ids=str)
def test_a_time_that_python_has_no_date_for_is_rejected(tmp_path: Path, kind: Any, moment: int) -> None:
    """Parquet knows years that Python does not: one sentence, and no internal error."""
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"prompt": ["a"], "at": pl.Series([moment], dtype=kind)}).write_parquet(path)
    with pytest.raises(InputRejected, match=r"cannot be read as Parquet: .*(out of range|too large|must have)"):
        list(Source(path))


@pytest.mark.fault("I16")
def test_a_row_of_parquet_that_is_too_large_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on a record is the same in every format."""
    monkeypatch.setattr(rows, "LONGEST_LINE", 2**20)
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"prompt": ["a", "x" * 2**20, "b"]}).write_parquet(path)
    source = Source(path)
    assert reasons(source) == ["larger than 1 MiB"]
    assert [record.index for record in source] == [0, 1, 2]


# Templates and what rows make of them.


@pytest.mark.fault("O11")
@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("{{ text * n }}", {"text": "x" * 1000, "n": 10**9}),
        ("{{ n * text }}", {"text": "x" * 1000, "n": 10**9}),
        ("{{ (list * n)|length }}", {"list": [0] * 1000, "n": 10**9}),
        ("{{ n ** n }}", {"n": 10**9}),
        ("{{ text % 1 }}", {"text": "%2000000000d"}),
        ("{{ text % 1 }}", {"text": "%- 0.2000000000f"}),
        ("{{ text % {'a(b)': 1} }}", {"text": "%(a(b))2000000000d"}),
        ("{{ [1] | batch(n, fill_with=0) | list | length }}", {"n": 10**8}),
        ("{{ range(n)|list }}", {"n": 10**9}),
        ("{{ '%*d' % (n, 1) }}", {"n": 10**9}),
        ("{{ '%*d' | format(n, 1) }}", {"n": 10**9}),
        ("{{ '{:{}}'.format(1, n) }}", {"n": 10**9}),
        ("{{ '{a:{n}}'.format_map(row) }}", {"a": 1, "n": 10**9}),
        ("{{ text.format(1) }}", {"text": "{:2000000000d}"}),
        ("{{ 'x' | center(n) }}", {"n": 10**9}),
        ("{{ 'x' | center(width=n) }}", {"n": 10**9}),
        ("{{ ['x'] | map('center', n) | join }}", {"n": 10**9}),
        ("{{ 'x'.center(n) ~ 'x'.ljust(n) }}", {"n": 10**9}),
        ("{{ 'x'.rjust(n) }}", {"n": 10**9}),
        ("{{ 'x'.zfill(n) }}", {"n": 10**9}),
        ("{{ 'a\tb'.expandtabs(n) }}", {"n": 10**9}),
        ("{{ text | indent(n) }}", {"text": "a\n" * 1000, "n": 10**6}),
        ("{{ text | replace('a', more) }}", {"text": "a" * 10**5, "more": "b" * 10**4}),
        ("{{ text.replace('a', more) }}", {"text": "a" * 10**5, "more": "b" * 10**4}),
        ("{{ (1).to_bytes(n) | length }}", {"n": 10**9}),
        ("{{ [1] | batch(n, 0) | list | length }}", {"n": 10**8}),
        ("{{ [1] | slice(n) | list | length }}", {"n": 10**8}),
        ("{{ [1] | tojson(indent=n) }}", {"n": 10**9}),
        ("{{ deep | tojson(16) }}", {"deep": functools.reduce(lambda inner, _: [inner], range(100), [0] * 20_000)}),
    ],
)
def test_a_row_makes_no_template_take_all_memory(text: str, columns: dict[str, Any]) -> None:
    """An operation whose result would be huge is refused before it is made."""
    with pytest.raises(RowError, match="cannot be filled in"):
        Template(text, "--prompt")(columns)


@pytest.mark.fault("O11")
@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{ 6 * 7 }}", "42"),
        ("{{ '-' * 3 }}", "---"),
        ("{{ 2 ** 10 }}", "1024"),
        ("{{ 7 % 4 }}", "3"),
        ("{{ '%03d' % 7 }}", "007"),
        ("{{ '%d * %d' % (10 ** 9, 2) }}", "1000000000 * 2"),
        ("{{ '%*d' % (3, 7) }}", "  7"),
        ("{{ '%s=%s' | format('a', 10 ** 9) }}", "a=1000000000"),
        ("{{ '{:>{}}|{x}'.format(7, 3, x=10 ** 9) }}", "  7|1000000000"),
        ("{{ '{a}'.format_map({'a': 1}) }}", "1"),
        ("{{ 'x' | center(3) }}", " x "),
        ("{{ 'x'.ljust(2) ~ 'x'.rjust(2) ~ '7'.zfill(2) }}", "x  x07"),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        ("{{ 'a\nb' | indent('> ', first=true) }}", "> a\n> b"),
        ("{{ 'aab' | replace('a', 'c', 1) }}", "cab"),
        ("{{ 'aab'.replace('a', 'c') }}", "ccb"),
        ("{{ [1, 2, 3] | batch(2, 0) | list }}", "[[1, 2], [3, 0]]"),
        ("{{ [1, 2, 3] | batch(2, fill_with=0) | list }}", "[[1, 2], [3, 0]]"),
        ("{{ [1, 2, 3] | slice(2) | list }}", "[[1, 2], [3]]"),
        ("{{ 'Order 1234567890: %s' | format('a') }}", "Order 1234567890: a"),
        ("{{ 'Order 1234567890, %5.1f' % 2 }}", "Order 1234567890,   2.0"),
    ],
)
def test_operations_of_ordinary_size_are_made(text: str, filled: str) -> None:
    """The bound is far from what a prompt needs."""
    assert Template(text, "--prompt")({}) == filled


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ x | replace('a') }}", "do_replace() missing 1 required positional argument: 'new'"),
        ("{{ x.replace('a') }}", "replace expected at least 2 arguments, got 1"),
        ("{{ x | center(n=3) }}", "do_center() got an unexpected keyword argument 'n'"),
    ],
)
def test_what_is_bounded_refuses_wrong_arguments_itself(text: str, reason: str) -> None:
    """By its own name; that of what minds its size would say nothing to anybody."""
    with pytest.raises(RowError) as refused:
        Template(text, "--prompt")({"x": "aa"})
    assert str(refused.value) == f"the prompt cannot be filled in: {reason}"


# Where the input lies, and what becomes of it.


@pytest.mark.fault("I15")
@pytest.mark.parametrize("content", [b'{"a": 1}\n{"a": 2}\n', b"", None], ids=["longer", "shorter", "gone"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_a_file_that_was_changed_is_not_read_again(write: Any, name: str, content: bytes | None) -> None:
    """A run reads its input twice, for the requests and for the tables."""
    source = write(b'{"a": 1}\n', name)
    assert len(list(source)) == (1 if name == "rows.jsonl" else 0)
    source.path.unlink()
    if content is not None:
        source.path.write_bytes(content)
    with pytest.raises(InputRejected, match=r"was changed meanwhile|can no longer be read"):
        iter(source)


@pytest.mark.fault("I14")
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/fd"])
def test_what_is_no_file_is_not_opened(path: str) -> None:
    """A device may have no end."""
    with pytest.raises(InputRejected, match=r"is not a regular file|There is no input"):
        Source(Path(path))


@pytest.mark.fault("I18")
def test_an_input_is_one_file_by_its_name(tmp_path: Path) -> None:
    """There are no patterns, so that none can match what a run has written."""
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(InputRejected, match="There is no input at"):
        Source(tmp_path / "*.jsonl")


@pytest.mark.fault("I11")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has")
def test_what_is_read_of_a_line_is_bounded(tmp_path: Path) -> None:
    """Reading holds under a limit on memory that a file of zero bytes, 500 MB long, would break."""
    script = (
        "import os, resource, sys\n"
        "from pathlib import Path\n"
        "from runner.storage.rows import Source\n"
        "path = Path(sys.argv[1])\n"
        "os.truncate(path, 500_000_000)\n"
        "held = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 200_000_000, held + 200_000_000))\n"
        "print([record.reason for record in Source(path)])\n"
    )
    sparse = tmp_path / "rows.jsonl"
    sparse.touch()
    environment = {"POLARS_MAX_THREADS": "1", "PYTHONPATH": str(Path(rows.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script, sparse], env=environment, capture_output=True, text=True)
    assert done.stdout == "['longer than 16 MiB (byte 0)']\n", done.stderr[-500:]
