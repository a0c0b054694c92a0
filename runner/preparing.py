"""Reading what a job names, and looking the input over, before anything is sent."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from runner.core.catalog import Catalogue, Model
from runner.core.commands import command
from runner.core.errors import InputRejected, UsageError
from runner.core.job import Job
from runner.core.limits import Budget, Limits
from runner.core.mixing import disguised, mixed
from runner.core.prompt import Prompt
from runner.core.sampling import Sample
from runner.core.survey import Survey
from runner.core.tasks import TaskMaker, selected
from runner.evaluation.checking import check
from runner.examples import shots_of
from runner.gateway.dialects import by_url, choose, say
from runner.gateway.environment import again
from runner.gateway.images import pixels
from runner.reading import Replies, mind_the_schema
from runner.storage.jobs import Ways
from runner.storage.results import COLUMN_TYPES
from runner.storage.rows import Record, Row, Source
from runner.storage.small import placed
from runner.storage.sources import Files, open_source
from runner.storage.specs import load_catalogue, load_limits
from runner.storage.templates import Template
from runner.surveying import Look, exact_size, refusal

LOOK_SECONDS = 0.5
"""How long a run waits for the look over its input, before the rest of the look goes on beside it."""
DIGEST_BYTES = 128 * 1024 * 1024
"""The largest input whose digest a run waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a user asked for, beside the job itself."""

    gateway: str | None = None
    """A URL, "local" (with options: "local?latency=0.1"), or None for the environment's."""
    env_file: Path | None = None
    """Where the environment's was taken from, if from a file that was named."""
    limits: Path | None = None
    """A limits file."""
    no_limits: bool = False
    catalogs: tuple[Path, ...] = ()
    """Catalogue files of the user's own."""
    memory: bool = True
    """Whether to use what earlier runs have learned of the gateway, and to keep what this one learns."""
    share: bool = True
    """Whether to share the budget with the other runs of the account on this host."""
    scorers: Mapping[str, Any] = field(default_factory=dict)
    """Scorers of the caller's own: name -> `runner.scoring.Scorer`."""
    spooled: bool = False
    """Whether the input is a copy of standard input, to be moved into the run directory."""

    @property
    def named(self) -> str:
        """The words by which a command that goes on finds the gateway, with a blank before."""
        return again(self.gateway, self.env_file)

    @classmethod
    def by(cls, ways: Ways, **more: Any) -> Setup:
        """What a job's words say of how to run it, and what is no word of a job."""
        catalogs = tuple(ways.catalogs)
        return cls(gateway=ways.gateway, limits=ways.limits, no_limits=ways.no_limits, catalogs=catalogs, **more)


@dataclass(slots=True)
class Prepared:
    """A job that can be run: everything read, and the input looked over as far as `survey` says."""

    job: Job
    setup: Setup
    catalogue: Catalogue
    limits: Limits
    source: Source | Files
    maker: TaskMaker
    survey: Survey
    chosen: frozenset[int] | None
    notices: list[str] = field(default_factory=list)
    sample: Sample | None = None
    """Some of the rows, if the look was to choose any."""
    digest: str | None = None
    """The input's, once it is known."""
    gold: tuple[Row, ...] = ()
    """Rows with known labels from a file of their own."""
    fills: bool = True
    """Whether options say what batch lines leave open."""
    last: int | None = None
    """The last row to read, where a run was stopped before the whole input was looked over."""

    def look(self, patience: float = math.inf) -> None:
        """Look at the rows anew, to their end or for `patience` seconds."""
        look = Look(self.maker, self.catalogue, self.sample)
        self.survey = look.survey
        look.over(self._own(), patience)
        self.mix_in()
        if self.survey.tasks:  # else the input is what there is to say something of
            look.among(self.gold)
        self.notices += [notice for notice in look.notices if notice not in self.notices]

    def mix_in(self) -> None:
        """Find positions behind the input's for the rows with known labels that are mixed in."""
        gold = self.job.gold
        if gold is not None and gold.rows:
            first = self.survey.selected if self.chosen is None else max(self.chosen, default=-1) + 1
            usual = list(self.columns)
            self.gold = placed([disguised(row, gold.column, usual) for row in gold.rows], first, "gold")

    def take_digest(self) -> None:
        """Take the input's digest, if that is quickly done and the last thing that is missing."""
        if self.survey.complete and self.digest is None and self.source.stamp["bytes"] <= DIGEST_BYTES:
            self.digest = self.source.digest()

    def cut(self, last: int) -> None:
        """Leave out the rows behind `last`: nobody knows them yet."""
        self.last = last
        self.look()

    @property
    def is_whole(self) -> bool:
        """Whether the whole input was looked over, and its digest is known."""
        return self.survey.complete and self.digest is not None

    def check(self, run: Path | None = None) -> None:
        """Raise InputRejected if rows that cannot be asked stop the run; `run` is its directory if it has begun.

        UsageError if no row has the column with the known labels.
        """
        survey = self.survey
        gold = self.job.gold
        if gold is not None and survey.complete and survey.selected and gold.column not in self.columns:
            names = ", ".join(list(self.columns)[:8]) or "none"
            raise UsageError(f"[gold] names the column {gold.column!r}, and the columns are {names}.")
        if survey.bad and (self.job.bad_rows == "stop" or survey.bad == survey.selected):
            copied = self.setup.spooled and run is None  # to a place that is gone when this is read
            source = "standard input" if copied else str(self.source.path)
            raise InputRejected(refusal(source, survey, None if run is None else self.again(run)))

    def again(self, run: Path) -> str:
        """The command that goes on with its run in the directory `run`."""
        return command("resume", run) + self.setup.named

    @property
    def models(self) -> dict[str, Model]:
        """Every model that some row may go to."""
        names = {**self.survey.models, **dict.fromkeys(self.maker.stronger)}
        if not self.survey.complete:
            names = {**names, **dict.fromkeys(self.maker.nameable)}
        return {name: self.catalogue.find(name) for name in names}

    @property
    def budgets(self) -> dict[str, Budget]:
        """Their budgets."""
        return self.limits.budgets(self.models.values())

    def records(self) -> Iterator[Record]:
        """The rows that the job selects, from the first, with those that are mixed in, as they are asked about."""
        return mixed(self._own(), self.gold, self.survey.selected, self.job.seed) if self.gold else self._own()

    def in_order(self) -> Iterator[Record]:
        """The same by their positions: those that are mixed in stand behind the input's."""
        yield from self._own()
        yield from self.gold

    def _own(self) -> Iterator[Record]:
        found = selected(iter(self.source), self.job, self.chosen)
        return found if self.last is None else _through(found, self.last)

    @property
    def columns(self) -> dict[str, Any]:
        """The input's columns and their types in tables."""
        stated, gold = self.source.schema(), self.job.gold
        known = {gold.column: pl.String} if gold is not None and gold.rows else {}
        if stated is not None:
            return {name: kind if _is_plain(kind) else pl.String for name, kind in stated.items()} | known
        return {name: COLUMN_TYPES[kind] for name, kind in self.survey.kinds.items()} | known


def _through(records: Iterator[Record], last: int) -> Iterator[Record]:
    """The records up to `last`; what is behind it may be unreadable, and is not touched."""
    while last >= 0:
        record = next(records, None)
        if record is None:
            return
        yield record
        if record.index >= last:
            return


def _is_plain(kind: pl.DataType) -> bool:
    return not (kind.is_nested() or kind in (pl.Binary, pl.Object))


def prepare(job: Job, setup: Setup, *, whole: bool = False) -> Prepared:
    """Read what the job names, and look at every row of the input once: at the first ones if that takes long.

    With `whole` it takes as long as it takes, and a sample of the rows is chosen.

    Raises UsageError for what the user wrote, and InputRejected for the input, naming the first bad rows: then all of
    it was looked at.
    """
    catalogue = load_catalogue(setup.catalogs)
    limits = Limits() if setup.no_limits else load_limits(catalogue, setup.limits)
    sample = Sample(exact_size) if whole else None
    mind_the_schema(job)
    prepared = prepare_with(job, setup, catalogue, limits, whole=whole, sample=sample)
    prepared.check()
    mind_the_evaluation(prepared)
    return prepared


def mind_the_evaluation(prepared: Prepared) -> None:
    """Raise UsageError for an evaluation that could not be made when the run has ended."""
    evaluation = prepared.job.evaluate
    if evaluation is None:
        return
    check(evaluation, prepared.columns, prepared.setup.scorers, prepared.catalogue, prepared.maker.annotators)


def prepare_with(
    job: Job,
    setup: Setup,
    catalogue: Catalogue,
    limits: Limits,
    *,
    whole: bool = False,
    known: Survey | None = None,
    sample: Sample | None = None,
    fills: bool = True,
) -> Prepared:
    """The same with catalogue and limits at hand, as a resume has them from the run's manifest.

    `known` is what an earlier look at the same input found; a look shows the `sample` all rows. `fills` is whether
    options say what batch lines leave open.
    """
    if job.examples is not None and job.prompt is None and not job.annotators.prompts:
        raise UsageError("[examples] are shown through the job's prompt, and it has none: give it with --prompt.")
    Replies(job)  # which refuses an [answer] whose schema is none
    source = open_source(Path(job.input))
    rules = {"fills": fills, "blanks": not {"csv", "tsv"}.isdisjoint(source.format.split(", "))}
    prompt = _prompt(job, job.prompt, "--prompt", rules)
    prompts = job.annotators.prompts.items()
    variants = {name: _prompt(job, text, f"annotators.prompts.{name}", rules) for name, text in prompts}
    budgets: dict[str, Budget] = {}

    def budget(model: Model) -> Budget:
        if model.short not in budgets:
            budgets.update(limits.budgets([model]))
        return budgets[model.short]

    maker = TaskMaker(job, catalogue, prompt, budget, choose, pixels, variants, say)
    _mind_the_annotators(job, maker)
    free = [name for name in dict.fromkeys(job.models) if catalogue.find(name).price is None]
    prepared = Prepared(job, setup, catalogue, limits, source, maker, known or Survey(), _draw(job, source))
    prepared.sample, prepared.fills = sample, fills
    if job.caps.max_cost is not None and free:
        prepared.notices.append(f"--max-cost does not hold for {', '.join(free)}: no price is known.")
    if known is None:
        # Some things are known only at the end: which rows were drawn, which positions are free, and that none has a
        # parameter to refuse.
        whole = whole or job.sample is not None or job.strict_params or bool(job.gold and job.gold.rows)
        prepared.look(math.inf if whole else LOOK_SECONDS)
    else:
        prepared.mix_in()
    return prepared


def _prompt(job: Job, text: str | None, origin: str, rules: Mapping[str, bool]) -> Prompt:
    """What to ask with one template, by `rules` of the rows; raises UsageError if that gives a known label away."""
    labels = job.answer.reader.labels if job.answer else ()
    given = {"labels": ", ".join(labels)} if labels else {}
    template = None if text is None else Template(text, origin, given)
    system = None if job.system is None else Template(job.system, "--system", given)
    for column, what in job.hidden.items():
        for used in (template, system):
            if used is not None and column in used.columns:
                raise UsageError(
                    f"{used.origin} shows the column {column!r}, which {what}: "
                    "a model that is told them proves nothing. Take it out of the prompt."
                )
    return Prompt(
        template=template, system=system, settings=job.settings, row_settings=job.row_settings,
        hidden=frozenset(job.hidden), shots=shots_of(job, template), by_url=by_url, **rules,
    )  # fmt: skip


def _mind_the_annotators(job: Job, maker: TaskMaker) -> None:
    """Raise UsageError for the weight of an annotator that there is not, or a stronger model that is none."""
    if twice := set(maker.stronger) & {name.partition("/")[0].partition("#")[0] for name in maker.annotators}:
        raise UsageError(f"escalate.models names {min(twice)!r}, which is asked about every row already.")
    if job.escalate is not None and job.answer is None:
        raise UsageError("[escalate] needs an [answer]: without one nobody knows what annotators agree on.")
    if job.escalate is not None and job.escalate.confidence_below is not None and job.confidence is None:
        raise UsageError(
            "escalate.confidence_below needs something that shows confidence: answer.confidence, the field in which "
            "models state it, or annotators.samples of 2 or more."
        )
    for name in job.vote.weights:
        if name not in maker.annotators:
            near = difflib.get_close_matches(name, maker.annotators, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"vote.weights names {name!r}, and the annotators are {', '.join(maker.annotators) or 'none'}.{guess}"
            )


def _draw(job: Job, source: Source | Files) -> frozenset[int] | None:
    """Which rows --sample chose: the same for the same seed and number of rows."""
    if job.sample is None:
        return None
    total = sum(1 for record in source if job.limit is None or record.index < job.limit)
    return frozenset(Random(job.seed).sample(range(total), min(job.sample, total)))
