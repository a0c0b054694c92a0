"""How rows become tasks: which models may answer a row, in which dialect, with which cap, and whether it can fit at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.core.catalog import Catalogue, Model
from runner.core.errors import UsageError
from runner.core.estimate import Estimator, Size, measure
from runner.core.job import Job
from runner.core.limits import Budget
from runner.core.ports import TokenCounter
from runner.core.prompt import Prompt, RowError
from runner.core.schedule import Task
from runner.core.values import Charge, Image, Request

DEFAULT_CAP = 1024
"""Output tokens to allow where neither the job nor the row says: the gateway reserves what is allowed."""
DEFAULT_CAP_REASONING = 4096
"""The same for models that write hidden reasoning: it counts as output."""


class NeverFits(RowError):
    """The row is larger than a limit or a context window."""


Choose = Callable[[Request, Model, str | None], str]
"""Picks the dialect for a request to a model; raises UsageError for an impossible pair."""


class TaskMaker:
    """Makes the tasks of rows, for one job."""

    def __init__(
        self,
        job: Job,
        catalogue: Catalogue,
        prompt: Prompt,
        budgets: Callable[[Model], Budget],
        choose: Choose,
        pixels: Callable[[str], tuple[int, int]],
    ) -> None:
        self.job = job
        self._catalogue = catalogue
        self._prompt = prompt
        self._budgets = budgets
        self._choose = choose
        self._pixels = pixels
        self._pool = tuple(catalogue.find(name) for name in job.models)
        self._pinned: dict[str, Model] = {}
        self._caps: dict[tuple[int | None, tuple[str, ...]], Mapping[str, int]] = {}
        self._dialects: dict[tuple[str | None, tuple[str, ...]], Mapping[str, str]] = {}
        self._smallest: dict[str, float] = {}

    @property
    def slots(self) -> int:
        """The most tasks that one row can make."""
        return max(1, len(self._pool)) if self.job.each else 1

    def tasks(self, row: int, columns: Mapping[str, Any], digest: str, count: TokenCounter) -> list[Task]:
        """The tasks of a row, measured with `count`; raises RowError with the reason if it cannot be asked."""
        request = self._prompt.request(columns)
        models = self._models(columns)
        size = measure(request, count, self._pixels)
        name = self._id(row, columns)
        groups = [(model,) for model in models] if self.job.each else [models]
        return [self._task(row, slot, name, group, request, size, digest) for slot, group in enumerate(groups)]

    def _models(self, columns: Mapping[str, Any]) -> tuple[Model, ...]:
        pinned = self._prompt.model(columns)
        if pinned is None:
            if not self._pool:
                raise RowError("no model is named for it: give -m MODEL, or a `model` in the row")
            return self._pool
        model = self._pinned.get(pinned)
        if model is None:
            try:
                model = self._pinned[pinned] = self._catalogue.find(pinned)
            except UsageError as error:
                raise RowError(f"its `model`: {error}") from None
        return (model,)

    def _id(self, row: int, columns: Mapping[str, Any]) -> str:
        column = self.job.id_column
        if column is None:
            column = next((name for name in ("custom_id", "id") if name in columns), None)
        elif column not in columns:
            raise RowError(f"it has no column {column!r}, which --id-column names")
        return str(row) if column is None else str(columns[column])

    def _task(
        self, row: int, slot: int, name: str, models: tuple[Model, ...], request: Request, size: Size, digest: str
    ) -> Task:
        fitting, problem = [], None
        wants_images = bool(size.images) and request.body is None and _has_image(request)
        for model in models:
            reason = self._misfit(model, request, size, wants_images)
            if reason is None:
                fitting.append(model)
            else:
                problem = reason
        if problem is not None and not fitting:
            raise problem
        names = tuple(model.short for model in fitting)
        return Task(
            row=row,
            slot=slot,
            id=name,
            models=names,
            size=size,
            caps=self._caps_of(request.settings.max_tokens, fitting, names),
            dialects=self._dialects_of(request, fitting, names),
            request=request,
            digest=digest,
        )

    def _misfit(self, model: Model, request: Request, size: Size, wants_images: bool) -> RowError | None:
        if wants_images and "image" not in model.inputs:
            return RowError(f"it holds an image, and {model.short} reads {' and '.join(model.inputs)} only")
        try:
            self._choose(request, model, self.job.endpoint)
        except UsageError as error:
            return RowError(str(error))
        cap = self._cap(model, request.settings.max_tokens)
        if size.text + cap < self._least_room(model) and not size.images:
            return None
        tokens = Estimator([model]).guess(size, model.short)
        for limit in self._budgets(model):
            if limit.of(Charge(1, tokens, cap)) > limit.amount:
                return NeverFits(f"it can never fit: about {tokens:,} tokens in and at most {cap:,} out, and the limit is {limit}")
        context = model.context_tokens
        if context is not None and tokens + cap > context:
            return NeverFits(
                f"it can never fit: about {tokens:,} tokens in and at most {cap:,} out, "
                f"and the context window of {model.short} is {context:,}"
            )
        return None

    def _least_room(self, model: Model) -> float:
        """Text tokens that surely fit: a bound that spares most rows the exact comparison."""
        if model.short not in self._smallest:
            amounts = [limit.amount for limit in self._budgets(model) if limit.measure != "requests"]
            least = min([*amounts, model.context_tokens or 2**60])
            self._smallest[model.short] = least / max(1.0, model.family.multiplier) - 1
        return self._smallest[model.short]

    def _cap(self, model: Model, asked: int | None) -> int:
        if asked is not None:
            return min(asked, model.max_output_tokens or asked)
        default = DEFAULT_CAP_REASONING if model.reasons else DEFAULT_CAP
        amounts = [limit.amount for limit in self._budgets(model) if limit.measure in ("output", "total")]
        return min([default, model.max_output_tokens or default, *amounts])

    def _caps_of(self, asked: int | None, models: Iterable[Model], names: tuple[str, ...]) -> Mapping[str, int]:
        key = (asked, names)
        if key not in self._caps:
            self._caps[key] = {model.short: self._cap(model, asked) for model in models}
        return self._caps[key]

    def _dialects_of(self, request: Request, models: Iterable[Model], names: tuple[str, ...]) -> Mapping[str, str]:
        key = (request.dialect, names)
        if key not in self._dialects:
            self._dialects[key] = {m.short: self._choose(request, m, self.job.endpoint) for m in models}
        return self._dialects[key]


def _has_image(request: Request) -> bool:
    return any(
        isinstance(part, Image)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


@dataclass(slots=True)
class Survey:
    """What a first look at the whole input found, before anything is sent."""

    rows: int = 0
    """Rows of the input, those included that are not selected."""
    selected: int = 0
    tasks: int = 0
    bad: int = 0
    problems: list[str] = field(default_factory=list)
    """The first of the rows that cannot be asked, each with its place and its reason."""
    pinned: dict[str, Charge] = field(default_factory=dict)
    """Roughly, the work that only one model can do."""
    pooled: Charge = Charge(0, 0, 0)
    """Roughly, the rest."""
    kinds: dict[str, str] = field(default_factory=dict)
    """The kind of each input column: int, float, bool, str, or json where rows differ."""
    models: dict[str, None] = field(default_factory=dict)
    """Every model that some row may go to, in order of first sight."""

    PROBLEMS = 20

    def note_bad(self, where: str, reason: str) -> None:
        """Count a row that cannot be asked."""
        self.bad += 1
        if len(self.problems) < self.PROBLEMS:
            self.problems.append(f"{where}: {reason}")

    def note_columns(self, columns: Mapping[str, Any]) -> None:
        """Widen the kinds of columns by a row's values."""
        for name, value in columns.items():
            kind = KINDS.get(type(value), "json")
            known = self.kinds.get(name)
            if known is None or known == "null":
                self.kinds[name] = kind
            elif kind not in (known, "null"):
                self.kinds[name] = "float" if {known, kind} == {"int", "float"} else "json"

    def note_task(self, task: Task) -> None:
        """Count a task."""
        self.tasks += 1
        charge = Charge(1, task.size.text, max(task.caps.values()))
        for model in task.models:
            self.models[model] = None
        if len(task.models) == 1:
            model = task.models[0]
            self.pinned[model] = _sum(self.pinned.get(model, Charge(0, 0, 0)), charge)
        else:
            self.pooled = _sum(self.pooled, charge)


KINDS: Mapping[type, str] = {int: "int", float: "float", bool: "bool", str: "str", type(None): "null"}


def _sum(a: Charge, b: Charge) -> Charge:
    return Charge(a.requests + b.requests, a.input + b.input, a.output + b.output)


def selected(rows: Iterator[Any], job: Job, chosen: frozenset[int] | None) -> Iterator[Any]:
    """The records that a job's --limit and --sample leave."""
    for record in rows:
        if job.limit is not None and record.index >= job.limit:
            return
        if chosen is None or record.index in chosen:
            yield record
