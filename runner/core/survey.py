"""What a look at the input's rows found: how many there are, which cannot be asked, and what the others will take."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.core.lengths import FIRST_CAP
from runner.core.values import NOTHING, Charge
from runner.core.work import Task


@dataclass(slots=True)
class Survey:
    """What a first look at the input found."""

    complete: bool = False
    """Whether it is of the whole input. One that is not says what was seen so far."""
    selected: int = 0
    """Rows that the job selects."""
    tasks: int = 0
    bad: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Why rows cannot be asked: by reason, the places of the first of them."""
    more: Counter[str] = field(default_factory=Counter)
    """By reason, how many others there are."""
    pinned: dict[str, Charge] = field(default_factory=dict)
    """Roughly, the work that only one model can do."""
    pooled: Charge = NOTHING
    """Roughly, the rest. Tokens of input are a bound in both: see `tokens_of_text`."""
    measured: int = 0
    """Of some rows, the tokens of text that they were taken to have, ..."""
    tokens: int = 0
    """... and those that they do have."""
    kinds: dict[str, str] = field(default_factory=dict)
    """The kind of each input column: int, float, bool, str, or json where rows differ."""
    models: dict[str, None] = field(default_factory=dict)
    """Every model that some row may go to, in order of first sight."""

    PROBLEMS = 20
    PLACES = 5

    @property
    def total(self) -> int:
        """Lines of the results table: tasks, and rows that cannot be asked."""
        return self.tasks + self.bad

    @property
    def tokens_of_text(self) -> float:
        """How many tokens there are, on average, for each that a row is taken to have."""
        return self.tokens / self.measured if self.measured else 1.0

    def note_bad(self, where: str, reason: str) -> None:
        """Count a row that cannot be asked."""
        self.bad += 1
        places = self.reasons.get(reason)
        if places is None and len(self.reasons) < self.PROBLEMS:
            self.reasons[reason] = [where]
        elif places is not None and len(places) < self.PLACES:
            places.append(where)
        else:
            self.more[reason if places is not None else ""] += 1

    @property
    def problems(self) -> list[str]:
        """The rows that cannot be asked: a line for each reason, with the first of its places."""
        lines = []
        for reason, places in self.reasons.items():
            others = f" and {self.more[reason]:,} more" if self.more[reason] else ""
            lines.append(f"{', '.join(places)}{others}: {reason}")
        return lines + ([f"... and {self.more['']:,} more, for other reasons"] if self.more[""] else [])

    def note_columns(self, columns: Mapping[str, Any]) -> None:
        """Widen the kinds of columns by a row's values."""
        for name, value in columns.items():
            kind = KINDS.get(type(value), "json")
            if kind == "int" and not -(2**63) <= value < 2**63:
                kind = "json"
            known = self.kinds.get(name)
            if known is None or known == "null":
                self.kinds[name] = kind
            elif kind not in (known, "null"):
                self.kinds[name] = "float" if {known, kind} == {"int", "float"} else "json"

    def note_size(self, text: int, tokens: int) -> None:
        """Take in how many tokens a row really has, that was taken to have so many."""
        self.measured += text
        self.tokens += tokens

    def note_task(self, task: Task) -> None:
        """Count a task."""
        self.tasks += 1
        cap = max(task.caps.values())
        charge = Charge(1, task.size.text, min(cap, FIRST_CAP) if task.free else cap)
        for model in task.models:
            self.models[model] = None
        if len(task.models) == 1:
            model = task.models[0]
            self.pinned[model] = self.pinned.get(model, NOTHING) + charge
        else:
            self.pooled += charge

    def pinned_beyond(self, first: Survey) -> Iterator[tuple[str, Charge]]:
        """The pinned work that a survey of the first rows did not know of."""
        for name, work in self.pinned.items():
            yield name, work - first.pinned.get(name, NOTHING)

    def to_json(self) -> dict[str, Any]:
        """The survey as JSON values."""
        return dataclasses.asdict(self) | {"more": dict(self.more), "models": list(self.models)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Survey:
        """The survey that `to_json` wrote."""
        pinned = {name: Charge(**work) for name, work in values["pinned"].items()}
        return cls(
            **{
                **values,
                "more": Counter(values["more"]),
                "pinned": pinned,
                "pooled": Charge(**values["pooled"]),
                "models": dict.fromkeys(values["models"]),
            }
        )


KINDS: Mapping[type, str] = {int: "int", float: "float", bool: "bool", str: "str", type(None): "null"}
