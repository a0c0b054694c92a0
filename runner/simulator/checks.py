"""What a model behind the gateway refuses with a 400, before it costs anything: a table of checks, made in order.

Each check looks at a request and answers with a message (and the parameter it is about), or with None if all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from runner.core.catalog import Model
from runner.simulator.asked import Asked, Json, table
from runner.simulator.dialects import Dialect


class Complaint(NamedTuple):
    """What is wrong with a request."""

    message: str
    parameter: str | None = None
    code: str | None = None
    """OpenAI's code for it."""
    databricks: bool = False
    """Whether Databricks says so itself, and not the provider behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request together with what it is checked against."""

    asked: Asked
    model: Model
    dialect: Dialect
    input_tokens: int


STATELESS = ("store", "background", "conversation", "previous_response_id")
"""Parameters of the Responses API that would need a server that remembers."""


def unsupported_by_databricks(case: Case) -> Complaint | None:
    """Databricks keeps no responses and sells no service tiers."""
    given = case.asked.parameters
    if "service_tier" in given:
        words = f"service_tier='{given['service_tier']}'"
    else:
        words = next((name for name in STATELESS if given.get(name)), "")
    return Complaint(f"{words} is not supported by Databricks", databricks=True) if words else None


def parameters_of_the_model(case: Case) -> Complaint | None:
    """Parameters that the catalogue says this model rejects; the default temperature passes everywhere."""
    given = case.asked.parameters
    for name in case.model.rejects:
        parts = ["reasoning_effort"] if name == "effort" else name.split("+")
        if not all(part in given for part in parts) or (name == "temperature" and given[name] == 1):
            continue
        if len(parts) > 1:
            both = " and ".join(f"`{part}`" for part in parts)
            return Complaint(f"{both} cannot both be specified for this model", parts[0])
        message = f"Unsupported parameter: '{parts[0]}' is not supported with this model."
        return Complaint(message, parts[0], "unsupported_parameter")
    return None


def effort_on_chat(case: Case) -> Complaint | None:
    """Claude and Gemini reason on their own dialects only."""
    if case.dialect.name != "chat" or "reasoning_effort" not in case.asked.parameters:
        return None
    if case.model.provider not in ("Anthropic", "Google"):
        return None
    return Complaint("reasoning_effort: Extra inputs are not permitted", "reasoning_effort")


def thinking_of_claude(case: Case) -> Complaint | None:
    """From 4.7 on thinking is adaptive; before, its budget must leave room for an answer."""
    thinking = case.asked.parameters.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return None
    if case.model.thinking == "adaptive":
        return Complaint('"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive"')
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget >= (case.asked.max_tokens or 0):
        return Complaint("`max_tokens` must be greater than `thinking.budget_tokens`")
    return None


def schema_of_openai(case: Case) -> Complaint | None:
    """A strict schema has closed objects only, and requires all their properties."""
    if case.model.provider != "OpenAI" or case.asked.strict is None:
        return None
    parameter = "response_format" if case.dialect.name == "chat" else "text.format.schema"
    for place, schema in objects(case.asked.schema):
        where = f"Invalid schema for response_format '{case.asked.strict}': In context={place},"
        if schema.get("additionalProperties") is not False:
            return Complaint(f"{where} 'additionalProperties' is required to be supplied and to be false.", parameter)
        required = schema.get("required")
        names = required if isinstance(required, list) else []
        for name in table(schema.get("properties")):
            if name not in names:
                words = "'required' is required to be supplied and to be an array including every key in properties."
                return Complaint(f"{where} {words} Missing '{name}'.", parameter)
    return None


def schema_of_claude(case: Case) -> Complaint | None:
    """On its own dialect every object has to be closed, and nothing may be bounded."""
    if case.dialect.name != "messages":
        return None
    for kind, schema in typed(case.asked.schema):
        said = f"output_config.format.schema: For '{kind}' type,"
        if kind == "object" and schema.get("additionalProperties") is not False:
            return Complaint(f"{said} 'additionalProperties' must be explicitly set to false")
        for name in BOUNDS.get(kind, ()):
            if name in schema:
                return Complaint(f"{said} property '{name}' is not supported")
        if kind == "array" and schema.get("minItems", 0) not in (0, 1):
            return Complaint(f"{said} 'minItems' values other than 0 or 1 are not supported")
    return None


RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
BOUNDS = {"integer": RANGE, "number": RANGE, "string": ("minLength", "maxLength"), "array": ("maxItems", "uniqueItems")}
"""By type: the words that Claude refuses."""


def typed(schema: Json) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Every schema in a schema that says its type, or several, with each of these."""
    if isinstance(schema, dict):
        kinds = schema.get("type")
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if isinstance(kind, str):
                yield kind, schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from typed(part)


def objects(schema: Json, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[str, Json]]]:
    """Every object in a schema, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield place, schema
        for name, part in schema.items():
            yield from objects(part, (*place, name))
    elif isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from objects(part, (*place, str(number)))


SMALLEST_CAP = 16


def smallest_cap(case: Case) -> Complaint | None:
    """The Responses API takes no cap below 16."""
    cap = case.asked.max_tokens
    if case.dialect.name != "responses" or cap is None or cap >= SMALLEST_CAP:
        return None
    message = f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {SMALLEST_CAP}, but got"
    return Complaint(f"{message} {cap} instead.", "max_output_tokens", "integer_below_min_value")


LARGEST_CAP = {
    "Anthropic": "{name}: {asked} > {cap}, which is the maximum allowed number of output tokens for {model}",
    "OpenAI": "{name} is too large: {asked}. This model supports at most {cap} completion tokens, whereas you"
    " provided {asked}.",
    "Google": "Unable to submit request because it has a {name} value of {asked} but the supported range is from 1"
    " (inclusive) to {above} (exclusive). Update the value and try again.",
}
LARGEST_CAP_ELSEWHERE = "{name} must be less than or equal to {cap}, got {asked}"


def largest_cap(case: Case) -> Complaint | None:
    """No cap above what the model can write; the message names the cap, in the provider's words."""
    asked, cap = case.asked.max_tokens, case.model.max_output_tokens
    if asked is None or cap is None or asked <= cap:
        return None
    words = LARGEST_CAP.get(case.model.provider, LARGEST_CAP_ELSEWHERE)
    name = case.dialect.cap
    message = words.format(name=name, asked=asked, cap=cap, above=cap + 1, model=case.model.short)
    return Complaint(message, name, "invalid_value")


CONTEXT = {
    "Anthropic": "prompt is too long: {input} tokens > {context} maximum",
    "OpenAI": "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "Google": "The input token count ({input}) exceeds the maximum number of tokens allowed ({context}).",
}
CONTEXT_ELSEWHERE = (
    "This model's maximum context length is {context} tokens. However, your messages resulted in {input} tokens."
    " Please reduce the length of the messages."
)


def context(case: Case) -> Complaint | None:
    """No prompt longer than the model can read."""
    size = case.model.context_tokens
    if size is None or case.input_tokens <= size:
        return None
    words = CONTEXT.get(case.model.provider, CONTEXT_ELSEWHERE)
    return Complaint(words.format(input=case.input_tokens, context=size), code="context_length_exceeded")


CHECKS: tuple[Callable[[Case], Complaint | None], ...] = (
    unsupported_by_databricks,
    parameters_of_the_model,
    effort_on_chat,
    thinking_of_claude,
    schema_of_openai,
    schema_of_claude,
    smallest_cap,
    largest_cap,
    context,
)
"""In the order they are made."""


def complaint(case: Case) -> Complaint | None:
    """The first thing that is wrong with a request."""
    for check in CHECKS:
        found = check(case)
        if found is not None:
            return found
    return None
