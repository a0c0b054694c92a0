"""Google's generateContent dialect: the Gemini models' own API. The model stands in the path, and nowhere in the body.

Translation only, no I/O and no clock. Nearly every setting stands in `generationConfig`; a tool result names its
function instead of its call. Output is counted as the answer and, apart from it, the thoughts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from runner.core.catalog import Model
from runner.core.prompt import camel_case
from runner.core.values import Failure, Image, Json, Message, Part, Reply, Request, Response, Text, Wire
from runner.gateway.dialects import answers, drafts, json_text, schemas, turns
from runner.gateway.dialects.drafts import Fragment
from runner.gateway.dialects.json_text import as_list, as_object, as_text, at

PATH = "/ai-gateway/gemini/v1beta/models/{model}:generateContent"

ROLES: Mapping[str, str] = {"user": "user", "tool": "user", "assistant": "model"}

LEVELS: Mapping[str, str] = {
    "none": "LOW",
    "minimal": "LOW",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
"""Gemini 3 cannot be kept from thinking, and only its Flash models know less than LOW."""

BUDGETS: Mapping[str, int] = {
    "none": 0,
    "minimal": 512,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 24_576,
}
"""Tokens of thinking for each effort. Gemini 2.5 Flash takes no more than the largest, and 2.5 Pro does not take 0."""

MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY"}

FILLED_IN: Mapping[str, Any] = {
    "generationConfig": {"thinkingConfig": {}},
    "systemInstruction": {},
    "toolConfig": {"functionCallingConfig": {}},
}
"""Objects of a body in which both its own words and settings may stand, and those within them."""

METER = answers.Meter(
    input=("promptTokenCount", "toolUsePromptTokenCount"),
    output=("candidatesTokenCount", "thoughtsTokenCount"),
    reasoning="thoughtsTokenCount",
    cached_input="cachedContentTokenCount",
    required=("promptTokenCount",),  # counts of zero are left out, and an answer may be empty; a prompt is not
)


def encode(request: Request, model: Model) -> Wire:
    """The HTTP request that asks `model` this."""
    body, settings = request.body, request.settings
    if body is not None:
        body = _spelled(body)
        if at(body, "generationConfig.thinkingConfig") is not None:
            settings = replace(settings, effort=None)  # a budget and a level exclude each other
    request = replace(request, body=body, settings=replace(settings, extra=_spelled(settings.extra)))
    draft = drafts.begin(GRAMMAR, request, model)
    return drafts.finish(draft, request).wire(PATH.format(model=quote(model.id, safe="")))


def decode(response: Response) -> Reply | Failure:
    """What an HTTP response says."""
    return answers.decode(response, _reply)


def _spelled(body: Mapping[str, Json], filled_in: Mapping[str, Any] = FILLED_IN, *, whole: bool = False) -> Fragment:
    """A user's own words; of the two spellings that Google takes, what settings fill in, too, has the one used here.

    Of a `whole` object all names have it.
    """
    said: Fragment = {}
    for name, value in body.items():
        written = camel_case(name)
        if written not in filled_in:
            said[written if whole else name] = value
        elif isinstance(value, Mapping):
            said = drafts.merged(said, {written: _spelled(value, filled_in[written], whole=True)})
        else:
            said[written] = value
    return said


def _turns(messages: tuple[Message, ...]) -> Fragment:
    system, others = turns.split_system(messages)
    names = {call.id: call.name for message in others for call in turns.calls(message)}
    grouped = turns.grouped((ROLES[message.role], _parts(message, names)) for message in others)
    fragment: Fragment = {"contents": [{"role": role, "parts": parts} for role, parts in grouped]}
    if system:
        fragment["systemInstruction"] = {"parts": [{"text": turns.prose(system, "A system prompt")}]}
    return fragment


def _parts(message: Message, names: Mapping[str, str]) -> list[Json]:
    parts = turns.parts(message)
    if message.role == "tool":
        call = message.tool_call_id or ""
        result = turns.prose(parts, "A tool's result", "\n")
        return [{"functionResponse": {"name": names.get(call, call), "response": _result(result)}}]
    return [*map(_part, parts), *map(_call, turns.calls(message))]


def _part(part: Part) -> Mapping[str, Json]:
    match part:
        case Text(text):
            return {"text": text}
        case Image():
            return _image(part)
        case other:
            return other.block


def _image(image: Image) -> dict[str, Json]:
    picture = turns.picture(image)
    if picture.data is None:
        return {"fileData": {"mimeType": picture.media_type, "fileUri": image.url}}
    return {"inlineData": {"mimeType": picture.media_type, "data": picture.data}}


def _call(call: turns.Call) -> dict[str, Json]:
    part: dict[str, Json] = {"functionCall": {"name": call.name, "args": call.input}}
    return part | ({"thoughtSignature": call.signature} if call.signature else {})


def _result(text: str) -> Json:
    value = json_text.read(text)
    return value if isinstance(value, Mapping) else {"result": text}


def _tools(tools: Any) -> Json:
    functions = [turns.function(tool) for tool in tools]
    declared = [_function(function) for function in functions if function is not None]
    others = [tool for tool, function in zip(tools, functions, strict=True) if function is None]
    return ([{"functionDeclarations": declared}] if declared else []) + others


def _function(function: Mapping[str, Json]) -> dict[str, Json]:
    kept = {name: function[name] for name in ("name", "description") if name in function}
    # `parameters` would take a dialect of OpenAPI; this field takes the JSON schema as it is.
    return kept | ({"parametersJsonSchema": function["parameters"]} if function.get("parameters") else {})


def _choice(choice: Any) -> Json:
    name = turns.chosen(choice)
    if name is not None:
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}}
    return {"functionCallingConfig": {"mode": MODES.get(choice, choice)}} if isinstance(choice, str) else choice


def _schema(schema: Any) -> Json:
    return {"responseMimeType": "application/json", "responseJsonSchema": schemas.spelt_out(schema)}


def _level(effort: str, _: int | None) -> Fragment | None:
    return _thinking({"thinkingLevel": LEVELS[effort]}) if effort in LEVELS else None


def _budget(effort: str, cap: int | None) -> Fragment | None:
    return _thinking({"thinkingBudget": drafts.budget(BUDGETS[effort], cap)}) if effort in BUDGETS else None


def _thinking(config: Mapping[str, Json]) -> Fragment:
    return {"generationConfig": {"thinkingConfig": config}}


GRAMMAR = drafts.Grammar(
    name="gemini",
    places={
        "max_tokens": "generationConfig.maxOutputTokens",
        "temperature": "generationConfig.temperature",
        "top_p": "generationConfig.topP",
        "stop": "generationConfig.stopSequences",
        "seed": "generationConfig.seed",
        "schema": "generationConfig",
        "tools": "tools",
        "tool_choice": "toolConfig",
    },
    say={"schema": _schema, "tools": _tools, "tool_choice": _choice},
    turns=_turns,
    caps=("generationConfig.maxOutputTokens",),
    reasoning={"level": _level, "budget": _budget},
    names_model=False,
)


def _reply(body: Mapping[str, Json]) -> Reply:
    heard = answers.Heard()
    usage = METER.read(body.get("usageMetadata"))
    model = as_text(body.get("modelVersion"))
    candidates = as_list(body.get("candidates"))
    blocked = as_text(at(body, "promptFeedback.blockReason"))
    if blocked and not candidates:
        return heard.filtered(finish=blocked, usage=usage, model=model)
    if not candidates or not isinstance(candidates[0], Mapping):
        raise answers.Malformed("there is no candidate in it")
    for part in as_list(at(candidates[0], "content.parts")):
        _hear(heard, as_object(part))
    return heard.reply(finish=as_text(candidates[0].get("finishReason")), usage=usage, model=model)


def _hear(heard: answers.Heard, part: Mapping[str, Json]) -> None:
    call = part.get("functionCall")
    if isinstance(call, Mapping):
        heard.call(call.get("id"), call.get("name"), call.get("args", {}), as_text(part.get("thoughtSignature")))
    elif part.get("thought") is True:
        heard.reasoning(part)
    elif isinstance(part.get("text"), str):
        heard.text(part["text"])
    else:
        heard.strange()
