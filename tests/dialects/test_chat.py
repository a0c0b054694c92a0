"""The chat completions dialect, from one list of requests with their bodies and one of answers with their replies."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runner.core.catalog import Model
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
from runner.gateway.dialects import chat

GPT = Model(id="gpt-5-1", provider="OpenAI", endpoints=("chat", "responses"), thinking="effort")
MINI = Model(id="gpt-5-mini", provider="OpenAI", thinking="effort", rejects=("temperature", "top_p"))
CLAUDE = Model(
    id="claude-sonnet-4-6",
    provider="Anthropic",
    thinking="adaptive",
    rejects=("seed", "reasoning_effort", "frequency_penalty", "temperature+top_p"),
)
LLAMA = Model(id="databricks-meta-llama-3-3-70b-instruct", provider="Meta", rejects=("seed",))
GEMINI = Model(id="gemini-3-5-flash", provider="Google", thinking="level", rejects=("reasoning_effort",))

ASK = (Message(role="user", content="Name a river."),)
ASKED = [{"role": "user", "content": "Name a river."}]
SCHEMA = {
    "type": "object",
    "properties": {"river": {"type": "string"}},
    "required": ["river"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "depth", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "depth", "arguments": '{"of":"Elbe"}'}}

REQUESTS: dict[str, tuple[Request, Model, dict[str, Any], tuple[str, ...]]] = {
    "plain": (Request(messages=ASK), GPT, {"model": "gpt-5-1", "messages": ASKED}, ()),
    "system turns become one, at the front": (
        Request(
            messages=(
                Message(role="system", content="Be brief."),
                *ASK,
                Message(role="assistant", content="Elbe."),
                Message(role="system", content="Be polite."),
                Message(role="user", content="Another."),
            )
        ),
        LLAMA,
        {
            "model": "databricks-meta-llama-3-3-70b-instruct",
            "messages": [
                {
                    "role": "system",
                    "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be polite."}],
                },
                *ASKED,
                {"role": "assistant", "content": "Elbe."},
                {"role": "user", "content": "Another."},
            ],
        },
        (),
    ),
    "all settings": (
        Request(
            messages=ASK,
            settings=Settings(
                max_tokens=50,
                temperature=0.2,
                top_p=0.9,
                stop=("\n",),
                seed=7,
                schema=SCHEMA,
                tools=(TOOL,),
                tool_choice="required",
                effort="low",
                extra={"frequency_penalty": 0.5},
            ),
        ),
        GPT,
        {
            "model": "gpt-5-1",
            "messages": ASKED,
            "max_tokens": 50,
            "temperature": 0.2,
            "top_p": 0.9,
            "stop": ["\n"],
            "seed": 7,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
            },
            "tools": [TOOL],
            "tool_choice": "required",
            "reasoning_effort": "low",
            "frequency_penalty": 0.5,
        },
        (),
    ),
    "what the model rejects is left out": (
        Request(
            messages=ASK,
            settings=Settings(temperature=0.2, top_p=0.9, seed=7, effort="high", extra={"frequency_penalty": 1}),
        ),
        CLAUDE,
        {"model": "claude-sonnet-4-6", "messages": ASKED, "temperature": 0.2},
        (
            "claude-sonnet-4-6 does not take temperature and top_p together: top_p left out",
            "claude-sonnet-4-6 does not take seed: left out",
            "the chat dialect cannot ask claude-sonnet-4-6 for reasoning_effort: left out",
            "claude-sonnet-4-6 does not take frequency_penalty: left out",
        ),
    ),
    "a rejected temperature": (
        Request(messages=ASK, settings=Settings(temperature=0.0)),
        MINI,
        {"model": "gpt-5-mini", "messages": ASKED},
        ("gpt-5-mini does not take temperature: left out",),
    ),
    "a temperature of exactly 1 is taken by all": (
        Request(messages=ASK, settings=Settings(temperature=1.0)),
        MINI,
        {"model": "gpt-5-mini", "messages": ASKED, "temperature": 1.0},
        (),
    ),
    "effort of a model that has none": (
        Request(messages=ASK, settings=Settings(effort="low")),
        LLAMA,
        {"model": LLAMA.id, "messages": ASKED},
        ("meta-llama-3-3-70b-instruct does not take reasoning_effort: left out",),
    ),
    "effort of Gemini": (
        Request(messages=ASK, settings=Settings(effort="low")),
        GEMINI,
        {"model": "gemini-3-5-flash", "messages": ASKED},
        ("the chat dialect cannot ask gemini-3-5-flash for reasoning_effort: left out",),
    ),
    "no effort of a model that has none": (
        Request(messages=ASK, settings=Settings(effort="none")),
        LLAMA,
        {"model": LLAMA.id, "messages": ASKED},
        (),
    ),
    "images and blocks of its own": (
        Request(
            messages=(
                Message(
                    role="user",
                    content=(
                        Text("What is it?"),
                        Image("https://example.org/a.png", "low"),
                        Image("data:image/png;base64,AAAA"),
                        Other({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}),
                    ),
                ),
            )
        ),
        GEMINI,
        {
            "model": "gemini-3-5-flash",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    ],
                }
            ],
        },
        (),
    ),
    "tool calls and their results": (
        Request(
            messages=(
                *ASK,
                Message(role="assistant", content="", tool_calls=(CALL,)),
                Message(role="tool", content="12 m", tool_call_id="c1"),
            )
        ),
        GPT,
        {
            "model": "gpt-5-1",
            "messages": [
                *ASKED,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "12 m", "tool_call_id": "c1"},
            ],
        },
        (),
    ),
    "a lone surrogate in a prompt": (
        Request(messages=(Message(role="user", content="a\ud800b"),)),
        GPT,
        {"model": "gpt-5-1", "messages": [{"role": "user", "content": "a\ufffdb"}]},
        (),
    ),
    "a batch line is sent as it is": (
        Request(
            body={"model": "gpt-4o", "messages": ASKED, "seed": 1, "temperature": 0, "stream": True},
            settings=Settings(max_tokens=90, temperature=0.5),
        ),
        CLAUDE,
        {"model": "claude-sonnet-4-6", "messages": ASKED, "seed": 1, "temperature": 0, "max_tokens": 90},
        (
            "stream is left out: answers are read whole",
            "claude-sonnet-4-6 does not take seed, and is sent it, as the line says",
        ),
    ),
    "what a batch line leaves open the job's settings say": (
        Request(
            body={"messages": ASKED, "temperature": 0},
            settings=Settings(temperature=0.5, stop=("x",), schema=SCHEMA, tools=(TOOL,), effort="low", seed=3),
        ),
        GPT,
        {
            "model": "gpt-5-1",
            "messages": ASKED,
            "temperature": 0,
            "stop": ["x"],
            "seed": 3,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
            },
            "tools": [TOOL],
            "reasoning_effort": "low",
        },
        (),
    ),
    "what a batch line says itself is not mixed with the job's": (
        Request(
            body={"messages": ASKED, "response_format": {"type": "json_object"}, "reasoning_effort": "high"},
            settings=Settings(schema=SCHEMA, effort="low"),
        ),
        GPT,
        {
            "model": "gpt-5-1",
            "messages": ASKED,
            "response_format": {"type": "json_object"},
            "reasoning_effort": "high",
        },
        (),
    ),
    "what no table has a column for is said": (
        Request(body={"messages": ASKED, "logprobs": True}),
        GPT,
        {"model": "gpt-5-1", "messages": ASKED, "logprobs": True},
        ("logprobs are not kept: no table has a column for them",),
    ),
    "a batch line's own cap stands": (
        Request(body={"messages": ASKED, "max_completion_tokens": 5}, settings=Settings(max_tokens=90)),
        GPT,
        {"model": "gpt-5-1", "messages": ASKED, "max_completion_tokens": 5},
        (),
    ),
}

USAGE = {"prompt_tokens": 21, "completion_tokens": 4, "total_tokens": 25}
COUNTED = Usage(input=21, output=4)
UNREPORTED = Usage(reported=False)


def answer(message: Any, finish: Any = "stop", usage: Any = USAGE) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}


def said(text: str, outcome: Outcome = Outcome.OK, finish: str = "stop", usage: Usage = COUNTED, **more: Any) -> Reply:
    return Reply(text=text, outcome=outcome, finish_reason=finish, usage=usage, model="m-1", **more)


THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}

ANSWERS: dict[str, tuple[Any, Reply]] = {
    "plain": (answer({"content": "Elbe."}), said("Elbe.")),
    "empty": (answer({"content": ""}), said("")),
    "blocks": (answer({"content": [THOUGHT, {"type": "text", "text": "Elbe."}]}), said("Elbe.")),
    "only reasoning, cut": (answer({"content": [THOUGHT]}, "length"), said("", Outcome.TRUNCATED, "length")),
    "only reasoning, by its own word done": (answer({"content": [THOUGHT]}), said("", Outcome.TRUNCATED)),
    "only reasoning, by what it counts": (
        answer({"content": ""}, usage={**USAGE, "completion_tokens_details": {"reasoning_tokens": 4}}),
        said("", Outcome.TRUNCATED, usage=Usage(input=21, output=4, reasoning=4)),
    ),
    "reasoning beside the content": (
        answer({"content": None, "reasoning_content": "Hm."}),
        said("", Outcome.TRUNCATED),
    ),
    "cut": (answer({"content": "El"}, "length"), said("El", Outcome.TRUNCATED, "length")),
    "a provider's own word for cut": (
        answer({"content": "El"}, "max_tokens"),
        said("El", Outcome.TRUNCATED, "max_tokens"),
    ),
    "a word nobody knows": (answer({"content": "Elbe."}, "eos"), said("Elbe.", finish="eos")),
    "no word": (answer({"content": "Elbe."}, None), said("Elbe.", finish="")),
    "refused": (answer({"content": None, "refusal": "I cannot."}), said("I cannot.", Outcome.REFUSED)),
    "refused in a block": (
        answer({"content": [{"type": "refusal", "refusal": "I cannot."}]}),
        said("I cannot.", Outcome.REFUSED),
    ),
    "filtered": (
        answer({"content": None}, "content_filter"),
        said("", Outcome.FILTERED, "content_filter"),
    ),
    "tool calls": (
        answer({"content": None, "tool_calls": [CALL]}, "tool_calls"),
        said("", Outcome.TOOL_CALLS, "tool_calls", tool_calls=(CALL,)),
    ),
    "tool calls with arguments that are no text": (
        answer({"content": "", "tool_calls": [{"function": {"name": "depth", "arguments": {"of": "Elbe"}}}]}),
        said("", Outcome.TOOL_CALLS, tool_calls=({**CALL, "id": "call_0"},)),
    ),
    "a call in the old form": (
        answer({"content": None, "function_call": {"name": "depth", "arguments": "{}"}}, "function_call"),
        said(
            "",
            Outcome.TOOL_CALLS,
            "function_call",
            tool_calls=({"id": "call_0", "type": "function", "function": {"name": "depth", "arguments": "{}"}},),
        ),
    ),
    "usage in detail": (
        answer(
            {"content": "x"},
            usage={
                "prompt_tokens": 30,
                "completion_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 8},
            },
        ),
        said("x", usage=Usage(input=30, output=9, reasoning=8, cached_input=10)),
    ),
    "details that are larger than their total": (
        answer({"content": "x"}, usage={**USAGE, "completion_tokens_details": {"reasoning_tokens": 99}}),
        said("x", usage=Usage(input=21, output=4, reasoning=4)),
    ),
    "no usage": (answer({"content": "x"}, usage=None), said("x", usage=UNREPORTED)),
    **{
        f"usage of {bad!r}": (
            answer({"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": bad}),
            said("x", usage=UNREPORTED),
        )
        for bad in (-1, "4", True, 1e300, 2.5, None, [4])
    },
}

NO_ANSWERS = {
    "calls announced after reasoning, none made": b'{"choices":[{"message":{},"finish_reason":"tool_calls"}],'
    b'"usage":{"prompt_tokens":2,"completion_tokens":4,"completion_tokens_details":{"reasoning_tokens":4}}}',
    "an empty body": b"",
    "null": b"null",
    "half of an answer": b'{"choices":[{"message":{"content":"El',
    "no choices": b'{"choices":[]}',
    "choices that are no list": b'{"choices":7}',
    "a choice without a message": b'{"choices":[{"finish_reason":"stop"}]}',
    "a content that is a number": b'{"choices":[{"message":{"content":7},"finish_reason":"stop"}]}',
    "blocks that nobody knows": b'{"choices":[{"message":{"content":[{"type":"hum"}]},"finish_reason":"stop"}]}',
    "calls announced, none made": b'{"choices":[{"message":{"content":null},"finish_reason":"tool_calls"}]}',
    "a call of nothing": b'{"choices":[{"message":{"tool_calls":[{"id":"c1"}]},"finish_reason":"tool_calls"}]}',
    "a nesting bomb": b"[" * 500_000,
    "a nesting bomb in an answer": b'{"choices":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
}


def decode(body: Any) -> Reply | Failure:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return chat.decode(Response(status=200, headers={}, body=raw))


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_said_in_chat_completions(case):
    """Each request of the list gives exactly its body and its notices."""
    request, model, body, notices = case
    wire = chat.encode(request, model)
    assert orjson.loads(wire.body) == body
    assert wire.dropped == notices
    assert wire.path == "/ai-gateway/mlflow/v1/chat/completions"


@pytest.mark.parametrize("case", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_understood(case):
    """Each answer of the list gives exactly its reply."""
    body, reply = case
    assert decode(body) == reply


@pytest.mark.fault("H24")
@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_what_is_no_answer_may_have_been_paid_for(body):
    """A 200 that is no answer is an ambiguous failure with a message that quotes it."""
    failure = decode(body)
    assert isinstance(failure, Failure)
    assert failure.kind is Kind.INVALID_RESPONSE
    assert failure.ambiguous
    assert failure.message


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb'"a\ud83dz"', "a\ufffdz"),
        (rb'"\udc00\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud800"', r"\ud800"),
        (b'"a\xffb"', "a\ufffdb"),
    ],
)
def test_a_broken_character_costs_only_itself(raw, text):
    """Half a surrogate pair or a byte that is not UTF-8 becomes U+FFFD; all else of the answer is kept."""
    body = b'{"model":"m-1","choices":[{"message":{"content":%s},"finish_reason":"stop"}]}' % raw
    assert decode(body) == said(text, usage=UNREPORTED)


def test_a_request_is_not_changed_by_being_said():
    """A batch line's body serves every attempt, so encoding may not write into it."""
    body = {"messages": ASKED, "stream": True}
    chat.encode(Request(body=body, settings=Settings(max_tokens=5)), GPT)
    assert body == {"messages": ASKED, "stream": True}
