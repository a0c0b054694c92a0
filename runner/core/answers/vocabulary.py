"""The labels of a closed set and their synonyms: which of them a text is, and which it names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_SEPARATORS = re.compile(r"(?<=[^\W_])[\s_\-‐‑–]+(?=[^\W_])")


def fold(text: str) -> str:
    """The text in one case, one spelling of its characters and single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _loose(text: str) -> str:
    return _SEPARATORS.sub(" ", fold(text)).strip()


@dataclass(frozen=True, slots=True)
class Mention:
    """A label that a text names, and where: characters of the folded lines that were looked through."""

    label: str
    start: int
    end: int


class Vocabulary:
    """Looks labels up. A spelling that two labels share once it is folded is found for neither."""

    def __init__(self, labels: Sequence[str], synonyms: Mapping[str, str] | None = None) -> None:
        synonyms = synonyms or {}
        self._exact = frozenset(labels)
        self._tables = (
            ("case", fold, _unique((fold(label), label) for label in labels)),
            ("separators", _loose, _unique((_loose(label), label) for label in labels)),
            ("synonym", _loose, _unique((_loose(word), label) for word, label in synonyms.items())),
        )
        named: dict[str, set[str]] = {}
        for word, label in (*((label, label) for label in labels), *synonyms.items()):
            named.setdefault(_loose(word), set()).add(label)
        named.pop("", None)
        self._named = named
        longest_first = sorted(named, key=lambda word: (-len(word), word))
        words = "|".join(re.escape(word).replace(r"\ ", r"[\s_\-‐‑–]+") for word in longest_first)
        self._mentions = re.compile(rf"(?<![\w\-‐‑])(?:{words})(?!\w|[-‐‑]\w)") if words else re.compile(r"(?!)")

    def match(self, text: str) -> tuple[str, tuple[str, ...]] | None:
        """The label that the text is, and the repairs that it took; None if it is none."""
        if text in self._exact:
            return text, ()
        for repair, key, table in self._tables:
            label = table.get(key(text))
            if label is not None:
                return label, (repair,)
        return None

    def mentions(self, folded: str) -> list[Mention]:
        """The labels named in a folded text, the longest where they overlap; a synonym counts as its label."""
        return [
            Mention(label, match.start(), match.end())
            for match in self._mentions.finditer(folded)
            for label in sorted(self._named[_loose(match.group())])
        ]


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key -> label, without the keys that belong to several labels."""
    found: dict[str, set[str]] = {}
    for key, label in pairs:
        found.setdefault(key, set()).add(label)
    return {key: next(iter(labels)) for key, labels in found.items() if len(labels) == 1 and key}
