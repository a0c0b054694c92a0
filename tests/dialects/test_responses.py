"""OpenAI's Responses dialect, from one list of requests with their bodies and one of answers with their replies."""

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
    Outcome,
    Reply,
    Request,
    Response,
    Settings,
    Text,
    Usage,
)
from runner.gateway.dialects import responses

CODEX = Model(
    id="gpt-5-3-codex", provider="openai", endpoints=("responses",), thinking="effort", rejects=("temperature",)
)
GPT = Model(id="gpt-5-1", provider="openai", endpoints=("chat", "responses"), thinking="effort")

ASK = (Message(role="user", content="Name a river."),)
ASKED = [{"role": "user", "content": "Name a river."}]
SCHEMA = {
    "type": "object",
    "properties": {"river": {"type": "string"}},
    "required": ["river"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "depth", "parameters": SCHEMA}}
CALL = {"id": "c1", "type": "function", "function": {"name": "depth", "arguments": '{"of":"Elbe"}'}}


def body(model: Model = CODEX, **more: Any) -> dict[str, Any]:
    return {"model": model.id, "input": ASKED, "store": False} | more


REQUESTS: dict[str, tuple[Request, Model, dict[str, Any], tuple[str, ...]]] = {
    "plain": (Request(messages=ASK), CODEX, body(), ()),
    "a system prompt": (
        Request(messages=(Message(role="system", content="Be brief."), *ASK)),
        CODEX,
        body(instructions="Be brief."),
        (),
    ),
    "all settings": (
        Request(
            messages=ASK,
            settings=Settings(
                max_tokens=50,
                temperature=0.2,
                top_p=0.9,
                schema=SCHEMA,
                tools=(TOOL, {"type": "web_search"}),
                tool_choice={"type": "function", "function": {"name": "depth"}},
                effort="low",
                extra={"text": {"verbosity": "low"}},
            ),
        ),
        GPT,
        body(
            GPT,
            max_output_tokens=50,
            temperature=0.2,
            top_p=0.9,
            text={
                "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True},
                "verbosity": "low",
            },
            tools=[
                {"type": "function", "name": "depth", "parameters": SCHEMA, "strict": False},
                {"type": "web_search"},
            ],
            tool_choice={"type": "function", "name": "depth"},
            reasoning={"effort": "low"},
        ),
        (),
    ),
    "what is rejected, and what has no word": (
        Request(messages=ASK, settings=Settings(temperature=0.2, stop=("\n",), seed=7, tool_choice="auto")),
        CODEX,
        body(tool_choice="auto"),
        (
            "gpt-5-3-codex does not take temperature: left out",
            "the responses dialect has no stop: left out",
            "the responses dialect has no seed: left out",
        ),
    ),
    "a cap that is too small": (
        Request(messages=ASK, settings=Settings(max_tokens=1)),
        CODEX,
        body(max_output_tokens=16),
        ("gpt-5-3-codex takes no max_tokens below 16 here: raised from 1",),
    ),
    "images": (
        Request(
            messages=(
                Message(
                    role="user",
                    content=(
                        Text("What is it?"),
                        Image("https://example.org/a.png", "high"),
                        Image("data:image/png;base64,AAAA"),
                    ),
                ),
            )
        ),
        GPT,
        body(
            GPT,
            input=[
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is it?"},
                        {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "high"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                    ],
                }
            ],
        ),
        (),
    ),
    "a conversation with a call": (
        Request(
            messages=(
                *ASK,
                Message(role="assistant", content=(Text("Elbe. "), Text("Or Oder."))),
                Message(role="user", content="How deep?"),
                Message(role="assistant", content="", tool_calls=(CALL,)),
                Message(role="tool", content="12 m", tool_call_id="c1"),
            )
        ),
        GPT,
        body(
            GPT,
            input=[
                *ASKED,
                {"role": "assistant", "content": "Elbe. Or Oder."},
                {"role": "user", "content": "How deep?"},
                {"type": "function_call", "call_id": "c1", "name": "depth", "arguments": '{"of":"Elbe"}'},
                {"type": "function_call_output", "call_id": "c1", "output": "12 m"},
            ],
        ),
        (),
    ),
    "a batch line is sent as it is": (
        Request(body={"model": "x", "input": "Hi", "stream": False}, settings=Settings(max_tokens=8, temperature=1)),
        CODEX,
        {"model": "gpt-5-3-codex", "input": "Hi", "max_output_tokens": 16, "temperature": 1},
        ("gpt-5-3-codex takes no max_tokens below 16 here: raised from 8",),
    ),
    "a batch line's own cap stands": (
        Request(body={"input": "Hi", "max_output_tokens": 99}, settings=Settings(max_tokens=8)),
        CODEX,
        {"model": "gpt-5-3-codex", "input": "Hi", "max_output_tokens": 99},
        (),
    ),
    "what a batch line says stands, and the job's settings stand beside it": (
        Request(
            body={
                "input": "Hi",
                "max_output_tokens": 99,
                "text": {"verbosity": "low"},
                "reasoning": {"effort": "high"},
            },
            settings=Settings(schema=SCHEMA, effort="low"),
        ),
        CODEX,
        {
            "model": "gpt-5-3-codex",
            "input": "Hi",
            "max_output_tokens": 99,
            "text": {
                "verbosity": "low",
                "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True},
            },
            "reasoning": {"effort": "high"},
        },
        (),
    ),
}

REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}
COUNTED = Usage(input=11, output=70, reasoning=64)


def message(*content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(content)}


def text(words: str) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": []}


def answer(*output: Any, status: str = "completed", reason: str | None = None, **more: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 70,
        "output_tokens_details": {"reasoning_tokens": 64},
    }
    details = {"reason": reason} if reason else None
    whole = {"status": status, "model": "m-1", "output": list(output), "incomplete_details": details, "error": None}
    return whole | {"usage": usage} | more


def said(words: str, outcome: Outcome = Outcome.OK, finish: str = "completed", usage: Usage = COUNTED, **more: Any):
    return Reply(text=words, outcome=outcome, finish_reason=finish, usage=usage, model="m-1", **more)


ANSWERS: dict[str, tuple[Any, Reply]] = {
    "plain": (answer(REASONING, message(text("Elbe."))), said("Elbe.")),
    "two messages": (answer(message(text("El")), message(text("be."))), said("Elbe.")),
    "only reasoning, cut": (
        answer(REASONING, status="incomplete", reason="max_output_tokens"),
        said("", Outcome.TRUNCATED, "max_output_tokens"),
    ),
    "cut": (
        answer(message(text("El")), status="incomplete", reason="max_output_tokens"),
        said("El", Outcome.TRUNCATED, "max_output_tokens"),
    ),
    "cut without a reason": (
        answer(message(text("El")), status="incomplete"),
        said("El", Outcome.TRUNCATED, "incomplete"),
    ),
    "only reasoning": (answer(REASONING), said("", Outcome.TRUNCATED)),
    "filtered": (
        answer(status="incomplete", reason="content_filter"),
        said("", Outcome.FILTERED, "content_filter"),
    ),
    "refused": (answer(message({"type": "refusal", "refusal": "I cannot."})), said("I cannot.", Outcome.REFUSED)),
    "a call": (
        answer(
            REASONING,
            {"type": "function_call", "call_id": "c1", "id": "fc_1", "name": "depth", "arguments": '{"of":"Elbe"}'},
        ),
        said("", Outcome.TOOL_CALLS, tool_calls=(CALL,)),
    ),
    "no usage": (answer(message(text("x")), usage=None), said("x", usage=Usage(reported=False))),
    "usage that is a list": (answer(message(text("x")), usage=[1]), said("x", usage=Usage(reported=False))),
}

NO_ANSWERS = {
    "nothing": b"",
    "no output": b'{"status":"completed"}',
    "failed without an error": b'{"status":"failed","output":[]}',
    "still running": b'{"status":"in_progress","output":[]}',
    "items that nobody knows": b'{"status":"completed","output":[{"type":"hum"},7]}',
}


def decode(raw: Any) -> Reply | Failure:
    raw = raw if isinstance(raw, bytes) else orjson.dumps(raw)
    return responses.decode(Response(status=200, headers={}, body=raw))


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_said_in_responses(case):
    """Each request of the list gives exactly its body and its notices."""
    request, model, expected, notices = case
    wire = responses.encode(request, model)
    assert orjson.loads(wire.body) == expected
    assert wire.dropped == notices
    assert wire.path == "/ai-gateway/openai/v1/responses"


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
