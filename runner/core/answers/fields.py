"""Fields by a JSON schema, read from a reply.

Checking is handed in; only what the schema leaves no choice about is mended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from runner.core.answers import unwrapping
from runner.core.answers.json_text import Found, embedded, parse
from runner.core.answers.labels import open_reply
from runner.core.answers.structured import different
from runner.core.answers.values import Answer, Invalid
from runner.core.answers.vocabulary import Vocabulary
from runner.core.values import Json

Validate = Callable[[Json], Sequence[str]]
"""What is wrong with a value, one clause each; empty if nothing is."""

MOST_ERRORS = 3
"""Errors of a value that are named in the reason."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?")


def read_fields(
    text: str, schema: Mapping[str, Json], synonyms: Mapping[str, str], validate: Validate | None
) -> Answer | Invalid:
    """The one JSON value of a reply that satisfies the schema."""
    opened = open_reply(text)
    if isinstance(opened, Invalid):
        return opened
    candidates = json_values(opened.value, lists=schema.get("type") == "array")
    if not candidates:
        broken = "{" in text or "[" in text
        return Invalid("its JSON breaks off or cannot be read" if broken else "it holds no JSON")
    read = [_fitted(found, schema, synonyms, validate) for found in candidates]
    answers = [answer for answer in read if isinstance(answer, Answer)]
    if not answers:
        return read[0]
    if any(different(answers[0].value, other.value) for other in answers):
        return Invalid("it holds several JSON values that differ")
    repeated = ("repeated",) if len(answers) > 1 else ()
    return Answer(answers[0].value, tuple(dict.fromkeys((*opened.repairs, *answers[0].repairs, *repeated))))


def json_values(text: str, *, lists: bool) -> list[Found]:
    """What a reply may mean by its JSON: the whole of it, else the outermost objects, or with `lists` the lists."""
    inner = unwrapping.fence(text).strip()
    fenced = ("fence",) if inner != text.strip() else ()
    whole = parse(inner)
    if whole is not None:
        return [Found(whole.value, (*fenced, *whole.repairs))]
    found = [Found(item.value, ("prose", *item.repairs)) for item in embedded(text)]
    kind = list if lists else dict
    return [item for item in found if isinstance(item.value, kind)]


def _fitted(
    found: Found, schema: Mapping[str, Json], synonyms: Mapping[str, str], validate: Validate | None
) -> Answer | Invalid:
    if validate is None:
        return Answer(found.value, found.repairs)
    errors = validate(found.value)
    if not errors:
        return Answer(found.value, found.repairs)
    repairs: list[str] = []
    value = _fit(found.value, schema, synonyms, repairs)
    if repairs and not validate(value):
        return Answer(value, (*found.repairs, *repairs))
    more = f", and {len(errors) - MOST_ERRORS} more" if len(errors) > MOST_ERRORS else ""
    return Invalid("; ".join(errors[:MOST_ERRORS]) + more)


def _fit(value: Json, schema: Json, synonyms: Mapping[str, str], repairs: list[str]) -> Json:
    """The value with its enumerated words and its numbers as the schema spells them; each change is noted."""
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, dict):
        inner = schema.get("properties")
        inner = inner if isinstance(inner, Mapping) else {}
        return {key: _fit(item, inner.get(key), synonyms, repairs) for key, item in value.items()}
    if isinstance(value, list):
        return [_fit(item, schema.get("items"), synonyms, repairs) for item in value]
    if not isinstance(value, str):
        return value
    words = schema.get("enum")
    if isinstance(words, list) and value not in words:
        known = [word for word in words if isinstance(word, str)]
        own = {word: label for word, label in synonyms.items() if label in known}
        match = Vocabulary(known, own).match(value.strip())
        if match is not None:
            repairs.extend(match[1] or ("case",))
            return match[0]
    if schema.get("type") in ("number", "integer") and _NUMBER.fullmatch(value.strip()):
        repairs.append("number")
        return float(value) if "." in value else int(value)
    return value
