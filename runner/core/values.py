"""The nouns of a run, as frozen values.

What a row asks, what it costs, and what came back. Nothing here does anything: values are made at the borders
(`storage` reads rows, `gateway.dialects` decodes answers) and decided upon in the rest of `core`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
Json = Any
"""Any value that JSON can hold."""


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text in a message."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message, as a `data:` or an `https:` URL; it is passed on, never fetched."""

    url: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A content block of a kind that only its own dialect knows (audio, video, files): passed through as it is."""

    block: Mapping[str, Json]


Part = Text | Image | Other


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str | tuple[Part, ...]
    tool_calls: tuple[Mapping[str, Json], ...] = ()
    """Calls made by an assistant turn, in the chat completions form."""
    tool_call_id: str | None = None
    """The call that a tool turn answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to answer: everything of a request that is the same for many rows."""

    max_tokens: int | None = None
    """Cap on output tokens, hidden reasoning included."""
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    schema: Mapping[str, Json] | None = None
    """JSON schema that the answer must satisfy."""
    tools: tuple[Mapping[str, Json], ...] = ()
    """Tools in the chat completions form: {"type": "function", "function": {name, description, parameters}}."""
    tool_choice: Json = None
    """In the chat completions form: "auto", "none", "required" or {"type": "function", "function": {"name": ...}}."""
    effort: str | None = None
    """Reasoning effort: none, minimal, low, medium, high, xhigh or max."""
    extra: Mapping[str, Json] = field(default_factory=dict)
    """Further parameters, put into the body as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a task asks of a model, in no gateway's dialect.

    `body` is set for a line of OpenAI's batch format: it is sent as it is, in `dialect`, with the model's name replaced
    by the gateway's, and with those of the `settings` that it leaves open.
    """

    messages: tuple[Message, ...] = ()
    settings: Settings = Settings()
    dialect: str | None = None
    """The dialect that the row insists on (a batch line's `url`), or None."""
    body: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request spends: requests, input tokens, output tokens. A guess before, the truth after."""

    requests: int = 1
    input: int = 0
    output: int = 0

    def __add__(self, other: Charge) -> Charge:
        return Charge(self.requests + other.requests, self.input + other.input, self.output + other.output)

    def __sub__(self, other: Charge) -> Charge:
        return Charge(self.requests - other.requests, self.input - other.input, self.output - other.output)


NOTHING = Charge(0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the gateway reported them.

    `input` is everything that was read, cached or not; `output` everything that was written, hidden reasoning
    included. `reported` is False where the gateway said nothing and the numbers are zero.
    """

    input: int = 0
    output: int = 0
    reasoning: int = 0
    cached_input: int = 0
    cache_write: int = 0
    reported: bool = True


class Outcome(enum.StrEnum):
    """How a reply ended."""

    OK = "ok"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    FILTERED = "filtered"
    TOOL_CALLS = "tool_calls"


class Status(enum.StrEnum):
    """The last word on a task."""

    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    CANCELED = "canceled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that counts: the model was asked, and this is what it said."""

    text: str
    outcome: Outcome
    finish_reason: str
    """The dialect's own word for why the model stopped."""
    usage: Usage
    tool_calls: tuple[Mapping[str, Json], ...] = ()
    """In the chat completions form, whatever the dialect."""
    model: str = ""
    """The name the gateway answered with; it may be a resolved version, so nothing is accounted by it."""


class Kind(enum.StrEnum):
    """What went wrong with one attempt. `core.retry` has the table of what to do about each."""

    RATE_LIMITED = "rate_limited"
    QUOTA_EXHAUSTED = "quota_exhausted"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    UNREACHABLE = "unreachable"
    INVALID_RESPONSE = "invalid_response"
    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH = "context_length"
    REQUEST_TOO_LARGE = "request_too_large"
    RESPONSE_TOO_LARGE = "response_too_large"
    CONTENT_FILTER = "content_filter"
    MODEL_UNAVAILABLE = "model_unavailable"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    REDIRECTED = "redirected"
    CERTIFICATE = "certificate"
    BAD_ROW = "bad_row"
    """The row could not be read or rendered: nothing was sent."""
    NEVER_FITS = "never_fits"
    """The row is larger than a limit or a context window: nothing was sent."""


Scope = Literal["request", "model", "all"]
"""What a failure speaks of: this request alone, every request to its model, or every request."""

Measure = Literal["requests", "input", "output", "total"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that did not bring an answer."""

    kind: Kind
    message: str
    status: int | None = None
    """HTTP status, or None where no response came."""
    code: str | None = None
    """The gateway's own error code."""
    scope: Scope = "request"
    measure: Measure | None = None
    """For a 429: the measure of the limit that was hit, where the message names it."""
    retry_after: float | None = None
    """Seconds after which the gateway said to come back."""
    cap: int | None = None
    """For a 400 that names the largest output cap the model takes: that cap."""
    ambiguous: bool = False
    """Whether the request may have been processed and billed all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One HTTP request, before the host and the token are added."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    """Notices: what was left out, or will not be taken or kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One HTTP response, whole and decompressed. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: float = -math.inf
    """When its request was written to a connection, on the event loop's clock; minus infinity where that is unknown."""
