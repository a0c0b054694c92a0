"""What becomes of a user's JSON schema on its way to a provider that takes no open ones."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runner.core.catalog import Model
from runner.core.values import Message, Request, Settings
from runner.gateway.dialects import DIALECTS
from runner.gateway.dialects.schemas import closed, described, is_strict, spelt_out

TEXT = {"type": "string"}


def thing(**more: Any) -> dict[str, Any]:
    """An object that lists one property."""
    return {"type": "object", "properties": {"a": TEXT}} | more


def shut(**more: Any) -> dict[str, Any]:
    return thing(additionalProperties=False, **more)


CLOSED: dict[str, tuple[Any, Any]] = {
    "an object": (thing(), shut()),
    "one that says so itself": (shut(), shut()),
    "one that says the opposite": (thing(additionalProperties=True), thing(additionalProperties=True)),
    "one of any fields": ({"type": "object"}, {"type": "object"}),
    "in another": (thing(properties={"a": thing()}), shut(properties={"a": shut()})),
    "in a list": ({"type": "array", "items": thing()}, {"type": "array", "items": shut()}),
    "one of several": ({"anyOf": [thing(), TEXT]}, {"anyOf": [shut(), TEXT]}),
    "by name": (
        thing(properties={"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": thing()}}),
        shut(properties={"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": shut()}}),
    ),
    "a property with the name of a word": (thing(properties={"allOf": thing()}), shut(properties={"allOf": shut()})),
    "anything": (True, True),
}
COMBINED: dict[str, Any] = {
    "all of several": {"allOf": [thing(), {"properties": {"b": TEXT}}]},
    "properties beside alternatives": thing(anyOf=[{"properties": {"b": TEXT}}, {"required": ["a"]}]),
    "properties beside a reference": thing(**{"$ref": "#/$defs/b", "$defs": {"b": {"properties": {"b": TEXT}}}}),
    "names by a pattern": thing(patternProperties={"^x-": TEXT}),
    "deep within": thing(properties={"a": {"items": {"allOf": [thing()]}}}),
}


@pytest.mark.parametrize(("schema", "sent"), CLOSED.values(), ids=CLOSED.keys())
def test_objects_that_list_their_properties_are_closed(schema: Any, sent: Any) -> None:
    """Wherever they stand, unless they say themselves whether there may be others."""
    assert closed(schema) == sent


@pytest.mark.parametrize("schema", COMBINED.values(), ids=COMBINED.keys())
def test_schemas_that_are_combined_stay_as_they_are(schema: Any) -> None:
    """Closed, each would forbid what another one asks for, and nothing could satisfy them."""
    assert closed(schema) == schema


def text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


DESCRIBED: dict[str, tuple[Any, Any]] = {
    "an object": (thing(), shut()),
    "a range": (
        thing(properties={"a": {"type": "integer", "minimum": 1, "maximum": 10, "description": "How good"}}),
        shut(properties={"a": {"type": "integer", "description": "How good\n\n{minimum: 1, maximum: 10}"}}),
    ),
    "a length": (text(maxLength=9), text(description="{maxLength: 9}")),
    "a pattern": (text(pattern='^"a$'), text(description='{pattern: "^\\"a$"}')),
    "formats": ({"anyOf": [text(format="date"), text(format="iri")]},
                {"anyOf": [text(format="date"), text(description='{format: "iri"}')]}),
    "numbers of items": (
        {"type": "array", "minItems": 2, "maxItems": 3, "items": text(minLength=1)},
        {"type": "array", "items": text(description="{minLength: 1}"), "description": "{minItems: 2, maxItems: 3}"},
    ),
    "an item at least": ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 1}),
    "values": ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None]}),
    "values that are objects": ({"enum": [{"a": 1}]}, {"description": '{enum: [{"a":1}]}'}),
    "one of several": ({"oneOf": [TEXT, thing()]}, {"anyOf": [TEXT, shut()]}),
    "a reference": (
        {"$schema": "s", "$ref": "#/$defs/b", "$defs": {"b": text(minLength=1)}},
        {"$ref": "#/$defs/b", "$defs": {"b": text(description="{minLength: 1}")}},
    ),
    "a property with the name of a word": (thing(properties={"minimum": TEXT}), shut(properties={"minimum": TEXT})),
    "what combines schemas": (thing(allOf=[{"required": ["a"], "minProperties": 1}]),
                              thing(allOf=[{"required": ["a"], "description": "{minProperties: 1}"}])),
    "anything": (True, True),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "sent"), DESCRIBED.values(), ids=DESCRIBED.keys())
def test_what_claude_has_no_word_for_is_described(schema: Any, sent: Any) -> None:
    """Its own dialect refuses a schema with any other word; the answer is checked against the user's all the same."""
    assert described(schema) == sent


def referring(**more: Any) -> dict[str, Any]:
    """An object whose one property is defined elsewhere."""
    return thing(properties={"a": {"$ref": "#/$defs/b~1c", **more}}, **{"$defs": {"b/c": text(title="B")}})


LOOP = {"$ref": "#/$defs/b", "description": "c"}
SPELT_OUT: dict[str, tuple[Any, Any]] = {
    "alone": (referring(), referring()),
    "with a description": (
        referring(description="c"),
        thing(properties={"a": text(title="B", description="c")}, **{"$defs": {"b/c": text(title="B")}}),
    ),
    "with a bound": (
        referring(maxLength=9),
        thing(properties={"a": text(title="B", maxLength=9)}, **{"$defs": {"b/c": text(title="B")}}),
    ),
    "with what contradicts it": (referring(type="null"), referring(type="null")),
    "to nowhere": ({"items": {"$ref": "#/x/y", "title": "T"}}, {"items": {"$ref": "#/x/y", "title": "T"}}),
    "of the whole": ({"$ref": "#/$defs/b", "$defs": {"b": TEXT}}, {"$ref": "#/$defs/b", "$defs": {"b": TEXT}}),
    "to itself": (
        {"items": LOOP, "$defs": {"b": {"items": LOOP}}},
        {"items": {"items": LOOP, "description": "c"}, "$defs": {"b": {"items": {"items": LOOP, "description": "c"}}}},
    ),
}


@pytest.mark.parametrize(("schema", "sent"), SPELT_OUT.values(), ids=SPELT_OUT.keys())
def test_a_reference_has_nothing_beside_it(schema: Any, sent: Any) -> None:
    """Libraries describe fields of a type of their own so, and OpenAI's strict mode and Gemini refuse it."""
    assert spelt_out(schema) == sent


STRICT: dict[str, tuple[Any, bool]] = {
    "all is required": (shut(required=["a"]), True),
    "something is optional": (shut(), False),
    "closed when it is sent": (thing(required=["a"]), True),
    "open by its own word": (thing(required=["a"], additionalProperties=True), False),
    "optional within": (shut(properties={"a": shut()}, required=["a"]), False),
    "no object": ({"type": "array", "items": TEXT}, False),
    "a word that it does not know": (shut(properties={"a": {"type": "string", "minLength": 1}}, required=["a"]), False),
    "a reference with a description": (
        shut(properties={"a": {"$ref": "#/$defs/b", "title": "A"}}, required=["a"], **{"$defs": {"b": TEXT}}),
        True,
    ),
    "a reference with what contradicts it": (
        shut(properties={"a": {"$ref": "#/$defs/b", "type": "null"}}, required=["a"], **{"$defs": {"b": TEXT}}),
        False,
    ),
    "no type": (shut(properties={"a": {"enum": ["x"]}}, required=["a"]), False),
    "an object of nothing": (thing(properties={}, additionalProperties=False), True),
    "an object of anything": (shut(properties={"a": {"type": "object"}}, required=["a"]), False),
}


@pytest.mark.parametrize(("schema", "strict"), STRICT.values(), ids=STRICT.keys())
def test_strict_mode_takes_closed_schemas_in_which_all_is_required(schema: Any, strict: bool) -> None:
    """Where it would not, a strict schema is a 400 for each row."""
    assert is_strict(schema) is strict


@pytest.mark.parametrize(
    ("dialect", "provider", "place", "strict"),
    [
        ("chat", "OpenAI", ("response_format", "json_schema"), {"strict": False}),
        ("chat", "Meta", ("response_format", "json_schema"), {"strict": True}),
        ("responses", "OpenAI", ("text", "format"), {"strict": False}),
        ("messages", "Anthropic", ("output_config", "format"), {}),
    ],
)
def test_what_a_provider_would_refuse_is_not_sent(dialect: str, provider: str, place: Any, strict: Any) -> None:
    """Schemas as most people and libraries write them leave open what else there may be, and have optional fields."""
    model = Model(id="m", provider=provider, endpoints=(dialect,))
    request = Request(messages=(Message(role="user", content="Hi"),), settings=Settings(max_tokens=99, schema=thing()))
    said = orjson.loads(DIALECTS[dialect].encode(request, model).body)
    for name in place:
        said = said[name]
    assert said["schema"] == shut()
    assert {name: said[name] for name in said.keys() & {"strict"}} == strict
