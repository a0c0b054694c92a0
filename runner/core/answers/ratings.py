"""A number within a range, read from a reply. More than one number, or one that is only mentioned, is no answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner.core.answers.doubt import DOUBT, LONGEST_LEAD, number_in_doubt
from runner.core.answers.labels import open_reply
from runner.core.answers.structured import field_of
from runner.core.answers.unwrapping import unwrapped
from runner.core.answers.values import Answer, Invalid
from runner.core.answers.vocabulary import Vocabulary
from runner.core.values import Json

_NUMBER = r"[-+−]?\d+(?:\.\d+)?"
_ALONE = re.compile(_NUMBER)
_OUT_OF = re.compile(rf"(?P<value>{_NUMBER})\s*(?:/|out of|of)\s*(?P<highest>\d+(?:\.\d+)?)(?:\s+(?:stars?|points?))?")
_UNIT = re.compile(rf"(?P<value>{_NUMBER})\s*(?:stars?|points?|(?P<percent>%|percent))", re.IGNORECASE)
_ANY = re.compile(r"(?<![\w.,])[-+−]?\d+(?:[.,]\d+)*(?!\w)")
_REMARK = re.compile(r"\s*(?:\n|[(:–—]|-\s|[.!](?:\s|$)|,\s+(?:because|since|as|due)\b)")
_STATES = re.compile(
    r"(?:(?:rat|scor|grad|giv|mark|assign)\w*\b[^.\n]{0,60}?\b(?:is|as|of|at|be|it|this|an?)|\b(?:is|be)|[:=→])"
    r"\s*(?:an?\s+)?[\s\"'`*_(]*$",
    re.IGNORECASE,
)
_STATED = re.compile(r"[\s\"'`*_)]*(?:stars?|points?)?[\s*]*(?:[.!](?!\d)|$|\n)")


LARGEST = 1e300
"""Beyond it a whole number of JSON is no number that can be shown."""
MOST_MENTIONS = 20
"""Numbers in prose that are looked at; a longer text is no rating."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What a rating may be; the ends are included."""

    low: float
    high: float
    whole: bool = False

    def place(self, number: float, repairs: tuple[str, ...]) -> Answer | Invalid:
        """The number as an answer, if it stands on the scale; whole numbers become int."""
        if not self.low <= number <= self.high:
            return Invalid(f"{number:g} is not between {self.low:g} and {self.high:g}")
        if self.whole and number != int(number):
            return Invalid(f"{number:g} is no whole number")
        return Answer(int(number) if number == int(number) else number, tuple(dict.fromkeys(repairs)))


def read_rating(text: str, scale: Scale, words: Vocabulary) -> Answer | Invalid:
    """The rating that a reply gives; `words` are the job's synonyms for numbers."""
    opened = open_reply(text)
    if isinstance(opened, Invalid):
        return opened
    text, done = opened.value, opened.repairs
    structured = field_of(text, "rating")
    if isinstance(structured, Invalid):
        return structured
    if structured is None:
        return _spoken(text, scale, words, done)
    return _value(structured.value, scale, words, (*done, *structured.repairs))


def _value(value: Json, scale: Scale, words: Vocabulary, done: tuple[str, ...]) -> Answer | Invalid:
    if isinstance(value, str):
        return _spoken(value, scale, words, (*done, "number"))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Invalid("its rating is no number")
    if abs(value) > LARGEST:
        return Invalid("its rating is too large")
    return scale.place(value, done)


def _spoken(text: str, scale: Scale, words: Vocabulary, done: tuple[str, ...]) -> Answer | Invalid:
    for inner, taken in unwrapped(text):
        repairs = (*done, *taken)
        if _ALONE.fullmatch(inner):
            return scale.place(_number(inner), repairs)
        match = words.match(inner)
        if match is not None:
            return scale.place(float(match[0]), (*repairs, "synonym"))
        if out_of := _OUT_OF.fullmatch(inner):
            if float(out_of["highest"]) != scale.high:
                return Invalid(f"it rates out of {out_of['highest']}, and the highest is {scale.high:g}")
            return scale.place(_number(out_of["value"]), (*repairs, "out of"))
        if (unit := _UNIT.fullmatch(inner)) and (not unit["percent"] or (scale.low, scale.high) == (0, 100)):
            return scale.place(_number(unit["value"]), (*repairs, "unit"))
    return _in_prose(text, scale, done)


def _in_prose(text: str, scale: Scale, done: tuple[str, ...]) -> Answer | Invalid:
    """A number that stands first with a remark behind it, or that a sentence states, if there is no other number."""
    plain = re.sub(rf"(?<=\d)\s*(?:/|out of)\s*{scale.high:g}(?![\d.]*\d)", "", text)
    shortened = ("out of",) if plain != text else ()
    numbers = list(_ANY.finditer(plain))
    if not numbers:
        return Invalid("it holds no number")
    if any("," in match.group() for match in numbers):
        return Invalid("it holds a number with a comma, which may be one number or two")
    if len(numbers) > MOST_MENTIONS:
        return Invalid(f"it holds {len(numbers)} numbers")
    if len({match.group() for match in numbers}) > 1:
        return Invalid(f"it holds several numbers: {', '.join(dict.fromkeys(match.group() for match in numbers))}")
    number = numbers[0]
    if not _ALONE.fullmatch(number.group()):
        return Invalid(f"{number.group()} is no number")
    for inner, taken in unwrapped(plain):
        first = _ALONE.match(inner)
        remark = first and first.group() == number.group() and _REMARK.match(inner, first.end())
        if remark and not number_in_doubt(inner, remark.start()):
            return scale.place(_number(number.group()), (*done, *taken, *shortened, "remark"))
    for match in numbers:
        before = re.split(r"[.!?](?=\s)|\n", plain[max(0, match.start() - LONGEST_LEAD) : match.start()])[-1]
        if DOUBT.search(before) or number_in_doubt(plain, match.end()):
            break
        if _STATES.search(before) and _STATED.match(plain, match.end()):
            return scale.place(_number(match.group()), (*done, *shortened, "statement"))
    return Invalid(f"it mentions {number.group()}, but does not state it as the rating")


def _number(digits: str) -> float:
    return float(digits.replace("−", "-"))
