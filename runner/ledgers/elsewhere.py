"""What the other runs spent of late, counted in this run's own windows, and corrected as they correct it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from runner.core.mirrors import Take
from runner.core.window import Window
from runner.ledgers.log import Log
from runner.ledgers.pages import Spent


@dataclass(slots=True)
class _Known:
    """What is known of another run's piece."""

    at: float
    takes: dict[str, Take] = field(default_factory=dict)


class Elsewhere:
    """The pieces of the others, by run and number."""

    def __init__(self, windows: Mapping[str, Window | Log], leased: Collection[str], span: float) -> None:
        """`windows` are by limit; those of the `leased` ones count the others; `span` is the longest, in seconds."""
        self._windows = windows
        self._leased = leased
        self._span = span
        self._pieces: dict[str, dict[int, _Known]] = {}

    def hear(self, told: Iterable[Spent], now: float) -> None:
        """Count what was spent, or that it was another amount, or at another time, than was told before."""
        for spent in told:
            pieces = self._pieces.setdefault(spent.run, {})
            known = pieces.get(spent.piece)
            if known is None or known.at != spent.at:
                for key, take in known.takes.items() if known else ():
                    self._windows[key].correct(take, 0, now)
                if spent.at < now - 2 * self._span:
                    continue
                known = pieces[spent.piece] = _Known(spent.at)
            for key in {*spent.amounts, *known.takes} & self._windows.keys():
                amount, window = spent.amounts.get(key, 0), self._windows[key]
                if key in known.takes:
                    window.correct(known.takes[key], amount, now)
                elif key in self._leased:
                    known.takes[key] = window.elsewhere(amount, spent.at, now)

    def used(self, run: str, key: str, since: float) -> int:
        """What a run has spent of a limit since a moment."""
        pieces = self._pieces.get(run, {}).values()
        return sum(piece.takes[key].amount for piece in pieces if piece.at >= since and key in piece.takes)

    def log(self, key: str) -> Iterator[tuple[float, int]]:
        """When all of them spent of a limit, and how much, in no order."""
        for pieces in self._pieces.values():
            for piece in pieces.values():
                if key in piece.takes:
                    yield piece.at, piece.takes[key].amount

    def forget(self, now: float) -> None:
        """Let go of what is over."""
        for run, told in tuple(self._pieces.items()):
            left = {number: piece for number, piece in told.items() if piece.at >= now - 2 * self._span}
            self._pieces[run] = left
            if not left:
                del self._pieces[run]
