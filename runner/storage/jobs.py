"""Job files, and the same words from the command line or Python: validated together, every error at once.

`jobs/<name>/job.toml` holds the words of `runner run`, with paths relative to the file. Data only, no code.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runner.core.caps import Caps
from runner.core.errors import InputRejected, UsageError
from runner.core.evaluating import Evaluation, Gates
from runner.core.job import Job
from runner.core.sharing import Priority
from runner.core.values import Settings
from runner.storage.declarations import (
    PATHS,
    TEXTS,
    AnnotatorsSection,
    AnswerSection,
    EscalateSection,
    ExamplesSection,
    GoldSection,
    Names,
    VoteSection,
    schema_of,
)
from runner.storage.evaluations import EvaluateSection, GatesSection
from runner.storage.names import complaint_about_name
from runner.storage.rundir import mind_that_it_is_no_run
from runner.storage.sources import files_in
from runner.storage.specs import read_toml
from runner.storage.templates import text_or_file

UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> Any:
    """A duration: a number of seconds, or a number with s, m, h or d behind it."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
        if match is None:
            raise ValueError("a duration is a number of seconds, or a number with s, m, h or d behind it, as in 90m")
        return float(match[1]) * UNITS[match[2]]
    return value


Seconds = Annotated[
    float, BeforeValidator(seconds, json_schema_input_type=float | str), Field(gt=0, allow_inf_nan=False)
]
Count = Annotated[int, Field(gt=0)]


class Words(BaseModel):
    """Everything that can be said about a job."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    input: str
    """Input file: JSONL, CSV or Parquet."""
    name: str | None = None
    models: Names = []
    each: bool = False
    prompt: str | None = None
    """A Jinja template over the row's columns, or @FILE."""
    system: str | None = None
    """The same, for the system prompt."""
    max_tokens: Count | None = None
    caps: Literal["exact", "ceiling"] = "exact"
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: list[str] = []
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    schema_: str | dict[str, Any] | None = Field(default=None, alias="schema")
    """A JSON schema that the answers must satisfy, or the path of a file that holds it. Where there is no [answer],
    they are read by it."""
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] | None = None
    probe_above: bool = False
    id_column: str | None = None
    row_settings: bool = True
    limit: Count | None = None
    sample: Count | None = None
    seed: int = 0
    bad_rows: Literal["stop", "record"] = "stop"
    keep_going: bool = False
    endpoint: str | None = None
    strict_params: bool = False
    attempts: Count = 5
    timeout: Seconds = 600.0
    patience: Seconds = 600.0
    max_cost: Annotated[float, Field(gt=0)] | None = None
    max_total_tokens: Count | None = None
    deadline: Seconds | None = None
    priority: Priority = "normal"
    answer: AnswerSection | None = None
    examples: ExamplesSection | None = None
    annotators: AnnotatorsSection | None = None
    vote: VoteSection | None = None
    gold: GoldSection | None = None
    escalate: EscalateSection | None = None
    evaluate: EvaluateSection | None = None
    gates: GatesSection | None = None


AS_SAID = (
    "each",
    "row_settings",
    "probe_above",
    "id_column",
    "limit",
    "sample",
    "seed",
    "bad_rows",
    "keep_going",
    "endpoint",
    "strict_params",
    "attempts",
    "timeout",
    "patience",
    "priority",
)
"""Words that a job holds as they are said."""
SECTIONS = ("answer", "examples", "annotators", "vote", "gold", "escalate", "evaluate")
"""Those that say several things, of which they make one value of the job's."""
WITHOUT_OPTION = (*SECTIONS, "gates", "input", "name", "top_p", "tools", "tool_choice")
"""Those that have no option."""
OPTIONS = {"models": "model", "row_settings": "no-row-settings", "catalogs": "catalog"}
"""Those whose option has another name."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a job's words were said."""

    file: str
    """The job file; empty if there is none."""
    over: frozenset[str] = frozenset()
    """The places at which an option has put its words over the file's."""

    def is_option(self, place: str) -> bool:
        """Whether what stands at a place, or a part of it, was said by an option."""
        return not self.file or any(
            f"{place}.".startswith(f"{word}.") or word.startswith(f"{place}.") for word in self.over
        )

    def of(self, place: str) -> str:
        """Where a word was said: in a job file, by the option of that name, or by `--set` or `--labels`."""
        if not self.is_option(place):
            return f"{self.file}: {place}"
        word = place.partition(".")[0]
        return place if word in WITHOUT_OPTION else f"--{OPTIONS.get(word, word.replace('_', '-'))}"


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class Ways(BaseModel):
    """How to run a job."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    gateway: str | None = None
    """A URL, or "local" for one on this machine."""
    limits: Path | None = None
    """A TOML file with the account's limits."""
    no_limits: bool = False
    """Keep no budgets at all."""
    catalogs: Annotated[list[Path], BeforeValidator(_one_or_more, json_schema_input_type=Path | list[Path])] = []
    """TOML files with models of your own."""


class File(Words, Ways):
    """A job file: the words of a job, and how to run it."""


def job_schema() -> dict[str, Any]:
    """The JSON Schema of job files, by which editors complete and check them."""
    schema = File.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A job of runner"}


def read_words(path: Path) -> dict[str, Any]:
    """The words of a job folder or job file, its paths made to lead from here; of other files, just their path."""
    if complaint := complaint_about_name(path):
        raise InputRejected(complaint)
    mind_that_it_is_no_run(path)
    if path.is_dir() and ((path / "job.toml").is_file() or not files_in(path)):
        path = path / "job.toml"
        if not path.is_file():
            raise UsageError(f"{path.parent} is a folder without a job.toml, and without files that hold rows.")
    if path.suffix != ".toml":
        return {"input": str(path)}
    words = read_toml(path)
    base = path.parent
    words.setdefault("name", base.resolve().name)
    for places, lead in ((TEXTS, _text_from), (PATHS, _path_from)):
        for section, keys in places.items():
            table = _table(words, section)
            if isinstance(table, dict):
                table |= {key: lead(base, table[key]) for key in keys if key in table}
    return words


def _table(words: dict[str, Any], section: str) -> Any:
    """The table of a section, with dots between the names of tables in tables; None if there is none."""
    table: Any = words
    for name in filter(None, section.split(".")):
        table = table.get(name) if isinstance(table, dict) else None
    return table


def _text_from(base: Path, value: Any) -> Any:
    """A text, or @FILE with its path made to lead from here; the same for a table of them."""
    if isinstance(value, dict):
        return {name: _text_from(base, text) for name, text in value.items()}
    return f"@{base / value[1:]}" if isinstance(value, str) and value.startswith("@") else value


def _path_from(base: Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_path_from(base, path) for path in value]
    is_path = isinstance(value, str) and value != "-" and not value.lstrip().startswith("{")
    return str(base / value.removeprefix("@")) if is_path else value


def replaced(
    words: Mapping[str, Any], settings: Iterable[str], labels: str | Sequence[str] | None = None
) -> dict[str, Any]:
    """The words with others put over them: `key=value`, dots between the names of tables, the value as in TOML.

    `labels` is short for an answer that is one of these labels. Raises UsageError for what is no setting.
    """
    said = dict(words)
    if labels is not None and isinstance(answer := said.get("answer", {}), Mapping):
        said["answer"] = {"kind": "label", **answer, "labels": labels}
    for setting in settings:
        key, equals, value = setting.partition("=")
        *tables, last = [name.strip() for name in key.split(".")]
        if not equals or not last or not all(tables):
            raise UsageError(f"--set {setting}: write it as key=value, as in --set answer.asks=1.")
        table = said
        for name in tables:
            inner = table.get(name, {})
            if not isinstance(inner, Mapping):
                raise UsageError(f"--set {setting}: {name!r} is no table.")
            table[name] = table = dict(inner)
        table[last] = _value(value)
    return said


def _value(text: str) -> Any:
    """What TOML makes of a text; the text itself if it is none of TOML's values."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def absolute(words: Mapping[str, Any]) -> dict[str, Any]:
    """The words with the input's path made to lead from anywhere."""
    path = words.get("input")
    return {**words, "input": str(Path(path).absolute())} if isinstance(path, str) else dict(words)


def declare(words: Mapping[str, Any], file: str, over: Collection[str] = ()) -> Job:
    """A job from words; raises UsageError with every error in them, each with its place.

    They were said in a job file, if it has a name, but for those at the places in `over`, which options say.
    """
    origin = _Origin(file, frozenset(over))
    with _explained(origin):
        said = Words.model_validate(dict(words))
    _mind_what_is_kept(said, origin)
    _refuse_together(said, origin)
    made = {name: section.made() for name in SECTIONS if (section := getattr(said, name)) is not None}
    return Job(
        input=said.input,
        name=said.name or Path(said.input).name.partition(".")[0],
        models=tuple(said.models),
        prompt=None if said.prompt is None else text_or_file(said.prompt, origin.of("prompt")),
        system=None if said.system is None else text_or_file(said.system, origin.of("system")),
        settings=_settings(said, origin),
        cap_is=said.caps,
        caps=Caps(max_cost=said.max_cost, max_total_tokens=said.max_total_tokens, deadline=said.deadline),
        gates=_gates(said.gates, made.get("evaluate"), origin),
        **{name: getattr(said, name) for name in AS_SAID},
        **made,
    )


def ways(words: dict[str, Any], file: str, over: Collection[str] = ()) -> Ways:
    """How to run a job, taken out of its words; raises UsageError with every error in that."""
    with _explained(_Origin(file, frozenset(over))):
        return Ways.model_validate({name: words.pop(name) for name in Ways.model_fields if name in words})


@contextlib.contextmanager
def _explained(origin: _Origin) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise UsageError("\n".join(_explain(error, origin))) from None


def _mind_what_is_kept(said: Words, origin: _Origin) -> None:
    """Raise UsageError for what a manifest, which is JSON, cannot hold."""
    for word, value in said.model_dump(by_alias=True).items():
        try:
            orjson.dumps(value)
        except TypeError as error:
            reason = str(error)
            raise UsageError(f"{origin.of(word)} cannot be written down: {reason[:1].lower()}{reason[1:]}.") from None


def _refuse_together(said: Words, origin: _Origin) -> None:
    """Raise UsageError for words that are right, but not beside each other."""
    if said.answer and said.answer.structured and said.schema_ is not None:
        where = origin.of("answer.structured")
        raise UsageError(f"{where}: the job's `schema` asks for structured output already.")
    if said.gold and said.gold.file and said.evaluate:
        where = origin.of("gold.file")
        raise UsageError(f"{where}: [evaluate] has its right answers in the input, and mixes nothing in.")


def _settings(said: Words, origin: _Origin) -> Settings:
    """What requests have in common; a structured answer asks for its own schema."""
    if said.answer and said.answer.structured:
        schema = said.answer.made().reader.ask_schema()
    else:
        schema = schema_of(said.schema_, origin.of("schema"))
    return Settings(
        max_tokens=said.max_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        stop=tuple(said.stop),
        schema=schema,
        tools=tuple(said.tools),
        tool_choice=said.tool_choice,
        effort=said.effort,
    )


def _gates(section: GatesSection | None, evaluate: Evaluation | None, origin: _Origin) -> Gates | None:
    """The gates; raises UsageError for those that no metric can open."""
    if section is None:
        return None
    if evaluate is None and (section.least or section.not_worse):
        where = origin.of("gates")
        raise UsageError(f"{where}: `least` and `not_worse` are about metrics, and there is no [evaluate].")
    known = evaluate.metrics if evaluate else ()
    if unknown := [name for name in section.least if name not in known]:
        where = origin.of(f"gates.least.{unknown[0]}")
        raise UsageError(f"{where}: there is no such metric; there are {', '.join(known)}.")
    return section.made()


def caps_from(given: Mapping[str, Any]) -> dict[str, Any]:
    """Caps that were given anew, checked; raises UsageError."""
    said = {name: value for name, value in given.items() if value is not None}
    with _explained(_Origin("")):
        words = Words.model_validate({"input": "", **said})
    return {name: getattr(words, name) for name in said}


def _words_of(path: tuple[Any, ...]) -> list[str]:
    """The words that may stand at a place of a job file."""
    model: type[BaseModel] = Words
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        inner = [kind for kind in get_args(field.annotation) if isinstance(kind, type)] if field else []
        model = next((kind for kind in inner if issubclass(kind, BaseModel)), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _explain(error: ValidationError, origin: _Origin) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        where = origin.of(place)
        if problem["type"] == "extra_forbidden":
            *tables, word = problem["loc"]
            near = difflib.get_close_matches(str(word), _words_of(tuple(tables)), n=1)
            inside = f" in [{'.'.join(map(str, tables))}]" if tables else ""
            guess = f" Did you mean {near[0]!r}?" if near else ""
            file = "" if origin.is_option(place) else f"{origin.file}: "
            lines.append(f"{file}there is no word {word!r}{inside}.{guess}")
        elif problem["type"] == "missing":
            lines.append(f"{where} is missing.")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            got = "" if isinstance(problem["input"], Mapping) else f"; got {problem['input']!r}"
            lines.append(f"{where}: {message[0].lower()}{message[1:]}{got}.")
    return lines
