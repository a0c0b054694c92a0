"""OpenAI's Responses dialect: the only one that the codex models answer on, used here without its server-side state.

Translation only, no I/O and no clock. The input is a list of items, in which tool calls and their results stand beside
the turns. An answer with status 200 may still say that it failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.core.catalog import Model
from runner.core.values import Failure, Image, Json, Message, Part, Reply, Request, Response, Text, Wire
from runner.gateway.dialects import answers, drafts, schemas, turns
from runner.gateway.dialects.json_text import as_list, as_object, as_text, at

PATH = "/ai-gateway/openai/v1/responses"

SMALLEST_CAP = 16
"""The API refuses output caps below this."""

METER = answers.Meter(
    input=("input_tokens",),
    output=("output_tokens",),
    reasoning="output_tokens_details.reasoning_tokens",
    cached_input="input_tokens_details.cached_tokens",
    cache_write="input_tokens_details.cache_write_tokens",
    required=("input_tokens", "output_tokens"),
)


def encode(request: Request, model: Model) -> Wire:
    """The HTTP request that asks `model` this."""
    asked = request.settings.max_tokens
    if asked is not None and asked < SMALLEST_CAP:
        request = replace(request, settings=replace(request.settings, max_tokens=SMALLEST_CAP))
    draft = drafts.begin(GRAMMAR, request, model)
    if asked is not None and asked < SMALLEST_CAP == draft.cap:
        draft.notices.append(f"{model.short} takes no max_tokens below {SMALLEST_CAP} here: raised from {asked}")
    if request.body is None:
        draft.merge({"store": False})  # the gateway keeps no state, and refuses to be asked for it
    return drafts.finish(draft, request).wire(PATH)


def decode(response: Response) -> Reply | Failure:
    """What an HTTP response says."""
    return answers.decode(response, _reply)


def _turns(messages: tuple[Message, ...]) -> drafts.Fragment:
    # `instructions` rather than a system item: one place for what is one thing, and `input` stays the conversation.
    system, others = turns.split_system(messages)
    fragment: drafts.Fragment = {"input": [item for message in others for item in _items(message)]}
    if system:
        fragment["instructions"] = turns.prose(system, "A system prompt")
    return fragment


def _items(message: Message) -> list[Json]:
    parts = turns.parts(message)
    if message.role == "tool":
        output = _content(parts)
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": output}]
    # Blocks of an assistant's turn would want the ids of a stored answer; plain text wants none.
    content = turns.prose(parts, "An assistant's turn", "") if message.role == "assistant" else _content(parts)
    said = [{"role": message.role, "content": content}] if parts or not message.tool_calls else []
    calls = [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in turns.calls(message)
    ]
    return [*said, *calls]


def _content(parts: tuple[Part, ...]) -> Json:
    match parts:
        case ():
            return ""
        case (Text(text),):
            return text
        case _:
            return [_block(part) for part in parts]


def _block(part: Part) -> Mapping[str, Json]:
    match part:
        case Text(text):
            return {"type": "input_text", "text": text}
        case Image(url, detail):
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case other:
            return other.block


def _tools(tools: Any) -> Json:
    return [_tool(tool) for tool in tools]


def _tool(tool: Mapping[str, Json]) -> Mapping[str, Json]:
    function = turns.function(tool)
    if function is None:
        return tool
    # Here a function is strict unless it says otherwise; on chat it is the other way round.
    return {"type": "function", "strict": False, "parameters": {"type": "object", "properties": {}}, **function}


def _choice(choice: Any) -> Json:
    name = turns.chosen(choice)
    return choice if name is None else {"type": "function", "name": name}


def _schema(schema: Any) -> Json:
    whole, strict = schemas.closed(schema), schemas.is_strict(schema)
    return {"format": {"type": "json_schema", "name": drafts.NAME, "schema": whole, "strict": strict}}


GRAMMAR = drafts.Grammar(
    name="responses",
    places={
        "max_tokens": "max_output_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "schema": "text",
        "tools": "tools",
        "tool_choice": "tool_choice",
    },
    say={"schema": _schema, "tools": _tools, "tool_choice": _choice},
    turns=_turns,
    caps=("max_output_tokens",),
    reasoning={"effort": lambda effort, _: {"reasoning": {"effort": effort}}},
)


def _reply(body: Mapping[str, Json]) -> Reply:
    if not isinstance(body.get("output"), list):
        raise answers.Malformed("there is no output in it")
    heard = answers.Heard()
    # A message's blocks are heard like the items beside it; both name their kind in `type`.
    heard.content([block for item in body["output"] for block in _blocks(item)])
    status = as_text(body.get("status"))
    reason = as_text(at(body, "incomplete_details.reason")) if status == "incomplete" else ""
    return heard.reply(
        finish=reason or status,
        usage=METER.read(body.get("usage")),
        model=as_text(body.get("model")),
    )


def _blocks(item: Json) -> list[Json]:
    content = as_object(item).get("content")
    return list(as_list(content)) if as_object(item).get("type") == "message" else [item]
