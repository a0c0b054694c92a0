"""Notices that row after row fails alike: then something is wrong with the job or the account, and not with the rows.

So is the address where the first request finds no gateway at all.

What may be a fault of the job is held back until an answer shows that rows can succeed; only then does it count as the
rows' own outcome. If too many come in a row instead, the run is stopped, and they stay open for a resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from runner.core.events import Event, What
from runner.core.retry import is_astray
from runner.core.values import Failure, Kind, Reply, Status
from runner.core.work import Finished

FIRST = 10
"""Rows that fail alike before any row was answered, after which the run is stopped."""
LATER = 50
"""The same between two answers."""

SUSPECT = frozenset({Kind.INVALID_REQUEST, Kind.FORBIDDEN, Kind.MODEL_UNAVAILABLE, Kind.INVALID_RESPONSE})
"""Failures that a wrong parameter, a missing permission or a wrong address causes for every row."""


class Alike:
    """Stands between a run and whoever watches its events."""

    def __init__(
        self,
        watch: Callable[[Event], None],
        stop: Callable[[Failure], None],
        *,
        answered: bool = False,
        models_left: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stop` is told once why the run should end; `answered` says that earlier sessions had answers, `models_left`
        whether there are models that can be used: then one that is gone is no fault of the job.
        """
        self._watch = watch
        self._stop = stop
        self._models_left = models_left
        self._most = LATER if answered else FIRST
        self._held: list[Event] = []
        self._tasks = 0
        self._last: Failure | None = None
        self.stopped = False

    def __call__(self, event: Event) -> None:
        """Take in an event, and pass it on at once or later."""
        if isinstance(event.result, Reply) and not _is_escalated(event):
            self._most = LATER
            self.release()
        elif isinstance(event.result, Failure) and is_astray(event.result) and self._most == FIRST:
            self._pass_on_as_open(event)
            self._end(event.result, f"There is no gateway at its address ({event.result.message}). Is that right?")
            return
        if event.what is What.SENT:
            self._watch(event)
            return
        suspect = next((finished for finished in _ended(event) if _is_suspect(finished)), None)
        if suspect is None or not isinstance(suspect.result, Failure):
            self._watch(event)
            return
        if self.stopped:
            self._pass_on_as_open(event)
            return
        failure = suspect.result
        if self._last is not None and (self._last.kind, self._last.status) != (failure.kind, failure.status):
            self.release()
        self._last = failure
        self._held.append(event)
        is_another = event.what is What.LANDED or event.ask is None or suspect.task is not event.ask.task
        self._tasks += is_another and not (failure.kind is Kind.MODEL_UNAVAILABLE and self._models_left())
        if self._tasks >= self._most:
            when = "The first" if self._most == FIRST else "The last"
            self._end(
                failure,
                f"{when} {self._tasks} rows all failed alike, and none was answered: {failure.message} "
                "They stay open. Mend the account and resume; or mend the job and start it anew; "
                "or resume with --keep-going, to record such rows as errored.",
            )

    def release(self) -> None:
        """What was held back is the rows' own outcome after all."""
        held, self._held, self._tasks, self._last = self._held, [], 0, None
        for event in held:
            self._watch(event)

    def abandon(self) -> None:
        """The run ends early: nobody knows whose fault it was, and the rows stay open."""
        held, self._held, self._tasks = self._held, [], 0
        for event in held:
            self._pass_on_as_open(event)

    def _end(self, failure: Failure, message: str) -> None:
        self.stopped = True
        self.abandon()
        self._stop(replace(failure, message=message, scope="all"))

    def _pass_on_as_open(self, event: Event) -> None:
        """The attempt happened; that it was the last one is left out."""
        if event.what is What.LANDED and event.landing is not None:
            others = tuple(finished for finished in event.landing.finished if not _is_suspect(finished))
            self._watch(replace(event, landing=replace(event.landing, finished=others)))


def _ended(event: Event) -> Iterator[Finished]:
    """The outcomes that an event brings."""
    if event.finished is not None:
        yield event.finished
    elif event.landing is not None and event.ask is not None:
        yield from (finished for finished in event.landing.finished if finished.task is event.ask.task)


def _is_escalated(event: Event) -> bool:
    """Whether a stronger model answered, which is asked about the rows that failed: these fail all the same."""
    return event.ask is not None and event.ask.task.escalated


def _is_suspect(finished: Finished) -> bool:
    failure = finished.result
    if finished.status is not Status.ERRORED or not isinstance(failure, Failure):
        return False
    return failure.kind in SUSPECT or is_astray(failure)
