"""One label of a closed set, or several of them, read from a reply.

The order: the reply is a label; its JSON gives one; more than one is named, which is never resolved; wrappings are
taken off, and the rest is a label; a label stands first and a remark follows; the last line is a label; a sentence
states it. A label that is only mentioned is no answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from runner.core.answers import unwrapping
from runner.core.answers.doubt import DOUBT, LONGEST_LEAD, LONGEST_REMARK, denied, in_doubt, negative, taken_back
from runner.core.answers.json_text import Found
from runner.core.answers.structured import field_of
from runner.core.answers.unwrapping import QUOTES, unwrapped
from runner.core.answers.values import Answer, Invalid
from runner.core.answers.vocabulary import Mention, Vocabulary, fold
from runner.core.values import Json

_CLOSING = f"[{re.escape(QUOTES)}\\s]*"
_REMARK = re.compile(
    rf"[{re.escape(QUOTES)}]*(?:[^\S\n]*\n|[^\S\n]*(?:[(–—]|:(?!{_CLOSING}\d))|[^\S\n]+-[^\S\n]|[.!](?:\s|$)"
    r"|,\s+(?:because|since|as|due)\b|(?P<clause>,\s))"
)
_STATES = re.compile(
    rf"(?:\b(?:is|as|be|choose|select|pick|assign|under)|[:=→]|->)\s*(?:(?:an?|the|clearly|definitely)\s+)?{_CLOSING}$"
)
_STATED = re.compile(rf"{_CLOSING}(?:[.!]|$)")
_SENTENCE = re.compile(r"[.!?\n](?=\s|$)|\n")
_ENDS_LINE = re.compile(r"[.!?:。\]})*`]$")
NONE = frozenset({"none", "none of them", "none of the above", "none of these", "no label", "no labels", "n/a", "[]"})
"""What stands for no label at all, where that is allowed."""


def read_label(text: str, vocabulary: Vocabulary) -> Answer | Invalid:
    """The one label that a reply gives."""
    exact = vocabulary.match(text)
    if exact is not None and not exact[1]:
        return Answer(text)
    opened = open_reply(text)
    if isinstance(opened, Invalid):
        return opened
    text, done = opened.value, opened.repairs
    structured = field_of(text, "label")
    if isinstance(structured, Invalid):
        return structured
    if structured is None:
        return _after(done, spoken(text, vocabulary))
    if structured.value is None:
        return Invalid("its label is null")
    if isinstance(structured.value, (dict, list)):
        return Invalid("its label is no single value")
    return _after((*done, *structured.repairs), spoken(_as_text(structured.value), vocabulary))


def open_reply(text: str) -> Found | Invalid:
    """The text after the model's thinking; Invalid if there is none."""
    answer = unwrapping.thinking(text)
    if answer is None:
        return Invalid("it ends before its thinking does")
    if not answer.strip():
        return Invalid("it is empty")
    return Found(answer, () if answer == text else ("thinking",))


def spoken(text: str, vocabulary: Vocabulary) -> Answer | Invalid:
    """The one label that a text without JSON gives."""
    whole = vocabulary.match(text.strip())
    if whole is not None:
        return Answer(*whole)
    mentions = vocabulary.mentions(folded_lines(text))
    named = sorted({mention.label for mention in mentions})
    if len(named) > 1:
        return Invalid(f"it names {len(named)} labels: {', '.join(named)}")
    for inner, done in unwrapped(text):
        match = vocabulary.match(inner)
        if match is not None:
            return _after(done, Answer(*match))
    if not named:
        return Invalid("it names none of the labels")
    for inner, done in unwrapped(text):
        if _heads(inner, vocabulary):
            return Answer(named[0], (*done, "remark"))
    if _ends(text, vocabulary):
        return Answer(named[0], ("last line",))
    if stated(folded_lines(text), mentions):
        return Answer(named[0], ("statement",))
    return Invalid(f"it names {named[0]}, but does not state it as the answer")


def folded_lines(text: str) -> str:
    """The text in one case, line by line."""
    return "\n".join(fold(line) for line in text.splitlines())


def _heads(text: str, vocabulary: Vocabulary) -> bool:
    """Whether a label stands first, and a remark that does not take it back follows."""
    folded = folded_lines(text.lstrip(QUOTES))
    first, *others = vocabulary.mentions(folded) or (None,)
    remark = _REMARK.match(folded, first.end) if first is not None and first.start == 0 else None
    if first is None or remark is None:
        return False
    agrees = negative(folded[: first.end])
    near = takewhile(lambda mention: mention.start <= first.end + LONGEST_REMARK, others)
    if not agrees and any(denied(folded, mention.start) for mention in near):
        return False
    return not in_doubt(folded, remark.start(), agrees=agrees, clause=bool(remark["clause"]))


def _ends(text: str, vocabulary: Vocabulary) -> bool:
    """Whether the last line is a label by itself, and what goes before it has come to an end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not any(vocabulary.match(inner) for inner, _ in unwrapped(lines[-1])):
        return False
    before = lines[-2]
    return bool(_ENDS_LINE.search(before)) and not (before.endswith(("?", ":")) and DOUBT.search(before))


def stated(folded: str, mentions: Iterable[Mention]) -> bool:
    """Whether a sentence states a label: one at least does, and no other leaves it in doubt."""
    found = False
    for mention in mentions:
        nearest = max(0, mention.start - LONGEST_LEAD)
        starts = [match.end() for match in _SENTENCE.finditer(folded, nearest, mention.start)]
        before = folded[starts[-1] if starts else nearest : mention.start]
        agrees = negative(folded[mention.start : mention.end])
        if DOUBT.search(before) or taken_back(folded, mention.end, agrees=agrees):
            return False
        found |= bool(_STATES.search(before) and _STATED.match(folded, mention.end))
    return found


def read_labels(
    text: str, labels: Sequence[str], vocabulary: Vocabulary, fewest: int, most: int | None
) -> Answer | Invalid:
    """The labels that a reply gives, each once, in the order of the declaration."""
    opened = open_reply(text)
    if isinstance(opened, Invalid):
        return opened
    text, done = opened.value, opened.repairs
    structured = field_of(text, "labels", lists=True)
    if isinstance(structured, Invalid):
        return structured
    if structured is None:
        answer = _listed(text, vocabulary)
    else:
        done = (*done, *structured.repairs)
        value = structured.value
        answer = _each(value, vocabulary) if isinstance(value, list) else _listed(_as_text(value), vocabulary)
    if isinstance(answer, Invalid):
        return answer
    chosen = tuple(label for label in labels if label in answer.value)
    if len(chosen) < fewest or (most is not None and len(chosen) > most):
        return Invalid(f"it gives {len(chosen)} labels, and {wanted(fewest, most)} wanted")
    repeated = ("repeated",) if len(chosen) < len(answer.value) else ()
    return _after(done, Answer(chosen, (*answer.repairs, *repeated)))


def wanted(fewest: int, most: int | None) -> str:
    """How many labels may be given, as words before "wanted"."""
    if most is None:
        return f"at least {fewest} {'is' if fewest == 1 else 'are'}"
    if most == fewest:
        return f"exactly {most} {'is' if most == 1 else 'are'}"
    return f"{fewest} to {most} are"


_SPLITS = tuple(re.compile(pattern) for pattern in (r"\n", r"[;|]", r",", r",(?:\sand\s)?|\sand\s|\s&\s"))
"""How lists are written, in the order in which they are tried."""


def _listed(text: str, vocabulary: Vocabulary) -> Answer | Invalid:
    for inner, done in unwrapped(text):
        if fold(inner) in NONE and vocabulary.match(inner) is None:
            return Answer((), done)
        for split in _SPLITS:
            answer = _each([piece for piece in split.split(inner.strip()) if piece.strip()], vocabulary)
            if isinstance(answer, Answer) and answer.value:
                return _after(done, answer)
    return Invalid("it is no list of the labels alone")


def _each(items: Sequence[Json], vocabulary: Vocabulary) -> Answer | Invalid:
    """Every item as a label, or Invalid for the first that is none."""
    labels: list[str] = []
    repairs: list[str] = []
    for item in items:
        for inner, done in unwrapped(_as_text(item)):
            match = vocabulary.match(inner)
            if match is not None:
                labels.append(match[0])
                repairs += [*done, *match[1]]
                break
        else:
            return Invalid(f"{_as_text(item)[:60]!r} is none of the labels")
    return Answer(tuple(labels), tuple(dict.fromkeys(repairs)))


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _after(done: Sequence[str], answer: Answer | Invalid) -> Answer | Invalid:
    """The answer with the repairs that went before it."""
    if isinstance(answer, Invalid) or not done:
        return answer
    return Answer(answer.value, tuple(dict.fromkeys((*done, *answer.repairs))))
