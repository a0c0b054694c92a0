"""What this run has spent of late, in the pieces in which it tells the others: a piece for each of its leases."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator, Mapping

Amounts = Mapping[str, int]
"""By `limit_key`."""


class Piece:
    """What was taken during one lease."""

    __slots__ = ("at", "changed", "held", "number", "open", "settled")

    def __init__(self, number: int, at: float) -> None:
        self.number = number
        self.at = at
        """The latest moment at which any of it was taken, or counted."""
        self.held: dict[str, int] = {}
        """Guesses in flight."""
        self.settled: dict[str, int] = {}
        self.open = 0
        """Requests in flight."""
        self.changed = False

    @property
    def amounts(self) -> dict[str, int]:
        """All of it, by limit."""
        return {key: self.held.get(key, 0) + self.settled.get(key, 0) for key in {*self.held, *self.settled}}


class Pieces:
    """The pieces that are still of interest, in the order of time."""

    def __init__(self, span: float, first: int = 1) -> None:
        """`span` is how long spending is of interest, in seconds; `first` the number of the first piece."""
        self._span = span
        self._pieces: deque[Piece] = deque()
        self._number = first - 1
        self._current: Piece | None = None

    def take(self, amounts: Amounts, now: float) -> Piece:
        """Hold amounts in the current piece."""
        piece = self._open(now)
        piece.at = max(piece.at, now)
        _add(piece.held, amounts, 1)
        piece.open += 1
        piece.changed = True
        return piece

    def settle(self, piece: Piece, guess: Amounts, truth: Amounts, counted_at: float) -> None:
        """Replace a guess by the truth, in the piece that it was counted in."""
        _add(piece.held, guess, -1)
        piece.open -= 1
        piece.changed = True
        if counted_at > piece.at:
            later = bisect.bisect_left(self._pieces, counted_at, key=lambda other: other.at)
            if later < len(self._pieces):
                piece = self._pieces[later]
            else:
                piece = self._open(counted_at)
                piece.at = max(piece.at, counted_at)
        _add(piece.settled, truth, 1)
        piece.changed = True

    def close(self) -> None:
        """What is taken from now on is in a piece of its own."""
        self._current = None

    def skip(self, number: int) -> None:
        """Pieces up to this number are somebody else's."""
        self._number = max(self._number, number)

    def news(self, now: float) -> list[Piece]:
        """The pieces that changed since `told`; what has been in flight for longer than is remembered is dated anew."""
        while self._pieces and self._pieces[0].at + self._span < now:
            piece = self._pieces.popleft()
            if piece.open:
                piece.at, piece.settled, piece.changed = now, {}, True
                self._pieces.append(piece)
        return [piece for piece in self._pieces if piece.changed]

    def told(self) -> None:
        """The others know all of it."""
        for piece in self._pieces:
            piece.changed = False

    def since(self, moment: float, key: str) -> int:
        """What was spent of a limit since a moment."""
        return sum(
            piece.held.get(key, 0) + piece.settled.get(key, 0) for piece in reversed(self._pieces) if piece.at >= moment
        )

    def guessed(self) -> dict[str, int]:
        """What is in flight of each limit."""
        held: dict[str, int] = {}
        for piece in self._pieces:
            _add(held, piece.held, 1)
        return held

    def log(self, key: str) -> Iterator[tuple[float, int]]:
        """When this run spent of a limit, and how much."""
        for piece in self._pieces:
            if amount := piece.held.get(key, 0) + piece.settled.get(key, 0):
                yield piece.at, amount

    def _open(self, now: float) -> Piece:
        if self._current is None:
            self._number += 1
            self._current = Piece(self._number, now)
            self._pieces.append(self._current)
        return self._current


def _add(to: dict[str, int], amounts: Amounts, sign: int) -> None:
    for key, amount in amounts.items():
        left = to.get(key, 0) + sign * amount
        if left:
            to[key] = left
        else:
            to.pop(key, None)
