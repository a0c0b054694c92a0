"""No test touches what the user's own runs have learned: each has a place of its own, which it makes if it needs it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For what starts before any test."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNER_STATE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def state_folder(_state_of_the_session: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's runs keep what they learn, in this process and in those that it starts."""
    folder = _state_of_the_session / str(next(_numbers))
    monkeypatch.setenv("RUNNER_STATE_DIR", str(folder))
    return folder
