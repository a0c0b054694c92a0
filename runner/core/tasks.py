"""How rows become tasks: which models may answer a row, in which dialect, with which cap, and if it can ever fit."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.core.catalog import Catalogue, Model
from runner.core.errors import UsageError
from runner.core.estimate import Estimator, Size, measure
from runner.core.job import Job
from runner.core.lengths import FIRST_CAP
from runner.core.limits import Budget
from runner.core.ports import TokenCounter
from runner.core.prompt import Prompt, RowError
from runner.core.values import Charge, Image, Request
from runner.core.work import Task

LARGEST_CAP = 32_768
"""The most output tokens to allow where neither the job, the row nor the catalogue says."""


class NeverFits(RowError):
    """The row is larger than a limit or a context window."""


Choose = Callable[[Request, Model, str | None], str]
"""Picks the dialect for a request to a model; raises UsageError for an impossible pair."""
Say = Callable[[Request, Model, str], object]
"""Writes a request to a model in a dialect; raises UsageError for what cannot be said in it."""


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
        variants: Mapping[str, Prompt] | None = None,
        say: Say = lambda _request, _model, _dialect: None,
    ) -> None:
        """`variants` are the prompts that each model is asked with, by name, instead of the one `prompt`."""
        self._say = say
        self.job = job
        self._catalogue = catalogue
        self._prompt = prompt
        self._variants = variants or {"": prompt}
        self._budgets = budgets
        self._choose = choose
        self._pixels = pixels
        # A model named twice, or in both its forms, is still one model with one budget.
        self._pool = tuple({model.short: model for model in map(catalogue.find, job.models)}.values())
        stronger = job.escalate.models if job.escalate else ()
        self._stronger = tuple({model.short: model for model in map(catalogue.find, stronger)}.values())
        for model in (*self._pool, *self._stronger):
            choose(Request(), model, job.endpoint)
        self._pool_parts = tuple(self._split(self._pool))
        self._pinned: dict[str, Model] = {}
        self._routes: dict[tuple[Any, ...], _Route] = {}

    @property
    def slots(self) -> int:
        """The most tasks that one row can make."""
        return self.job.slots

    @property
    def annotators(self) -> tuple[str, ...]:
        """Who is asked about a row that names no model itself, in the order of its tasks."""
        return tuple(annotator for _, _, annotator in self._pool_parts)

    @property
    def stronger(self) -> tuple[str, ...]:
        """The models that are asked about rows on which annotators agree too little."""
        return tuple(model.short for model in self._stronger)

    @property
    def nameable(self) -> Iterable[str]:
        """The models that some row may go to, as far as that can be said without having seen it."""
        own = [model.short for model in self._pool]
        anyone = self._prompt.row_settings or (self._prompt.template is None and not self.job.annotators.prompts)
        return [*own, *self.stronger, *(self._catalogue.models if anyone else ())]

    def tasks(self, row: int, columns: Mapping[str, Any], digest: str, count: TokenCounter) -> list[Task]:
        """The tasks of a row, measured with `count`; raises RowError with the reason if it cannot be asked."""
        name = self._id(row, columns)
        models = self._models(columns)
        source = self._source(columns)
        if self.job.gold is not None:  # whatever a prompt does with the row, it cannot give the known label away
            columns = {column: value for column, value in columns.items() if column != self.job.gold.column}
        requests = {variant: prompt.request(columns, digest) for variant, prompt in self._variants.items()}
        sizes = {variant: measure(request, count, self._pixels) for variant, request in requests.items()}
        tasks = []
        for slot, (group, variant, annotator) in enumerate(self._parts(models)):
            task = self._task(row, slot, name, group, requests[variant], sizes[variant], digest)
            task.annotator, task.source = annotator, source
            if variant:
                task.digest = f"{digest}:{variant}"
            tasks.append(task)
        return tasks

    def asks_form(self, columns: Mapping[str, Any]) -> bool:
        """Whether a row is asked for the form that the job's schema gives."""
        return next(iter(self._variants.values())).asks_form(columns)

    def escalations(self, made: list[Task]) -> list[Task]:
        """The tasks for stronger models that go with a row's own; a model that the row does not fit is left out."""
        first, tasks = made[0], []
        for slot, model in enumerate(self._stronger, start=self.slots - len(self._stronger)):
            try:
                task = self._task(first.row, slot, first.id, (model,), first.request, first.size, first.digest)
            except RowError:
                continue
            task.annotator, task.source, task.escalated = model.short, first.source, True
            tasks.append(task)
        return tasks

    def names(self, row: int, columns: Mapping[str, Any]) -> list[tuple[int, str, str, str]]:
        """Slot, id, model and annotator of each task of a row that could be asked; "" where several models could.

        Raises RowError where it could not be any more, as when its own model is not in the catalogue now.
        """
        name, parts = self._id(row, columns), self._parts(self._models(columns))
        return [
            (slot, name, group[0].short if len(group) == 1 else "", annotator)
            for slot, (group, _, annotator) in enumerate(parts)
        ]

    def _parts(self, models: tuple[Model, ...]) -> Iterable[tuple[tuple[Model, ...], str, str]]:
        return self._pool_parts if models is self._pool else self._split(models)

    def _split(self, models: tuple[Model, ...]) -> Iterator[tuple[tuple[Model, ...], str, str]]:
        """The models, the prompt's name and the annotator of each of a row's tasks."""
        for group in [(model,) for model in models] if self.job.each else [models]:
            for variant in self._variants:
                for sample in range(1, self.job.annotators.samples + 1):
                    yield group, variant, self._annotator(group, variant, sample)

    def _annotator(self, group: tuple[Model, ...], variant: str, sample: int) -> str:
        who = group[0].short if len(group) == 1 else "pool"
        return f"{who}{variant and f'/{variant}'}{f'#{sample}' if self.job.annotators.samples > 1 else ''}"

    def _source(self, columns: Mapping[str, Any]) -> str:
        """The text that spans are of."""
        reading = self.job.answer
        if reading is None or reading.source is None:
            return ""
        text = columns.get(reading.source)
        if not isinstance(text, str):
            raise RowError(f"it has no text in its column {reading.source!r}, which the spans are of")
        return text

    def fits(self, task: Task, size: Size) -> bool:
        """Whether a task could be of this size, at each of its models."""
        caps = {name: self._first(task.request, task.caps[name]) for name in task.models}
        return all(self._misfit(self._catalogue.find(name), size, cap) is None for name, cap in caps.items())

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
        column = naming_column(self.job.id_column, columns)
        if column is None:
            return str(row)
        if column not in columns:
            raise RowError(f"it has no column {column!r}, which --id-column names")
        if columns[column] is None and self.job.id_column:
            raise RowError(f"its {column!r}, which --id-column names, is null")
        return self.id_of(row, columns)

    def id_of(self, row: int, columns: Mapping[str, Any]) -> str:
        """What a row is called in the results: its position where no column names it."""
        column = naming_column(self.job.id_column, columns)
        named = None if column is None else columns.get(column)
        return str(row if named is None else named)

    def _task(
        self, row: int, slot: int, name: str, models: tuple[Model, ...], request: Request, size: Size, digest: str
    ) -> Task:
        images = bool(size.images) and request.body is None and _has_image(request)
        route = self._route(request, models, images)
        if size.text >= route.room or size.images:
            route = self._route(request, self._fitting(request, route, size), images)
        if request.body is None and _is_composed(request):
            route = self._route(request, self._able_to_say(request, route), images)
        return Task(
            row=row,
            slot=slot,
            id=name,
            models=route.names,
            size=size,
            caps=route.caps,
            free=self._is_free(request),
            dialects=route.dialects,
            request=request,
            digest=digest,
        )

    def _route(self, request: Request, models: tuple[Model, ...], images: bool) -> _Route:
        """Where requests of this shape can go; raises RowError if none of the models can be asked."""
        key = (request.settings.max_tokens, request.dialect, images, tuple(map(id, models)))
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._make_route(request, models, images)
        return route

    def _make_route(self, request: Request, models: tuple[Model, ...], images: bool) -> _Route:
        usable, problem, dialects = [], None, {}
        for model in models:
            if images and "image" not in model.inputs:
                problem = RowError(f"it holds an image, and {model.short} reads {' and '.join(model.inputs)} only")
                continue
            try:
                dialects[model.short] = self._choose(request, model, self.job.endpoint)
            except UsageError as error:
                problem = RowError(str(error))
                continue
            usable.append(model)
        if problem is not None and not usable:
            raise problem
        caps = {model.short: self._cap(model, request.settings.max_tokens) for model in usable}
        room = min(self._room(model) - self._first(request, caps[model.short]) for model in usable)
        return _Route(tuple(usable), tuple(model.short for model in usable), caps, dialects, room)

    def _room(self, model: Model) -> float:
        """Tokens of text and cap together that surely fit: a bound that spares most rows the exact comparison."""
        amounts = [limit.amount for limit in self._budgets(model) if limit.measure != "requests"]
        return min([*amounts, model.context_tokens or 2**60]) / max(1.0, model.family.multiplier) - 1

    def _is_free(self, request: Request) -> bool:
        """Whether the output cap is ours to choose."""
        given = request.settings.max_tokens is not None
        return not given or (self.job.cap_is == "ceiling" and request.body is None)

    def _first(self, request: Request, cap: int) -> int:
        """The least that is allowed at first."""
        return min(cap, FIRST_CAP) if self._is_free(request) else cap

    def _fitting(self, request: Request, route: _Route, size: Size) -> tuple[Model, ...]:
        """The models that a request of this size can ever be sent to; raises NeverFits if there are none."""
        caps = {model.short: self._first(request, route.caps[model.short]) for model in route.models}
        problems = {model.short: self._misfit(model, size, caps[model.short]) for model in route.models}
        fitting = tuple(model for model in route.models if problems[model.short] is None)
        if not fitting:
            raise NeverFits("; ".join(problem for problem in problems.values() if problem is not None))
        return fitting

    def _able_to_say(self, request: Request, route: _Route) -> tuple[Model, ...]:
        """The models whose dialect has words for all of a request; raises RowError if there are none."""
        able, problem = [], None
        for model in route.models:
            try:
                self._say(request, model, route.dialects[model.short])
            except UsageError as error:
                problem = RowError(str(error))
            else:
                able.append(model)
        if problem is not None and not able:
            raise problem
        return tuple(able)

    def _misfit(self, model: Model, size: Size, cap: int) -> str | None:
        tokens = Estimator([model]).guess(size, model.short)
        needs = f"it can never fit: about {tokens:,} tokens in and at most {cap:,} out, and"
        for limit in self._budgets(model):
            if limit.of(Charge(1, tokens, cap)) > limit.amount:
                return f"{needs} the limit is {limit}"
        if model.context_tokens is not None and tokens + cap > model.context_tokens:
            return f"{needs} the context window of {model.short} is {model.context_tokens:,}"
        return None

    def _cap(self, model: Model, asked: int | None) -> int:
        if asked is not None:
            return min(asked, model.max_output_tokens or asked)
        amounts = [limit.amount for limit in self._budgets(model) if limit.measure in ("output", "total")]
        return min([model.max_output_tokens or LARGEST_CAP, *amounts])


def naming_column(given: str | None, columns: Container[str]) -> str | None:
    """The column whose values are the ids of rows; None if they go by their position."""
    if given:
        return given
    if "custom_id" in columns:
        return "custom_id"
    return "id" if "id" in columns else None


@dataclass(frozen=True, slots=True)
class _Route:
    """Where requests of one shape can go."""

    models: tuple[Model, ...]
    names: tuple[str, ...]
    caps: Mapping[str, int]
    dialects: Mapping[str, str]
    room: float
    """Tokens of text that surely fit everywhere."""


def _is_composed(request: Request) -> bool:
    """Whether it holds more than texts, which every dialect can say."""
    return any(not isinstance(message.content, str) or message.tool_calls for message in request.messages)


def _has_image(request: Request) -> bool:
    return any(
        isinstance(part, Image)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def selected(rows: Iterator[Any], job: Job, chosen: frozenset[int] | None) -> Iterator[Any]:
    """The records that a job's --limit and --sample leave."""
    for record in rows:
        if job.limit is not None and record.index >= job.limit:
            return
        if chosen is None or record.index in chosen:
            yield record
