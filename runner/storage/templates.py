"""Prompt templates: Jinja in its sandbox, strict about columns that are missing.

Data is never expanded again: braces in a column stay braces. Columns are checked before a run by asking the template
which names it uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import orjson
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.core.errors import UsageError
from runner.core.prompt import RowError


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


LARGEST = 16 * 1024 * 1024
"""Characters, or bits of a number, that one operation of a template may make: a row may say how many there shall be."""


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, which also bounds what multiplication and powers make of a row's values."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Raises OverflowError before the memory is taken."""
        if _size_of(operator, left, right) > LARGEST:
            raise OverflowError(f"{operator} makes more than {LARGEST:,} characters or bits")
        return super().call_binop(context, operator, left, right)


def _size_of(operator: str, left: Any, right: Any) -> float:
    if operator == "%":
        return max(map(int, _WIDTHS.findall(left)), default=0) if isinstance(left, str) else 0
    if operator == "**":
        return max(1, left).bit_length() * abs(right) if isinstance(left, int) and isinstance(right, int) else 0
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple | bytes) and isinstance(times, int):
            return len(one) * times
    return 0


_WIDTHS = re.compile(r"[0-9]{1,18}")
_ENVIRONMENT = _Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)
_ENVIRONMENT.filters["tojson"] = _json


class Template:
    """A compiled template, to be called with a row's columns. The whole row is there as `row`, too."""

    def __init__(self, text: str, origin: str, given: Mapping[str, str] | None = None) -> None:
        """Raises UsageError, naming `origin` and the line, if the text is not a template.

        `given` are names that are there for every row that has no column of that name.
        """
        self.text = text
        self.origin = origin
        self._given = given or {}
        try:
            tree = _ENVIRONMENT.parse(text)
            self._template = _ENVIRONMENT.from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise UsageError(f"{origin}: line {error.lineno}: {error.message}") from None
        self.columns = frozenset(meta.find_undeclared_variables(tree)) - {"row", *self._given}
        """The columns it uses."""

    def __call__(self, columns: Mapping[str, Any]) -> str:
        """The text for a row; raises RowError for a column that is missing, or an expression that fails."""
        try:
            return self._template.render({**self._given, **columns, "row": columns})
        except jinja2.UndefinedError as error:
            missing = sorted(self.columns - columns.keys())
            if missing:
                names = ", ".join(list(columns)[:8]) or "none"
                raise RowError(
                    f"it has no column {missing[0]!r}, which the prompt uses; its columns are {names}"
                ) from None
            raise RowError(f"the prompt cannot be filled in: {error.message}") from None
        except Exception as error:  # whatever an expression in the sandbox raises
            raise RowError(f"the prompt cannot be filled in: {error}") from None


def text_or_file(value: str, what: str, base: Path | None = None) -> tuple[str, str]:
    """A text given as it is or as @FILE, and what to call it in messages; raises UsageError if it cannot be read."""
    if not value.startswith("@"):
        return value, what
    path = (base or Path()) / value[1:]
    try:
        return path.read_text(encoding="utf-8-sig"), str(path)
    except OSError as error:
        raise UsageError(f"{what}: {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{what}: {path}: byte {error.start} is not UTF-8.") from None
