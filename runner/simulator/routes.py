"""Which dialect a path speaks: the gateway's long paths, their short aliases, and what the official SDKs append."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from runner.simulator.errors import NO_SUCH_ACTION, NO_SUCH_MODEL_PATH, NO_SUCH_PATH, Answer

MODELS = "/v1/models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a path leads."""

    dialect: str
    model: str | None = None
    """The model that stands in the path."""
    stream: bool = False
    """Whether the path itself asks for a stream."""


PATHS: Mapping[str, str] = {
    # Long and short forms mean the same; the last of each is what an OpenAI client appends to a bare host.
    "/ai-gateway/mlflow/v1/chat/completions": "chat",
    "/ai-gateway/openai/v1/chat/completions": "chat",
    "/mlflow/v1/chat/completions": "chat",
    "/openai/v1/chat/completions": "chat",
    "/v1/chat/completions": "chat",
    "/ai-gateway/anthropic/v1/messages": "messages",
    "/anthropic/v1/messages": "messages",
    "/ai-gateway/openai/v1/responses": "responses",
    "/openai/v1/responses": "responses",
    "/v1/responses": "responses",
}
ROUTES = {path: Route(dialect=dialect) for path, dialect in PATHS.items()}

GEMINI = re.compile(r"(?:/ai-gateway/gemini|/v1/gemini|/gemini)?/v1(?:beta)?/models/(?P<model>[^/:]+):(?P<action>\w+)")
GEMINI_MODELS = re.compile(r"(/ai-gateway/gemini|/v1/gemini|/gemini)/v1(beta)?/models/")
ACTIONS = {"generateContent": False, "streamGenerateContent": True}
"""What can be done with a model, and whether it streams; counting tokens is not offered."""


def find(path: str) -> Route | Answer:
    """Where a path leads, or the 404 for one that leads nowhere."""
    route = ROUTES.get(path)
    if route is not None:
        return route
    found = GEMINI.fullmatch(path)
    if found is None:
        return NO_SUCH_MODEL_PATH if GEMINI_MODELS.match(path) else NO_SUCH_PATH
    stream = ACTIONS.get(found["action"])
    if stream is None:
        return NO_SUCH_ACTION
    return Route(dialect="gemini", model=found["model"], stream=stream)
