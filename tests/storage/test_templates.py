"""Prompt templates: strict about columns, closed to the program around them, and blind to braces in data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import UsageError
from runner.core.prompt import RowError
from runner.storage.templates import Template, text_or_file


def filled(text: str, /, **columns: Any) -> str:
    return Template(text, "--prompt")(columns)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Name {{ name }}.", "Name Elbe."),
        ("{{ row.name }} {{ row['odd name'] }}", "Elbe x"),
        ("{{ tags | join(', ') }}", "a, b"),
        ("{{ tags | tojson }} {{ name | tojson }}", '["a","b"] "Elbe"'),
        (
            "{{ {'a': tags, 'ä': huge} | tojson(indent=2) }}",
            f'{{\n  "a": [\n    "a",\n    "b"\n  ],\n  "ä": {10**30}\n}}',
        ),
        ("{{ huge }} {{ [huge] | tojson }}", f"{10**30} [{10**30}]"),
        ("{% for tag in tags %}<{{ tag }}>{% endfor %}", "<a><b>"),
        ("{% if note is defined %}{{ note }}{% else %}none{% endif %}", "none"),
        ("{{ nothing | default('none', true) }}", "none"),
        ("{{ text }}", "<b>&amp;</b>"),
        ("one line\n", "one line"),
    ],
)
def test_a_template_is_filled_from_the_row(text: str, said: str) -> None:
    """Columns by name, the whole row, filters and conditions."""
    row = {"name": "Elbe", "odd name": "x", "tags": ["a", "b"], "nothing": None, "text": "<b>&amp;</b>", "huge": 10**30}
    assert filled(text, **row) == said


@pytest.mark.parametrize("data", ["{{ 7 * 7 }}", "{% raw %}", "{# x #}", "{name}", "%s", "{{ row.__class__ }}"])
@pytest.mark.fault("O11")
def test_data_is_never_expanded(data: str) -> None:
    """O11: braces in a column stay braces, also where it goes through a filter."""
    assert filled("{{ text }}|{{ text | upper | lower }}", text=data.lower()) == f"{data.lower()}|{data.lower()}"


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ text.__class__.__mro__ }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}",
        "{{ row.__init__.__globals__ }}",
        "{{ row['__class__'].__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(text) }}",
        "{{ '{x.__class__.__mro__}'.format_map({'x': text}) }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__['os'] }}",
        "{{ [].append(1) }}",
        "{{ row.update({'a': 1}) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% for x in range(10 ** 9) %}{% endfor %}",
    ],
)
@pytest.mark.fault("O11")
def test_a_template_reaches_nothing_but_its_row(text: str) -> None:
    """O11: the sandbox ends every walk to the program, and the row is not changed."""
    with pytest.raises(RowError, match="cannot be filled in"):
        filled(text, text="x")


@pytest.mark.fault("I9")
def test_a_missing_column_is_named_with_those_that_there_are() -> None:
    """I9: what a person needs to correct the prompt or the row."""
    with pytest.raises(RowError, match="no column 'titel', which the prompt uses; its columns are id, title"):
        filled("{{ titel }}", id=1, title="x")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x {{ text }}", "`text`"),
        ("{% if name %}{{ name }}: {{ row.text }}{% endif %}", "`row.text`"),
        ("{{ row['odd name'] }}", "`row['odd name']`"),
        ("{{ text | upper }}", "`text`"),
        ("{{ text | trim | title }}", "`text`"),
        ("{{ 'x %s' | format(text) }}", "`text`"),
        ("{{ name ~ text }}", "`text`"),
        ("{{ 'x %s' % text }}", "`text`"),
        ("{{ [name, text] | join(' ') }}", "`text`"),
        ("{{ [text] | first }}", "something that the prompt shows"),
    ],
)
def test_a_null_is_not_shown_as_a_word(text: str, named: str) -> None:
    """It is named, with what to write where nothing is to be shown; the model never reads None."""
    with pytest.raises(RowError) as raised:
        filled(text, **{"text": None, "name": "Elbe", "odd name": None})
    assert named in str(raised.value)
    assert 'or ""' in str(raised.value)


@pytest.mark.parametrize("text", ['{{ tags | join(", ") }}', '{{ rows | join(", ", attribute="tag") }}'])
def test_a_null_in_a_list_that_is_joined_is_not_shown_as_a_word(text: str) -> None:
    with pytest.raises(RowError, match=r'holds a null: write `\| reject\("none"\) \| join`'):
        filled(text, tags=["a", None], rows=[{"tag": "a"}, {"tag": None}])
    assert filled(text, tags=["a", 1], rows=[{"tag": "a"}, {"tag": 1}]) == "a, 1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('x{{ text or "" }}', "x"),
        ('x{{ text | default("", true) }}', "x"),
        ('x{{ (text or "") | upper }}', "x"),
        ("x{% if text %}{{ text }}{% endif %}", "x"),
        ("x{% if text is none %}y{% endif %}", "xy"),
        ("{{ text | tojson }} {{ row | tojson }}", 'null {"text":null,"tags":[1,null]}'),
        ("{{ tags }} {{ tags | length }} {{ 5 % tags[0] }}", "[1, None] 2 0"),
        ('{{ tags | reject("none") | join(", ") }}', "1"),
    ],
)
def test_a_null_that_a_template_reckons_with_is_no_fault(text: str, said: str) -> None:
    """Other types are shown as they ever were."""
    assert filled(text, text=None, tags=[1, None]) == said


@pytest.mark.parametrize("text", ["{{ order.copy }}", "{{ namespace }}: x", "{{ range }}", "{{ name.title }}"])
def test_a_function_is_not_shown(text: str) -> None:
    """Its name is probably that of a column which this row has not; a model would read an address in memory."""
    with pytest.raises(RowError, match="is no value of this row, but a function of the template language"):
        filled(text, order={"id": 1}, name="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ order.items }} {{ order.values }}", "[1, 2] 3"),
        ("{% for name, value in order.items() %}{{ name }}{% endfor %}", None),
        ('{{ row["row"] }}{{ row.name }}', "7x"),
        ("{{ name.title() }}{% for n in range(2) %}{{ n }}{% endfor %}", "X01"),
    ],
)
def test_the_names_of_a_row_go_before_those_of_the_language(text: str, said: str | None) -> None:
    columns = {"order": {"items": [1, 2], "values": 3}, "row": 7, "name": "x"}
    if said is None:
        with pytest.raises(RowError):
            filled(text, **columns)
    else:
        assert filled(text, **columns) == said


def test_a_missing_column_of_the_row_itself_is_named() -> None:
    """`row.x` is as strict as `x`."""
    with pytest.raises(RowError, match="titel"):
        filled("{{ row.titel }}", title="x")


@pytest.mark.parametrize("text", ["{{ 1 / n }}", "{{ n.a.b }}", "{{ n + 'x' }}", "{{ n() }}"])
def test_an_expression_that_fails_is_the_row_s_error(text: str) -> None:
    """One row that cannot be filled in costs only itself."""
    with pytest.raises(RowError, match="cannot be filled in"):
        filled(text, n=0)


@pytest.mark.parametrize(
    ("text", "line"),
    [("{{ a", 1), ("a\n{% if a %}", 2), ("a\n\n{{ a b }}", 3), ("a\n{{ a | nofilter }}", 2), ("{% nonsense %}", 1)],
)
def test_a_text_that_is_no_template_is_refused_with_its_line(text: str, line: int) -> None:
    """Before anything is sent; the origin is named."""
    with pytest.raises(UsageError, match=f"ask.jinja: line {line}: "):
        Template(text, "ask.jinja")


def test_a_template_knows_its_columns() -> None:
    """They are checked before a run; `row`, loop variables and what is set are none."""
    text = "{{ a }}{% for x in b %}{{ x }}{% endfor %}{% set y = c %}{{ y }}{{ row.d }}"
    assert Template(text, "--prompt").columns == {"a", "b", "c"}


def test_a_text_is_taken_as_it_is() -> None:
    """Without an @ in front there is no file."""
    assert text_or_file("Name {{ it }} @home", "--prompt") == "Name {{ it }} @home"


def test_a_file_is_read(tmp_path: Path) -> None:
    """`@FILE`, as it lies there."""
    (tmp_path / "ask.jinja").write_text("Nöme {{ it }}.\n", encoding="utf-8")
    assert text_or_file(f"@{tmp_path}/ask.jinja", "--prompt") == "Nöme {{ it }}.\n"


def test_the_byte_order_mark_of_a_file_is_not_asked(tmp_path: Path) -> None:
    """No model is to see what an editor has put there."""
    (tmp_path / "ask.jinja").write_bytes(b"\xef\xbb\xbfName {{ it }}.")
    assert text_or_file(f"@{tmp_path}/ask.jinja", "--prompt") == "Name {{ it }}."


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the option that named it."""
    with pytest.raises(UsageError, match=r"--prompt: .*gone\.jinja: No such file"):
        text_or_file(f"@{tmp_path}/gone.jinja", "--prompt")


def test_a_file_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path) -> None:
    """Nothing is replaced silently."""
    (tmp_path / "ask.jinja").write_bytes(b"abc\xff")
    with pytest.raises(UsageError, match="byte 3 is not UTF-8"):
        text_or_file(f"@{tmp_path}/ask.jinja", "--prompt")
