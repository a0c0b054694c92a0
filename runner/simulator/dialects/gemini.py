"""Gemini generateContent: candidates of parts, with thoughts counted beside the candidates and not inside them."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import orjson

from runner.simulator.asked import (
    Asked,
    Json,
    MalformedError,
    Said,
    Tool,
    check_role,
    given,
    images,
    listed,
    table,
    texts,
    whole,
)

PARAMETERS = {
    "temperature": "temperature",
    "topP": "top_p",
    "stopSequences": "stop",
    "seed": "seed",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}

ROLES = ("user", "model", "function")

ENDED = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "filtered": "SAFETY", "refused": "SAFETY"}

DYNAMIC = -1
"""The thinking budget that leaves it to the model."""


def parse(body: Mapping[str, Json]) -> Asked:
    """Read a generateContent request."""
    body = _camel(body)
    contents = _several(body.get("contents"))
    if not isinstance(contents, list) or not contents:
        raise MalformedError("contents: expected a list with at least one content")
    parts = [_several(table(content).get("parts")) for content in contents]
    for number, content in enumerate(contents):
        if not isinstance(parts[number], list) or not parts[number]:
            raise MalformedError(f"contents.{number}.parts: must not be empty")
        check_role(f"contents.{number}.role", content.get("role") or "user", ROLES)
    config = _camel(body.get("generationConfig"))
    schema = table(config.get("responseSchema") or config.get("responseJsonSchema")) or None
    return Asked(
        model=str(body.get("model") or ""),
        system="\n".join(texts(table(body.get("systemInstruction")).get("parts"))),
        turns=tuple("\n".join(texts(said)) for said in parts),
        images=sum(images(said) for said in parts),
        max_tokens=whole(config, "maxOutputTokens"),
        schema=schema,
        json_mode=schema is None and config.get("responseMimeType") == "application/json",
        tools=tuple(_tools(listed(body, "tools"))),
        must_call=_must_call(_camel(_camel(body.get("toolConfig")).get("functionCallingConfig"))),
        effort=_effort(_camel(config.get("thinkingConfig"))),
        parameters=given(config, PARAMETERS),
        stream=bool(body.get("stream")),
    )


def _several(value: Json) -> Json:
    """A list: where one belongs, Google takes the only thing in it as well."""
    return [value] if isinstance(value, dict) else value


def _camel(value: Json) -> Mapping[str, Json]:
    """The object with its names in camel case: Google takes both forms, and its own SDK mixes them."""
    return {_name(key): item for key, item in table(value).items()}


@functools.lru_cache(maxsize=1_000)
def _name(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(other.capitalize() for other in others)


def _tools(declared: list[Json]) -> list[Tool]:
    functions = [f for tool in declared for f in listed(_camel(tool), "functionDeclarations")]
    return [
        Tool(name=str(f.get("name", "")), parameters=table(f.get("parameters") or f.get("parametersJsonSchema")))
        for f in map(_camel, functions)
    ]


def _must_call(config: Mapping[str, Json]) -> str | None:
    if config.get("mode") != "ANY":
        return None
    names = listed(config, "allowedFunctionNames")
    return str(names[0]) if names else ""


def _effort(config: Mapping[str, Json]) -> str | None:
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if level:
        return str(level).lower()
    if not isinstance(budget, int) or budget == DYNAMIC:
        return None
    return "none" if budget == 0 else "low" if budget < 1024 else "medium"


def render(said: Said) -> Json:
    """Write an answer; a filtered prompt has no candidates at all, and counts that are zero are left out."""
    usage = {
        "promptTokenCount": said.input_tokens,
        "candidatesTokenCount": said.shown_tokens,
        "thoughtsTokenCount": said.reasoning_tokens,
        "totalTokenCount": said.input_tokens + said.output_tokens,
    }
    answer: dict[str, Json] = {
        "usageMetadata": {name: count for name, count in usage.items() if count},
        "modelVersion": said.model,
        "responseId": said.id,
    }
    if said.ended == "filtered":
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **answer}
    content: dict[str, Json] = {"role": "model"}
    if parts := _parts(said):
        content["parts"] = parts
    candidate = {"index": 0, "content": content, "finishReason": ENDED[said.ended]}
    return {"candidates": [candidate], **answer}


def _parts(said: Said) -> list[Json]:
    if said.tool is not None:
        return [{"functionCall": {"name": said.tool, "args": orjson.loads(said.arguments)}}]
    return [{"text": said.text}] if said.text and said.ended != "refused" else []


def stream(_asked: Asked, said: Said) -> bytes:
    """Write one event with everything in it, which is a whole stream in this dialect."""
    return b"data: " + orjson.dumps(render(said)) + b"\r\n\r\n"
