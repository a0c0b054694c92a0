"""OpenAI Responses: a list of output items, with a status and, for a cut answer, `incomplete_details`."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from runner.simulator.asked import (
    Asked,
    Json,
    MalformedError,
    Said,
    check_role,
    given,
    images,
    listed,
    strict,
    table,
    texts,
    whole,
    word,
)
from runner.simulator.dialects.chat import must_call, tool

PARAMETERS = {
    name: name
    for name in ("temperature", "top_p", "store", "background", "conversation", "service_tier", "previous_response_id")
}

ROLES = ("user", "assistant", "system", "developer")

INCOMPLETE = {"length": "max_output_tokens", "filtered": "content_filter"}
"""Why an answer is incomplete; other ends are complete."""


def parse(body: Mapping[str, Json]) -> Asked:
    """Read a Responses request: `input` is a text, or a list of messages."""
    given_input = body.get("input")
    if not isinstance(given_input, str | list) or not given_input:
        raise MalformedError("input: expected a text or a list with at least one item")
    items = [{"role": "user", "content": given_input}] if isinstance(given_input, str) else given_input
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise MalformedError(f"input.{number}: expected an item, got {item!r}")
        if item.get("type", "message") == "message":
            check_role(f"input.{number}.role", item.get("role"), ROLES)
    system = [item for item in items if item.get("role") in ("system", "developer")]
    others = [item for item in items if item.get("role") not in ("system", "developer")]
    wanted = table(table(body.get("text")).get("format"))
    effort = word(table(body.get("reasoning")).get("effort"))
    instructions = [str(body["instructions"])] if body.get("instructions") else []
    return Asked(
        model=str(body.get("model") or ""),
        system="\n".join([*instructions, *(text for item in system for text in texts(item.get("content")))]),
        turns=tuple("\n".join(texts(item.get("content") or item.get("output"))) for item in others),
        images=sum(images(item.get("content")) for item in others),
        max_tokens=whole(body, "max_output_tokens"),
        schema=table(wanted.get("schema")) or None,
        strict=strict(wanted),
        json_mode=wanted.get("type") == "json_object",
        tools=tuple(tool(t) for t in listed(body, "tools")),
        must_call=must_call(body.get("tool_choice")),
        effort=effort,
        parameters=given(body, PARAMETERS) | ({"reasoning_effort": effort} if effort else {}),
        stream=bool(body.get("stream")),
    )


def render(said: Said) -> Json:
    """Write a response."""
    reason = INCOMPLETE.get(said.ended)
    return _envelope(said) | {
        "status": "incomplete" if reason else "completed",
        "output": _items(said),
        "incomplete_details": {"reason": reason} if reason else None,
        "usage": {
            "input_tokens": said.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": said.output_tokens,
            "output_tokens_details": {"reasoning_tokens": said.reasoning_tokens},
            "total_tokens": said.input_tokens + said.output_tokens,
        },
    }


def _envelope(said: Said) -> dict[str, Json]:
    return {
        "id": f"resp_{said.id}",
        "object": "response",
        "created_at": said.created,
        "model": said.model,
        "status": "in_progress",
        "output": [],
        "incomplete_details": None,
        "error": None,
        "usage": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _items(said: Said) -> list[dict[str, Json]]:
    items: list[dict[str, Json]] = []
    if said.reasoning_tokens:
        items.append({"type": "reasoning", "id": f"rs_{said.id}", "summary": []})
    if said.tool is not None:
        call = {"call_id": f"call_{said.id}", "name": said.tool, "arguments": said.arguments}
        items.append({"type": "function_call", "id": f"fc_{said.id}", "status": "completed", **call})
    elif said.text:
        part = {"type": "output_text", "text": said.text, "annotations": []}
        if said.ended == "refused":
            part = {"type": "refusal", "refusal": said.text}
        status = "incomplete" if said.ended in INCOMPLETE else "completed"
        message = {"type": "message", "id": f"msg_{said.id}", "role": "assistant", "status": status, "content": [part]}
        items.append(message)
    return items


def stream(_asked: Asked, said: Said) -> bytes:
    """Write the events: the response's start, each item, the whole response at the end."""
    whole_response = render(said)
    events: list[dict[str, Json]] = [{"type": "response.created", "response": _envelope(said)}]
    for index, item in enumerate(whole_response["output"]):
        events.append({"type": "response.output_item.added", "output_index": index, "item": _begun(item)})
        for place, part in enumerate(item.get("content", ())):
            events.extend(_part({"item_id": item["id"], "output_index": index, "content_index": place}, part))
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": f"response.{whole_response['status']}", "response": whole_response})
    numbered = (event | {"sequence_number": number} for number, event in enumerate(events))
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in numbered)


def _begun(item: Mapping[str, Json]) -> dict[str, Json]:
    return {**item, "status": "in_progress", "content": []} if item["type"] == "message" else dict(item)


def _part(where: Mapping[str, Json], part: Mapping[str, Json]) -> list[dict[str, Json]]:
    word = "text" if part["type"] == "output_text" else "refusal"
    extra: dict[str, Json] = {"logprobs": []} if word == "text" else {}
    return [
        {"type": "response.content_part.added", **where, "part": {**part, word: ""}},
        {"type": f"response.{part['type']}.delta", **where, "delta": part[word], **extra},
        {"type": f"response.{part['type']}.done", **where, word: part[word], **extra},
        {"type": "response.content_part.done", **where, "part": part},
    ]
