"""What a person sees while a run goes: a live view on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from runner.core.events import Event, What
from runner.core.limits import ALL, Limit
from runner.core.values import Failure, Status
from runner.report.durations import clock
from runner.report.safe import safe
from runner.report.waits import now_waiting, silence

if TYPE_CHECKING:
    from runner.session import Attend, Session

REFRESH_SECONDS = 0.25
LINE_SECONDS = 10.0
FIRST_SECONDS = 0.25
"""After which it is first worked out how long a run will take."""
MODELS_SHOWN = 12
LOCAL = "This run talks to the local gateway, which is no model: its answers mean nothing."


def attendant(*, quiet: bool, stream: TextIO) -> Attend:
    """What opens the view that fits the stream."""

    @contextlib.contextmanager
    def attend(session: Session) -> Iterator[Callable[[Event], None]]:
        if quiet:
            yield lambda _event: None
            return
        console = Console(file=stream, highlight=False)
        view = View(session)
        _say(session.prepared.notices, console)
        said = len(session.prepared.notices)
        if session.judges:
            models = ", ".join(session.prepared.survey.models)
            console.print(f"The judge, {safe(models)}, is asked about these answers.", markup=False, soft_wrap=True)
        elif session.local:
            console.print(LOCAL, markup=False, soft_wrap=True)
        shown = _live if console.is_terminal and not console.is_dumb_terminal else _lines
        with shown(view, console), _working(view):
            yield view.watch
        _say(session.prepared.notices[said:], console)

    return attend


def _say(notices: list[str], console: Console) -> None:
    for notice in notices:
        console.print(f"note: {safe(notice)}", markup=False, soft_wrap=True)


class View:
    """The figures of a session as they are now."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._loop = asyncio.get_running_loop()
        self.stopping: str | None = None
        self._heard = ""
        """What the last failure said."""
        self.show: Callable[[], None] = lambda: None
        """Shows the figures at once."""

    def watch(self, event: Event) -> None:
        """What the tally does not know: what becomes of the rest, what failed, and that the run is being stopped."""
        self.session.foresight.watch(event)
        if isinstance(event.result, Failure):
            self._heard = event.result.message
        if event.what is What.STOPPED:
            self.stopping = event.reason
            self.show()

    @property
    def total(self) -> int | None:
        """Tasks of the whole run; None until all of the input has been looked over."""
        survey = self.session.prepared.survey
        return survey.total + self.session.history.tally.escalated if survey.complete else None

    @property
    def now(self) -> float:
        """The run's clock."""
        return self._loop.time()

    @property
    def elapsed(self) -> float:
        """Seconds of this session."""
        return self.now - self.session.started

    def eta(self) -> float | None:
        """Seconds to go, as the plan says of what is left; None before that is worked out."""
        return self.session.foresight.left(self.now)

    def line(self) -> str:
        """One plain line."""
        tally, total = self.session.history.tally, self.total
        failed = tally.statuses[Status.ERRORED]
        minutes = max(self.elapsed, 1e-9) / 60
        eta = None if self.session.scheduler.failing_since is not None else self.eta()
        parts = [
            f"{tally.ended:,} tasks, input being looked over" if total is None else f"{tally.ended:,}/{total:,} tasks",
            f"{failed:,} errored" if failed else "",
            f"{tally.total('input_tokens') / minutes:,.0f} input tokens/min" if tally.sessions <= 1 else "",
            f"{tally.total('refused'):,} refused (429)" if tally.total("refused") else "",
            f"{self.session.scheduler.in_flight:,} in flight",
            f"${tally.total('cost'):.4f}",
            f"about {clock(eta)} to go" if eta is not None and not self.stopping else "",
            self.waiting(),
            f"stopping ({self.stopping}): waiting for what is in flight" if self.stopping else "",
        ]
        return " · ".join(part for part in parts if part)

    def waiting(self) -> str:
        """What is being waited for, and by which models; or that the gateway is down."""
        scheduler, now = self.session.scheduler, self.now
        since, last = scheduler.failing_since, scheduler.last_answer
        if since is None:
            return now_waiting(scheduler.waiting_for(now))
        left = self.session.patience - (now - since)
        since_answer = None if last is None else now - last
        return silence(now - since, since_answer, self._heard, left, reached=scheduler.reached)

    def limits(self) -> list[tuple[Limit, float]]:
        """Each limit's window, as a fraction of the limit; requests a second left out."""
        seen: dict[Limit, float] = {}
        for limit, spent in self.session.ledger.spent(self.now).items():
            if limit.measure != "requests":
                seen[limit] = spent / limit.amount
        return sorted(seen.items(), key=lambda item: (item[0].scope != ALL, -item[1]))

    def table(self) -> RenderableType:
        """The live view."""
        tally = self.session.history.tally
        head = Table.grid(padding=(0, 1))
        total = self.total
        done = 0.0 if total is None else tally.ended / total if total else 1.0
        head.add_row(ProgressBar(total=1.0, completed=done, width=60), "" if total is None else f"{done:4.0%}")
        grid = Table(box=None, padding=(0, 1), show_edge=False)
        for name in ("model", "done", "failed", "429", "input/window", "output/window"):
            grid.add_column(name, justify="left" if name == "model" else "right", style="dim" if name == "429" else "")
        shares: dict[str, dict[str, float]] = {}
        for limit, share in self.limits():
            shares.setdefault(limit.scope, {})[limit.measure] = share
        for name in list(self.session.prepared.survey.models)[:MODELS_SHOWN]:
            model = tally.models.get(name)
            own = shares.get(name, {})
            grid.add_row(
                name,
                f"{model.succeeded:,}" if model else "0",
                f"{model.errored:,}" if model else "0",
                f"{model.refused:,}" if model else "0",
                _share(own.get("input", own.get("total"))),
                _share(own.get("output")),
            )
        combined = shares.get(ALL, {})
        if combined:
            grid.add_row(
                "all models", "", "", "", _share(combined.get("input", combined.get("total"))), "", style="bold"
            )
        return Group(head, Text(self.line()), grid)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


@contextlib.contextmanager
def _live(view: View, console: Console) -> Iterator[None]:
    with (
        Live(console=console, auto_refresh=False, transient=True) as live,
        _every(REFRESH_SECONDS, lambda: live.update(view.table(), refresh=True)),
    ):
        yield


@contextlib.contextmanager
def _lines(view: View, console: Console) -> Iterator[None]:
    stamp = time.strftime

    def line() -> None:
        with contextlib.suppress(OSError):
            console.print(f"{stamp('%H:%M:%S')} {view.line()}", markup=False, soft_wrap=True)

    view.show = line
    with _every(LINE_SECONDS, line):
        yield


@contextlib.contextmanager
def _working(view: View) -> Iterator[None]:
    """Let the foresight work, a slice at a time, whenever it wants to."""
    loop = asyncio.get_running_loop()
    with _calling(FIRST_SECONDS, lambda: view.session.foresight.work(loop.time)):
        yield


@contextlib.contextmanager
def _every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    def again() -> float:
        with contextlib.suppress(OSError):  # a closed terminal stops nothing but the view
            call()
        return seconds

    with _calling(min(seconds, 1.0), again):
        yield


@contextlib.contextmanager
def _calling(first: float, call: Callable[[], float]) -> Iterator[None]:
    """Call after `first` seconds, and then after as many as it says each time."""
    loop = asyncio.get_running_loop()
    handle: asyncio.TimerHandle

    def again() -> None:
        nonlocal handle
        handle = loop.call_later(call(), again)

    handle = loop.call_later(first, again)
    try:
        yield
    finally:
        handle.cancel()
