"""Chat completions: `choices`, with the answer as a string or, for some models, as a list of blocks."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from runner.simulator.asked import (
    Asked,
    Json,
    MalformedError,
    Said,
    Tool,
    conversation,
    given,
    images,
    listed,
    strict,
    table,
    texts,
    whole,
    word,
)

PARAMETERS = {
    name: name
    for name in (
        "temperature",
        "top_p",
        "stop",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "reasoning_effort",
        "service_tier",
    )
}

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

ENDED = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "filtered": "content_filter",
    "refused": "stop",
}


def parse(body: Mapping[str, Json]) -> Asked:
    """Read a chat completions request."""
    messages = conversation(body, ROLES)
    if any(m["role"] == "system" for m in messages[1:]):
        raise MalformedError("messages: the role system is taken once, and first")
    system = [m for m in messages if m["role"] in ("system", "developer")]
    others = [m for m in messages if m["role"] not in ("system", "developer")]
    wanted = table(body.get("response_format"))
    return Asked(
        model=str(body.get("model") or ""),
        system="\n".join(text for m in system for text in texts(m.get("content"))),
        turns=tuple("\n".join(texts(m.get("content"))) for m in others),
        images=sum(images(m.get("content")) for m in others),
        max_tokens=whole(body, "max_completion_tokens", "max_tokens"),
        schema=table(table(wanted.get("json_schema")).get("schema")) or None,
        strict=strict(table(wanted.get("json_schema"))),
        json_mode=wanted.get("type") == "json_object",
        tools=tuple(tool(t) for t in listed(body, "tools")),
        must_call=must_call(body.get("tool_choice")),
        effort=word(body.get("reasoning_effort")),
        parameters=given(body, PARAMETERS),
        stream=bool(body.get("stream")),
        stream_usage=bool(table(body.get("stream_options")).get("include_usage")),
    )


def tool(declared: Json) -> Tool:
    """A tool as chat completions declare it, or flat, as responses do."""
    function = table(table(declared).get("function") or declared)
    return Tool(name=str(function.get("name", "")), parameters=table(function.get("parameters")))


def must_call(choice: Json) -> str | None:
    """The tool that this choice insists on: a name, or an empty string for any."""
    if choice == "required":
        return ""
    if isinstance(choice, dict):
        return str(table(choice.get("function") or choice).get("name", ""))
    return None


def render(said: Said) -> Json:
    """Write a chat completion."""
    message: dict[str, Json] = {"role": "assistant", "content": _content(said)}
    if said.ended == "refused":
        message |= {"content": None, "refusal": said.text}
    if said.tool is not None:
        message |= {"content": None, "tool_calls": [_call(said)]}
    choice = {"index": 0, "message": message, "finish_reason": ENDED[said.ended]}
    return {**_envelope(said, "chat.completion"), "choices": [choice], "usage": _usage(said)}


def _envelope(said: Said, kind: str) -> dict[str, Json]:
    return {"id": f"chatcmpl-{said.id}", "object": kind, "created": said.created, "model": said.model}


def _content(said: Said) -> Json:
    if not said.blocks:
        return said.text
    blocks: list[Json] = []
    if said.reasoning_tokens:
        summary = {"type": "summary_text", "text": "The local simulator pretends to think."}
        blocks.append({"type": "reasoning", "summary": [summary]})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    return blocks


def _call(said: Said) -> dict[str, Json]:
    return {
        "id": f"call_{said.id}",
        "type": "function",
        "function": {"name": said.tool, "arguments": said.arguments},
    }


def _usage(said: Said) -> dict[str, Json]:
    return {
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
        "completion_tokens_details": {"reasoning_tokens": said.reasoning_tokens},
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def stream(asked: Asked, said: Said) -> bytes:
    """Write chunks: the role, the answer, the reason for its end; usage only if it was asked for."""
    delta: dict[str, Json] = {"content": said.text}
    if said.tool is not None:
        delta = {"tool_calls": [{"index": 0, **_call(said)}]}
    deltas: list[tuple[dict[str, Json], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        (delta, None),
        ({}, ENDED[said.ended]),
    ]
    head = _envelope(said, "chat.completion.chunk")
    chunks = [head | {"choices": [{"index": 0, "delta": d, "finish_reason": end}]} for d, end in deltas]
    if asked.stream_usage:
        chunks.append(head | {"choices": [], "usage": _usage(said)})
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
