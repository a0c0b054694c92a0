"""The fault catalogue and the tests hold together: every case has a test that bears its number, or says why not."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CASES: dict[str, dict[str, str]] = tomllib.loads((ROOT / "docs" / "faults.toml").read_text(encoding="utf-8"))
NUMBER = re.compile(r"([A-Z])([1-9][0-9]?)")


def numbers_of(source: str) -> Iterator[str]:
    """The numbers on the tests of a module: literal arguments of its `fault` markers."""
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr == "fault" and ast.unparse(called.value) == "pytest.mark":
            assert isinstance(node, ast.Call)
            for argument in node.args:
                assert isinstance(argument, ast.Constant), f"line {node.lineno}: a number of a case is a literal"
                yield str(argument.value)


def marked() -> dict[str, list[str]]:
    """Where each number is found: by number, the modules."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number in numbers_of(path.read_text(encoding="utf-8")):
            found.setdefault(number, []).append(path.relative_to(ROOT).as_posix())
    return found


MARKED = marked()


@pytest.mark.parametrize("number", CASES)
def test_a_case_has_a_test_or_a_reason_why_not(number: str) -> None:
    """One of the two: a reason beside a test is out of date."""
    case = CASES[number]
    assert NUMBER.fullmatch(number)
    assert case.keys() - {"why_not"} == {"title", "expected"}
    assert all(text.strip() == text != "" for text in case.values())
    assert (number in MARKED) != ("why_not" in case), MARKED.get(number, "no test bears this number")


def test_no_test_bears_a_number_that_is_no_case() -> None:
    """Letters that the list does not have yet are left to whoever adds them."""
    letters = {number[0] for number in CASES}
    unknown = {number: where for number, where in MARKED.items() if number[0] in letters and number not in CASES}
    assert unknown == {}


def test_cases_stand_in_their_order() -> None:
    """So that a missing one is seen."""
    parts = [NUMBER.fullmatch(number) for number in CASES]
    order = [(part[1], int(part[2])) for part in parts if part]
    letters = list(dict.fromkeys(letter for letter, _ in order))
    assert order == sorted(order, key=lambda each: (letters.index(each[0]), each[1]))


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ('@pytest.mark.fault("H1")\ndef test(): ...', ["H1"]),
        ('@pytest.mark.fault("H1", "B2")\nasync def test(): ...', ["H1", "B2"]),
        ('class A:\n    @pytest.mark.fault("H3")\n    def test(self): ...', ["H3"]),
        ('pytestmark = [pytest.mark.fault("H4")]', ["H4"]),
        ('pytest.param(1, marks=pytest.mark.fault("H5"))', ["H5"]),
        ('"""@pytest.mark.fault("H6")"""', []),
        ('@pytest.mark.promise("H7")\ndef test(): ...', []),
    ],
)
def test_numbers_are_found_where_they_stand(source: str, numbers: list[str]) -> None:
    """In decorators, on modules and on single parameters; not in strings, and not in other markers."""
    assert list(numbers_of(source)) == numbers
