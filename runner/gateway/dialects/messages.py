"""Anthropic's Messages dialect: the Claude models' own API, where reasoning and schemas are asked for in its words.

Translation only, no I/O and no clock. The system prompt stands beside the turns, turns are lists of blocks, and tool
results are blocks of a user turn. An output cap is required; extended thinking forbids a temperature and a forced tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.core.catalog import Model
from runner.core.values import Failure, Image, Json, Message, Part, Reply, Request, Response, Text, Wire
from runner.gateway.dialects import answers, drafts, schemas, turns
from runner.gateway.dialects.json_text import as_text, at

PATH = "/ai-gateway/anthropic/v1/messages"
HEADERS = {"anthropic-version": "2023-06-01"}

DEFAULT_CAP = 4096
"""For a model whose largest output is not stated: every Claude model takes it."""

SMALLEST_BUDGET = 1024
"""The API refuses thinking budgets below this."""

BUDGETS: Mapping[str, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 65_536,
}
"""Tokens of thinking for each effort, where the model wants a number."""

EFFORTS: Mapping[str, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""Our efforts in this dialect's words, where the model wants a word."""

CHOICES: Mapping[str, Mapping[str, str]] = {
    "auto": {"type": "auto"},
    "none": {"type": "none"},
    "required": {"type": "any"},
}

FORCED = ("any", "tool")
"""Tool choices under which the API refuses to think."""

SMALLEST_TOP_P = 0.95
"""The API refuses less while the model thinks."""

METER = answers.Meter(
    input=("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    output=("output_tokens",),
    reasoning="output_tokens_details.thinking_tokens",
    cached_input="cache_read_input_tokens",
    cache_write="cache_creation_input_tokens",
    required=("input_tokens", "output_tokens"),
)


def encode(request: Request, model: Model) -> Wire:
    """The HTTP request that asks `model` this."""
    draft = drafts.begin(GRAMMAR, request, model)
    if draft.cap is None:
        draft.put("max_tokens", model.max_output_tokens or DEFAULT_CAP)
    if request.settings.effort is not None and (against := _against_thinking(draft.own)):
        draft.notices.append(f"{model.short} may not think beside a line's own {against}: reasoning_effort left out")
        request = replace(request, settings=replace(request.settings, effort=None))
    drafts.finish(draft, request)
    if "thinking" not in draft.own:
        _settle_thinking(draft)
    return draft.wire(PATH, HEADERS)


def decode(response: Response) -> Reply | Failure:
    """What an HTTP response says."""
    return answers.decode(response, _reply)


def _against_thinking(own: Mapping[str, Json]) -> str | None:
    """What a batch line says that an effort of the job's would have to take out."""
    top_p = own.get("top_p")
    if own.get("temperature") not in (None, 1):
        return "temperature"
    if top_p is not None and not (isinstance(top_p, int | float) and top_p >= SMALLEST_TOP_P):
        return "top_p"
    return "tool_choice" if at(own, "tool_choice.type") in FORCED else None


def _settle_thinking(draft: drafts.Draft) -> None:
    if at(draft.body, "thinking.type") not in ("enabled", "adaptive"):
        return
    name = draft.model.short
    if at(draft.body, "tool_choice.type") in FORCED:
        draft.drop("thinking", f"{name} does not think where a tool is forced: reasoning_effort left out")
        return
    if draft.body.get("temperature") != 1:
        draft.drop("temperature", f"{name} does not take temperature while it thinks: left out")
    if (top_p := draft.body.get("top_p")) is not None and top_p < SMALLEST_TOP_P:
        draft.drop("top_p", f"{name} takes no top_p below {SMALLEST_TOP_P} while it thinks: left out")


def _turns(messages: tuple[Message, ...]) -> drafts.Fragment:
    system, others = turns.split_system(messages)
    grouped = turns.grouped(map(_turn, others))
    fragment: drafts.Fragment = {"messages": [{"role": role, "content": _short(blocks)} for role, blocks in grouped]}
    if any(not isinstance(part, Text | Image) for part in system):
        # Blocks that only this dialect knows (a cache mark) are kept; then all of the prompt is blocks.
        fragment["system"] = [_block(part) for part in system]
    elif system:
        fragment["system"] = turns.prose(system, "A system prompt")
    return fragment


def _turn(message: Message) -> tuple[str, list[Json]]:
    blocks: list[Json] = [_block(part) for part in turns.parts(message)]
    if message.role == "tool":
        return "user", [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": _short(blocks)}]
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in turns.calls(message)
    ]
    return message.role, blocks


def _short(blocks: list[Json]) -> Json:
    match blocks:
        case []:
            return ""
        case [{"type": "text", "text": text, **others}] if not others:
            return text
        case _:
            return blocks


def _block(part: Part) -> Mapping[str, Json]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            return {"type": "image", "source": _source(part)}
        case other:
            return other.block


def _source(image: Image) -> dict[str, str]:
    picture = turns.picture(image)
    if picture.data is None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": picture.media_type, "data": picture.data}


def _tools(tools: Any) -> Json:
    return [_tool(tool) for tool in tools]


def _tool(tool: Mapping[str, Json]) -> Mapping[str, Json]:
    function = turns.function(tool)
    if function is None:
        return tool
    kept = {name: function[name] for name in ("name", "description", "strict") if name in function}
    return kept | {"input_schema": function.get("parameters") or {"type": "object"}}


def _choice(choice: Any) -> Json:
    name = turns.chosen(choice)
    if name is not None:
        return {"type": "tool", "name": name}
    return CHOICES.get(choice, choice) if isinstance(choice, str) else choice


def _adaptive(effort: str, _: int | None) -> drafts.Fragment | None:
    if effort == "none":
        return {}  # these models think only when asked to
    if effort not in EFFORTS:
        return None
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": EFFORTS[effort]}}


def _budget(effort: str, cap: int | None) -> drafts.Fragment | None:
    if effort == "none":
        return {}
    tokens = drafts.budget(BUDGETS.get(effort, 0), cap)
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}} if tokens >= SMALLEST_BUDGET else None


GRAMMAR = drafts.Grammar(
    name="messages",
    places={
        "max_tokens": "max_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "stop": "stop_sequences",
        "schema": "output_config",
        "tools": "tools",
        "tool_choice": "tool_choice",
    },
    say={
        "schema": lambda schema: {"format": {"type": "json_schema", "schema": schemas.described(schema)}},
        "tools": _tools,
        "tool_choice": _choice,
    },
    turns=_turns,
    caps=("max_tokens",),
    reasoning={"adaptive": _adaptive, "budget": _budget},
)


def _reply(body: Mapping[str, Json]) -> Reply:
    if not isinstance(body.get("content"), list):
        raise answers.Malformed("there is no content in it")
    finish = as_text(body.get("stop_reason"))
    heard = answers.Heard()
    heard.content(body["content"])
    if finish == "refusal" and not heard.texts:
        heard.refusal(at(body, "stop_details.explanation"))
    return heard.reply(finish=finish, usage=METER.read(body.get("usage")), model=as_text(body.get("model")))
