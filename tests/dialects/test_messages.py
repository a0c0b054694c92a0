"""Anthropic's Messages dialect, from one list of requests with their bodies and one of answers with their replies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runner.core.catalog import Model
from runner.core.errors import UsageError
from runner.core.values import (
    Failure,
    Image,
    Kind,
    Message,
    Other,
    Outcome,
    Reply,
    Request,
    Response,
    Settings,
    Text,
    Usage,
)
from runner.gateway.dialects import messages

SONNET = Model(id="claude-sonnet-4-5", provider="anthropic", thinking="budget", rejects=("seed", "temperature+top_p"))
OPUS = Model(
    id="claude-opus-4-7",
    provider="anthropic",
    thinking="adaptive",
    rejects=("seed", "temperature", "top_p"),
    max_output_tokens=128_000,
)
EASY = Model(id="claude-opus-4-6", provider="anthropic", thinking="adaptive")

ASK = (Message(role="user", content="Name a river."),)
ASKED = [{"role": "user", "content": "Name a river."}]
SCHEMA = {
    "type": "object",
    "properties": {"river": {"type": "string"}},
    "required": ["river"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "depth", "description": "How deep.", "parameters": SCHEMA}}
CALL = {"id": "c1", "type": "function", "function": {"name": "depth", "arguments": '{"of":"Elbe"}'}}
FORCE = {"type": "function", "function": {"name": "depth"}}


def asking(**settings: Any) -> Request:
    return Request(messages=ASK, settings=Settings(**{"max_tokens": 4000} | settings))


def body(model: Model, **more: Any) -> dict[str, Any]:
    return {"model": model.id, "messages": ASKED, "max_tokens": 4000} | more


REQUESTS: dict[str, tuple[Request, Model, dict[str, Any], tuple[str, ...]]] = {
    "a cap is required": (Request(messages=ASK), SONNET, body(SONNET, max_tokens=4096), ()),
    "a cap the model states": (Request(messages=ASK), OPUS, body(OPUS, max_tokens=128_000), ()),
    "the system prompt stands beside the turns": (
        Request(
            messages=(Message(role="system", content="Be brief."), *ASK, Message(role="system", content="Be polite.")),
            settings=Settings(max_tokens=4000),
        ),
        SONNET,
        body(SONNET, system="Be brief.\n\nBe polite."),
        (),
    ),
    "a system prompt with a cache mark": (
        Request(
            messages=(
                Message(
                    role="system",
                    content=(Text("A."), Other({"type": "text", "text": "B.", "cache_control": {"type": "ephemeral"}})),
                ),
                *ASK,
            ),
            settings=Settings(max_tokens=4000),
        ),
        SONNET,
        body(
            SONNET,
            system=[
                {"type": "text", "text": "A."},
                {"type": "text", "text": "B.", "cache_control": {"type": "ephemeral"}},
            ],
        ),
        (),
    ),
    "all settings": (
        asking(temperature=0.2, stop=("\n",), schema=SCHEMA, tools=(TOOL,), tool_choice=FORCE, extra={"top_k": 5}),
        SONNET,
        body(
            SONNET,
            temperature=0.2,
            stop_sequences=["\n"],
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
            tools=[{"name": "depth", "description": "How deep.", "input_schema": SCHEMA}],
            tool_choice={"type": "tool", "name": "depth"},
            top_k=5,
        ),
        (),
    ),
    "a tool of its own": (
        asking(tools=({"type": "web_search_20250305", "name": "web_search"},), tool_choice="required"),
        SONNET,
        body(SONNET, tools=[{"type": "web_search_20250305", "name": "web_search"}], tool_choice={"type": "any"}),
        (),
    ),
    "what is rejected, and what has no word": (
        asking(temperature=0.2, top_p=0.9, seed=7),
        OPUS,
        body(OPUS),
        (
            "claude-opus-4-7 does not take temperature: left out",
            "claude-opus-4-7 does not take top_p: left out",
            "the messages dialect has no seed: left out",
        ),
    ),
    "adaptive thinking, beside a schema": (
        asking(effort="max", schema=SCHEMA),
        OPUS,
        body(
            OPUS,
            thinking={"type": "adaptive"},
            output_config={"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
        ),
        (),
    ),
    "adaptive thinking at the least": (
        asking(effort="minimal"),
        OPUS,
        body(OPUS, thinking={"type": "adaptive"}, output_config={"effort": "low"}),
        (),
    ),
    "no thinking": (asking(effort="none"), OPUS, body(OPUS), ()),
    "an effort nobody knows": (
        asking(effort="heroic"),
        OPUS,
        body(OPUS),
        ("claude-opus-4-7 cannot think at reasoning_effort heroic within 4000 tokens: left out",),
    ),
    "a budget": (
        asking(effort="low"),
        SONNET,
        body(SONNET, thinking={"type": "enabled", "budget_tokens": 2048}),
        (),
    ),
    "a budget leaves room for the answer": (
        asking(effort="high"),
        SONNET,
        body(SONNET, thinking={"type": "enabled", "budget_tokens": 3000}),
        (),
    ),
    "a budget that does not fit": (
        asking(effort="high", max_tokens=1200),
        SONNET,
        body(SONNET, max_tokens=1200),
        ("claude-sonnet-4-5 cannot think at reasoning_effort high within 1200 tokens: left out",),
    ),
    "thinking forbids a temperature": (
        asking(effort="low", temperature=0.0),
        EASY,
        body(EASY, thinking={"type": "adaptive"}, output_config={"effort": "low"}),
        ("claude-opus-4-6 does not take temperature while it thinks: left out",),
    ),
    "thinking forbids a small top_p": (
        asking(effort="low", top_p=0.5),
        EASY,
        body(EASY, thinking={"type": "adaptive"}, output_config={"effort": "low"}),
        ("claude-opus-4-6 takes no top_p below 0.95 while it thinks: left out",),
    ),
    "a forced tool forbids thinking": (
        asking(effort="low", tools=(TOOL,), tool_choice="required"),
        SONNET,
        body(
            SONNET,
            tools=[{"name": "depth", "description": "How deep.", "input_schema": SCHEMA}],
            tool_choice={"type": "any"},
        ),
        ("claude-sonnet-4-5 does not think where a tool is forced: reasoning_effort left out",),
    ),
    "images": (
        Request(
            messages=(
                Message(
                    role="user",
                    content=(
                        Image("data:image/png;base64,AAAA"),
                        Image("data:image/svg+xml,%3Csvg%2F%3E"),
                        Image("https://example.org/a.png"),
                        Text("What is it?"),
                    ),
                ),
            ),
            settings=Settings(max_tokens=4000),
        ),
        SONNET,
        body(
            SONNET,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/svg+xml", "data": "PHN2Zy8+"},
                        },
                        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                        {"type": "text", "text": "What is it?"},
                    ],
                }
            ],
        ),
        (),
    ),
    "results of two calls are one turn": (
        Request(
            messages=(
                *ASK,
                Message(role="assistant", content="Let me see.", tool_calls=(CALL, {**CALL, "id": "c2"})),
                Message(role="tool", content="12 m", tool_call_id="c1"),
                Message(role="tool", content="", tool_call_id="c2"),
                Message(role="user", content="And?"),
            ),
            settings=Settings(max_tokens=4000),
        ),
        SONNET,
        body(
            SONNET,
            messages=[
                *ASKED,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Let me see."},
                        {"type": "tool_use", "id": "c1", "name": "depth", "input": {"of": "Elbe"}},
                        {"type": "tool_use", "id": "c2", "name": "depth", "input": {"of": "Elbe"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": "12 m"},
                        {"type": "tool_result", "tool_use_id": "c2", "content": ""},
                        {"type": "text", "text": "And?"},
                    ],
                },
            ],
        ),
        (),
    ),
    "a batch line is sent as it is": (
        Request(body={"model": "x", "messages": ASKED, "temperature": 0.1}, settings=Settings(effort="low")),
        OPUS,
        body(OPUS, temperature=0.1, max_tokens=128_000),
        (
            "claude-opus-4-7 does not take temperature, and is sent it, as the line says",
            "claude-opus-4-7 may not think beside a line's own temperature: reasoning_effort left out",
        ),
    ),
    "what a batch line leaves open the job's settings say": (
        Request(body={"messages": ASKED, "top_k": 3}, settings=Settings(effort="low", stop=("x",), max_tokens=90)),
        OPUS,
        body(
            OPUS,
            top_k=3,
            max_tokens=90,
            stop_sequences=["x"],
            thinking={"type": "adaptive"},
            output_config={"effort": "low"},
        ),
        (),
    ),
}

COUNTED = Usage(input=18, output=5)


def answer(content: Any, stop: Any = "end_turn", **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 18, "output_tokens": 5}
    return {"type": "message", "model": "m-1", "content": content, "stop_reason": stop, "usage": usage} | more


def said(text: str, outcome: Outcome = Outcome.OK, finish: str = "end_turn", usage: Usage = COUNTED, **more: Any):
    return Reply(text=text, outcome=outcome, finish_reason=finish, usage=usage, model="m-1", **more)


THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
ELBE = {"type": "text", "text": "Elbe."}
USE = {"type": "tool_use", "id": "c1", "name": "depth", "input": {"of": "Elbe"}}

ANSWERS: dict[str, tuple[Any, Reply]] = {
    "plain": (answer([ELBE]), said("Elbe.")),
    "text in pieces": (answer([{"type": "text", "text": "El"}, {"type": "text", "text": "be."}]), said("Elbe.")),
    "thinking first": (answer([THOUGHT, {"type": "redacted_thinking", "data": "x"}, ELBE]), said("Elbe.")),
    "only thinking": (answer([THOUGHT], "max_tokens"), said("", Outcome.TRUNCATED, "max_tokens")),
    "only thinking, by its own word done": (answer([THOUGHT]), said("", Outcome.TRUNCATED)),
    "nothing to say": (answer([]), said("")),
    "a stop sequence": (answer([ELBE], "stop_sequence"), said("Elbe.", finish="stop_sequence")),
    "out of context": (
        answer([ELBE], "model_context_window_exceeded"),
        said("Elbe.", Outcome.TRUNCATED, "model_context_window_exceeded"),
    ),
    "refused": (
        answer([{"type": "text", "text": "I cannot."}], "refusal", stop_details={"type": "refusal"}),
        said("I cannot.", Outcome.REFUSED, "refusal"),
    ),
    "refused without a word": (
        answer([], "refusal", stop_details={"type": "refusal", "explanation": "Biology."}),
        said("Biology.", Outcome.REFUSED, "refusal"),
    ),
    "a tool call": (answer([USE], "tool_use"), said("", Outcome.TOOL_CALLS, "tool_use", tool_calls=(CALL,))),
    "a tool call, cut": (
        answer([ELBE, USE], "max_tokens"),
        said("Elbe.", Outcome.TRUNCATED, "max_tokens", tool_calls=(CALL,)),
    ),
    "caches count as input": (
        answer(
            [ELBE],
            usage={
                "input_tokens": 10,
                "cache_creation_input_tokens": 20,
                "cache_read_input_tokens": 30,
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 4},
            },
        ),
        said("Elbe.", usage=Usage(input=60, output=9, reasoning=4, cached_input=30, cache_write=20)),
    ),
    "a bad cache count spoils the sum": (
        answer([ELBE], usage={"input_tokens": 10, "cache_read_input_tokens": -3, "output_tokens": 9}),
        said("Elbe.", usage=Usage(reported=False)),
    ),
    "no usage": (answer([ELBE], usage=None), said("Elbe.", usage=Usage(reported=False))),
}

NO_ANSWERS = {
    "nothing": b"",
    "no content": b'{"stop_reason":"end_turn"}',
    "a content that is text": b'{"content":"Elbe.","stop_reason":"end_turn"}',
    "blocks that nobody knows": b'{"content":[{"type":"hum"}],"stop_reason":"end_turn"}',
    "a text that is none": b'{"content":[{"type":"text","text":7}],"stop_reason":"end_turn"}',
    "arguments too deep to write": b'{"content":[{"type":"tool_use","id":"c","name":"f","input":'
    + b'{"a":' * 1000
    + b"1"
    + b"}" * 1000
    + b"}]}",
}


def decode(raw: Any) -> Reply | Failure:
    raw = raw if isinstance(raw, bytes) else orjson.dumps(raw)
    return messages.decode(Response(status=200, headers={}, body=raw))


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_said_in_messages(case):
    """Each request of the list gives exactly its body and its notices."""
    request, model, expected, notices = case
    wire = messages.encode(request, model)
    assert orjson.loads(wire.body) == expected
    assert wire.dropped == notices
    assert wire.path == "/ai-gateway/anthropic/v1/messages"
    assert wire.headers == {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize("case", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_understood(case):
    """Each answer of the list gives exactly its reply."""
    raw, reply = case
    assert decode(raw) == reply


@pytest.mark.parametrize("raw", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_is_no_answer_may_have_been_paid_for(raw):
    """A 200 that is no answer is an ambiguous failure."""
    failure = decode(raw)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.ambiguous) == (Kind.INVALID_RESPONSE, True)


@pytest.mark.parametrize(
    "message",
    [
        Message(role="system", content=(Text("Look:"), Image("https://example.org/a.png"))),
        Message(role="user", content=(Image("data:image/png;base64"),)),
        Message(role="user", content=(Image("data:image/png;base64,?"),)),
        Message(role="assistant", content="", tool_calls=({"id": "c1"},)),
        Message(role="assistant", content="", tool_calls=({"function": {"name": "f", "arguments": "[1]"}},)),
    ],
)
def test_what_cannot_be_said_is_refused_before_it_is_sent(message):
    """A conversation that the dialect has no form for raises instead of becoming a 400."""
    with pytest.raises(UsageError):
        messages.encode(Request(messages=(message,)), SONNET)


@pytest.mark.parametrize("cap", [1, 1024, 1365, 1366, 5000, 200_000])
@pytest.mark.parametrize("effort", messages.BUDGETS)
def test_a_thinking_budget_is_one_that_the_api_takes(cap, effort):
    """Whatever effort and cap are asked for, a budget that is sent is at least 1,024 and below the cap."""
    wire = messages.encode(asking(effort=effort, max_tokens=cap), SONNET)
    thinking = orjson.loads(wire.body).get("thinking")
    assert (thinking is None) == (cap < 1366) == bool(wire.dropped)
    assert thinking is None or 1024 <= thinking["budget_tokens"] < cap


@pytest.mark.parametrize(
    ("own", "against"),
    [
        ({"tool_choice": {"type": "auto"}}, None),
        ({"temperature": None, "top_p": None}, None),
        ({"temperature": 1, "top_p": 0.95}, None),
        ({"temperature": 0}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_p": "x"}, "top_p"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ],
)
def test_an_effort_is_left_out_only_for_what_a_line_says_against_it(own, against):
    """It says what that is."""
    request = Request(body={"messages": ASKED, **own}, settings=Settings(effort="low", max_tokens=9000))
    wire = messages.encode(request, EASY)
    notice = f"claude-opus-4-6 may not think beside a line's own {against}: reasoning_effort left out"
    assert wire.dropped == (() if against is None else (notice,))
    assert ("thinking" in orjson.loads(wire.body)) == (against is None)
