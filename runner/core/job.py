"""What to ask about each row, of which models: a declaration, and how it is written down."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.core.answers.reader import Reader
from runner.core.caps import Caps
from runner.core.confidence import Basis
from runner.core.errors import StorageDamaged
from runner.core.evaluating import Evaluation, Gates
from runner.core.examples import Examples
from runner.core.labelling import Annotators, Escalation, Gold, Reading, Voting
from runner.core.sharing import Priority
from runner.core.values import Settings

BadRows = Literal["stop", "record"]


ASKED = (
    "prompt", "system", "examples", "annotators", "settings", "row_settings", "cap_is", "endpoint", "strict_params",
    "models", "each",
)  # fmt: skip
"""The fields of a job that decide what an answer can be."""
SECTIONS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "answer": Reading.from_json,
    "examples": Examples.from_json,
    "annotators": lambda values: Annotators(**values),
    "vote": lambda values: Voting(**values),
    "gold": Gold.from_json,
    "escalate": Escalation.from_json,
    "evaluate": Evaluation.from_json,
    "gates": lambda values: Gates(**values),
}
"""Sections of a job file -> how one is read back from a manifest."""
SHOWN = 80
"""Characters of a value in a message."""


_LABELS = re.compile(r"\blabels\b")


def _apart(old: Any, new: Any) -> str:
    """Two values that differ, long ones from a little before the place where they do."""
    texts = [repr(value) for value in (old, new)]
    same = next((place for place, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    begin = max(0, same - SHOWN // 4) if max(map(len, texts)) > SHOWN else 0
    return " -> ".join(_cut(text, begin) for text in texts)


def _cut(text: str, begin: int) -> str:
    shown = text[begin : begin + SHOWN]
    return f"{'...' if begin else ''}{shown}{'...' if begin + SHOWN < len(text) else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One declaration, complete: the run's manifest holds it, and a resume is bound to it."""

    input: str
    """Path of the input file."""
    name: str = "run"
    models: tuple[str, ...] = ()
    """Short ids. Without `each` they are a pool: any of them may answer a row."""
    each: bool = False
    """Ask every model about every row."""
    prompt: str | None = None
    """Jinja template over a row's columns."""
    system: str | None = None
    """Jinja template of the system prompt."""
    settings: Settings = field(default_factory=Settings)
    row_settings: bool = True
    """Whether rows may carry their own model, system, max_tokens and temperature."""
    cap_is: Literal["exact", "ceiling"] = "exact"
    """Whether `max_tokens` is sent as it is, or is only the most that may be allowed."""
    probe_above: bool = False
    """Whether more than the configured limits may be sent, to find out if they are higher."""
    id_column: str | None = None
    limit: int | None = None
    """Only the first so many rows."""
    sample: int | None = None
    """Only so many rows, drawn at random."""
    seed: int = 0
    """Of the drawing, and of the waiting times after failures."""
    bad_rows: BadRows = "stop"
    """Whether a row that cannot be asked stops the run, or becomes an errored row."""
    keep_going: bool = False
    """Whether rows that all fail alike are recorded as errored, rather than stop the run."""
    endpoint: str | None = None
    """Dialect to use wherever the model answers on it."""
    strict_params: bool = False
    """Refuse a parameter that a model rejects, rather than leave it out."""
    attempts: int = 5
    timeout: float = 600.0
    """Seconds for one exchange."""
    patience: float = 600.0
    """Seconds that the gateway may fail without one answer."""
    caps: Caps = field(default_factory=Caps)
    priority: Priority = "normal"
    """How large a part of the budget it gets beside other runs of the account."""
    answer: Reading | None = None
    """How replies are read, where the job says so."""
    examples: Examples | None = None
    """What a model is shown before it is asked."""
    annotators: Annotators = field(default_factory=Annotators)
    vote: Voting = field(default_factory=Voting)
    gold: Gold | None = None
    escalate: Escalation | None = None
    evaluate: Evaluation | None = None
    gates: Gates | None = None

    @property
    def reading(self) -> Reading | None:
        """How replies are read: as the job says, else by the schema they must satisfy; None takes them as they are."""
        schema = self.settings.schema
        return Reading(reader=Reader(kind="fields", schema=schema)) if self.answer is None and schema else self.answer

    @property
    def hidden(self) -> dict[str, str]:
        """The columns that no model may see, because they hold the truth; and what says so."""
        evaluate, said = self.evaluate, {}
        if evaluate is not None and evaluate.expected is not None:
            said[evaluate.expected] = "[evaluate] says holds the right answers"
        if evaluate is not None and evaluate.pairwise is not None and evaluate.pairwise.gold is not None:
            said[evaluate.pairwise.gold] = "[evaluate.pairwise] says holds the known preferences"
        if self.gold is not None:
            said[self.gold.column] = "[gold] says holds the known labels"
        return said

    @property
    def votes(self) -> bool:
        """Whether its answers are counted as votes: those of an evaluation only where it asks for that."""
        asks = self.vote.declared or self.gold is not None or self.escalate is not None
        return self.answer is not None and (self.evaluate is None or asks)

    @property
    def confidence(self) -> Basis | None:
        """What shows how sure annotators are of their answers, if anything does."""
        if self.answer is None:
            return None
        if self.answer.reader.confidence is not None:
            return "stated"
        return "samples" if self.annotators.samples > 1 else None

    @property
    def slots(self) -> int:
        """The most tasks that one of its rows can make."""
        own = (max(1, len(self.models)) if self.each else 1) * self.annotators.variants
        return own + (len(self.escalate.models) if self.escalate else 0)

    @property
    def fingerprint(self) -> str:
        """Names what is asked and how it is read, whatever it is asked about."""
        parts = {name: getattr(self, name) for name in (*ASKED, "answer")}
        text = json.dumps(parts, sort_keys=True, default=dataclasses.asdict)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def key(self) -> str:
        """Names what is asked, whatever it is asked about: runs with the same key have answers of the same lengths."""
        prompt = dict(self.annotators.prompts) or self.prompt
        asked = (prompt, self.system, self.settings.schema, self.settings.effort, self.settings.stop)
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]

    def differences(self, other: Job, *, but: Collection[str] = ()) -> list[str]:
        """What this job asks otherwise than another one, one line each; which rows it asks about is left out.

        So are the fields named in `but`.
        """
        lines = []
        for name in (name for name in ASKED if name not in but):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine == theirs:
                continue
            if isinstance(mine, Settings):
                fields = [field.name for field in dataclasses.fields(Settings)]
                parts = [(part, getattr(mine, part), getattr(theirs, part)) for part in fields]
            else:
                parts = [(name, mine, theirs)]
            lines += [f"{part}: {_apart(old, new)}" for part, new, old in parts if new != old]
        if self._offered != other._offered:
            lines.append(f"labels: {_apart(other._offered, self._offered)}")
        return lines

    @property
    def _offered(self) -> tuple[str, ...]:
        """The labels, where a prompt may show them."""
        texts = (self.prompt, self.system, *self.annotators.prompts.values())
        shown = any(text is not None and _LABELS.search(text) for text in texts)
        return self.answer.reader.labels if shown and self.answer is not None else ()

    def to_json(self) -> dict[str, Any]:
        """The declaration as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Job:
        """The declaration that `to_json` wrote; raises StorageDamaged for one that this version does not read."""
        try:
            return cls._from_json(dict(values))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StorageDamaged(
                f"What the run asks does not read back from its manifest.json ({type(error).__name__}: {error}): it is "
                "damaged, or another version of runner wrote it, which goes on with it."
            ) from None

    @classmethod
    def _from_json(cls, values: dict[str, Any]) -> Job:
        settings = dict(values.pop("settings"))
        for name in ("stop", "tools"):
            settings[name] = tuple(settings[name])
        caps = Caps(**values.pop("caps"))
        values["models"] = tuple(values["models"])
        for name, read in SECTIONS.items():  # a manifest of an earlier version has none of them
            if values.get(name) is not None:
                values[name] = read(values[name])
        return cls(settings=Settings(**settings), caps=caps, **values)
