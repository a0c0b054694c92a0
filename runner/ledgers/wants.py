"""What this run has taken of each limit since the last visit, what it could not take, and so what it wants next."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from runner.core.sharing import GROWTH, Claim


class Wants:
    """Amounts are by `limit_key`."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        """Limits that this run has taken of, or wanted to."""
        self._drawn: dict[str, int] = {}
        """Taken since the last visit."""
        self._largest: dict[str, int] = {}
        """The largest of these takes."""
        self._short: dict[str, int] = {}
        """Limits that had no room since then, with the least that was wanted of them."""
        self._missed: dict[str, int] = {}
        """The least that could not be taken since then, of all limits that it takes of."""
        self._waits_until = -math.inf
        """When it will ask again, by the last refusal: until then it wants what it did not get."""

    def took(self, amounts: Mapping[str, int]) -> None:
        """A request was sent."""
        for key, amount in amounts.items():
            self._drawn[key] = self._drawn.get(key, 0) + amount
            self._largest[key] = max(self._largest.get(key, 0), amount)

    def missed(self, amounts: Mapping[str, int], short: Iterable[str]) -> None:
        """A request could not be sent, because some limits had no room."""
        for key in short:
            self._short[key] = min(self._short.get(key, amounts[key]), amounts[key])
        for key, amount in amounts.items():
            self._missed[key] = min(self._missed.get(key, amount), amount)

    def waits(self, until: float) -> None:
        """When it will ask again."""
        self._waits_until = until

    @property
    def drawn(self) -> Collection[str]:
        """Limits that were taken of since the last visit."""
        return self._drawn.keys()

    def is_short(self, key: str) -> bool:
        """Whether a limit had no room."""
        return key in self._short

    def is_held_back(self, key: str) -> bool:
        """Whether a limit had room for what other limits had none for."""
        return key in self._missed and key not in self._short

    def least(self, key: str) -> float:
        """What the next request takes of a limit."""
        return float(self._short.get(key, self._missed.get(key, self._largest.get(key, 0))))

    def told(self, now: float) -> None:
        """The others know all of it."""
        self._drawn.clear()
        self._largest.clear()
        if now >= self._waits_until:
            self._short.clear()
            self._missed.clear()

    def claims(self, used: Mapping[str, int], weight: float, pace: float) -> dict[str, Claim]:
        """What this run says of each limit, given what it has used of each and how many times as much as since the
        last visit it will take: it wants all it can get of one that it had not enough of, and of another not much more
        than it has just used."""
        self.used.update(self._drawn, self._short, self._missed)
        claims = {}
        for key, amount in used.items():
            short, drawn = key in self._short, self._drawn.get(key, 0)
            least = self.least(key)
            want = math.inf if short else GROWTH * drawn * pace + least
            claims[key] = Claim(weight=weight, used=float(amount), want=want, least=least)
        return claims
