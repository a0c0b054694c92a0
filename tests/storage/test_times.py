"""Times that are finer than Python's, from a table into a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.storage.rows import Row, Source
from runner.storage.templates import Template

FINE = 1_767_323_045_000_000_001
"""Nanoseconds since 1970: 2026-01-02 03:04:05, and one nanosecond more."""


def shown(tmp_path: Path, kind: Any, template: str, *given: int | None) -> list[str]:
    """What a prompt shows of a column with these nanoseconds."""
    pl.Series("at", given, dtype=pl.Int64).cast(kind).to_frame().write_parquet(tmp_path / "input.parquet")
    rows = [row for row in Source(tmp_path / "input.parquet") if isinstance(row, Row)]
    return [Template(template, "--prompt")(row.columns) for row in rows]


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (pl.Datetime("ns"), FINE, "2026-01-02 03:04:05.000000001"),
        (pl.Datetime("ns"), FINE + 2_000, "2026-01-02 03:04:05.000002001"),
        (pl.Datetime("ns"), -1, "1969-12-31 23:59:59.999999999"),
        (pl.Datetime("ns", "Europe/Berlin"), FINE, "2026-01-02 04:04:05.000000001+01:00"),
        (pl.Time, 1_001, "00:00:00.000001001"),
        (pl.Duration("ns"), 86_400_000_000_007, "1 day, 0:00:00.000000007"),
        (pl.Duration("ns"), -1, "-1 day, 23:59:59.999999999"),
    ],
)
def test_a_prompt_shows_times_to_the_nanosecond(tmp_path: Path, kind: Any, given: int, said: str) -> None:
    """As Python writes them, with three digits more."""
    assert shown(tmp_path, kind, "{{ at or 'none' }}", given, None) == [said, "none"]


def test_a_time_that_ends_at_the_microsecond_is_shown_as_python_writes_it(tmp_path: Path) -> None:
    """Whatever the column could hold."""
    moments = shown(tmp_path, pl.Datetime("ns"), "{{ at }}", FINE - 1, FINE + 1_999)
    assert moments == ["2026-01-02 03:04:05", "2026-01-02 03:04:05.000002"]


def test_a_time_to_the_nanosecond_is_written_as_json_by_iso_8601(tmp_path: Path) -> None:
    """Like one that ends at the microsecond, which the library writes itself."""
    moments = shown(tmp_path, pl.Datetime("ns"), "{{ at | tojson }}", FINE, FINE + 999)
    assert moments == ['"2026-01-02T03:04:05.000000001"', '"2026-01-02T03:04:05.000001"']
    assert shown(tmp_path, pl.Time, "{{ at | tojson }}", 1) == ['"00:00:00.000000001"']


def test_a_time_to_the_nanosecond_is_a_time(tmp_path: Path) -> None:
    """A template takes it apart and writes it in its own form, and what is reckoned with it ends at microseconds."""
    template = "{{ at.year }} {{ at.strftime('%H:%M') }} {{ at.isoformat(timespec='minutes') }} {{ at.replace(day=3) }}"
    assert shown(tmp_path, pl.Datetime("ns"), template, FINE) == ["2026 03:04 2026-01-02T03:04 2026-01-03 03:04:05"]


NESTED = pl.List(pl.Struct({"at": pl.Datetime("ns"), "took": pl.Duration("ns"), "n": pl.Int64}))


def test_times_within_lists_and_structs_are_shown_to_the_nanosecond(tmp_path: Path) -> None:
    """And what stands beside them as it is."""
    whole = pl.List(pl.Struct({"at": pl.Int64, "took": pl.Int64, "n": pl.Int64}))
    steps = [[{"at": FINE, "took": -1, "n": 1}, {"at": FINE - 1, "took": 2_000, "n": None}, None], None]
    pl.DataFrame({"steps": steps}, schema={"steps": whole}).cast(NESTED).write_parquet(tmp_path / "input.parquet")
    row, empty = [row for row in Source(tmp_path / "input.parquet") if isinstance(row, Row)]
    prompt = Template("{{ steps[0].at }} {{ steps[0].took }} {{ steps[1].at }} {{ steps | tojson }}", "--prompt")
    assert prompt(row.columns) == (
        "2026-01-02 03:04:05.000000001 -1 day, 23:59:59.999999999 2026-01-02 03:04:05 "
        '[{"at":"2026-01-02T03:04:05.000000001","took":"-1 day, 23:59:59.999999999","n":1},'
        '{"at":"2026-01-02T03:04:05","took":"0:00:00.000002","n":null},null]'
    )
    assert Template("{{ steps or 'none' }}", "--prompt")(empty.columns) == "none"


def test_a_list_of_times_is_shown_to_the_nanosecond(tmp_path: Path) -> None:
    """As it stands, too."""
    moments = pl.Series("at", [[FINE, FINE + 1]], dtype=pl.List(pl.Int64)).cast(pl.Array(pl.Datetime("ns"), 2))
    moments.to_frame().write_parquet(tmp_path / "input.parquet")
    [row] = [row for row in Source(tmp_path / "input.parquet") if isinstance(row, Row)]
    assert Template("{{ at }}", "--prompt")(row.columns) == (
        "[2026-01-02 03:04:05.000000001, 2026-01-02 03:04:05.000000002]"
    )
