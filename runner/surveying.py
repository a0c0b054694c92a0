"""The look at the input before a run: every row read, rendered and checked once, without keeping it.

It knows the parts that read a row and ask about it, and no run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from runner.core.catalog import Catalogue
from runner.core.errors import InputRejected, UsageError
from runner.core.estimate import Size, measure
from runner.core.prompt import RowError, is_batch_line
from runner.core.sampling import Sample
from runner.core.survey import Survey
from runner.core.tasks import NeverFits, TaskMaker
from runner.core.work import Task
from runner.gateway.asking import capped
from runner.gateway.dialects import DIALECTS
from runner.gateway.images import pixels
from runner.gateway.tokens import ENCODING, counter
from runner.storage.rows import BadRow, Record, Row

STRIDE = 64
"""Rows between two looks at the clock."""
MEASURED_FIRST, MEASURED = 50, 100
"""Rows that are measured exactly: so many first ones, and then one of so many."""
MOST_COLUMNS = 5_000
"""Columns that rows may have together, where one has less than half of them: each line of the results has them all."""
UNASKED = "a line's own body is not asked, nor are its options sent: the prompt goes before it"
"""What is said where a prompt stands beside lines of OpenAI's batch format."""


class Look:
    """One look at an input, and what it found so far."""

    def __init__(self, maker: TaskMaker, catalogue: Catalogue, sample: Sample | None = None) -> None:
        """`sample` is shown every row that can be asked about."""
        self.survey = Survey()
        self._noticed: dict[str, str] = {}
        """Notice -> where it was first met, if that is of a line's own making."""
        self._maker = maker
        self._catalogue = catalogue
        self._sample = sample
        self._stops = maker.job.bad_rows == "stop"
        self._encoded: set[tuple[Any, ...]] = set()

    def over(
        self, records: Iterable[Record], patience: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Look at rows to their end, or for `patience` seconds if they can be sent without the rest.

        Raises InputRejected if they cannot be read to the end, and UsageError for what --strict-params refuses.
        """
        survey = self.survey
        counter(ENCODING)  # it takes half a second to load
        ends = clock() + patience
        for record in records:
            self._see(record)
            if survey.selected % STRIDE == 0 and clock() >= ends and survey.tasks and not (survey.bad and self._stops):
                return
        survey.complete = True

    def _see(self, record: Record) -> None:
        survey, maker = self.survey, self._maker
        survey.selected += 1
        if isinstance(record, BadRow):
            survey.note_bad(record.where, record.reason)
            return
        survey.note_columns(record.columns)
        if len(survey.kinds) > max(MOST_COLUMNS, 2 * len(record.columns)):
            raise InputRejected(
                f"The rows up to {record.where} have more than {MOST_COLUMNS:,} different columns, and the results "
                "would have a cell for each in every line. Put what is named otherwise in every row into one object."
            )
        try:
            try:
                # No tokenizer makes more tokens than there are bytes: most rows need no exact count to be let through.
                tasks = maker.tasks(record.index, record.columns, record.digest, _bytes)
            except NeverFits:
                tasks = maker.tasks(record.index, record.columns, record.digest, counter(ENCODING))
        except RowError as error:
            survey.note_bad(record.where, str(error))
            return
        if survey.selected <= MEASURED_FIRST or survey.selected % MEASURED == 0:
            survey.note_size(tasks[0].size.text, exact_size(tasks[0]).text)
        self._note(tasks, record.where)
        if maker.job.prompt is not None and is_batch_line(record.columns):
            self._noticed.setdefault(UNASKED, f" (first in {record.where})")

    def among(self, rows: Iterable[Row]) -> None:
        """Look at rows that are asked about among the input's; raises UsageError if one cannot be."""
        for row in rows:
            try:
                self._note(self._maker.tasks(row.index, row.columns, row.digest, counter(ENCODING)), row.where)
            except RowError as error:
                raise UsageError(f"{row.where}: {error}.") from None

    def _note(self, tasks: Sequence[Task], where: str) -> None:
        if self._sample is not None:
            self._sample.see(tasks)
        request = tasks[0].request
        shape = request.settings.temperature, request.settings.effort, *_said(request.body or {})
        for task in tasks:
            self.survey.note_task(task)
            kind = task.models, task.request.dialect, *shape
            if kind not in self._encoded:
                self._encoded.add(kind)
                self._note_parameters(task, where)

    def _note_parameters(self, task: Task, where: str) -> None:
        """Find out, once for each kind of request, which parameters a model will not be sent, or will not take."""
        own, first = task.request.body, f" (first in {where})" if task.request.body else ""
        if own and (endpoint := self._maker.job.endpoint) is not None:
            self._noticed[f"--endpoint {endpoint} is left out where a line's own url says where to"] = ""
        for name, dialect in task.dialects.items():
            try:
                wire = DIALECTS[dialect].encode(capped(task.request, task.caps[name]), self._catalogue.find(name))
            except UsageError:  # the row's own fault: it errors by itself
                continue
            for notice in wire.dropped:
                if self._maker.job.strict_params:
                    raise UsageError(f"{notice}{first}; --strict-params allows nothing to be left out.")
                self._noticed.setdefault(notice, first)

    @property
    def notices(self) -> list[str]:
        """What will be left out of requests, or not be taken or kept, and why."""
        return [f"{notice}{first}" for notice, first in self._noticed.items()]


def exact_size(task: Task) -> Size:
    """What a task measures, with its tokens counted."""
    return measure(task.request, counter(ENCODING), pixels)


def _said(own: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a line's own body decides about what is left out of it, or will not be taken."""
    if not own:
        return ()
    names = tuple([name for name, value in own.items() if value is not None and value is not False])
    return own.get("temperature") == 1, str(own.get("top_p")), str(own.get("tool_choice")), names


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def refusal(source: str, survey: Survey, again: str | None = None) -> str:
    """What is said of rows that cannot be asked: each reason by line, and how to go on.

    `again` is the command that goes on with the run that they stopped, if it had begun.
    """
    done = "nothing was sent" if again is None else "the run is stopped"
    lines = [f"{source}: {survey.bad:,} of {survey.selected:,} rows cannot be asked; {done}."]
    lines += [f"  {problem}" for problem in survey.problems]
    if again is not None:
        lines.append("What was answered is kept. To have these rows as errored rows beside the others, go on with:")
        lines.append(f"  {again} --bad-rows record")
        lines.append("A mended file is another input, and needs a new run.")
    elif survey.bad < survey.selected:
        lines.append("Mend them, or give --bad-rows record to have them as errored rows beside the others.")
    return "\n".join(lines)
