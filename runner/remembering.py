"""What earlier runs have learned of a gateway, brought into a run or a plan, and what a run learns, kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace

from runner.core.charges import Charges
from runner.core.errors import UsageError
from runner.core.knowledge import Knowledge
from runner.gateway import environment
from runner.gateway.client import origin_of
from runner.ledgers.memory import MemoryLedger
from runner.preparing import Prepared
from runner.storage.knowledge import Memory


@contextlib.contextmanager
def remembering(
    prepared: Prepared, gateway: environment.Gateway, charges: Charges, ledger: MemoryLedger, *, resumed: bool
) -> Iterator[None]:
    """Begin with what earlier runs have learned of the gateway, and keep what this one learns, however it ends.

    The gateway that a run starts itself is a new one each time: nothing is remembered of it. What a run that is
    resumed had spent stands in its journal.
    """
    if gateway.url is None or not prepared.setup.memory:
        yield
        return
    clock = asyncio.get_running_loop().time
    memory = Memory(gateway.url, gateway.token.fingerprint)
    memory.check()
    known = memory.load()
    prepared.notices.extend(memory.notices)
    charges.recall(known, prepared.job.key)
    ledger.recall(known.limits, time.time(), clock(), spending=not resumed)
    try:
        yield
    finally:
        learned = charges.remember(known, prepared.job.key)
        memory.save(replace(learned, limits={**known.limits, **ledger.remember(time.time(), clock())}))
        prepared.notices.extend(notice for notice in memory.notices if notice not in prepared.notices)


def known_of(prepared: Prepared) -> Knowledge:
    """What earlier runs have learned of the gateway that is meant, if one is.

    Raises UsageError for one that was given, and can be none; that there is no token for it is no matter.
    """
    given = prepared.setup.gateway
    if given is not None and not environment.is_local(given):
        origin_of(given)
    with contextlib.suppress(UsageError):
        gateway = environment.resolve(prepared.setup.gateway)
        if gateway.url is not None and prepared.setup.memory:
            return Memory(gateway.url, gateway.token.fingerprint).load()
    return Knowledge()
