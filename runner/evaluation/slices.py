"""Slices: parts of the rows for which metrics are given apart, by a column's values or by quartiles of its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from runner.core.evaluating import Slice

MOST_VALUES = 30
"""Values of a column that make slices of their own, the commonest; the rest are together in one."""
FEW_NUMBERS = 6
"""Different numbers up to which each is a slice of its own."""
OTHERS, EMPTY = "(others)", "(empty)"


def slice_columns(
    tasks: pl.DataFrame, slices: Sequence[Slice], columns: Mapping[str, str]
) -> tuple[list[pl.Series], list[str]]:
    """A column `slice:NAME` for each slice, with the value's name for each task; and what there is to say of them."""
    made, notices = [], []
    for one in slices:
        column = tasks[columns[one.column]]
        if one.by == "length":
            column = column.cast(pl.String).str.len_chars()
        if column.dtype.is_numeric():
            named = _quartiles(column, tasks["row"])
        else:
            named, left = _values(column.cast(pl.String), tasks["row"])
            if left:
                notices.append(
                    f"The slice {one.name!r} has {MOST_VALUES + left:,} values: {left:,} are together in {OTHERS}."
                )
        made.append(named.alias(f"slice:{one.name}"))
    return made, notices


def _values(column: pl.Series, rows: pl.Series) -> tuple[pl.Series, int]:
    """Each value by itself, and how many were put together."""
    once = pl.DataFrame({"row": rows, "value": column}).unique("row", maintain_order=True)
    common = once["value"].drop_nulls().value_counts(sort=True).sort("count", "value", descending=[True, False])
    kept = common["value"].head(MOST_VALUES)
    left = max(0, len(common) - MOST_VALUES)
    frame = pl.DataFrame({"value": column})
    value = pl.col("value")
    named = frame.select(
        pl.when(value.is_null())
        .then(pl.lit(EMPTY))
        .when(value.is_in(kept.implode()))
        .then(value)
        .otherwise(pl.lit(OTHERS))
    ).to_series()
    return named, left


def _quartiles(column: pl.Series, rows: pl.Series) -> pl.Series:
    """The quarter of the rows that a number lies in, named by its least and its largest number."""
    column = column.cast(pl.Float64)
    column = pl.select(pl.when(column.is_finite()).then(column)).to_series()
    once = pl.DataFrame({"row": rows, "value": column}).unique("row", maintain_order=True)["value"].drop_nulls()
    if once.n_unique() <= FEW_NUMBERS:
        return column.map_elements(_number, return_dtype=pl.String).fill_null(EMPTY)
    edges = sorted({float(once.quantile(share, "nearest") or 0) for share in (0.25, 0.5, 0.75)})
    frame = pl.DataFrame({"value": column})
    place = sum((pl.col("value") > edge).cast(pl.Int8) for edge in edges)
    frame = frame.with_columns(place.alias("place"))  # type: ignore[union-attr]
    ends = (
        frame.drop_nulls()
        .group_by("place")
        .agg(pl.col("value").min().alias("low"), pl.col("value").max().alias("high"))
    )
    names = {
        place: f"{_number(low)} to {_number(high)}"
        for place, low, high in ends.select("place", "low", "high").iter_rows()
    }
    return frame["place"].map_elements(names.__getitem__, return_dtype=pl.String).fill_null(EMPTY)


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 and value == int(value) else f"{value:.4g}"
