"""The pieces of a conversation that more than one dialect has to take apart: system prompts, images, tool calls.

Translation only: nothing is fetched, guessed from content, or looked up on the host. What a dialect has no words for
raises UsageError here, before anything is sent.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from runner.core.errors import UsageError
from runner.core.values import Image, Json, Message, Part, Text
from runner.gateway.dialects import json_text
from runner.gateway.dialects.json_text import as_object, as_text

MEDIA_TYPES: Mapping[str, str] = {
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
}
"""By file ending. A table, as the `mimetypes` module reads files of the host and answers differently on each."""

DEFAULT_MEDIA_TYPE = "image/jpeg"


def split_system(messages: Iterable[Message]) -> tuple[tuple[Part, ...], tuple[Message, ...]]:
    """All that system turns say, wherever they stand, and the other turns.

    Every dialect gets one system prompt at the front: three have a single place for it, and upstream of the
    fourth (chat) the role is taken once, first.
    """
    system: list[Part] = []
    others: list[Message] = []
    for message in messages:
        if message.role == "system":
            system.extend(parts(message))
        else:
            others.append(message)
    return tuple(system), tuple(others)


def parts(message: Message) -> tuple[Part, ...]:
    """The content of a turn as parts; empty text is no part."""
    content = (Text(message.content),) if isinstance(message.content, str) else message.content
    return tuple(part for part in content if part != Text(""))


def prose(pieces: Iterable[Part], what: str, joint: str = "\n\n") -> str:
    """The text of these parts; raises UsageError if one is no text."""
    texts: list[str] = []
    for part in pieces:
        if not isinstance(part, Text):
            raise UsageError(f"{what} can only be text in this dialect; here is one with another part in it.")
        texts.append(part.text)
    return joint.join(texts)


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of a conversation's history, taken out of the chat completions form."""

    id: str
    name: str
    arguments: str
    """As JSON text."""
    signature: str
    """Gemini's thought signature, which it wants back with the call; empty if there is none."""

    @property
    def input(self) -> Mapping[str, Json]:
        """The arguments as an object; raises UsageError if they are not one."""
        value = json_text.read(self.arguments or "{}")
        if not isinstance(value, Mapping):
            raise UsageError(f"The arguments of the call to {self.name!r} are not a JSON object.")
        return value


def calls(message: Message) -> Iterator[Call]:
    """The tool calls of an assistant turn; raises UsageError for one without a function's name."""
    for raw in message.tool_calls:
        name = as_text(json_text.at(raw, "function.name"))
        if not name:
            raise UsageError("A tool call in the conversation names no function.")
        signature = as_text(json_text.at(raw, "extra_content.google.thought_signature"))
        yield Call(as_text(raw.get("id")), name, as_text(json_text.at(raw, "function.arguments")), signature)


def chosen(choice: Json) -> str | None:
    """The function that a tool_choice insists on, or None."""
    return as_text(json_text.at(choice, "function.name")) or None


def function(tool: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """The function that a tool in the chat completions form declares; None if the tool has another form."""
    return as_object(tool["function"]) if tool.get("type") == "function" and "function" in tool else None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image's media type, with its data in base64 where the URL held it."""

    media_type: str
    data: str | None


def picture(image: Image) -> Picture:
    """What an image's URL says about it; raises UsageError for a `data:` URL that is broken."""
    if image.url[:5].lower() != "data:":
        ending = posixpath.splitext(_path(image.url))[1].lower()
        return Picture(MEDIA_TYPES.get(ending, DEFAULT_MEDIA_TYPE), None)
    head, comma, data = image.url[5:].partition(",")
    if not comma:
        raise UsageError("An image's data: URL has no comma: there is no data in it.")
    media_type, *marks = (mark.strip() for mark in head.split(";"))
    if "base64" not in (mark.lower() for mark in marks):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    elif not _is_base64(data):
        raise UsageError("An image's data: URL does not hold base64.")
    return Picture(media_type.lower() or DEFAULT_MEDIA_TYPE, data)


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # an IPv6 host without its bracket: the gateway may say so
        return ""


def _is_base64(data: str) -> bool:
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def grouped(turns: Iterable[tuple[str, list[Any]]]) -> Iterator[tuple[str, list[Any]]]:
    """Turns of (role, blocks) with neighbours of one role made one, as dialects with alternating roles want it."""
    role, blocks = "", list[Any]()
    for next_role, more in turns:
        if next_role == role:
            blocks = [*blocks, *more]
            continue
        if blocks:
            yield role, blocks
        role, blocks = next_role, more
    if blocks:
        yield role, blocks
