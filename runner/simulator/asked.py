"""A request and its answer in no dialect: what the four parsers make, and what the four renderers are given."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Json = Any
Ended = Literal["stop", "length", "tool_calls", "filtered", "refused"]


class MalformedError(ValueError):
    """The body is JSON, and not a request; the message goes into the 400."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call."""

    name: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks."""

    model: str
    """As the client wrote it."""
    system: str = ""
    turns: tuple[str, ...] = ()
    """The text of each message that is not the system's."""
    images: int = 0
    max_tokens: int | None = None
    schema: Mapping[str, Json] | None = None
    strict: str | None = None
    """The schema's name, where it is to be followed strictly."""
    json_mode: bool = False
    """JSON is asked for, of no schema."""
    tools: tuple[Tool, ...] = ()
    must_call: str | None = None
    """The tool that must be called; an empty string for any of them."""
    effort: str | None = None
    """Reasoning effort; `none` where the client turned it off."""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    """The parameters that some model rejects, by their name in chat completions."""
    stream: bool = False
    stream_usage: bool = False

    @property
    def question(self) -> str:
        """What is asked now: the last turn, without the examples and answers before it.

        A last turn that speaks of the answer before it asks for another one to what was asked before.
        """
        again = len(self.turns) > 2 and "your answer" in self.turns[-1].lower()
        return self.turns[-3 if again else -1] if self.turns else ""

    @property
    def everything(self) -> str:
        """All that is read and therefore counted."""
        pieces = [self.system, *self.turns]
        if self.schema is not None:
            pieces.append(orjson.dumps(self.schema).decode())
        pieces.extend(tool.name + orjson.dumps(tool.parameters).decode() for tool in self.tools)
        return "\n".join(pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is answered."""

    id: str
    model: str
    """The name in the answer: a resolved version, not the name that was asked for."""
    text: str
    ended: Ended
    input_tokens: int
    output_tokens: int
    """Everything that was written, hidden reasoning included."""
    reasoning_tokens: int = 0
    tool: str | None = None
    """Name of the tool that is called."""
    arguments: str = ""
    """Its arguments, as JSON text."""
    created: int = 0
    """Seconds since the epoch."""
    blocks: bool = False
    """Whether the chat dialect gives the content as a list of blocks."""

    @property
    def shown_tokens(self) -> int:
        """Output tokens that are not hidden reasoning."""
        return self.output_tokens - self.reasoning_tokens


def texts(content: Json) -> Iterator[str]:
    """Every piece of text in a message's content, in any dialect's form."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from texts(part)
    elif isinstance(content, dict):
        yield from texts(content.get("text") or content.get("content") or content.get("parts"))


def images(content: Json) -> int:
    """How many images a message's content holds, in any dialect's form."""
    if not isinstance(content, list):
        return 0
    return sum(1 for part in content if isinstance(part, dict) and _is_image(part))


def _is_image(part: Mapping[str, Json]) -> bool:
    return "image" in str(part.get("type", "")) or not part.keys().isdisjoint(_GEMINI_MEDIA)


_GEMINI_MEDIA = ("inlineData", "inline_data", "fileData", "file_data")


def conversation(body: Mapping[str, Json], roles: Collection[str]) -> list[Mapping[str, Json]]:
    """The messages of a request: at least one, and each in a role that there is."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise MalformedError("messages: expected a list with at least one message")
    for number, message in enumerate(messages):
        check_role(f"messages.{number}.role", message.get("role"), roles)
    return messages


def check_role(place: str, role: Json, roles: Collection[str]) -> None:
    """Refuse a role that there is not."""
    if role not in roles:
        raise MalformedError(f"{place}: expected one of {', '.join(roles)}, got {role!r}")


def strict(wanted: Mapping[str, Json]) -> str | None:
    """The name of the schema that is wanted, if it is to be followed strictly."""
    return str(wanted.get("name", "")) if wanted.get("strict") else None


def whole(body: Mapping[str, Json], *names: str) -> int | None:
    """The first of these parameters that is set: a whole number above zero."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise MalformedError(f"{name}: expected an integer of at least 1, got {value!r}")
        return value
    return None


def listed(body: Mapping[str, Json], name: str) -> list[Json]:
    """The list of this name, empty where it is left out."""
    value = body.get(name) or []
    if not isinstance(value, list):
        raise MalformedError(f"{name}: expected a list")
    return value


def word(value: Json) -> str | None:
    """The value if it is a text that says something."""
    return value if isinstance(value, str) and value else None


def table(value: Json) -> Mapping[str, Json]:
    """The value if it is an object, else an empty one: for parts that a request may leave out."""
    return value if isinstance(value, dict) else {}


def given(body: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    """The parameters that are set, by their name in chat completions; `names` is from the dialect's to that."""
    return {ours: body[theirs] for theirs, ours in names.items() if body.get(theirs) is not None}
