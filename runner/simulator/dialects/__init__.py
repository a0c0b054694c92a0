"""The four request and response shapes of the gateway: in each module `parse` reads, `render` and `stream` write.

Written from the wire shapes alone and independent of the runner's own dialects, whose mistakes it must not share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.simulator.asked import Asked, Json, Said
from runner.simulator.dialects import chat, gemini, messages, responses


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One of the gateway's APIs."""

    name: str
    """As the catalogue calls it."""
    title: str
    """As the gateway's error messages call it."""
    cap: str
    """Its parameter that caps the output."""
    parse: Callable[[Mapping[str, Json]], Asked]
    """Reads a request; raises MalformedError. A model's name that stands in the URL has been put into the body."""
    render: Callable[[Said], Json]
    """Writes an answer."""
    stream: Callable[[Asked, Said], bytes]
    """Writes an answer as server-sent events."""


DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            name="chat",
            title="chat_completions",
            cap="max_tokens",
            parse=chat.parse,
            render=chat.render,
            stream=chat.stream,
        ),
        Dialect(
            name="messages",
            title="anthropic_messages",
            cap="max_tokens",
            parse=messages.parse,
            render=messages.render,
            stream=messages.stream,
        ),
        Dialect(
            name="responses",
            title="openai_responses",
            cap="max_output_tokens",
            parse=responses.parse,
            render=responses.render,
            stream=responses.stream,
        ),
        Dialect(
            name="gemini",
            title="gemini",
            cap="maxOutputTokens",
            parse=gemini.parse,
            render=gemini.render,
            stream=gemini.stream,
        ),
    )
}
"""By the catalogue's name."""
