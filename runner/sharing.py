"""One budget for all runs of an account on this host: which ledger a run has, and that it meets the others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from runner.core.lag import guard
from runner.core.limits import ALL
from runner.gateway import environment
from runner.ledgers.memory import MemoryLedger
from runner.ledgers.pages import Member
from runner.ledgers.processes import Life, life, this_process
from runner.ledgers.shared import SharedLedger
from runner.ledgers.sqlite import Store, Unusable, place
from runner.preparing import Prepared
from runner.storage.knowledge import Memory


def store_of(gateway: environment.Gateway) -> Store | None:
    """Where the runs of an account meet; None for the gateway that a run starts itself, which nobody else uses."""
    if gateway.url is None:
        return None
    return _store(Memory(gateway.url, gateway.token.fingerprint))


def _store(memory: Memory) -> Store:
    return Store(place(memory.folder, memory.path.stem, this_process()))


def forget(memory: Memory, model: str | None) -> None:
    """Let no run hear any more what others told of the limits, or of a model's; those that go on know it still."""
    store = _store(memory)
    if store.path.exists():
        with contextlib.suppress(Unusable), store.visit() as visit:
            visit.forget(model)
        store.close()


def ledger_of(prepared: Prepared, gateway: environment.Gateway, run: Path) -> MemoryLedger:
    """The ledger of the run in a directory: one that shares with the other runs of the account, if there can be any."""
    store, budgets = store_of(gateway), prepared.budgets
    if store is None or not prepared.setup.share or not any(budgets.values()):
        return MemoryLedger(budgets, guard, learns=True, above=prepared.job.probe_above)
    return SharedLedger(
        budgets,
        guard,
        store=store,
        me=Member(run=str(run.resolve()), process=this_process(), priority=prepared.job.priority, since=time.time()),
        learns=True,
        above=prepared.job.probe_above,
    )


@contextlib.asynccontextmanager
async def sharing(prepared: Prepared, ledger: MemoryLedger) -> AsyncIterator[None]:
    """Meet the others for as long as the context lasts, and tell them when it is over."""
    if not isinstance(ledger, SharedLedger):
        yield
        return
    clock = asyncio.get_running_loop().time
    ledger.meet(clock())
    beating = asyncio.create_task(_beat(ledger, prepared))
    try:
        yield
    finally:
        beating.cancel()
        ledger.leave(clock())
        _note(ledger, prepared)


def budget(gateway: environment.Gateway, store: Store) -> dict[str, Any]:
    """Who spends from an account now, and how much, as JSON values. Raises Unusable."""
    pages, spent = store.look()
    now = time.monotonic()
    runs = [page for page in pages if life(page.member.process) is not Life.GONE and store.sees(page.member)]
    limits: dict[str, dict[str, Any]] = {}
    for page in runs:
        for key, (amount, window) in page.amounts.items():
            limits.setdefault(key, {"limit": key, "amount": amount, "window_s": window, "used": 0, "by": {}})
    for one in spent:
        for key in one.amounts.keys() & limits.keys():
            if one.at > now - limits[key]["window_s"]:
                limits[key]["used"] += one.amounts[key]
                by = limits[key]["by"]
                by[one.run] = by.get(one.run, 0) + one.amounts[key]
    return {
        "gateway": gateway.url,
        "credential": gateway.token.fingerprint,
        "runs": [
            {
                "run": page.member.run,
                "pid": page.member.process.pid,
                "priority": page.member.priority,
                "since": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(page.member.since)),
                "seen_s_ago": round(max(0.0, now - page.beat), 1),
                "state": life(page.member.process).name.lower(),
            }
            for page in runs
        ],
        "limits": [limits[key] for key in sorted(limits, key=lambda key: (not key.startswith(ALL), key))],
    }


async def _beat(ledger: SharedLedger, prepared: Prepared) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        _note(ledger, prepared)
        await asyncio.sleep(ledger.period)
        ledger.beat(clock())


def _note(ledger: SharedLedger, prepared: Prepared) -> None:
    prepared.notices.extend(notice for notice in ledger.notices if notice not in prepared.notices)
