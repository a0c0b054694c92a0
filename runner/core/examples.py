"""Examples that a model is shown before it is asked: turns of a user who asks and of a model that answers as wanted.

Which ones a row is shown depends on the row's content and the job alone. A row is never shown itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from runner.core.values import Json, Message

Choice = Literal["first", "seeded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """What a job declares: the rows themselves, so that it asks the same whatever becomes of their file."""

    rows: tuple[Mapping[str, Json], ...]
    answer: str
    """The column with the answer that is wanted."""
    count: int
    """How many a row is shown at most."""
    choose: Choice = "first"
    """The first of the file, or others for each row, drawn by its content."""
    seed: int = 0
    """Of the drawing."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Examples:
        """The declaration that `dataclasses.asdict` wrote."""
        return cls(**{**values, "rows": tuple(values["rows"])})


@dataclass(frozen=True, slots=True)
class Shot:
    """One example, as it is sent."""

    asked: str
    answered: str


class Shots:
    """Chooses the examples of each row, for one prompt."""

    def __init__(self, shots: Sequence[Shot], declared: Examples) -> None:
        """`shots` are all of the declared rows, in their order."""
        self._shots = shots
        self._declared = declared
        self._alike = Counter(_words(shot.asked) for shot in shots)

    def turns(self, asked: str, key: str) -> tuple[Message, ...]:
        """The turns before a row that is asked as `asked`; `key` names its content, and draws."""
        own = _words(asked)
        shown: list[Message] = []
        for place in self._order(key, self._declared.count + self._alike[own]):
            shot = self._shots[place]
            if len(shown) < 2 * self._declared.count and _words(shot.asked) != own:
                shown += (Message(role="user", content=shot.asked), Message(role="assistant", content=shot.answered))
        return tuple(shown)

    def _order(self, key: str, count: int) -> Sequence[int]:
        """The places of as many examples as may be looked at, the row itself among them."""
        places = range(len(self._shots))
        if self._declared.choose == "first":
            return places[:count]
        return Random(f"{self._declared.seed}:{key}").sample(places, min(count, len(places)))


def _words(text: str) -> str:
    """What makes two questions the same, whatever the space between their words."""
    return " ".join(text.split())
