"""The gateway's four dialects, and which of them a request is said in.

A dialect is a module with `PATH`, `encode` and `decode` (`core.ports.Dialect`): translation only, no I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from runner.core.catalog import Model
from runner.core.errors import UsageError
from runner.core.ports import Dialect
from runner.core.values import Request, Wire
from runner.gateway.dialects import chat, gemini, messages, responses

DIALECTS: Mapping[str, Dialect] = {
    "chat": chat,
    "messages": messages,
    "responses": responses,
    "gemini": gemini,
}

URLS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(^|/)(chat|chat/completions|chat_completions)$"), "chat"),
    (re.compile(r"(^|/)(messages|anthropic_messages)$"), "messages"),
    (re.compile(r"(^|/)(responses|openai_responses)$"), "responses"),
    (re.compile(r"(^|/)(gemini|gemini_generate_content)$|:(stream)?generatecontent$"), "gemini"),
)
"""How a path ends -> the dialect that is spoken there; long, short and page forms end alike."""


NATIVE = "native"


def by_url(url: str) -> str:
    """The dialect that a batch line's `url` or an endpoint's name means; raises UsageError if it means none."""
    path = _path(url).rstrip("/").lower()
    for pattern, name in URLS:
        if pattern.search(path):
            return name
    raise UsageError(
        f"{url!r} is no endpoint of this runner. There are: chat (/v1/chat/completions), messages (/v1/messages),"
        " responses (/v1/responses), gemini (:generateContent)."
    )


def choose(request: Request, model: Model, endpoint: str | None = None) -> str:
    """The dialect to ask `model` in: the row's own, else the `endpoint` option, else the model's first.

    The endpoint "native" means the one of the model's provider: the last in the catalogue's list. Raises UsageError
    if the model does not answer in the dialect that is asked for.
    """
    wanted = request.dialect or endpoint
    if wanted is None:
        return model.endpoints[0]
    if wanted == NATIVE:
        return model.endpoints[-1]
    name = by_url(wanted)
    if name not in model.endpoints:
        raise UsageError(f"{model.short} does not answer on {name}; it answers on {', '.join(model.endpoints)}.")
    return name


def say(request: Request, model: Model, dialect: str) -> Wire:
    """The request as it is sent; raises UsageError for what the dialect cannot say."""
    return DIALECTS[dialect].encode(request, model)


def _path(url: str) -> str:
    try:
        return urlsplit(url.strip()).path
    except ValueError:
        return url


__all__ = ["DIALECTS", "by_url", "choose"]
