"""Rows with known labels among the others: neither their places nor their columns tell that they are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


def mixed(rows: Iterable[T], others: Sequence[T], total: int, seed: int) -> Iterator[T]:
    """The rows, of which there are `total`, with others at places that `seed` draws, in an order that it draws."""
    draw = Random(f"gold:{seed}")
    places = sorted(draw.randrange(total + 1) for _ in others)
    waiting = iter([*zip(places, draw.sample(others, len(others)), strict=True)])
    place, other = next(waiting, (total + 1, None))
    for number, row in enumerate(rows):
        while place <= number and other is not None:
            yield other
            place, other = next(waiting, (total + 1, None))
        yield row
    if other is not None:
        yield other
    yield from (other for _, other in waiting)


def disguised(columns: Mapping[str, Any], known: str, usual: Sequence[str]) -> dict[str, Any]:
    """The columns that the input's rows have too, in their order, and the one with the known label."""
    return {name: columns[name] for name in dict.fromkeys((*usual, known)) if name in columns}
