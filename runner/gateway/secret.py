"""The gateway's token, as a value that cannot be printed by accident."""

from __future__ import annotations

import base64
import hashlib
import urllib.parse


class Secret:
    """A text that shows itself only to who asks for it by name."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the one header that carries it."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """A short hash, to tell credentials apart without knowing them."""
        return hashlib.sha256(b"runner credential\0" + self._text.encode()).hexdigest()[:16]

    def redact(self, text: str) -> str:
        """`text` with this secret taken out in every form that servers are known to echo it in."""
        if len(self._text) < 4:
            return text
        forms = {
            self._text,
            base64.b64encode(f"Bearer {self._text}".encode()).decode().rstrip("="),
            base64.b64encode(self._text.encode()).decode().rstrip("="),
            base64.urlsafe_b64encode(self._text.encode()).decode().rstrip("="),
            urllib.parse.quote(self._text),
            urllib.parse.quote(self._text, safe=""),
            urllib.parse.quote_plus(self._text),
        }
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, "***")
        return text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")
