"""Job files, and the same words from the command line or Python: validated together, every error at once.

`jobs/<name>/job.toml` holds the words of `runner run`, with paths relative to the file. Data only, no code.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runner.core.caps import Caps
from runner.core.errors import UsageError
from runner.core.job import Job
from runner.core.sharing import Priority
from runner.core.values import Settings
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


def _names(value: Any) -> Any:
    """Names given as a list, or one text with commas."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("models are named in a list, or in one text with commas")
    return [name.strip() for part in parts for name in str(part).split(",") if name.strip()]


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Words(BaseModel):
    """Everything that can be said about a job."""

    model_config = ConfigDict(extra="forbid")

    input: str
    """Input file: JSONL, CSV or Parquet."""
    name: str | None = None
    models: Annotated[list[str], BeforeValidator(_names)] = []
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
    """A JSON schema that the answers must satisfy, or the path of a file that holds it."""
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


def read_words(path: Path) -> dict[str, Any]:
    """The words of a job folder or job file, its paths made to lead from here; of another file, just its path."""
    if path.is_dir():
        path = path / "job.toml"
        if not path.is_file():
            raise UsageError(f"{path.parent} is a folder without a job.toml.")
    if path.suffix != ".toml":
        return {"input": str(path)}
    words = read_toml(path)
    base = path.parent
    words.setdefault("name", base.resolve().name)
    for key in ("prompt", "system"):
        if isinstance(words.get(key), str) and words[key].startswith("@"):
            words[key] = f"@{base / words[key][1:]}"
    for key in ("input", "schema", "limits"):
        value = words.get(key)
        if isinstance(value, str) and value != "-" and not value.lstrip().startswith("{"):
            words[key] = str(base / value.removeprefix("@"))
    return words


def declare(words: Mapping[str, Any], origin: str) -> Job:
    """A job from words; raises UsageError with every error in them, each with its place."""
    try:
        said = Words.model_validate(dict(words))
    except ValidationError as error:
        raise UsageError("\n".join(_explain(error, origin))) from None
    prompt = None if said.prompt is None else text_or_file(said.prompt, "--prompt")[0]
    system = None if said.system is None else text_or_file(said.system, "--system")[0]
    settings = Settings(
        max_tokens=said.max_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        stop=tuple(said.stop),
        schema=_schema(said.schema_),
        tools=tuple(said.tools),
        tool_choice=said.tool_choice,
        effort=said.effort,
    )
    return Job(
        input=said.input,
        name=said.name or Path(said.input).name.partition(".")[0],
        models=tuple(said.models),
        each=said.each,
        prompt=prompt,
        system=system,
        settings=settings,
        row_settings=said.row_settings,
        cap_is=said.caps,
        probe_above=said.probe_above,
        id_column=said.id_column,
        limit=said.limit,
        sample=said.sample,
        seed=said.seed,
        bad_rows=said.bad_rows,
        keep_going=said.keep_going,
        endpoint=said.endpoint,
        strict_params=said.strict_params,
        attempts=said.attempts,
        timeout=said.timeout,
        patience=said.patience,
        caps=Caps(max_cost=said.max_cost, max_total_tokens=said.max_total_tokens, deadline=said.deadline),
        priority=said.priority,
    )


def caps_from(given: Mapping[str, Any]) -> dict[str, Any]:
    """Caps that were given anew, checked; raises UsageError."""
    said = {name: value for name, value in given.items() if value is not None}
    try:
        words = Words.model_validate({"input": "", **said})
    except ValidationError as error:
        raise UsageError("\n".join(_explain(error, ""))) from None
    return {name: getattr(words, name) for name in said}


def _schema(value: str | dict[str, Any] | None) -> Mapping[str, Any] | None:
    if not isinstance(value, str):
        return value
    text = value if value.lstrip().startswith("{") else text_or_file(f"@{value.removeprefix('@')}", "--schema")[0]
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--schema {value[:80]}: not JSON: {error}.") from None
    if not isinstance(schema, dict):
        raise UsageError(f"--schema {value[:80]}: a schema is a JSON object.")
    return schema


def _explain(error: ValidationError, origin: str) -> list[str]:
    known = [field.alias or name for name, field in Words.model_fields.items()]
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        where = f"{origin}: {place}" if origin else f"--{place.replace('_', '-')}"
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place, known, n=1)
            lines.append(f"{origin}: there is no word {place!r}.{f' Did you mean {near[0]!r}?' if near else ''}")
        elif problem["type"] == "missing":
            lines.append(f"{where} is missing.")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message[0].lower()}{message[1:]}; got {problem['input']!r}.")
    return lines
