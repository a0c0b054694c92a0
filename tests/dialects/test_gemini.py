"""Google's generateContent dialect, from a list of requests with their bodies and one of answers with their replies."""

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
from runner.gateway.dialects import gemini

THREE = Model(id="gemini-3-5-flash", provider="google", endpoints=("chat", "gemini"), thinking="level")
TWO = Model(id="gemini-2-5-flash", provider="google", endpoints=("chat", "gemini"), thinking="budget")

ASK = (Message(role="user", content="Name a river."),)
ASKED = [{"role": "user", "parts": [{"text": "Name a river."}]}]
SCHEMA = {"type": "object", "properties": {"river": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "depth", "description": "How deep.", "parameters": SCHEMA}}
CALL = {"id": "c1", "type": "function", "function": {"name": "depth", "arguments": '{"of":"Elbe"}'}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "sig"}}}


def configured(**config: Any) -> dict[str, Any]:
    return {"contents": ASKED, "generationConfig": config}


def asking(**settings: Any) -> Request:
    return Request(messages=ASK, settings=Settings(**settings))


REQUESTS: dict[str, tuple[Request, Model, dict[str, Any], tuple[str, ...]]] = {
    "plain": (Request(messages=ASK), THREE, {"contents": ASKED}, ()),
    "a system prompt and turns": (
        Request(
            messages=(
                Message(role="system", content="Be brief."),
                *ASK,
                Message(role="assistant", content="Elbe."),
                Message(role="user", content="Another."),
            )
        ),
        THREE,
        {
            "contents": [
                *ASKED,
                {"role": "model", "parts": [{"text": "Elbe."}]},
                {"role": "user", "parts": [{"text": "Another."}]},
            ],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
        },
        (),
    ),
    "all settings": (
        asking(
            max_tokens=50,
            temperature=0.2,
            top_p=0.9,
            stop=("\n",),
            seed=7,
            schema=SCHEMA,
            tools=(TOOL, {"googleSearch": {}}),
            tool_choice={"type": "function", "function": {"name": "depth"}},
            effort="xhigh",
            extra={"generationConfig": {"topK": 5}},
        ),
        THREE,
        {
            **configured(
                maxOutputTokens=50,
                temperature=0.2,
                topP=0.9,
                stopSequences=["\n"],
                seed=7,
                responseMimeType="application/json",
                responseJsonSchema=SCHEMA,
                thinkingConfig={"thinkingLevel": "HIGH"},
                topK=5,
            ),
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "depth", "description": "How deep.", "parametersJsonSchema": SCHEMA}
                    ]
                },
                {"googleSearch": {}},
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["depth"]}},
        },
        (),
    ),
    "a choice among tools": (
        asking(tool_choice="none"),
        THREE,
        {"contents": ASKED, "toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
        (),
    ),
    "a level": (asking(effort="minimal"), THREE, configured(thinkingConfig={"thinkingLevel": "LOW"}), ()),
    "a budget": (asking(effort="low"), TWO, configured(thinkingConfig={"thinkingBudget": 2048}), ()),
    "a budget leaves room for the answer": (
        asking(effort="high", max_tokens=400),
        TWO,
        configured(maxOutputTokens=400, thinkingConfig={"thinkingBudget": 300}),
        (),
    ),
    "no thinking": (asking(effort="none"), TWO, configured(thinkingConfig={"thinkingBudget": 0}), ()),
    "an effort nobody knows": (
        asking(effort="heroic"),
        TWO,
        {"contents": ASKED},
        ("gemini-2-5-flash cannot think at reasoning_effort heroic: left out",),
    ),
    "images and parts of its own": (
        Request(
            messages=(
                Message(
                    role="user",
                    content=(
                        Text("What is it?"),
                        Image("data:image/webp;base64,AAAA"),
                        Image("https://example.org/a/B.PNG?size=1"),
                        Image("https://example.org/unnamed"),
                        Other({"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/a.mp4"}}),
                    ),
                ),
            )
        ),
        THREE,
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {"text": "What is it?"},
                        {"inlineData": {"mimeType": "image/webp", "data": "AAAA"}},
                        {"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a/B.PNG?size=1"}},
                        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.org/unnamed"}},
                        {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/a.mp4"}},
                    ],
                }
            ]
        },
        (),
    ),
    "calls and their results, by name": (
        Request(
            messages=(
                *ASK,
                Message(role="assistant", content="", tool_calls=(SIGNED, {**CALL, "id": "c2"})),
                Message(role="tool", content="12 m", tool_call_id="c1"),
                Message(role="tool", content='{"depth":3}', tool_call_id="c2"),
            )
        ),
        THREE,
        {
            "contents": [
                *ASKED,
                {
                    "role": "model",
                    "parts": [
                        {"functionCall": {"name": "depth", "args": {"of": "Elbe"}}, "thoughtSignature": "sig"},
                        {"functionCall": {"name": "depth", "args": {"of": "Elbe"}}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "depth", "response": {"result": "12 m"}}},
                        {"functionResponse": {"name": "depth", "response": {"depth": 3}}},
                    ],
                },
            ]
        },
        (),
    ),
    "a batch line names no model": (
        Request(
            body={"model": "x", "contents": ASKED, "generationConfig": {"topK": 3}}, settings=Settings(max_tokens=90)
        ),
        THREE,
        configured(topK=3, maxOutputTokens=90),
        (),
    ),
    "a batch line in snake case, with options beside it": (
        Request(
            body={
                "contents": ASKED,
                "system_instruction": {"parts": [{"text": "Be brief."}]},
                "generation_config": {"top_k": 3, "max_output_tokens": 90, "thinking_config": {"thinking_budget": 0}},
                "tool_config": {"function_calling_config": {"mode": "NONE"}},
                "safety_settings": [],
            },
            settings=Settings(
                max_tokens=20,
                temperature=0.5,
                effort="low",
                tool_choice="auto",
                extra={"generation_config": {"response_logprobs": True, "top_k": 9}},
            ),
        ),
        THREE,
        {
            "contents": ASKED,
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {
                "topK": 3, "maxOutputTokens": 90, "thinkingConfig": {"thinkingBudget": 0}, "temperature": 0.5,
                "responseLogprobs": True,
            },
            "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
            "safety_settings": [],
        },
        (),
    ),
}  # fmt: skip

COUNTED = Usage(input=9, output=41, reasoning=40)


def answer(*parts: Any, finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 1, "thoughtsTokenCount": 40, "totalTokenCount": 50}
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m-1"} | more


def said(text: str, outcome: Outcome = Outcome.OK, finish: str = "STOP", usage: Usage = COUNTED, **more: Any):
    return Reply(text=text, outcome=outcome, finish_reason=finish, usage=usage, model="m-1", **more)


ELBE = {"text": "Elbe."}
THOUGHT = {"text": "Hm.", "thought": True}

ANSWERS: dict[str, tuple[Any, Reply]] = {
    "plain": (answer(ELBE), said("Elbe.")),
    "thoughts first": (answer(THOUGHT, {"text": "El"}, {"text": "be."}), said("Elbe.")),
    "only thoughts": (answer(THOUGHT), said("", Outcome.TRUNCATED)),
    "cut before a word": (
        {
            "candidates": [{"finishReason": "MAX_TOKENS"}],
            "usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 41},
            "modelVersion": "m-1",
        },
        said("", Outcome.TRUNCATED, "MAX_TOKENS", Usage(input=9, output=41, reasoning=41)),
    ),
    **{
        reason: (answer(finish=reason), said("", Outcome.FILTERED, reason))
        for reason in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "OTHER", "IMAGE_SAFETY")
    },
    "a blocked prompt": (
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}, "modelVersion": "m-1"},
        said("", Outcome.FILTERED, "SAFETY", Usage(input=9)),
    ),
    "a call": (
        answer({"functionCall": {"name": "depth", "args": {"of": "Elbe"}}}),
        said("", Outcome.TOOL_CALLS, tool_calls=({**CALL, "id": "call_0"},)),
    ),
    "a signed call": (
        answer({"functionCall": {"id": "c1", "name": "depth", "args": {"of": "Elbe"}}, "thoughtSignature": "sig"}),
        said("", Outcome.TOOL_CALLS, tool_calls=(SIGNED,)),
    ),
    "counts of zero are left out": (
        answer(ELBE, usageMetadata={"promptTokenCount": 9, "cachedContentTokenCount": 5}),
        said("Elbe.", usage=Usage(input=9, cached_input=5)),
    ),
    "no usage": (answer(ELBE, usageMetadata=None), said("Elbe.", usage=Usage(reported=False))),
    "a count that is text": (
        answer(ELBE, usageMetadata={"promptTokenCount": 9, "thoughtsTokenCount": "40"}),
        said("Elbe.", usage=Usage(reported=False)),
    ),
}

NO_ANSWERS = {
    "nothing": b"",
    "a list": b"[]",
    "no candidates": b'{"candidates":[],"usageMetadata":{}}',
    "a candidate that is none": b'{"candidates":[7]}',
    "a call nobody can read": b'{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}',
    "a call of nothing": b'{"candidates":[{"content":{"parts":[{"functionCall":{}}]},"finishReason":"STOP"}]}',
    "parts that nobody knows": b'{"candidates":[{"content":{"parts":[{"hum":1},7]},"finishReason":"STOP"}]}',
}


def decode(raw: Any) -> Reply | Failure:
    raw = raw if isinstance(raw, bytes) else orjson.dumps(raw)
    return gemini.decode(Response(status=200, headers={}, body=raw))


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_said_in_generate_content(case):
    """Each request of the list gives exactly its body and its notices, with the model in the path."""
    request, model, expected, notices = case
    wire = gemini.encode(request, model)
    assert orjson.loads(wire.body) == expected
    assert wire.dropped == notices
    assert wire.path == f"/ai-gateway/gemini/v1beta/models/{model.id}:generateContent"


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


def test_a_tool_result_can_only_be_text():
    """An image in a tool's result has no form here, so it is refused before it is sent."""
    result = Message(role="tool", content=(Image("https://example.org/a.png"),), tool_call_id="c1")
    with pytest.raises(UsageError, match="tool's result"):
        gemini.encode(Request(messages=(*ASK, result)), THREE)


def test_a_model_cannot_leave_its_place_in_the_path():
    """A model's id from a user's own catalogue is quoted."""
    wire = gemini.encode(Request(messages=ASK), Model(id="a/../b?c", provider="google"))
    assert wire.path == "/ai-gateway/gemini/v1beta/models/a%2F..%2Fb%3Fc:generateContent"


def test_a_cap_that_is_no_number_bounds_no_thinking():
    """A batch line's own cap is the gateway's to refuse; the effort beside it does not break the look."""
    body = {"contents": [], "generationConfig": {"maxOutputTokens": "x"}}
    wire = gemini.encode(Request(body=body, settings=Settings(effort="low")), TWO)
    assert orjson.loads(wire.body)["generationConfig"]["maxOutputTokens"] == "x"
