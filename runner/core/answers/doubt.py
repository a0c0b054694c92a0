"""Words that deny an answer or leave it open: before it, and in the remark behind it."""

from __future__ import annotations

import re

LONGEST_LEAD = 200
"""Characters before an answer that are looked at for words that state it or leave it in doubt."""
LONGEST_REMARK = 80
"""Characters behind an answer that are looked at for words that take it back."""

_DENIES = (
    r"not|no|never|neither|none|non|false|untrue|wrong|incorrect|unlikely|unable|doubtful|absent|exclud\w*|reject\w*|"
    r"dismiss\w*|discard\w*|ruled\s+out|(?:less|(?<!at )least|second)\s+\w+|nein|nicht|kein\w*|pas|ni"
)
DOUBT = re.compile(
    rf"\b(?:{_DENIES}|nor|without|except|unlike|cannot|rather|instead|if|whether|unless|either|between|could|might|may|"
    r"can|perhaps|maybe|possibly|unsure|uncertain|unclear|insufficient|almost|nearly|hardly|barely|opposite|far|"
    r"anything|but|alternative\w*|too\b.{0,60}?\bto|(?:hard|difficult|refus\w*|declin\w*|hesitat\w*|fail\w*|pretend\w*|"
    r"claim\w*|purport\w*)\s+to)\b|n['’]t\b|\?",
    re.IGNORECASE,
)
"""Words that turn a statement round or leave it open: what follows them is no answer."""
_DENIED = re.compile(rf"(?:\b(?:{_DENIES})|n['’]t)\s+(?:\w+\s+){{0,2}}$", re.IGNORECASE)
_TAKES_BACK = re.compile(
    rf"[\W_]*(?:\w+[^\w:]+){{0,3}}?(?:{_DENIES}|\w+n['’]t|wait|actually|correction|sorry)"
    r"(?:\s+(?:really|quite|likely|applicable|at\s+all))?"
    r"(?:[*_`\"'”’»]*\s*(?:$|[\n.,;:!)\]–—]|-\s)|\s+(?:because|since|as|due)\b)",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:not sure|unsure|uncertain|unclear|unlikely|doubtful|maybe|perhaps|possibly|might|guess\w*|or|wrong)\b|\?",
    re.IGNORECASE,
)


def denied(text: str, at: int) -> bool:
    """Whether a word just before this place denies what stands here."""
    return bool(_DENIED.search(text, max(0, at - LONGEST_REMARK), at))


def taken_back(text: str, at: int) -> bool:
    """Whether the remark that begins here denies the answer before it: by a word that has a clause to itself.

    One that belongs to others explains the answer, as in "No sender is named."
    """
    return bool(_TAKES_BACK.match(text, at, at + LONGEST_REMARK))


def in_doubt(text: str, at: int) -> bool:
    """Whether the remark that begins here denies the answer before it, or leaves it open."""
    return taken_back(text, at) or bool(_HEDGE.search(text, at, at + LONGEST_REMARK))
