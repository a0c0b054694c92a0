"""The promises and the tests hold together: each has its tests, and the page that the tests make names all of them."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROMISES = tomllib.loads((ROOT / "docs" / "promises.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page() -> str:
    """What the tests have made; not there until they have."""
    return (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


def marked(path: Path) -> Iterator[tuple[str, str]]:
    """Promises and the tests (or classes) of a module that bear their names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.promise":
                yield from ((ast.literal_eval(name), node.name) for name in call.args)  # type: ignore[attr-defined]


SHOWN = [(name, path, test) for path in sorted((ROOT / "tests").rglob("test_*.py")) for name, test in marked(path)]


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_is_shown(promise: str, page: str) -> None:
    """One that nothing shows is not to be made."""
    assert promise in {name for name, _, _ in SHOWN}
    assert PROMISES[promise]["says"] in page


def test_no_test_shows_what_nobody_promises() -> None:
    """A name is one of the list's."""
    assert {name for name, _, _ in SHOWN} <= set(PROMISES)


@pytest.mark.parametrize(("promise", "path", "test"), SHOWN)
def test_the_page_names_each_test_that_shows_a_promise(promise: str, path: Path, test: str, page: str) -> None:
    """It was made by these tests, and all of them passed: make promises."""
    place = f"{path.relative_to(ROOT).as_posix()}::{test}"
    lines = [line for line in page.splitlines() if place in line]
    assert lines
    assert not [line for line in lines if "failed" in line or "skipped" in line]
