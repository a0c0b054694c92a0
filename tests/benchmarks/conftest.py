"""The benchmarks as modules, though they are no package."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = ("least", "greedy", "virtual")


@pytest.fixture(scope="module")
def virtual() -> Iterator[ModuleType]:
    """The benchmark, which is no package; what it imports by name is there while it is."""
    before = {name: sys.modules.get(name) for name in MODULES}
    for name in MODULES:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    yield sys.modules["virtual"]
    for name, module in before.items():
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module


@pytest.fixture(scope="module")
def catalogue(virtual: ModuleType) -> Any:
    return virtual.load_catalogue()
