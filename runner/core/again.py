"""Asking again for an answer that could not be read: what the model said is shown to it, with what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runner.core.answers import Answer, Invalid
from runner.core.answers.reader import Reader
from runner.core.estimate import PER_MESSAGE, Size
from runner.core.ports import TokenCounter
from runner.core.values import Message, Outcome, Reply, Request
from runner.core.work import Ask, Task

NOTHING = "(nothing)"
"""Stands for an answer without text: dialects refuse a turn that is empty."""


class AskingAgain:
    """Makes the request that follows an unreadable answer, at most `asks` times for each task."""

    def __init__(
        self,
        reader: Reader,
        asks: int,
        read: Callable[[str, str], Answer | Invalid],
        count: TokenCounter,
        fits: Callable[[Task, Size], bool],
    ) -> None:
        """`read` reads a reply's text, given the text that spans are of; `fits` says if a task can grow to a size."""
        self._reader = reader
        self._asks = asks
        self._read = read
        self._count = count
        self._fits = fits

    def __call__(self, ask: Ask, reply: Reply) -> tuple[Request, Size] | None:
        """What to ask instead, and its size; None if the reply is the last word."""
        task, request = ask.task, ask.task.request
        # What was refused, filtered or cut short has no form to mend; a batch line is sent as it is.
        if task.asked_again >= self._asks or reply.outcome is not Outcome.OK or request.body is not None:
            return None
        found = self._read(reply.text, task.source)
        if not isinstance(found, Invalid):
            return None
        said, told = reply.text.strip() or NOTHING, self._reader.instruction(found, reply.text)
        size = replace(task.size, text=task.size.text + self._count(said) + self._count(told) + 2 * PER_MESSAGE)
        if not self._fits(task, size):
            return None
        turns = (Message(role="assistant", content=said), Message(role="user", content=told))
        return replace(request, messages=(*request.messages, *turns)), size
