"""The table of mutants stays true to the code: each of its mistakes can still be made."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mutants() -> Iterator[ModuleType]:
    """The tool, which is no package."""
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mutants"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


def test_every_mutant_can_still_be_made(mutants: ModuleType) -> None:
    """What it replaces stands exactly once in its file; else the table is out of date, and proves nothing."""
    assert [mutant.name for mutant in mutants.read_table() if not mutant.applies(ROOT)] == []


def test_every_mutant_is_another_one_and_changes_something(mutants: ModuleType) -> None:
    """Names are said in the report, and tell them apart; the tests that are to notice are there."""
    table = list(mutants.read_table())
    assert len({mutant.name for mutant in table}) == len(table) >= 24
    assert all(mutant.old != mutant.new for mutant in table)
    assert all((ROOT / test.partition("::")[0]).exists() for mutant in table for test in mutant.tests)
