"""The simulation is a package of this folder; its results are kept, since several tests ask about the same seeds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from simulated import Told, simulate


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Told]:
    """What became of a seed."""
    path = tmp_path_factory.mktemp("simulation") / "run"
    path.mkdir()
    return cache(lambda seed: simulate(seed, path))
