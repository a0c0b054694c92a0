"""The other runs that are there at a visit: what they claim of a limit, what they hold of it, and whose turn it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from runner.core.sharing import Claim, fallback
from runner.ledgers.elsewhere import Elsewhere
from runner.ledgers.pages import Member, Page
from runner.ledgers.processes import Life, Process


class Company:
    """The others, at one moment."""

    def __init__(
        self,
        me: Member,
        pages: Sequence[Page],
        elsewhere: Elsewhere,
        alive: Callable[[Process], Life],
        *,
        period: float,
        now: float,
    ) -> None:
        self._me = me
        self._pages = pages
        self._elsewhere = elsewhere
        self._now = now
        fresh = [page for page in pages if not page.is_stale(now, period)]
        self._fresh = fresh
        self._lost = [p for p in pages if p not in fresh and alive(p.member.process) is not Life.STOPPED]
        """Those that are there and cannot come here: they spend by themselves."""
        self._turn = sum(not me.comes_before(page.member) for page in fresh)

    def __bool__(self) -> bool:
        return bool(self._pages)

    @property
    def share(self) -> float:
        """The part of each limit that is ours while nothing is known of the others but that they are there."""
        return fallback(self._me.weight, [page.member.weight for page in self._pages])

    def share_of(self, key: str) -> float:
        """The same beside those who use a limit, or may: of one that has just come nothing is known."""
        return fallback(self._me.weight, [page.member.weight for page in self._using(key)])

    def _using(self, key: str) -> Iterator[Page]:
        return (page for page in self._fresh if key in page.claims or not page.claims)

    def know_since(self, key: str, moment: float) -> bool:
        """Whether all others who use a limit have been here after a moment."""
        return all(page.beat > moment for page in self._using(key))

    def is_led_by_us(self, key: str) -> bool:
        """Whether we were there first, of all who use a limit: only one tries out how it is counted."""
        return all(self._me.comes_before(page.member) for page in self._fresh if key in page.claims)

    def holds(self, key: str, amount: float, span: float) -> float:
        """What the others may take of a limit of that amount, or may have taken and have not told."""
        held = sum(page.holds(key, self._now, span) for page in self._pages)
        return held + sum(page.keeps(key, amount) for page in self._lost)

    def guessed(self, key: str) -> int:
        """What the others have in flight."""
        return sum(page.guessed.get(key, 0) for page in self._pages)

    def claims(self, key: str, mine: Claim, since: float) -> tuple[list[Claim], int]:
        """All claims to a limit, with ours among them, and which one that is.

        All count in one order, by which they came: else each takes it to be its own turn, and nobody has enough.
        """
        claims = [self._claim(page, key, since) for page in self._fresh]
        claims.insert(self._turn, mine)
        return claims, self._turn

    def _claim(self, page: Page, key: str, since: float) -> Claim:
        """Another run's claim. What it has used is known here to the moment, and may have left the window by now."""
        _, want, least = page.claims.get(key, (0.0, 0.0, 0.0))
        used = self._elsewhere.used(page.member.run, key, since) if want > 0 else 0
        return Claim(weight=page.member.weight, used=float(used), want=want, least=least)
