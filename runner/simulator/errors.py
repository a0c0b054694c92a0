"""Everything the gateway says when it does not answer: tables of messages, and the shapes that each layer puts them in.

Two layers speak. The gateway's own errors come in OpenAI's envelope, whatever the dialect; its quota errors, and all of
Databricks' behind it, are flat. The words changed over the months: a *generation* is one state of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import orjson

from runner.simulator.asked import Json
from runner.simulator.judge import Measure

Generation = Literal["june", "july", "october"]

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


def own(status: int, message: str) -> Answer:
    """An error of the gateway itself: OpenAI's envelope with nothing but a message."""
    return Answer(status=status, body=orjson.dumps({"error": {"message": message}}))


def flat(status: int, code: Json, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """An error in Databricks' flat shape."""
    return Answer(status=status, body=orjson.dumps({"error_code": code, "message": message}), headers=headers or {})


QUOTA_CODE = "REQUEST_LIMIT_EXCEEDED"

MODEL_QUOTA: Mapping[Generation, str] = {
    "june": "ai gateway quota exceeded",
    "july": 'ai gateway per-minute token limit exceeded for model "{model}"',
    "october": 'ai gateway token rate limit exceeded for model "{model}" ({limit} tokens per minute in this region).'
    " Retry after the current minute resets, or request a higher limit",
}
"""What a 429 of the gateway says when one model's limit was hit."""

COMBINED_QUOTA: Mapping[Generation, str] = {
    "june": "ai gateway quota exceeded",
    "july": "ai gateway per-minute token limit exceeded",
    "october": "ai gateway account token rate limit exceeded ({limit} tokens per minute across all models in this"
    " region). Retry after the current minute resets, or request a higher limit",
}
"""What it says when the limit of all models together was hit."""

UPSTREAM_WORDS: Mapping[Measure, str] = {
    "requests": "QPS",
    "input": "input tokens per minute",
    "output": "output tokens per minute",
    "total": "tokens per minute",
}
UPSTREAM_TYPES: Mapping[Measure, str] = {
    "requests": "queries_per_second",
    "input": "input_tokens_per_minute",
    "output": "output_tokens_per_minute",
    "total": "tokens_per_minute",
}

OVER_CAPACITY = "ai gateway upstream model is temporarily over capacity. Retry later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A limit that a request ran into."""

    measure: Measure
    model: str | None
    """The model's short id, or None for all models together."""
    limit: int
    used: int
    wait: float
    """Seconds until the request would fit."""
    coarseness: float = 1.0
    """Seconds, at most one, that the stated wait is a multiple of."""

    @property
    def seconds(self) -> float:
        """The wait as headers have it: rounded up, whole seconds unless time is compressed."""
        steps = max(1, math.ceil(self.wait / self.coarseness))
        if self.coarseness == 1:
            return steps
        return math.ceil(steps * self.coarseness * 1000 - 1e-6) / 1000


def quota(generation: Generation, hit: Hit, *, retry_after: bool) -> Answer:
    """A 429 of the gateway; by its documentation one without Retry-After does not end by itself."""
    words = COMBINED_QUOTA if hit.model is None else MODEL_QUOTA
    message = words[generation].format(model=hit.model, limit=hit.limit)
    return flat(429, QUOTA_CODE, message, {"Retry-After": f"{hit.seconds:g}"} if retry_after else {})


def upstream_quota(generation: Generation, hit: Hit, *, retry_after: bool, documented: bool = False) -> Answer:
    """A 429 of Databricks, with the headers that the gateway passes on; `documented` is the body of its manual."""
    unit = "Requests" if hit.measure == "requests" else "Tokens"
    headers = {
        f"X-Ratelimit-Limit-{unit}": str(hit.limit),
        f"X-Ratelimit-Remaining-{unit}": str(max(0, hit.limit - hit.used)),
        f"X-Ratelimit-Reset-{unit}": f"{hit.seconds:g}",
    }
    if retry_after:
        headers["Retry-After"] = f"{hit.seconds:g}"
    if documented:
        return Answer(status=429, body=orjson.dumps({"error": _documented(hit)}), headers=headers)
    message = (
        f"{QUOTA_CODE}: Exceeded workspace {UPSTREAM_WORDS[hit.measure]} rate limit for databricks-{hit.model}."
        " Work with your Databricks account team to request a higher FMAPI rate limit tier."
    )
    return flat(429, QUOTA_CODE, OVER_CAPACITY if generation == "october" else message, headers)


def _documented(hit: Hit) -> dict[str, Json]:
    kind = UPSTREAM_TYPES[hit.measure]
    return {
        "message": f"Rate limit exceeded: {kind} limit of {hit.limit:,} reached",
        "type": "rate_limit_exceeded",
        "code": 429,
        "limit_type": kind,
        "limit": hit.limit,
        "current": hit.used,
        "retry_after": hit.seconds,
    }


def gemini_quota(hit: Hit) -> Answer:
    """A 429 in Google's own shape, whose delay stands in the body."""
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{hit.seconds:g}s"}
    error = {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED", "details": [delay]}
    return Answer(status=429, body=orjson.dumps({"error": error}))


def rejected(
    generation: Generation, provider: str, message: str, parameter: str | None = None, code: str | None = None
) -> Answer:
    """A 400 of the provider behind the gateway: its own error, wrapped as a text into the flat shape."""
    if generation == "october":
        return flat(400, "BAD_REQUEST", f"ai gateway upstream model rejected the request: {message}")
    if provider == "OpenAI":
        error: Json = {"message": message, "type": "invalid_request_error", "param": parameter, "code": code}
        return flat(400, "BAD_REQUEST", orjson.dumps({"error": error}).decode())
    if provider == "Anthropic":
        error = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
        return flat(400, "BAD_REQUEST", orjson.dumps(error).decode())
    return flat(400, "BAD_REQUEST", f"BAD_REQUEST: {message}")


def too_large(generation: Generation, limit: int) -> Answer:
    """A 413 of the server behind the gateway."""
    if generation == "october":
        return flat(413, "REQUEST_TOO_LARGE", "ai gateway upstream rejected the request: body too large")
    return flat(413, "REQUEST_TOO_LARGE", f"Request size cannot exceed {limit} bytes.")


UNAUTHORIZED: Mapping[Generation, Answer] = {
    "june": own(401, "invalid or missing credential"),
    "july": own(401, "invalid or missing credential"),
    "october": own(
        401,
        "invalid or missing credential. Use an active AI Gateway credential in the Authorization bearer header.",
    ),
}

AUTHORIZATION_DOWN = own(503, "authorization temporarily unavailable")
NO_MODEL = own(400, "missing or invalid model")
NOT_VERIFIED = own(403, "model requires a verified account")
NO_SUCH_PATH = own(404, "not found")
NO_SUCH_MODEL_PATH = own(404, "invalid gemini model path")
NO_SUCH_ACTION = own(404, "unsupported gemini action")
NO_SUCH_METHOD = own(405, "method not allowed")


def unknown_model(name: str) -> Answer:
    """A 400 for a model that the gateway does not have."""
    return own(400, f'unknown model "{name}"')


def wrong_endpoint(name: str, title: str) -> Answer:
    """A 400 for a model that does not answer on this dialect."""
    return own(400, f'model "{name}" is not available on the {title} endpoint')
