"""A small catalogue of one model of each sort, and a way to start simulators that are stopped when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from runner.core.catalog import Catalogue, build
from runner.simulator import RunningSimulator, Simulator, start

MODELS = {
    "claude-haiku-4-5": {
        "provider": "Anthropic",
        "inputs": ["text", "image"],
        "context_tokens": 200_000,
        "max_output_tokens": 64_000,
        "endpoints": ["chat", "messages"],
        "rejects": ["seed", "temperature+top_p"],
        "thinking": "budget",
    },
    "claude-opus-4-8": {
        "provider": "Anthropic",
        "endpoints": ["chat", "messages"],
        "rejects": ["temperature", "top_p"],
        "thinking": "adaptive",
    },
    "claude-sonnet-4": {"provider": "Anthropic", "endpoints": ["chat", "messages"]},
    "gemini-2-5-pro": {
        "provider": "Google",
        "inputs": ["text", "image"],
        "max_output_tokens": 65_536,
        "endpoints": ["chat", "gemini"],
        "reasons": True,
    },
    "gemini-3-1-flash-lite": {"provider": "Google", "endpoints": ["chat", "gemini"]},
    "gpt-5-mini": {
        "provider": "OpenAI",
        "context_tokens": 400_000,
        "max_output_tokens": 128_000,
        "endpoints": ["chat", "responses"],
        "rejects": ["temperature", "top_p"],
        "reasons": True,
    },
    "gpt-5-2": {"provider": "OpenAI", "endpoints": ["chat", "responses"]},
    "gpt-5-3-codex": {"provider": "OpenAI", "endpoints": ["responses"], "reasons": True},
    "databricks-gpt-oss-120b": {
        "provider": "Databricks",
        "max_output_tokens": 25_000,
        "output_tokens_per_minute": 100_000,
        "reasons": True,
    },
    "databricks-meta-llama-3-1-8b-instruct": {"provider": "Meta", "max_output_tokens": 8_192, "rejects": ["effort"]},
}

Start = Callable[..., Awaitable[RunningSimulator]]
Post = Callable[..., Awaitable[tuple[int, dict[str, str], Any]]]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return build([("tests", {"models": MODELS})])


@pytest_asyncio.fixture
async def simulate(catalogue: Catalogue) -> AsyncIterator[Start]:
    """Start a simulator that answers at once, with these settings."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> RunningSimulator:
            config = Simulator(**{"time_scale": 0, **settings})
            return await stack.enter_async_context(await start(config, catalogue))

        yield begin


@pytest_asyncio.fixture
async def post() -> AsyncIterator[Post]:
    """Send a body to a URL: (status, headers in lower case, parsed body or bytes)."""
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer anything"}) as session:

        async def send(url: str, body: Any = None, **options: Any) -> tuple[int, dict[str, str], Any]:
            payload = {"data": body} if isinstance(body, bytes) else {"json": body}
            async with session.post(url, **payload, **options) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                is_json = response.content_type == "application/json"
                return response.status, headers, await (response.json() if is_json else response.read())

        yield send
