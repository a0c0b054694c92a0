"""The rest of the look at the input, beside a run that has begun without it.

The look goes on in a process of its own (`surveyor`). Here is what becomes of what it finds: the run's totals, or, for
rows that cannot be asked, the run's end in order. It is the same whether the look finds such a row or the run itself
comes upon it first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runner import surveyor
from runner.core.errors import InputRejected, RunnerError
from runner.core.schedule import Scheduler
from runner.core.survey import Survey
from runner.engines.local import Engine
from runner.execution import Ending
from runner.preparing import Prepared
from runner.storage.rows import Record
from runner.surveying import refusal


class LookBeside:
    """Completes a run's look while the run goes. Use it as an async context manager around the run.

    With nothing left to look at it does nothing.
    """

    def __init__(self, prepared: Prepared, scheduler: Scheduler, run: Path, complete: Callable[[], None]) -> None:
        """`run` is the run's directory; `complete` is called when `prepared` knows all of its input."""
        self.engine: Engine | None = None
        """The engine of the run, once there is one."""
        self._prepared = prepared
        self._scheduler = scheduler
        self._run = run
        self._complete = complete
        self._task: asyncio.Task[None] | None = None
        self._stopped: str | None = None
        """Why the run is to stop, in a few words."""
        self._failed: RunnerError | None = None

    async def __aenter__(self) -> Self:
        if not self._prepared.is_whole:
            self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look(self) -> None:
        try:
            self._take(await surveyor.survey(self._question()))
            self._complete()
        except RunnerError as error:
            self._failed = error
            self._stop("the input could not be looked over")
            return
        survey = self._prepared.survey
        if survey.bad and self._prepared.job.bad_rows == "stop":
            self._stop("rows that cannot be asked")

    def _take(self, found: Mapping[str, Any]) -> None:
        prepared = self._prepared
        if found["stamp"] != prepared.source.stamp:
            raise InputRejected(f"{prepared.source.path} was changed while it was looked over.")
        prepared.digest = found["digest"]
        prepared.notices += [notice for notice in found["notices"] if notice not in prepared.notices]
        if found["survey"] is None:
            return
        before, prepared.survey = prepared.survey, Survey.from_json(found["survey"])
        for name, work in prepared.survey.pinned_beyond(before):
            self._scheduler.expect(name, work)

    def _question(self) -> dict[str, Any]:
        prepared = self._prepared
        return {
            "job": prepared.job.to_json(),
            "limits": prepared.limits.to_table(),
            "catalogs": [str(path.resolve()) for path in prepared.setup.catalogs],
            "fills": prepared.fills,
            "look": not prepared.survey.complete,
        }

    def _stop(self, reason: str) -> None:
        if self._stopped is None:
            self._stopped = reason
            if self.engine is not None:
                self.engine.stop(reason)

    # What the run is given.

    def records(self) -> Iterator[Record]:
        """The rows of the input; where they cannot be read on, the run stops in order."""
        try:
            yield from self._prepared.records()
        except InputRejected as error:
            self._failed = self._failed or error
            self._stop("the input cannot be read on")

    def reject(self, reason: str) -> bool:
        """Whether a row that cannot be asked stops the run; it does so then."""
        if self._prepared.job.bad_rows != "stop":
            return False
        self._failed = self._failed or InputRejected(f"{self._prepared.source.path}: {reason}")
        self._stop("a row that cannot be asked")
        return True

    async def last_word(self, ending: Ending, interrupted: asyncio.Event) -> Ending:
        """How a run ends, by its own ending and by what the look found; it waits for the look, if it may."""
        if self._stopped is None and ending.exit_code != 0:
            return ending
        if self._task is not None:
            await _first(self._task, interrupted)
            if not self._task.done():
                return Ending(4, "the look over the input was not waited for")
            self._task.result()
        survey, again = self._prepared.survey, self._prepared.again(self._run)
        if survey.complete and survey.bad and self._prepared.job.bad_rows == "stop":
            return Ending(InputRejected.exit_code, refusal(str(self._prepared.source.path), survey, again))
        if self._failed is not None:
            how = f"What was answered is kept. When that is mended, go on with:\n  {again}"
            return Ending(self._failed.exit_code, f"{self._failed}\n{how}")
        return ending


async def _first(task: asyncio.Task[None], event: asyncio.Event) -> None:
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
