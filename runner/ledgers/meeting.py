"""A run's visits to the table where all runs of an account meet: what it tells there, and what it hears.

One visit is one transaction. Whoever is found dead is taken off the table, and what it may have spent of its last lease
counts as spent.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Mapping

from runner.core.window import Window
from runner.ledgers.company import Company
from runner.ledgers.elsewhere import Elsewhere
from runner.ledgers.log import Log
from runner.ledgers.pages import Member, Page, Spent
from runner.ledgers.pieces import Pieces
from runner.ledgers.processes import Life, Process
from runner.ledgers.sqlite import Store, Unusable, Visit

SWEEP = 0.5
"""Windows between two sweeps of what is of no use any more."""
GOODBYES = 20
"""How often a run tries to say that it ends, while others hold the store: for a second, in all."""


class Meeting:
    """What one run has told the others, and knows of them."""

    def __init__(
        self,
        me: Member,
        store: Store,
        windows: Mapping[str, Window | Log],
        leased: Collection[str],
        alive: Callable[[Process], Life],
        *,
        span: float,
        period: float,
    ) -> None:
        """`windows` are by limit; those of the `leased` ones count what others spend.

        `span` is the longest window, `period` the time between two visits, in seconds.
        """
        self._me = me
        self._store = store
        self._windows = windows
        self._alive = alive
        self._span = span
        self._period = period
        self._elsewhere = Elsewhere(windows, leased, span)
        self._pieces: Pieces | None = None
        self._seen = 0
        self._swept = -math.inf
        self._told: dict[str, tuple[float, float]] = {}
        """By limit: when that was found out which was told last, and when it was told."""

    @property
    def spending(self) -> Pieces:
        """What this run has spent, to be told."""
        if self._pieces is None:  # nobody was met yet
            self._pieces = Pieces(self._span)
        return self._pieces

    def log(self, key: str) -> list[tuple[float, int]]:
        """When all runs spent of a limit, and how much, as far as that is known; oldest first."""
        return sorted([*self.spending.log(key), *self._elsewhere.log(key)])

    def can_be_held(self) -> bool:
        """Whether the others can be met now."""
        with contextlib.suppress(Unusable), self._store.visit():
            return True
        return False

    def hold(self, now: float, drawn: Collection[str], write: Callable[[Company], Page]) -> None:
        """One visit: hear the others, and tell them what was spent, found out, and what `write` makes of the company.

        `drawn` are the limits that were taken of since the last one. Raises Unusable; nothing was told then.
        """
        with self._store.visit() as visit:
            self._store.show(self._me)
            if not self._seen:
                visit.renew(now)
            if self._pieces is None:
                self._pieces = Pieces(self._span, visit.last_piece(self._me.run) + 1)
            pages = self._others(visit, now)
            self._elsewhere.hear(visit.spent(self._seen, without=self._me.run), now)
            self._hear_learning(visit, now)
            self._seen = visit.stamp - 1
            page = write(Company(self._me, pages, self._elsewhere, self._alive, period=self._period, now=now))
            self._tell_spending(visit, now)
            self._tell_learning(visit, drawn, now)
            visit.write(page)
        self.spending.told()

    def leave(self, now: float) -> None:
        """Tell the others that this run has ended; what it spent stays counted."""
        for _ in range(GOODBYES):
            try:
                with self._store.visit() as visit:
                    self._tell_spending(visit, now)
                    self._tell_learning(visit, (), now)
                    visit.leave(self._me.run)
            except Unusable as error:
                if error.busy:
                    continue
            break
        self._store.hide(self._me)
        self._store.close()

    def _others(self, visit: Visit, now: float) -> list[Page]:
        """The other runs that are there."""
        others = []
        for page in visit.runs():
            mine = page.member.run == self._me.run
            if mine and page.member.process == self._me.process:
                continue
            if not mine and not self._is_gone(page, now):
                others.append(page)
                continue
            amounts = {key: round(amount) for key, amount in page.last_lease.items()}
            last = visit.last_piece(page.member.run) + 1
            visit.spend([Spent(page.member.run, last, min(now, page.until), amounts)], 2 * self._span)
            visit.leave(page.member.run)
            self._store.hide(page.member)
            if mine:
                self.spending.skip(last)
        return others

    def _is_gone(self, page: Page, now: float) -> bool:
        """Whether a run has ended. Its process may be out of sight, or live on after it: then its sign says so."""
        if self._alive(page.member.process) is Life.GONE:
            return True
        return page.is_stale(now, self._period) and not self._store.sees(page.member)

    def _tell_spending(self, visit: Visit, now: float) -> None:
        pieces = self.spending
        pieces.close()
        news = [Spent(self._me.run, piece.number, piece.at, piece.amounts) for piece in pieces.news(now)]
        visit.spend(news, 2 * self._span)
        if now - self._swept > SWEEP * self._span:
            visit.sweep(now)
            self._swept = now
            self._elsewhere.forget(now)

    def _hear_learning(self, visit: Visit, now: float) -> None:
        for key, told in visit.learned(self._seen).items():
            window = self._windows.get(key)
            if window is not None:
                with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
                    window.hear(told, now)

    def _tell_learning(self, visit: Visit, drawn: Collection[str], now: float) -> None:
        """What is new of the limits, and again what is not, for those who come later; a bucket's level always is."""
        news = {}
        for key, window in self._windows.items():
            told = window.tell(now)
            if told is None:
                continue
            at, told_at = self._told.get(key, (None, now))
            if told["at"] != at or now - told_at > self._span or ("level" in told and key in drawn):
                news[key], self._told[key] = told, (float(told["at"]), now)
        visit.tell(news, now + 2 * self._span)
