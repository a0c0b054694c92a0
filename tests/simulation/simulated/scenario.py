"""What one seed stands for: the job, the limits, the rows, and what will go wrong how often.

Every seed has independent streams of chance, so that one more draw in one of them moves nothing in the others. Most
faults are off in most runs and a few are strong ("swarm testing", Groce et al. 2012): else they would hide each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from runner.core.catalog import Catalogue, Family, Model, Price
from runner.core.job import Job
from runner.core.limits import Allowance, Limits
from runner.core.prompt import Prompt
from runner.core.survey import Survey
from runner.core.tasks import TaskMaker
from runner.core.values import Kind
from runner.preparing import Prepared, Setup
from runner.storage.rows import BadRow, Record, Row

FAULTS = (
    "refused with a time",
    "refused without a time",
    "all refused with a time",
    "all refused without a time",
    "server error",
    "overloaded",
    "timeout",
    "disconnected",
    "invalid response",
    "unreachable",
    "usage missing",
)
"""What may befall any single request; `gateway` says what each is."""
CRASHES = ("power at a time", "power at a write", "power at a sync", "kill at a time", "kill at a write")
MISFORTUNES = (*CRASHES, "interrupt", "interrupt twice", "disk full", "sync fails", "token expires")
"""What may end a session early."""
POISONS = (Kind.INVALID_REQUEST, Kind.CONTENT_FILTER, Kind.CONTEXT_LENGTH)
STARVING = Limits(per_model=Allowance(input_tokens=560, requests_per_second=3))
"""Limits under which small requests could keep a large one waiting for ever: what they free, they free bit by bit."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From when to when something holds, in virtual seconds, and for which model ("" for all)."""

    begins: float
    ends: float
    model: str = ""

    def holds(self, now: float, model: str) -> bool:
        """Whether it does."""
        return self.begins <= now < self.ends and self.model in ("", model)


@dataclass(frozen=True)
class Rows:
    """The input, at hand."""

    records: list[Record]
    path: Path = Path("rows.jsonl")

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)


@dataclass(kw_only=True)
class Scenario:
    """One run, and all that happens to it."""

    seed: int
    window: float
    models: dict[str, Model]
    truth: dict[str, float]
    """What each model counts for one token of ours."""
    limits: Limits
    job: Job
    rows: list[Record]
    words: dict[int, int]
    """How long each row's question is, in words."""
    wanted: dict[int, int]
    """How long each row's answer wants to be, in tokens."""
    poison: dict[int, Kind]
    """Rows that the gateway refuses whenever they come."""
    learns: bool
    """Whether the ledger learns, as in the program; else it counts strictly, and the judge can be strict as well."""
    enforced: str
    """How the gateway counts: none (it only judges), log, calendar or bucket."""
    phase: float
    tells_when: bool
    """Whether refusals for a limit say when to come back."""
    amounts: list[tuple[float, float]]
    """(seconds, factor): from when on the limits really are so many times the configured ones."""
    transit: float
    """The longest time in which a request reaches the gateway."""
    slow: float
    """The longest time of an answer."""
    faults: dict[str, float]
    """By fault, how often."""
    outages: list[Interval]
    gone: list[Interval]
    """When a model is not there."""
    spent: list[Interval]
    """When a quota is used up."""
    misfortunes: list[tuple[str, float]]
    """What ends each session early, in turn, and when: a share of something, between 0 and 1."""
    bit_rot: bool
    most_in_flight: int
    calm_from: float
    """Nothing goes wrong any more from here on: the run must end."""
    small: dict[str, int] = field(default_factory=dict)
    """Constants of the runner, made small so that their edges are met."""

    def maker(self) -> TaskMaker:
        """Makes the rows' tasks."""
        return TaskMaker(
            self.job,
            Catalogue(self.models),
            Prompt(settings=self.job.settings),
            lambda model: self.limits.budgets([model])[model.short],
            lambda _request, model, _endpoint: model.endpoints[0],
            lambda _url: (1, 1),
        )

    def prepared(self) -> Prepared:
        """The job as a run has it, with all of the input looked over."""
        survey = Survey(complete=True, models=dict.fromkeys(self.models))
        source: Any = Rows(self.rows)
        catalogue = Catalogue(self.models)
        made = Prepared(self.job, Setup(), catalogue, self.limits, source, self.maker(), survey, chosen=None)
        made.digest = "known"
        return made

    def stream(self, name: str) -> Random:
        """A stream of chance of its own."""
        return Random(f"{self.seed}:{name}")

    @property
    def is_gentle(self) -> bool:
        """Whether nothing is drawn that closes a scope: then what a row waits for are the limits alone."""
        closing = ("refused", "server", "overloaded", "timeout", "disconnected", "invalid", "unreachable")
        loud = any(word in fault for fault in self.faults for word in closing)
        return not (loud or self.outages or self.gone or self.spent or self.learns or self.enforced != "none")

    @classmethod
    def of(cls, seed: int) -> Scenario:
        """The scenario of a seed."""
        rng = Random(f"{seed}:scenario")
        window = rng.choice([10.0, 10.0, 60.0])
        names = ("a", "b", "c")[: rng.choice([1, 2, 2, 3])]
        truth = {name: rng.choice([0.7, 1.0, 1.08]) for name in names}
        learns = rng.random() < 0.4
        each = len(names) > 1 and rng.random() < 0.1
        starving = rng.random() < 0.05
        limits = STARVING if starving else _limits(rng, window)
        limits = replace(limits, window_seconds=window)
        count = rng.randint(25, 45) if starving else rng.choice([5, 8, 12, 20, 30]) // (2 if each else 1)
        words, caps, wanted, pinned = _rows(rng, names, count, starving=starving)
        calm_from = rng.uniform(0.0, 6.0) * window
        often = 0.0 if starving else 0.16
        faults = {fault: rng.choice([0.03, 0.1, 0.3]) for fault in FAULTS if rng.random() < often}
        enforced = rng.choice(["log", "log", "calendar", "bucket"]) if learns else rng.choice(["none"] * 4 + ["log"])
        models = {
            name: Model(
                id=name,
                provider="Somebody",
                price=Price(input=1.0, output=5.0),
                family=Family(name=name, multiplier=1.0 if starving else rng.choice([1.0, 1.0, 1.3])),
            )
            for name in names
        }
        poison = {row: rng.choice(POISONS) for row in range(count) if rng.random() < 0.03}
        rows: list[Record] = []
        for row in range(count):
            where = f"line {row + 1}"
            columns = {"id": f"r{row}", "prompt": _text(words[row]), "max_tokens": caps[row]}
            if pinned[row] and not each:
                columns["model"] = pinned[row]
            if rng.random() < 0.02:
                rows.append(BadRow(row, where, "not JSON"))
            else:
                rows.append(Row(row, where, columns, f"{row:08x}"))
        return cls(
            seed=seed,
            window=window,
            models=models,
            truth=truth,
            limits=limits,
            job=Job(
                input="rows.jsonl",
                models=names,
                each=each,
                cap_is="ceiling" if rng.random() < 0.2 else "exact",
                seed=seed,
                bad_rows="record",
                keep_going=True,  # what is held back as a fault of the job would look as if it were still under way
                attempts=rng.choice([2, 5]),
                patience=rng.choice([60.0, 600.0]),
            ),
            rows=rows,
            words=words,
            wanted=wanted,
            poison=poison,
            learns=learns,
            enforced=enforced,
            phase=rng.uniform(0, window),
            tells_when=rng.random() < 0.7,
            amounts=_amounts(rng, calm_from) if enforced != "none" else [],
            transit=rng.choice([0.0, 0.045]),
            slow=rng.choice([1.0, 4.0, 2 * window]),
            faults=faults,
            outages=_intervals(rng, names, calm_from, 0.12),
            gone=_intervals(rng, names, calm_from, 0.04) if len(names) > 1 else [],
            spent=_intervals(rng, names, calm_from, 0.05),
            misfortunes=_misfortunes(rng),
            bit_rot=rng.random() < 0.1,
            most_in_flight=rng.choice([1000, 1000, 6]),
            calm_from=calm_from,
            small={"LAST": 0 if starving else rng.choice([0, 3, 100]), "AT_ONCE": rng.choice([4, 64])},
        )


_TEXTS: dict[int, str] = {}


def _text(words: int) -> str:
    if words not in _TEXTS:
        _TEXTS[words] = " ".join(["word"] * words)
    return _TEXTS[words]


def _limits(rng: Random, window: float) -> Limits:
    combined = Allowance(input_tokens=1200) if rng.random() < 0.6 else Allowance()
    per_model = Allowance(
        input_tokens=rng.choice([560, 1000]),
        output_tokens=rng.choice([None, 130, 400]),
        requests_per_second=rng.choice([None, None, None, 3]),
    )
    count = "total" if rng.random() < 0.2 else "input"
    return Limits(window_seconds=window, count=count, combined=combined, per_model=per_model)


def _rows(
    rng: Random, names: tuple[str, ...], count: int, *, starving: bool
) -> tuple[dict[int, int], dict[int, int], dict[int, int], dict[int, str]]:
    """Questions and caps in a few sizes; starving: one large row among many small ones."""
    words, caps, wanted, pinned = {}, {}, {}, {}
    for row in range(count):
        if starving:
            words[row], caps[row] = (400 if row == 10 else 50), 10
        else:
            words[row] = 2000 if rng.random() < 0.01 else rng.choice([8, 40, 40, 60, 330])
            caps[row] = rng.choice([10, 10, 90])
        wanted[row] = rng.randint(1, caps[row] if rng.random() < 0.95 else 2 * caps[row])
        pinned[row] = "" if rng.random() < 0.6 and not starving else rng.choice(names if not starving else names[:1])
    return words, caps, wanted, pinned


def _amounts(rng: Random, calm_from: float) -> list[tuple[float, float]]:
    """Limits that are as configured, or lower from the start, or halve in mid-run; in the end they are lower still."""
    kind = rng.choice(["as configured", "as configured", "lower", "halving", "neighbour"])
    if kind == "lower":
        return [(0.0, 0.6)]
    if kind == "halving":
        return [(rng.uniform(0, calm_from), 0.6)]
    if kind == "neighbour":
        begins = rng.uniform(0, calm_from)
        return [(begins, 0.6), (rng.uniform(begins, calm_from), 1.0)]
    return []


def _intervals(rng: Random, names: tuple[str, ...], calm_from: float, likely: float) -> list[Interval]:
    if rng.random() >= likely:
        return []
    begins = rng.uniform(0.0, calm_from)
    ends = min(calm_from, begins + rng.choice([0.2, 2.0, 6.0]) * calm_from)
    return [Interval(begins=begins, ends=ends, model=rng.choice(["", *names]))]


def _misfortunes(rng: Random) -> list[tuple[str, float]]:
    if rng.random() < 0.35:
        return []
    kinds = rng.sample(MISFORTUNES, rng.choice([1, 1, 2, 3]))
    return [(rng.choice(kinds), rng.random() * rng.choice([1.0, 1.0, 0.1])) for _ in range(rng.choice([1, 1, 2, 3, 4]))]
