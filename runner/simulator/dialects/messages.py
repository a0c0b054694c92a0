"""Anthropic Messages: content blocks, `stop_reason`, and usage with the cache counted apart."""

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
    table,
    texts,
    whole,
)

PARAMETERS = {"temperature": "temperature", "top_p": "top_p", "thinking": "thinking", "service_tier": "service_tier"}

ROLES = ("user", "assistant")
"""What the system says stands beside the messages."""

ENDED = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "filtered": "refusal",
    "refused": "refusal",
}


def parse(body: Mapping[str, Json]) -> Asked:
    """Read a Messages request; `max_tokens` is not optional here."""
    messages = conversation(body, ROLES)
    if body.get("max_tokens") is None:
        raise MalformedError("max_tokens: Field required")
    config = table(body.get("output_config"))
    thinking = table(body.get("thinking"))
    return Asked(
        model=str(body.get("model") or ""),
        system="\n".join(texts(body.get("system"))),
        turns=tuple("\n".join(texts(m.get("content"))) for m in messages),
        images=sum(images(m.get("content")) for m in messages),
        max_tokens=whole(body, "max_tokens"),
        schema=table(table(config.get("format")).get("schema")) or None,
        tools=tuple(_tool(t) for t in listed(body, "tools")),
        must_call=_must_call(table(body.get("tool_choice"))),
        effort=_effort(config, thinking),
        parameters=given(body, PARAMETERS),
        stream=bool(body.get("stream")),
    )


def _effort(config: Mapping[str, Json], thinking: Mapping[str, Json]) -> str | None:
    """Claude reasons only where thinking is turned on, however much effort is asked for."""
    if thinking.get("type") not in ("enabled", "adaptive"):
        return "none"
    return str(config.get("effort") or "medium")


def _tool(declared: Json) -> Tool:
    tool = table(declared)
    return Tool(name=str(tool.get("name", "")), parameters=table(tool.get("input_schema")))


def _must_call(choice: Mapping[str, Json]) -> str | None:
    return {"any": "", "tool": str(choice.get("name", ""))}.get(str(choice.get("type")))


def render(said: Said) -> Json:
    """Write a message."""
    message = _envelope(said) | {
        "content": _content(said),
        "stop_reason": ENDED[said.ended],
        "stop_sequence": None,
        "usage": _usage(said),
    }
    if ENDED[said.ended] == "refusal":
        message["stop_details"] = {"type": "refusal", "category": "other"}
    return message


def _envelope(said: Said) -> dict[str, Json]:
    return {"id": f"msg_{said.id}", "type": "message", "role": "assistant", "model": said.model}


def _content(said: Said) -> list[Json]:
    blocks: list[Json] = []
    if said.reasoning_tokens:
        thought = "The local simulator pretends to think."
        blocks.append({"type": "thinking", "thinking": thought, "signature": "c2ltdWxhdGVk"})
    if said.tool is not None:
        arguments = orjson.loads(said.arguments)
        blocks.append({"type": "tool_use", "id": f"toolu_{said.id}", "name": said.tool, "input": arguments})
    elif said.text:
        blocks.append({"type": "text", "text": said.text})
    return blocks


def _usage(said: Said) -> dict[str, Json]:
    return {
        "input_tokens": said.input_tokens,
        "output_tokens": said.output_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens_details": {"thinking_tokens": said.reasoning_tokens},
    }


def stream(_asked: Asked, said: Said) -> bytes:
    """Write the events: the message's start with the input's usage, each block, the end with the output's usage."""
    start = _envelope(said) | {"content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = _usage(said) | {"output_tokens": 1}
    events: list[dict[str, Json]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(_content(said)):
        events.extend(_block(index, block))
    end = {"stop_reason": ENDED[said.ended], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": said.output_tokens}})
    events.append({"type": "message_stop"})
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in events)


def _block(index: int, block: Mapping[str, Json]) -> list[dict[str, Json]]:
    empty: dict[str, Json]
    match block["type"]:
        case "tool_use":
            empty, arguments = {**block, "input": {}}, orjson.dumps(block["input"]).decode()
            delta = {"type": "input_json_delta", "partial_json": arguments}
        case "thinking":
            empty = {"type": "thinking", "thinking": "", "signature": block["signature"]}
            delta = {"type": "thinking_delta", "thinking": block["thinking"]}
        case _:
            empty, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
    return [
        {"type": "content_block_start", "index": index, "content_block": empty},
        {"type": "content_block_delta", "index": index, "delta": delta},
        {"type": "content_block_stop", "index": index},
    ]
