"""Tables for people: each column as wide as what stands in it, so that most of them fit a terminal of 80 characters."""

from __future__ import annotations

from collections.abc import Sequence

APART = "  "


def columns(lines: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Lines of cells as text; the columns at `left` begin alike, as names do, and the others end alike, as figures."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return [
        APART.join(
            f"{cell:<{width}}" if at in left else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
