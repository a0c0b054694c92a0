"""Words that deny an answer or leave it open: before it, and in the remark behind it."""

from __future__ import annotations

import re

LONGEST_LEAD = 200
"""Characters before an answer that are looked at for words that state it or leave it in doubt."""
LONGEST_REMARK = 80
"""Characters behind an answer that are looked at for words that take it back."""

_DENIAL = (
    r"not|no|never|neither|none|non|false|untrue|wrong|incorrect|unlikely|unable|doubtful|absent|exclud\w*|reject\w*|"
    r"dismiss\w*|discard\w*|ruled\s+out|(?:less|least)\s+likely|nein|nicht|kein\w*|pas|ni"
)
_DENIES = rf"{_DENIAL}|(?:less|(?<!at )least|second)\s+\w+"
_LEAVES_OPEN = (
    r"\b(?:without|except|unlike|rather|instead|if|whether|unless|either|between|could|might|may|can|perhaps|maybe|"
    r"possibly|unsure|uncertain|unclear|insufficient|almost|nearly|hardly|barely|opposite|far|anything|but|"
    r"alternative\w*|too\b.{0,60}?\bto|(?:hard|difficult|refus\w*|declin\w*|hesitat\w*|fail\w*|pretend\w*|claim\w*|"
    r"purport\w*)\s+to)\b|\?"
)
_OPEN = re.compile(_LEAVES_OPEN, re.IGNORECASE)
DOUBT = re.compile(rf"\b(?:{_DENIES}|nor|cannot)\b|n['’]t\b|{_LEAVES_OPEN}", re.IGNORECASE)
"""Words that turn a statement round or leave it open: what follows them is no answer."""
_DENIED = re.compile(rf"(?:\b(?:{_DENIES})|n['’]t)\s+(?:\w+\s+){{0,2}}$", re.IGNORECASE)
_NEGATIVE = re.compile(rf"\b(?:{_DENIAL})\b|n['’]t\b", re.IGNORECASE)
_LEADS = r"[\W_]*(?:(?:actually|well|oh|hmm+|and|so|but)\b[\W_]*)*"
_SUBJECT = r"(?:(?:it|this|that|is|was|does|are|do|['’]?s)\b\s*)*"
_ENDS = r"(?:[*_`\"'”’»]*\s*(?:$|[\n.,;:!?)\]–—]|-\s)|\s+(?:because|since|as|due)\b)"
_WITHDRAWS = rf"(?:wait|sorry|correction){_ENDS}"
_WITHDRAWN = re.compile(_LEADS + _WITHDRAWS, re.IGNORECASE)
_TAKES_BACK = re.compile(
    rf"{_LEADS}(?:{_SUBJECT}(?:{_DENIAL}|\w+n['’]t)(?:\s+(?:really|quite|likely|applicable|at\s+all))?{_ENDS}"
    rf"|{_WITHDRAWS})",
    re.IGNORECASE,
)
_VALUE = re.compile(rf"[^\w\s:]*\s*:[\W_]*(?:{_DENIAL})\b", re.IGNORECASE)
_DENYING_NAME = re.compile(
    rf"[\W_]*{_SUBJECT}(?:(?:{_DENIES}|nor|cannot|without|except|unlike|instead|opposite|alternative\w*)\b|\w*n['’]t\b)",
    re.IGNORECASE,
)
_UNSURE = r"not sure|unsure|uncertain|unclear|maybe|perhaps|possibly|might|guess\w*|or"
_HEDGE = re.compile(rf"\b(?:{_UNSURE}|unlikely|doubtful|wrong)\b|\?", re.IGNORECASE)
_HEDGE_OF_DENIAL = re.compile(rf"\b(?:{_UNSURE})\b|\?", re.IGNORECASE)
_NUMBER_OPEN = re.compile(
    rf"{_LEADS}(?:(?:not|no|nein|nicht)(?:\s+(?:really|quite|applicable|at\s+all))?{_ENDS}|{_WITHDRAWS}"
    r"|(?:(?:I|I['’]m|am|would|just|only|an?|my|best|rough|wild|this|it|is|it['’]s)\s+)*"
    r"(?:not\s+(?:\w+\s+)?(?:sure|certain)\b|unsure\b|guess\w*\b|(?:might|may|could)\s+be\s+wrong\b|or\b"
    r"|(?:hard|difficult)\s+to\s+(?:say|tell|judge|rate)\b|(?:do\s+not|don['’]t|cannot|can['’]t)\s+(?:know|tell|decide)\b"
    rf"|(?:uncertain|maybe|perhaps|possibly)(?:{_ENDS}|\s+(?:an?|more|less|higher|lower)\b)))|[^\w?]*\?",
    re.IGNORECASE,
)


def denied(text: str, at: int) -> bool:
    """Whether a word just before this place denies what stands here."""
    return bool(_DENIED.search(text, max(0, at - LONGEST_REMARK), at))


def negative(answer: str) -> bool:
    """Whether an answer is a denial itself, such as "no" or "not spam": one behind it agrees with it."""
    return bool(_NEGATIVE.search(answer))


def denying_name(name: str) -> bool:
    """Whether the name of a field begins with a denial, so that its value is what is not meant."""
    return bool(_DENYING_NAME.match(name))


def taken_back(text: str, at: int, *, agrees: bool = False) -> bool:
    """Whether the remark that begins here denies the answer before it: by a word that has a clause to itself.

    One that belongs to others explains the answer, as in "No sender is named." With `agrees` a denial agrees with the
    answer, unless it is the value of what the answer names, as in "Not spam: no".
    """
    end = at + LONGEST_REMARK
    if agrees:
        return bool(_WITHDRAWN.match(text, at, end) or _VALUE.match(text, at, end))
    return bool(_TAKES_BACK.match(text, at, end))


def in_doubt(text: str, at: int, *, agrees: bool = False, clause: bool = False) -> bool:
    """Whether the remark that begins here denies the answer before it, or leaves it open.

    A clause that goes on with the answer's own sentence does so by any word of doubt.
    """
    of_label, of_denial = (DOUBT, _OPEN) if clause else (_HEDGE, _HEDGE_OF_DENIAL)
    doubts = of_denial if agrees else of_label
    return taken_back(text, at, agrees=agrees) or bool(doubts.search(text, at, at + LONGEST_REMARK))


def number_in_doubt(text: str, at: int) -> bool:
    """Whether the remark that begins here takes the number before it back, or says that one is not sure of it.

    Nothing else does: a rating's reason is often what is wrong with what was rated.
    """
    return bool(_NUMBER_OPEN.match(text, at, at + LONGEST_REMARK))
