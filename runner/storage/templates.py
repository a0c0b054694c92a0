"""Prompt templates: Jinja in its sandbox, strict about columns that are missing, and about nulls that would be shown.

Data is never expanded again: braces in a column stay braces. Columns are checked before a run by asking the template
which names it uses.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.filters import do_format, do_join, make_attrgetter
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter

from runner.core.errors import UsageError
from runner.core.prompt import RowError, listed
from runner.storage.json_objects import written
from runner.storage.times import plain

LARGEST = 16 * 1024 * 1024
"""Characters, or bits of a number, that one operation of a template may make: a row may say how many there shall be."""

WIDEST = 16
"""Characters by which one level of JSON may be indented."""


class _Row(dict[str, Any]):
    """The whole row, whose columns have their own names beside it: `row.items()` goes over them."""


SIZES: Mapping[str, Callable[..., int]] = {
    "batch": lambda _value, linecount, *_, **__: linecount,
    "center": lambda _text, width=80, *_: width,
    "expandtabs": lambda text, tabsize=8: tabsize * text.count("\t"),
    "indent": lambda s, width=4, *_, **__: (width if isinstance(width, int) else len(width)) * (str(s).count("\n") + 1),
    "ljust": lambda _text, width, *_: width,
    "replace": lambda s, old, new, *_, **__: str(s).count(str(old)) * len(str(new)),
    "rjust": lambda _text, width, *_: width,
    "slice": lambda _value, slices, *_, **__: slices,
    "to_bytes": lambda _number, length=1, *_, **__: length,
    "zfill": lambda _text, width: width,
}
"""Filters and methods that make more than they are given -> how much more, by what they are given."""


def _mind_the_size(name: str, size: Any) -> None:
    """Raise OverflowError before the memory is taken; what is no number is for the operation itself to refuse."""
    if isinstance(size, int | float) and size > LARGEST:
        raise OverflowError(f"{name} makes more than {LARGEST:,} characters or bits")


def _json(value: Any, indent: int | None = None) -> str:
    """Jinja's own, but for what JSON has no words for, and bounded: what is deeply nested is indented far."""
    text = written(value, plain)
    if indent is None:
        return text
    if indent not in range(WIDEST + 1):
        raise ValueError(f"tojson takes an indent from 0 to {WIDEST}; got {indent!r}")
    parts, size = [], 0
    for part in json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(json.loads(text)):
        size += len(part)
        _mind_the_size("tojson", size)
        parts.append(part)
    return "".join(parts)


def _mind_what_is_made(name: str, *args: Any, **kwargs: Any) -> None:
    """The same for one of SIZES; arguments that it does not take are for the operation itself to refuse, too."""
    with contextlib.suppress(TypeError):
        _mind_the_size(name, SIZES[name](*args, **kwargs))


class _Formatter(SandboxedFormatter):
    """Bounds the widths of `str.format`, which may stand in a row."""

    def format_field(self, value: Any, format_spec: str) -> Any:
        _mind_the_size("format", max(map(int, _WIDTHS.findall(format_spec)), default=0))
        return super().format_field(value, format_spec)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, which also bounds what operations, filters and methods make of a row's values."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A row's own names go before those of Python: `order.items` is what the order holds under that name."""
        if isinstance(obj, Mapping) and not isinstance(obj, _Row) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Raises OverflowError before the memory is taken; so do the others."""
        _mind_the_size(operator, _size_of(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or a method."""
        name, value = getattr(obj, "__name__", ""), getattr(obj, "__self__", None)
        if name in SIZES and isinstance(value, str | int):
            _mind_what_is_made(name, value, *args, **kwargs)
        return super().call(context, obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """What stands for a text's own `format`, or `format_map`."""
        made = super().wrap_str_format(value)
        if made is None or type(value.__self__) is not str:  # Markup is escaped besides
            return made
        text, vformat = value.__self__, _Formatter(self).vformat
        if value.__name__ == "format_map":
            return lambda mapping: str(vformat(text, (), mapping))
        return lambda *args, **kwargs: str(vformat(text, args, kwargs))


def _bounded(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that minds the size of what it makes."""

    @wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        told = args[1:] if isinstance(args[0], nodes.EvalContext) else args
        _mind_what_is_made(name, *told, **kwargs)
        return make(*args, **kwargs)

    return made


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    """Jinja's own, with the bounds of `%`."""
    _mind_the_size("format", _size_of("%", str(value), kwargs or args))
    return do_format(value, *args, **kwargs)


def _size_of(operator: str, left: Any, right: Any) -> float:
    if operator == "%":
        if not isinstance(left, str):
            return 0
        told = right if isinstance(right, tuple) and _WIDTH_BESIDE.search(left) else ()
        places = left if "%(" in left else " ".join(_PLACES.findall(left))
        return max(
            [*map(int, _WIDTHS.findall(places)), *(number for number in told if isinstance(number, int))], default=0
        )
    if operator == "**":
        return max(1, left).bit_length() * abs(right) if isinstance(left, int) and isinstance(right, int) else 0
    for one, times in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple | bytes) and isinstance(times, int):
            return len(one) * times
    return 0


_WIDTHS = re.compile(r"[0-9]{1,18}")
_PLACES = re.compile(r"%[-+ #0-9.]+")
"""What a `%` says of how to show a value; behind a `%(name)` it is not looked for: all numbers are taken for widths."""
_WIDTH_BESIDE = re.compile(r"%[-+ #0-9.]*\*")
"""A width that stands beside the text, as in `"%*d" % (width, number)`."""
_ENVIRONMENT = _Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=False)
_ENVIRONMENT.filters["tojson"] = _json
_ENVIRONMENT.filters |= {name: _bounded(name, make) for name in SIZES if (make := _ENVIRONMENT.filters.get(name))}
_ENVIRONMENT.filters["format"] = _format
del _ENVIRONMENT.globals["lipsum"]  # a prompt is the same whenever it is made

TEXTUAL = {
    "capitalize", "center", "e", "escape", "format", "indent", "lower", "replace", "string", "striptags", "title",
    "trim", "truncate", "upper", "urlencode", "wordcount", "wordwrap",
}  # fmt: skip
"""Filters that make a text of whatever they are given."""


class _Null(Exception):
    """What is no value was to be shown: a null, as a rule."""


def _not_null(value: Any, expression: str | None) -> Any:
    if callable(value) and not isinstance(value, jinja2.Undefined):
        shown = "something that the prompt shows" if expression is None else f"`{expression}`, which the prompt shows,"
        raise _Null(f"{shown} is no value of this row, but a function of the template language")
    if isinstance(value, _Row):
        raise _Null(
            '`row` is the whole row: write `row | tojson` to show all of it, or row["row"] for a column of that name'
        )
    if value is not None:
        return value
    if expression is None:
        raise _Null('something that the prompt shows is null: write `or ""` behind it to show nothing instead')
    raise _Null(f'its `{expression}` is null: write {{{{ {expression} or "" }}}} in the prompt to show nothing instead')


@jinja2.pass_eval_context
def _join(context: nodes.EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Jinja's own, but for nulls."""
    parts = list(value if attribute is None else map(make_attrgetter(_ENVIRONMENT, attribute), value))
    if any(part is None for part in parts):
        raise _Null('a list that the prompt joins holds a null: write `| reject("none") | join` to leave it out')
    joined: str = do_join(context, parts, d)
    return joined


_ENVIRONMENT.filters |= {"not_null": _not_null, "join": _join}


def _mind_nulls(tree: nodes.Template) -> None:
    """Put a check around all that is made a text: Jinja makes the word None of a null."""
    shown: list[nodes.Output | nodes.Concat] = [*tree.find_all(nodes.Output), *tree.find_all(nodes.Concat)]
    for node in shown:
        node.nodes = [_minded(part) for part in node.nodes]
    for made in [*tree.find_all(nodes.Filter)]:
        if made.name in TEXTUAL:
            made.node = made.node and _minded(made.node)
            made.args = [_minded(value) for value in made.args]
        elif made.name == "join" and isinstance(made.node, nodes.List | nodes.Tuple):
            made.node.items = [_minded(item) for item in made.node.items]
    for percent in [*tree.find_all(nodes.Mod)]:
        percent.right = _minded(percent.right)


def _minded(node: nodes.Expr) -> nodes.Expr:
    if isinstance(node, nodes.TemplateData | nodes.Const):
        return node
    name = nodes.Const(_spelt(node), lineno=node.lineno)
    return nodes.Filter(node, "not_null", [name], [], None, None, lineno=node.lineno)


def _spelt(node: nodes.Node) -> str | None:
    """How a template writes a column, or a part of one; None for any other expression."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (whole := _spelt(node.node)):
        return f"{whole}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and (whole := _spelt(node.node)):
        return f"{whole}[{node.arg.value!r}]"
    return None


class Template:
    """A compiled template, to be called with a row's columns.

    The whole row is there as `row`, too; a column of that name is `row["row"]`.
    """

    def __init__(self, text: str, origin: str, given: Mapping[str, str] | None = None) -> None:
        """Raises UsageError, naming `origin` and the line, if the text is not a template.

        `given` are names that are there for every row that has no column of that name.
        """
        self.text = text
        self.origin = origin
        self._given = given or {}
        try:
            tree = _ENVIRONMENT.parse(text)
            columns = meta.find_undeclared_variables(tree)
            _mind_nulls(tree)
            self._template = _ENVIRONMENT.from_string(tree)
        except jinja2.TemplateSyntaxError as error:
            raise UsageError(f"{origin}: line {error.lineno}: {error.message}") from None
        self.columns = frozenset(columns) - {"row", *self._given}
        """The columns it uses."""

    def __call__(self, columns: Mapping[str, Any]) -> str:
        """The text for a row; raises RowError for a column that is missing or null, or an expression that fails."""
        try:
            return self._template.render({**self._given, **columns, "row": _Row(columns)})
        except jinja2.UndefinedError as error:
            missing = sorted(self.columns - columns.keys())
            if missing:
                raise RowError(
                    f"it has no column {missing[0]!r}, which the prompt uses; its columns are {listed(columns)}"
                ) from None
            raise RowError(f"the prompt cannot be filled in: {error.message}") from None
        except _Null as error:
            raise RowError(str(error)) from None
        except Exception as error:  # whatever an expression in the sandbox raises
            raise RowError(f"the prompt cannot be filled in: {error}") from None


def text_or_file(value: str, what: str) -> str:
    """A text given as it is or as @FILE; raises UsageError, naming `what`, if it cannot be read."""
    if not value.startswith("@"):
        return value
    path = Path(value[1:])
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{what}: {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{what}: {path}: byte {error.start} is not UTF-8.") from None
