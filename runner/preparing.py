"""Reading what a job names, and looking the whole input over, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from runner.core.catalog import Catalogue, Model
from runner.core.errors import InputRejected, UsageError
from runner.core.job import Job
from runner.core.limits import Budget, Limits
from runner.core.prompt import Prompt, RowError
from runner.core.survey import Survey
from runner.core.tasks import NeverFits, TaskMaker, selected
from runner.core.values import Request
from runner.gateway.asking import capped
from runner.gateway.dialects import DIALECTS, by_url, choose
from runner.gateway.images import pixels
from runner.gateway.tokens import counter
from runner.storage.results import COLUMN_TYPES
from runner.storage.rows import BadRow, Record, Source
from runner.storage.specs import load_catalogue, load_limits
from runner.storage.templates import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a user asked for, beside the job itself."""

    gateway: str | None = None
    """A URL, "local" (with options: "local?latency=0.1"), or None for the environment's."""
    limits: Path | None = None
    """A limits file."""
    no_limits: bool = False
    catalogs: tuple[Path, ...] = ()
    """Catalogue files of the user's own."""
    memory: bool = True
    """Whether to use what earlier runs have learned of the gateway, and to keep what this one learns."""
    spooled: bool = False
    """Whether the input is a copy of standard input, to be moved into the run directory."""


@dataclass(slots=True)
class Prepared:
    """A job that can be run: everything read, and the input looked over."""

    job: Job
    setup: Setup
    catalogue: Catalogue
    limits: Limits
    source: Source
    maker: TaskMaker
    survey: Survey
    chosen: frozenset[int] | None
    notices: list[str] = field(default_factory=list)

    @property
    def models(self) -> dict[str, Model]:
        """Every model that some row may go to."""
        return {name: self.catalogue.find(name) for name in self.survey.models}

    @property
    def budgets(self) -> dict[str, Budget]:
        """Their budgets."""
        return self.limits.budgets(self.models.values())

    def records(self) -> Iterator[Record]:
        """The rows that the job selects, from the first."""
        return selected(iter(self.source), self.job, self.chosen)

    @property
    def columns(self) -> dict[str, Any]:
        """The input's columns and their types in tables."""
        stated = self.source.schema()
        if stated is not None:
            return {name: kind if _is_plain(kind) else pl.String for name, kind in stated.items()}
        return {name: COLUMN_TYPES[kind] for name, kind in self.survey.kinds.items()}


def _is_plain(kind: pl.DataType) -> bool:
    return not (kind.is_nested() or kind in (pl.Binary, pl.Object))


def prepare(job: Job, setup: Setup) -> Prepared:
    """Read what the job names, and look at every row of the input once, before anything is sent.

    Raises UsageError for what the user wrote, and InputRejected for the input, naming the first bad rows.
    """
    catalogue = load_catalogue(setup.catalogs)
    limits = Limits() if setup.no_limits else load_limits(catalogue, setup.limits)
    return prepare_with(job, setup, catalogue, limits)


def prepare_with(job: Job, setup: Setup, catalogue: Catalogue, limits: Limits) -> Prepared:
    """The same with catalogue and limits at hand, as a resume has them from the run's manifest."""
    prompt = Prompt(
        template=None if job.prompt is None else Template(job.prompt, "--prompt"),
        system=None if job.system is None else Template(job.system, "--system"),
        settings=job.settings,
        row_settings=job.row_settings,
        by_url=by_url,
    )
    budgets: dict[str, Budget] = {}

    def budget(model: Model) -> Budget:
        if model.short not in budgets:
            budgets.update(limits.budgets([model]))
        return budgets[model.short]

    maker = TaskMaker(job, catalogue, prompt, budget, choose, pixels)
    source = Source(Path(job.input))
    prepared = Prepared(job, setup, catalogue, limits, source, maker, Survey(), _draw(job, source))
    _look_over(prepared)
    return prepared


def _draw(job: Job, source: Source) -> frozenset[int] | None:
    """Which rows --sample chose: the same for the same seed and number of rows."""
    if job.sample is None:
        return None
    total = sum(1 for record in source if job.limit is None or record.index < job.limit)
    return frozenset(Random(job.seed).sample(range(total), min(job.sample, total)))


def _look_over(prepared: Prepared) -> None:
    survey, maker, job = prepared.survey, prepared.maker, prepared.job
    exact = counter("o200k_base")
    encoded: set[tuple[Any, ...]] = set()
    for record in prepared.records():
        survey.selected += 1
        if isinstance(record, BadRow):
            survey.note_bad(record.where, record.reason)
            continue
        survey.note_columns(record.columns)
        try:
            try:
                # No tokenizer makes more tokens than there are bytes: most rows need no exact count to be let through.
                tasks = maker.tasks(record.index, record.columns, record.digest, _bytes)
            except NeverFits:
                tasks = maker.tasks(record.index, record.columns, record.digest, exact)
        except RowError as error:
            survey.note_bad(record.where, str(error))
            continue
        for task in tasks:
            survey.note_task(task)
            _note_parameters(prepared, task.request, task.dialects, task.caps, encoded)
    if survey.bad and (job.bad_rows == "stop" or survey.bad == survey.selected):
        raise InputRejected(_bad_rows(prepared))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _bad_rows(prepared: Prepared) -> str:
    survey = prepared.survey
    lines = [f"{prepared.source.path}: {survey.bad:,} of {survey.selected:,} rows cannot be asked; nothing was sent."]
    lines += [f"  {problem}" for problem in survey.problems]
    if survey.bad < survey.selected:
        lines.append("Mend them, or give --bad-rows record to have them as errored rows beside the others.")
    return "\n".join(lines)


def _note_parameters(
    prepared: Prepared,
    request: Request,
    dialects: Mapping[str, str],
    caps: Mapping[str, int],
    encoded: set[tuple[Any, ...]],
) -> None:
    """Find out, once for each kind of request, which parameters a model will not be sent."""
    settings = request.settings
    shape = (settings.temperature, settings.effort, request.body is None)
    for name, dialect in dialects.items():
        if (name, dialect, *shape) in encoded or request.body is not None:
            continue
        encoded.add((name, dialect, *shape))
        wire = DIALECTS[dialect].encode(capped(request, caps[name]), prepared.catalogue.find(name))
        for notice in wire.dropped:
            if prepared.job.strict_params:
                raise UsageError(f"{notice} (--strict-params)")
            if notice not in prepared.notices:
                prepared.notices.append(notice)
