"""Ledgers to test: each kind that there is, and several that share one account, with a clock of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runner.core.ports import Ledger
from runner.ledgers.memory import MemoryLedger
from runner.ledgers.pages import Member
from runner.ledgers.processes import Life, Process, this_process
from runner.ledgers.shared import SharedLedger
from runner.ledgers.sqlite import Store

_numbers = count(1)


class Host:
    """A host on which runs share an account: a file, and the fate of their processes, which a test decides."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fates: dict[int, Life] = {}
        self._stores: list[Store] = []

    def run(self, budgets: Any, guard: Callable[[float], float] = lambda _window: 0.0, **options: Any) -> SharedLedger:
        """The ledger of a new run."""
        number = next(_numbers)
        process = options.pop("process", replace(this_process(), pid=number))
        self.fates.setdefault(process.pid, Life.RUNS)
        self._stores.append(Store(self.path))
        return SharedLedger(
            budgets,
            guard,
            store=self._stores[-1],
            me=Member(
                run=options.pop("run", f"run-{number}"),
                process=process,
                priority=options.pop("priority", "normal"),
                since=float(number),
            ),
            alive=self._fate,
            **options,
        )

    def kill(self, ledger: SharedLedger) -> None:
        """End a run's process without a word."""
        self.fates[ledger.me.process.pid] = Life.GONE

    def _fate(self, process: Process) -> Life:
        return self.fates.get(process.pid, Life.GONE)

    def close(self) -> None:
        for store in self._stores:
            store.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "account.share")
    yield made
    made.close()


@pytest.fixture(scope="session")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledgers")


LEDGERS = ("memory", "shared")


@pytest.fixture(params=LEDGERS)
def ledgers(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Callable[..., Ledger]]:
    """Makes a ledger from budgets and a guard; one that shares is alone with its account."""
    if request.param == "memory":
        yield MemoryLedger
        return
    made: list[Host] = []

    def make(budgets: Any, **options: Any) -> Ledger:
        if made:
            made.pop().close()
        made.append(Host(_folder / f"{next(_numbers)}.share"))
        return made[-1].run(budgets, **options)

    yield make
    for host in made:
        host.close()
