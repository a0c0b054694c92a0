"""The chat completions dialect: OpenAI's original API, which the gateway offers for nearly every model.

Translation only, no I/O and no clock. Our own values are in this dialect's form, so most of a request is said as it is.
The answer's content may be a list of blocks instead of a string, with hidden reasoning beside the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runner.core.catalog import Model
from runner.core.values import Failure, Image, Json, Message, Part, Reply, Request, Response, Text, Wire
from runner.gateway.dialects import answers, drafts, schemas, turns
from runner.gateway.dialects.json_text import as_list, as_object, as_text

PATH = "/ai-gateway/mlflow/v1/chat/completions"

METER = answers.Meter(
    input=("prompt_tokens",),
    output=("completion_tokens",),
    reasoning="completion_tokens_details.reasoning_tokens",
    cached_input="prompt_tokens_details.cached_tokens",
    cache_write="prompt_tokens_details.cache_write_tokens",
    required=("prompt_tokens", "completion_tokens"),
)


def encode(request: Request, model: Model) -> Wire:
    """The HTTP request that asks `model` this."""
    draft = drafts.begin(GRAMMARS.get(model.provider, GRAMMAR), request, model)
    return drafts.finish(draft, request).wire(PATH)


def decode(response: Response) -> Reply | Failure:
    """What an HTTP response says."""
    return answers.decode(response, _reply)


def _turns(messages: tuple[Message, ...]) -> drafts.Fragment:
    system, others = turns.split_system(messages)
    said = [{"role": "system", "content": _content(system)}] if system else []
    return {"messages": [*said, *map(_turn, others)]}


def _turn(message: Message) -> dict[str, Json]:
    turn: dict[str, Json] = {"role": message.role, "content": _content(turns.parts(message))}
    if message.tool_calls:
        turn["tool_calls"] = list(message.tool_calls)
        turn["content"] = turn["content"] or None
    if message.tool_call_id is not None:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _content(parts: tuple[Part, ...]) -> str | list[Json]:
    if all(isinstance(part, Text) for part in parts) and len(parts) <= 1:
        return "".join(part.text for part in parts if isinstance(part, Text))
    return [_block(part) for part in parts]


def _block(part: Part) -> Mapping[str, Json]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(url, detail):
            return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}
        case other:
            return other.block


def _schema(schema: Any) -> Json:
    whole = schemas.closed(schema)
    return {"type": "json_schema", "json_schema": {"name": drafts.NAME, "schema": whole, "strict": True}}


def _schema_of_openai(schema: Any) -> Json:
    return drafts.merged(_schema(schema), {"json_schema": {"strict": schemas.is_strict(schema)}})


GRAMMAR = drafts.Grammar(
    name="chat",
    places={
        "max_tokens": "max_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "stop": "stop",
        "seed": "seed",
        "schema": "response_format",
        "tools": "tools",
        "tool_choice": "tool_choice",
    },
    say={"schema": _schema},
    turns=_turns,
    caps=("max_tokens", "max_completion_tokens"),
    reasoning={"effort": lambda effort, _: {"reasoning_effort": effort}},
)
GRAMMARS: Mapping[str, drafts.Grammar] = {"OpenAI": replace(GRAMMAR, say={"schema": _schema_of_openai})}
"""By provider: OpenAI refuses `strict` beside a schema that its strict mode does not take."""


def _reply(body: Mapping[str, Json]) -> Reply:
    choices = as_list(body.get("choices"))
    choice = as_object(choices[0]) if choices else {}
    message = choice.get("message")
    if not isinstance(message, dict):
        raise answers.Malformed("there is no message in it")
    heard = answers.Heard()
    heard.content(message.get("content"))
    heard.refusal(message.get("refusal"))
    # Two spellings that servers of open-weight models use for hidden reasoning.
    heard.reasoning(message.get("reasoning_content") or message.get("reasoning"))
    for call in as_list(message.get("tool_calls")):
        function = as_object(as_object(call).get("function"))
        heard.call(as_object(call).get("id"), function.get("name"), function.get("arguments"))
    if legacy := as_object(message.get("function_call")):
        heard.call("", legacy.get("name"), legacy.get("arguments"))
    return heard.reply(
        finish=as_text(choice.get("finish_reason")),
        usage=METER.read(body.get("usage")),
        model=as_text(body.get("model")),
    )
