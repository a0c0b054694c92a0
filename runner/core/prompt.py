"""How a row becomes a request.

A row says what to ask in one of four ways, looked for in this order: the job's template over its columns, a line of
OpenAI's batch format, `messages`, `prompt`. A row may carry its own `model`, `system`, `max_tokens` and `temperature`;
what the body of a batch line says goes over them, and over the job's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast, get_args

from runner.core.errors import RunnerError, UsageError
from runner.core.examples import Shots
from runner.core.values import Image, Json, Message, Other, Part, Request, Role, Settings, Text

Render = Callable[[Mapping[str, Any]], str]
"""A compiled template: columns in, text out; raises RowError for a column that is missing."""


class RowError(RunnerError):
    """The row cannot be asked."""

    exit_code = 7


def listed(columns: Iterable[str]) -> str:
    """A row's columns as a message names them."""
    return ", ".join(islice(columns, 8)) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What to ask about each row, beside what the row says itself."""

    template: Render | None = None
    system: Render | None = None
    settings: Settings = Settings()
    row_settings: bool = True
    """Whether rows may carry their own model, system, max_tokens and temperature."""
    hidden: frozenset[str] = frozenset()
    """Columns that hold the truth: no template sees them, and neither does a model."""
    shots: Shots | None = None
    """The examples that stand before what the template asks."""
    by_url: Callable[[str], str] = str
    """Finds the dialect for a batch line's `url`; raises UsageError for one that there is none for."""
    blanks: bool = False
    """Whether an empty text is nothing: in CSV a cell that nobody filled in is one."""
    fills: bool = True
    """Whether settings say what batch lines leave open, and lines of which something would be lost are refused. In runs
    that were begun without it, they are asked as they were."""

    def request(self, columns: Mapping[str, Any], key: str = "") -> Request:
        """The request that a row makes; raises RowError with the reason if it makes none.

        `key` names the row's content: examples are drawn by it.
        """
        if self.template is None and is_batch_line(columns):
            return self._batch_line(columns)
        if self.hidden:
            columns = {name: value for name, value in columns.items() if name not in self.hidden}
        settings = _row_settings(columns, self.settings) if self.row_settings else self.settings
        system = self._system(columns)
        messages = (*system, *self._messages(columns, bool(system), key))
        return Request(messages=messages, settings=settings)

    def _system(self, columns: Mapping[str, Any]) -> tuple[Message, ...]:
        text = columns.get("system") if self.row_settings else None
        text = None if text == "" and self.blanks else text
        if text is None and self.system is not None:
            text = self.system(columns)
        if text is None:
            return ()
        if not isinstance(text, str):
            raise RowError("its `system` is not a text")
        return (Message(role="system", content=text),)

    def _messages(self, columns: Mapping[str, Any], has_system: bool, key: str) -> tuple[Message, ...]:
        if self.template is not None:
            asked = _not_empty(self.template(columns))
            shown = self.shots.turns(asked, key) if self.shots is not None else ()
            return (*shown, Message(role="user", content=asked))
        if columns.get("messages") is not None:
            messages = _read_messages(columns["messages"])
            if has_system and messages[0].role == "system":
                raise RowError("it has a system message, and the job or its `system` column gives another")
            return messages
        if "prompt" in columns:
            return (Message(role="user", content=_not_empty(columns["prompt"])),)
        raise RowError(
            f"it has neither `prompt` nor `messages`; its columns are {listed(columns)}: say what to ask with --prompt"
        )

    def _batch_line(self, columns: Mapping[str, Any]) -> Request:
        body = _body(columns)
        if not isinstance(columns.get("url"), str):
            raise RowError("it has a `body`, and no `url` that says where to: /v1/chat/completions, for instance")
        if columns.get("method", "POST") != "POST":
            raise RowError(f"its method is {columns['method']!r}; only POST can be sent")
        try:
            dialect = self.by_url(columns["url"])
        except UsageError as error:
            raise RowError(str(error)) from None
        settings = self._settings_beside(columns, body) if self.fills else Settings(max_tokens=self.settings.max_tokens)
        cap = next((body[key] for key in CAPS_IN_BODY if body.get(key) is not None), None)
        if cap is None:
            cap = _generation_config(body).get("maxOutputTokens")
        if cap is not None:
            settings = replace(settings, max_tokens=_whole("max_tokens", cap))
        return Request(settings=settings, dialect=dialect, body=body)

    def _settings_beside(self, columns: Mapping[str, Any], body: Mapping[str, Json]) -> Settings:
        """What is said beside a body, which it may leave open; raises RowError for what would be lost."""
        if self.system is not None or (self.row_settings and columns.get("system") not in (None, "")):
            raise RowError("its `body` is sent as it is, and takes no system prompt beside it: put that into the body")
        _mind_what_is_read(body)
        settings = _row_settings(columns, self.settings) if self.row_settings else self.settings
        return replace(settings, schema=None) if _says_form(body) else settings

    def asks_form(self, columns: Mapping[str, Any]) -> bool:
        """Whether a row is asked for the form that the settings' schema gives: batch lines may say another one."""
        if self.template is not None or not is_batch_line(columns):
            return True
        return self.fills and not _says_form(_body(columns))

    def model(self, columns: Mapping[str, Any]) -> str | None:
        """The model that a row is pinned to by itself, or None."""
        name = columns.get("model") if self.row_settings else None
        if self.template is None and is_batch_line(columns):
            name = _body(columns).get("model") or (name if self.fills else None)
        if name is None or name == "":
            return None
        if not isinstance(name, str):
            raise RowError(f"its `model` is {name!r}, not a name")
        return name


CAPS_IN_BODY = ("max_completion_tokens", "max_output_tokens", "max_tokens")
FORMS_IN_BODY = ("response_format", "text.format", "output_format", "output_config.format")
FORMS_IN_CONFIG = frozenset({"responseMimeType", "responseSchema", "responseJsonSchema"})
"""Where bodies, and Gemini's generationConfig in them, say what form an answer has."""


def is_batch_line(columns: Mapping[str, Any]) -> bool:
    """Whether a row is a line of OpenAI's batch format, a wrong one too."""
    if "body" not in columns:
        return False
    if isinstance(columns.get("url"), str) and isinstance(columns["body"], dict):
        return True
    return "custom_id" in columns and not ("prompt" in columns or "messages" in columns)


def _body(columns: Mapping[str, Any]) -> Mapping[str, Json]:
    body = columns["body"]
    if not isinstance(body, dict):
        raise RowError("its `body` is not an object")
    return body


def _says_form(body: Mapping[str, Any]) -> bool:
    for place in FORMS_IN_BODY:
        outer, _, inner = place.rpartition(".")
        table = body.get(outer) if outer else body
        if isinstance(table, Mapping) and table.get(inner) is not None:
            return True
    config = _generation_config(body)
    return any(config.get(name) is not None for name in FORMS_IN_CONFIG)


def _generation_config(body: Mapping[str, Json]) -> dict[str, Json]:
    """What a body says in Gemini's generationConfig, by names in camel case."""
    tables = (body.get(name) for name in ("generation_config", "generationConfig"))
    return {camel_case(name): value for table in tables if isinstance(table, dict) for name, value in table.items()}


def camel_case(name: str) -> str:
    """The name of a field as Google's API writes it, which takes `max_output_tokens` for `maxOutputTokens`."""
    first, *others = name.split("_")
    return first + "".join(f"{other[:1].upper()}{other[1:]}" for other in others)


def _mind_what_is_read(body: Mapping[str, Any]) -> None:
    """Raise RowError for more answers than the one that is read, or for one that comes later."""
    for name, table in {"n": body, "candidateCount": _generation_config(body)}.items():
        if table.get(name) not in (None, 1):
            raise RowError(
                f"its `{name}` is {table[name]!r}, and one answer is read of each request: leave it out,"
                " and ask so often with --set annotators.samples=N"
            )
    if body.get("background"):
        raise RowError("its `background` asks for an answer that comes later, and nobody would fetch it: leave it out")


def _row_settings(columns: Mapping[str, Any], settings: Settings) -> Settings:
    changes: dict[str, Any] = {}
    if (cap := _number(columns.get("max_tokens"))) is not None:
        changes["max_tokens"] = _whole("max_tokens", cap)
    if (temperature := _number(columns.get("temperature"))) is not None:
        if isinstance(temperature, bool) or not isinstance(temperature, int | float):
            raise RowError(f"its `temperature` is {temperature!r}, not a number")
        if not 0 <= temperature <= 2:
            raise RowError(f"its `temperature` is {temperature!r}, and not from 0 to 2")
        changes["temperature"] = float(temperature)
    return replace(settings, **changes) if changes else settings


def _number(value: Any) -> Any:
    """A cell's value, with a number for a text of one and None for an empty text: CSV has nothing but texts."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    try:
        return int(text) if text.isdecimal() else float(text) if text else None
    except ValueError:
        return value


def _whole(name: str, value: Any) -> int:
    if isinstance(value, float) and value.is_integer():  # as tables keep whole numbers beside empty cells
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RowError(f"its `{name}` is {value!r}, not a whole number above zero")
    if value >= 2**63:
        raise RowError(f"its `{name}` is a number of more than 64 bits, and no model writes so much")
    return value


def _not_empty(text: Any) -> str:
    if not isinstance(text, str):
        raise RowError(f"its prompt is {'null' if text is None else repr(text)[:60]}, not a text")
    if not text.strip():
        raise RowError("its prompt is empty")
    return text


def _read_messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RowError("its `messages` is not a list of messages")
    return tuple(_read_message(item, position) for position, item in enumerate(value))


def _read_message(item: Any, position: int) -> Message:
    where = f"message {position}"
    if not isinstance(item, dict):
        raise RowError(f"{where} is not an object with role and content")
    role = "system" if item.get("role") == "developer" else item.get("role")
    if role not in get_args(Role):
        raise RowError(f"{where} has the role {role!r}; there are system, user, assistant and tool")
    content = item.get("content")
    calls = item.get("tool_calls") or []
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise RowError(f"{where} has `tool_calls` that are not a list of objects")
    if content is None and calls:
        content = ""
    if isinstance(content, list):
        content = tuple(_read_part(block, where) for block in content)
    elif not isinstance(content, str):
        raise RowError(f"{where} has no content that is a text or a list of blocks")
    answers = item.get("tool_call_id")
    return Message(role=cast("Role", role), content=content, tool_calls=tuple(calls), tool_call_id=answers)


def _read_part(block: Json, where: str) -> Part:
    if isinstance(block, str):
        return Text(block)
    if not isinstance(block, dict):
        raise RowError(f"{where} has a content block that is not an object")
    kind = block.get("type")
    if kind in ("text", "input_text") and isinstance(block.get("text"), str):
        return Text(block["text"])
    if kind in ("image_url", "input_image"):
        image = block.get("image_url")
        detail = block.get("detail")
        if isinstance(image, dict):
            detail = image.get("detail", detail)
            image = image.get("url")
        if isinstance(image, str) and image.startswith(("data:image/", "https://")):
            return Image(image, detail)
        raise RowError(f"{where} has an image whose URL is neither data:image/... nor https://...")
    return Other(block)
