"""Asking stronger models about the rows that annotators leave in doubt, while the run goes on.

The tasks for them are made with the others of their row, and held back until all of those have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.core.answers import Answer, Invalid
from runner.core.values import Outcome, Reply
from runner.core.work import Finished, Task

Vote = Answer | Invalid | None
"""An answer, or why there is none; None where a task ended without a reply."""


@dataclass(slots=True)
class _Open:
    """A row whose annotators have not all been heard."""

    waiting: set[int]
    """Slots of the tasks that have not ended."""
    held: Sequence[Task]
    votes: dict[str, Vote] = field(default_factory=dict)


class Escalator:
    """Says when the tasks for stronger models are due."""

    def __init__(
        self,
        is_due: Callable[[Mapping[str, Vote]], bool],
        read: Callable[[str, str], Answer | Invalid],
        recall: Callable[[int, int], tuple[str, str] | None],
        is_shelved: Callable[[Task], bool] = lambda _task: False,
    ) -> None:
        """`is_due` says, by the votes of all annotators, whether stronger models are to be asked.

        `read` reads a reply's text, given the text that spans are of. `recall` gives text and outcome of the reply that
        ended a row's task in an earlier session, None for a failure. A row one of whose tasks `is_shelved`, since it
        cannot be asked in this session, is not held: it is for another one.
        """
        self._is_due = is_due
        self._read = read
        self._recall = recall
        self._is_shelved = is_shelved
        self._open: dict[int, _Open] = {}

    def hold(self, made: Sequence[Task], held: Sequence[Task], ended: Callable[[int, int], bool]) -> Sequence[Task]:
        """Hold tasks back until those that were `made` of the same row have ended; gives them if they have already."""
        held = [task for task in held if not ended(task.row, task.slot)]
        if not held:
            return ()
        row = _Open({task.slot for task in made}, held)
        for task in made:
            if ended(task.row, task.slot):
                row.waiting.discard(task.slot)
                said = self._recall(task.row, task.slot)
                row.votes[task.annotator] = None if said is None else self._vote(*said, task.source)
        if row.waiting:
            if not any(task.slot in row.waiting and self._is_shelved(task) for task in made):
                self._open[made[0].row] = row
            return ()
        return self._due(row)

    def finished(self, finished: Finished) -> Iterator[Task]:
        """The tasks that are due now that this one has ended."""
        task, result = finished.task, finished.result
        row = self._open.get(task.row)
        if row is None or task.slot not in row.waiting:
            return
        row.waiting.discard(task.slot)
        row.votes[task.annotator] = (
            self._vote(result.text, result.outcome, task.source) if isinstance(result, Reply) else None
        )
        if not row.waiting:
            del self._open[task.row]
            yield from self._due(row)

    def _vote(self, text: str, outcome: str, source: str) -> Vote:
        return self._read(text, source) if outcome == Outcome.OK else Invalid("it is no whole answer")

    def _due(self, row: _Open) -> Sequence[Task]:
        return row.held if self._is_due(row.votes) else ()
