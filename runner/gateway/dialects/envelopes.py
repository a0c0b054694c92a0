"""What a failed response says, whoever's envelope it came in.

The gateway answers in any envelope on any dialect: its own, Databricks', OpenAI's, Anthropic's, Gemini's, one inside
another as text, or no JSON at all. Envelopes are peeled without asking whose they are, and an inner one knows better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from runner.core.values import Json, Response
from runner.gateway.dialects import delays, json_text
from runner.gateway.dialects.json_text import as_list, as_text

LONGEST_MESSAGE = 2000
"""Characters; a journal keeps them for every attempt."""

LONGEST_CODE = 100
"""Characters."""

LONGEST_EXCERPT = 200
"""Characters of a body that is quoted because nobody could read it."""

DEEPEST = 8
"""Envelopes inside envelopes; three have been seen."""

INNER = ("error", "errors", "detail", "message")
"""Where an envelope may hold another one."""

MESSAGES = ("message", "msg", "detail", "error_description", "error", "reason")
CODES = ("error_code", "code", "status", "type")
"""The most telling first."""

PAGE = re.compile(r"<(!doctype html|html|head|body)\b", re.IGNORECASE)
TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>?", re.IGNORECASE)

STANDS_FOR: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"rate_?limit|request_limit|resource_exhausted|quota"), 429),
    (re.compile(r"overloaded"), 529),
    (re.compile(r"unavailable"), 503),
    (re.compile(r"timeout|deadline_exceeded"), 504),
    (re.compile(r"authenticat|api_key"), 401),
    (re.compile(r"billing"), 402),
    (re.compile(r"permission"), 403),
    (re.compile(r"not_found"), 404),
    (re.compile(r"too_large"), 413),
    (re.compile(r"^invalid_|bad_?request|context_length|policy|image|residency"), 400),
    (re.compile(r""), 500),
)
"""The status that an error code stands for, where an error came with status 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What all envelopes of a failed response said together."""

    status: int
    """The HTTP status, or what the error code stands for where that was 200."""
    message: str
    code: str | None
    limit_type: str
    retry_after: float | None
    enveloped: bool
    """Whether it came in an envelope at all, as all that a gateway says does; a proxy's page does not."""

    @property
    def words(self) -> str:
        """All that the tables of phrases look at."""
        return f"{self.code or ''} {self.message}"


def opened(response: Response) -> Complaint:
    """The complaint in this response. Never raises, whatever the bytes are."""
    message, code, limit_type, number = "", None, "", None
    waits = [delays.from_headers(response.headers)]
    layers = list(_layers(json_text.read(response.body)))
    for layer in layers:
        message = _first_text(layer, MESSAGES) or message
        code = _code(layer) or code
        limit_type = as_text(layer.get("limit_type")) or limit_type
        number = _status(layer.get("code")) or number
        waits += [_retry_delay(layer), delays.from_body(layer.get("retry_after"))]
    status = response.status
    if status == 200:
        status = number or next(status for word, status in STANDS_FOR if word.search((code or "").lower()))
    return Complaint(
        status=status,
        message=message.replace("\0", "").strip()[:LONGEST_MESSAGE] or _plain(response),
        code=code[:LONGEST_CODE] if code else None,
        limit_type=limit_type,
        retry_after=next((wait for wait in waits if wait is not None), None),
        enveloped=bool(layers),
    )


def excerpt(body: bytes, longest: int = LONGEST_EXCERPT) -> str:
    """The beginning of a body, fit to stand in a message."""
    text = " ".join(body[: 4 * longest].decode("utf-8", "replace").split())
    printable = (character if character.isprintable() else json_text.REPLACEMENT for character in text)
    return "".join(printable)[:longest]


def _layers(value: Json) -> Iterator[Mapping[str, Json]]:
    """The envelopes, from the outermost to the innermost; an inner one knows better."""
    for _ in range(DEEPEST):
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str):
            value = _wrapped(value)
        if not isinstance(value, Mapping):
            return
        yield value
        value = next((inner for name in INNER if _is_envelope(inner := value.get(name))), None)


def _is_envelope(value: Json) -> bool:
    return isinstance(value, Mapping | list) or (isinstance(value, str) and isinstance(_wrapped(value), Mapping))


def _wrapped(text: str) -> Json:
    """The object that text ends with ("BAD_REQUEST: {...}"), or None."""
    start = text.find("{")
    return json_text.read(text[start:]) if start >= 0 and text.rstrip().endswith("}") else None


def _first_text(layer: Mapping[str, Json], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := as_text(layer.get(name)))), "")


def _code(layer: Mapping[str, Json]) -> str | None:
    """A word if there is one, else a number; "error" is what every envelope says of itself."""
    values = [layer.get(name) for name in CODES]
    words = [value for value in values if isinstance(value, str) and value not in ("", "error")]
    numbers = [str(value) for value in values if isinstance(value, int) and not isinstance(value, bool)]
    return next(iter(words + numbers), None)


def _status(code: Json) -> int | None:
    return code if isinstance(code, int) and 300 <= code <= 599 else None


def _retry_delay(layer: Mapping[str, Json]) -> float | None:
    for detail in as_list(layer.get("details")):
        if isinstance(detail, Mapping) and as_text(detail.get("@type")).endswith("RetryInfo"):
            return delays.from_body(detail.get("retryDelay"))
    return None


def _plain(response: Response) -> str:
    """A message for a body that says nothing readable; of a page, which is some proxy's, the words."""
    try:
        status = f"{response.status} {HTTPStatus(response.status).phrase}"
    except ValueError:
        status = f"status {response.status}"
    text = excerpt(response.body, LONGEST_MESSAGE)
    if not PAGE.match(text):
        return text or status
    words = " ".join(TAGS.sub(" ", text).replace(status, " ").split())[:LONGEST_EXCERPT]
    return f"{status}, with a web page instead of an answer{words and f': {words}'}"
