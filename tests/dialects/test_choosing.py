"""Which dialect a request is said in, and what holds for all four."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.catalog import DIALECTS as CATALOGUED
from runner.core.catalog import Model
from runner.core.errors import UsageError
from runner.core.values import Image, Message, Request, Settings, Text
from runner.gateway.dialects import DIALECTS, by_url, choose

CODEX = Model(id="gpt-5-3-codex", provider="openai", endpoints=("responses",))
CLAUDE = Model(id="claude-haiku-4-5", provider="anthropic", endpoints=("chat", "messages"))

URLS = {
    "chat": (
        "chat",
        "/v1/chat/completions",
        "chat/completions",
        "chat_completions",
        "/ai-gateway/mlflow/v1/chat/completions",
        "https://api.openai.com/v1/chat/completions/",
    ),
    "messages": (
        "messages",
        "/v1/messages",
        "anthropic/messages",
        "anthropic_messages",
        "/anthropic/v1/messages",
        "/ai-gateway/anthropic/v1/messages",
    ),
    "responses": (
        "responses",
        "/v1/responses",
        "openai/responses",
        "openai_responses",
        "/openai/v1/responses",
        "/ai-gateway/openai/v1/responses",
    ),
    "gemini": (
        "gemini",
        "Gemini",
        "gemini_generate_content",
        "/gemini/v1beta/models/gemini-2-5-pro:generateContent",
        "/ai-gateway/gemini/v1beta/models/gemini-2-5-pro:streamGenerateContent?alt=sse",
    ),
}


@pytest.mark.parametrize(("url", "name"), [(url, name) for name, urls in URLS.items() for url in urls])
def test_a_url_means_a_dialect(url, name):
    """Batch lines' urls, the page's words and full gateway paths all find their dialect."""
    assert by_url(url) == name


@pytest.mark.parametrize("url", ["", "/", "/v1/embeddings", "/v1/completions", "gossip", "http://[", "chatty"])
def test_a_url_that_means_none_is_told_what_there_is(url):
    """An unknown endpoint raises with the list of those that exist."""
    with pytest.raises(UsageError, match=r"chat \(/v1/chat/completions\).*gemini"):
        by_url(url)


@pytest.mark.parametrize(
    ("request_", "model", "endpoint", "name"),
    [
        (Request(), CODEX, None, "responses"),
        (Request(), CLAUDE, None, "chat"),
        (Request(), CLAUDE, "anthropic/messages", "messages"),
        (Request(dialect="messages"), CLAUDE, "chat", "messages"),
        (Request(dialect="/v1/messages"), CLAUDE, None, "messages"),
    ],
)
def test_the_row_decides_before_the_option_before_the_model(request_, model, endpoint, name):
    """The row's own dialect wins, then the endpoint that was asked for, then the model's first."""
    assert choose(request_, model, endpoint) == name


@pytest.mark.parametrize(("request_", "endpoint"), [(Request(dialect="chat"), None), (Request(), "chat")])
def test_an_impossible_pair_is_refused(request_, endpoint):
    """Model, endpoint and what the model answers on are all in the message."""
    with pytest.raises(UsageError, match="gpt-5-3-codex does not answer on chat; it answers on responses"):
        choose(request_, CODEX, endpoint)


def test_every_dialect_of_the_catalogue_is_spoken():
    """The names that the catalogue knows are those of the table, and their paths lead back to them."""
    assert tuple(DIALECTS) == CATALOGUED
    for name, dialect in DIALECTS.items():
        wire = dialect.encode(Request(messages=(Message(role="user", content="Hi"),)), CLAUDE)
        assert by_url(wire.path) == name


TEXTS = st.text(st.characters(categories=None), max_size=20)
URLS_OF_IMAGES = st.builds("{}{}".format, st.sampled_from(["data:", "data:image/png;base64,", "https://", ""]), TEXTS)


@pytest.mark.parametrize("name", DIALECTS)
@given(
    text=TEXTS,
    url=URLS_OF_IMAGES,
    model=st.builds(
        Model,
        id=st.just("m"),
        provider=st.just("p"),
        thinking=st.sampled_from(["none", "effort", "adaptive", "budget", "level"]),
        rejects=st.lists(st.sampled_from(["temperature", "top_p", "temperature+top_p", "stop"])).map(tuple),
    ),
    settings=st.builds(
        Settings,
        max_tokens=st.none() | st.integers(1, 10**6),
        temperature=st.none() | st.floats(0, 2),
        top_p=st.none() | st.floats(0, 1),
        stop=st.lists(TEXTS).map(tuple),
        effort=st.none() | st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]) | TEXTS,
        tool_choice=st.none() | st.sampled_from(["auto", "none", "required"]) | TEXTS,
    ),
)
def test_any_prompt_is_said_or_refused(name, text, url, model, settings):
    """Whatever characters a row holds, it becomes a body or a UsageError, and never anything else."""
    row = Request(messages=(Message(role="user", content=(Text(text), Image(url))),), settings=settings)
    try:
        wire = DIALECTS[name].encode(row, model)
    except UsageError:
        return
    assert wire.body.decode("utf-8").startswith("{")
