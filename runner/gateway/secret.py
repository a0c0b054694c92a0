"""The gateway's token, as a value that cannot be printed by accident."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

SHORTEST = 4
"""Characters; what is shorter is no secret, and would be found everywhere."""
TELLING = 8
"""Characters, or half of the secret if that is more: so much of its beginning goes too, where a text was cut."""
STARS = "***"
NOT_WITHIN_ESCAPES = r"(?!(?<=\\)\\)"
"""A row of backslashes is gone through from its beginning alone: from each of them, a long one would take for ever."""


class Secret:
    """A text that shows itself only to who asks for it by name."""

    __slots__ = ("_forms", "_signs", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        cores = _in_base64(text.encode("utf-8", "replace")) if len(text) >= SHORTEST else set()
        self._forms = [_Form(list(core)) for core in sorted(cores)]
        if len(text) >= SHORTEST:
            self._forms.append(_Form([_escaped(character) for character in text], plain=False))
        self._signs = _signs(text, cores) if len(text) >= SHORTEST else set()

    def reveal(self) -> str:
        """The text itself: for the one header that carries it."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """A short hash, to tell credentials apart without knowing them."""
        return hashlib.sha256(b"runner credential\0" + self._text.encode()).hexdigest()[:16]

    def redact(self, text: str) -> str:
        """`text` with this secret taken out in every form that servers are known to echo it in.

        These are: plain, percent-encoded, escaped as in JSON or HTML, each character for itself, and base64 of
        whatever it stands in.
        """
        for form in self._forms:
            text = form.taken_out(text)
        return text

    def redact_body(self, body: bytes) -> bytes:
        """The same for a response as it came, where the secret is nearly never: a few searches, if it is not there."""
        for sign in self._signs:
            if sign in body:
                return self.redact(body.decode("latin-1")).encode("latin-1")
        return body

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


class _Form:
    """One way in which a secret may be written: what each of its characters looks like."""

    __slots__ = ("_characters", "_head", "_least")

    def __init__(self, characters: Sequence[str], *, plain: bool = True) -> None:
        patterns = [re.escape(character) for character in characters] if plain else list(characters)
        self._least = min(len(patterns), max(TELLING, len(patterns) // 2))
        self._head = re.compile("".join(["" if plain else NOT_WITHIN_ESCAPES, *patterns[: self._least]]))
        self._characters = [re.compile(pattern) for pattern in patterns[self._least :]]

    def taken_out(self, text: str) -> str:
        """`text` without this form, or its beginning."""
        pieces, at = [], 0
        while (found := self._head.search(text, at)) is not None:
            pieces += [text[at : found.start()], STARS]
            at = found.end()
            for character in self._characters:
                if (more := character.match(text, at)) is None:
                    break
                at = more.end()
        return "".join([*pieces, text[at:]]) if pieces else text


def _escaped(character: str) -> str:
    """A pattern for one character, as it is or in any escape."""
    number = ord(character)
    # JSON within JSON has every backslash twice, as often as one is in the other.
    forms = [r"\\+" if character == "\\" else rf"\\*{re.escape(character)}"]
    forms.append("".join(f"%(?i:{byte:02x})" for byte in character.encode("utf-8", "replace")))
    forms += [rf"\\+u(?i:{number:04x})", rf"&#0*{number};", rf"&#[xX]0*(?i:{number:x});"]
    if character == " ":
        forms.append(r"\+")
    return f"(?:{'|'.join(forms)})"


def _in_base64(data: bytes) -> set[str]:
    """What base64 has of this in whatever it stands: a form for each of the three places where it may begin."""
    cores = set()
    for before in range(3):
        first, last = -(-8 * before // 6), 8 * (before + len(data)) // 6
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            cores.add(encode(bytes(before) + data + bytes(3)).decode()[first:last])
    return {core for core in cores if len(core) >= SHORTEST}


def _signs(text: str, cores: set[str]) -> set[bytes]:
    """What a body has in it, if it has this secret in it."""
    first = ord(text[0])
    # Letters and digits are the same in all forms but those that change every character.
    longest = max(re.findall("[A-Za-z0-9]+", text), key=len, default="")
    forms = {longest if len(longest) >= TELLING else text, *cores}
    forms |= {f"\\u{first:04x}", f"\\u{first:04X}", f"%{first:02x}", f"%{first:02X}", f"&#{first};", f"&#x{first:x};"}
    return {form.encode("utf-8", "replace") for form in forms}
