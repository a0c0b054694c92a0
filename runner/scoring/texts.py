"""Texts beside each other: equal, equal but for writing, contained, matching, alike."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

import jsonschema_rs
from rapidfuzz.distance import LCSseq, Levenshtein

from runner.core.errors import UsageError
from runner.core.values import Json
from runner.scoring.scores import RIGHT, WRONG, Judge, Score, any_of, as_json, as_text, graded
from runner.scoring.structures import same_json

LONGEST_PATTERN = 2_000
"""Characters of a regular expression."""
LARGEST_PATTERN = 1_000_000
"""Bytes that one may take once it is compiled: a counted repetition of a repetition can be huge."""

_PUNCTUATION = re.compile(r"[^\w\s]|_")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_WORDS = re.compile(r"\w+")


@lru_cache(maxsize=4096)
def normalised(text: str, punctuation: bool = True, articles: bool = True) -> str:
    """The text in one case and spacing, without punctuation and English articles, if anything is left without them."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    plain = " ".join(_PUNCTUATION.sub(" ", folded).split()) if punctuation else folded
    bare = " ".join(_ARTICLES.sub(" ", plain).split()) if articles else plain
    return bare or plain or folded


def exact(_options: Mapping[str, Json]) -> Judge:
    """Equal to the character; numbers are equal by value, also where one of the two is written as text."""

    def judge(answer: Json, expected: Json) -> Score:
        if isinstance(answer, (int, float)) or isinstance(expected, (int, float)):
            same = same_json(as_json(answer), as_json(expected))
        else:
            same = as_text(answer) == as_text(expected)
        return RIGHT if same else WRONG

    return any_of(judge)


def exact_normalised(options: Mapping[str, Json]) -> Judge:
    """Equal but for case, spacing, punctuation and articles."""
    rules = (bool(options["punctuation"]), bool(options["articles"]))

    def judge(answer: Json, expected: Json) -> Score:
        return RIGHT if normalised(as_text(answer), *rules) == normalised(as_text(expected), *rules) else WRONG

    return any_of(judge)


def contains(options: Mapping[str, Json]) -> Judge:
    """The expected text stands in the answer, as whole words unless told otherwise."""
    case, words = options["case"], options["words"]

    def judge(answer: Json, expected: Json) -> Score:
        text, wanted = as_text(answer), as_text(expected)
        if not wanted.strip():
            return Score(None, "what is expected is empty, which any text contains")
        if not case:
            text, wanted = text.casefold(), wanted.casefold()
        at = text.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            if not words or (_edge(text, at) and _edge(text, end)):
                return RIGHT
            at = text.find(wanted, at + 1)
        return Score(0.0, "it does not contain what is expected")

    return any_of(judge)


def _edge(text: str, at: int) -> bool:
    """Whether a word begins or ends here, or there is no word on one of the sides."""
    return at in (0, len(text)) or not (text[at - 1].isalnum() and text[at].isalnum())


def regex(options: Mapping[str, Json]) -> Judge:
    """The answer matches a pattern: the option's, or else the expected text.

    Patterns run on an engine that takes time in proportion to the text whatever the pattern (Rust's `regex`); it knows
    no look-around and no back-references, and refuses them.
    """
    flags, whole = "" if options["case"] else "(?i)", options["whole"]
    if options["pattern"] is not None:
        fixed = _compiled(as_text(options["pattern"]), flags, bool(whole))
        if isinstance(fixed, str):
            raise UsageError(f"The scorer regex cannot use its pattern: {fixed}.")

    def judge(answer: Json, expected: Json) -> Score:
        pattern = expected if options["pattern"] is None else options["pattern"]
        compiled = _compiled(as_text(pattern), flags, bool(whole))
        if isinstance(compiled, str):
            return Score(None, compiled)
        text = as_text(answer).encode("utf-8", "replace").decode()
        return RIGHT if compiled.is_valid(text) else Score(0.0, "it does not match")

    return judge if options["pattern"] is not None else any_of(judge)


@lru_cache(maxsize=4096)
def _compiled(pattern: str, flags: str, whole: bool) -> jsonschema_rs.Draft202012Validator | str:
    """The pattern, ready; or why it cannot be used."""
    if len(pattern) > LONGEST_PATTERN:
        return f"a pattern may have {LONGEST_PATTERN:,} characters, and this has {len(pattern):,}"
    full = rf"{flags}\A(?:{pattern})\z" if whole else f"{flags}{pattern}"
    engine = jsonschema_rs.RegexOptions(size_limit=LARGEST_PATTERN)
    try:
        return jsonschema_rs.Draft202012Validator({"pattern": full}, pattern_options=engine)
    except ValueError:
        bounds = "in linear time (no look-around, no back-references) and bounded memory"
        return f"{pattern!r} is no pattern that runs {bounds}"


def token_f1(options: Mapping[str, Json]) -> Judge:
    """Harmonic mean of precision and recall of words, each as often as it occurs, as for SQuAD."""
    rules = (bool(options["punctuation"]), bool(options["articles"]))

    def judge(answer: Json, expected: Json) -> Score:
        given = normalised(as_text(answer), *rules).split()
        wanted = normalised(as_text(expected), *rules).split()
        if not given or not wanted:
            return RIGHT if given == wanted else WRONG
        common = (Counter(given) & Counter(wanted)).total()
        return graded(2 * common / (len(given) + len(wanted)), f"{common} words in common")

    return any_of(judge)


def edit(options: Mapping[str, Json]) -> Judge:
    """1 less the share of characters to change, insert or delete (Levenshtein), of the longer text."""
    plain = bool(options["normalise"])

    def judge(answer: Json, expected: Json) -> Score:
        one, other = as_text(answer), as_text(expected)
        if plain:
            one, other = normalised(one, False, False), normalised(other, False, False)
        return graded(Levenshtein.normalized_similarity(one, other), "some characters differ")

    return any_of(judge)


def rouge_l(_options: Mapping[str, Json]) -> Judge:
    """ROUGE-L (Lin 2004), F1: the longest common subsequence of words, in one case, without stemming."""

    def judge(answer: Json, expected: Json) -> Score:
        given, wanted = (_WORDS.findall(as_text(value).casefold()) for value in (answer, expected))
        if not given or not wanted:
            return RIGHT if given == wanted else WRONG
        common = LCSseq.similarity(given, wanted)
        return graded(2 * common / (len(given) + len(wanted)), f"{common} words in common, in order")

    return any_of(judge)
