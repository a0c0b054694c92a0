"""Runs that share an account as processes of their own: killed, and with a file that cannot be used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.core.limits import Limit
from runner.core.ports import Lease
from runner.core.values import Charge
from runner.ledgers.pages import Member
from runner.ledgers.processes import Life, Process, life, this_process
from runner.ledgers.shared import SharedLedger
from runner.ledgers.sqlite import Store

LIMIT = Limit(scope="a", measure="input", amount=1_000, window=1.0)
REQUEST = Charge(1, 10, 0)

HOLDER = """
import sys, time
from pathlib import Path
from runner.core.limits import Limit
from runner.core.values import Charge
from runner.ledgers.pages import Member
from runner.ledgers.processes import this_process
from runner.ledgers.shared import SharedLedger
from runner.ledgers.sqlite import Store

limit = Limit(scope="a", measure="input", amount=1_000, window=1.0)
me = Member(run="holder", process=this_process(), since=0.0)
ledger = SharedLedger({"a": (limit,)}, store=Store(Path(sys.argv[1])), me=me)
print("ready", flush=True)
while True:
    lease = ledger.take("a", Charge(1, 10, 0), time.monotonic())
    if hasattr(lease, "until"):
        time.sleep(0.01)
    else:
        ledger.settle(lease, Charge(1, 10, 0), time.monotonic())
"""


def new(path: Path, run: str = "here") -> SharedLedger:
    return SharedLedger(
        {"a": (LIMIT,)}, store=Store(path), me=Member(run=run, process=this_process(), since=time.time())
    )


def takes(ledger: SharedLedger, seconds: float) -> int:
    """Tokens that a run takes in so much real time."""
    ends, taken = time.monotonic() + seconds, 0
    while (now := time.monotonic()) < ends:
        lease = ledger.take("a", REQUEST, now)
        if isinstance(lease, Lease):
            ledger.settle(lease, REQUEST, now)
            taken += REQUEST.input
        else:
            time.sleep(0.005)
    return taken


@pytest.fixture
def ledger(tmp_path: Path):
    made = new(tmp_path / "account.share")
    yield made
    made.leave(time.monotonic())


def test_a_holder_that_is_killed_costs_a_window(tmp_path: Path, ledger: SharedLedger) -> None:
    """While it lives there is about half; after kill -9, and a window, there is all. Its parent has not even waited."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "account.share")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    takes(ledger, 1.5)
    beside = takes(ledger, 2.0)
    other = next(
        page.member.process for page in Store(tmp_path / "account.share").look()[0] if page.member.run == "holder"
    )
    assert life(other) is Life.RUNS
    os.kill(process.pid, signal.SIGSTOP)
    assert _becomes(other, Life.STOPPED)
    os.kill(process.pid, signal.SIGKILL)
    assert _becomes(other, Life.GONE)
    takes(ledger, LIMIT.window)
    alone = takes(ledger, 2.0)
    process.stdout.close()
    process.wait()
    assert beside <= 1.35 * LIMIT.amount
    assert alone >= 1.65 * LIMIT.amount


SHOWN = Member(run="there", process=Process(pid=1, born=0, boot="this", space="another"), since=0.0)
SHOWS = f"""
import sys
from pathlib import Path
from runner.ledgers.pages import Member
from runner.ledgers.processes import Process
from runner.ledgers.sqlite import Store

store = Store(Path(sys.argv[1]))
store.show({SHOWN!r})
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_sign_of_a_process_goes_with_it(tmp_path: Path) -> None:
    """Whoever looks, from whatever container: while it is stopped it is there, and after kill -9 it is not."""
    store = Store(tmp_path / "account.share")
    words = [sys.executable, "-c", SHOWS, str(store.path)]
    assert not store.sees(SHOWN)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        is_seen = store.sees(SHOWN)
        process.kill()
    assert is_seen
    assert not store.sees(SHOWN)


def _becomes(process: Process, fate: Life) -> bool:
    ends = time.monotonic() + 10
    while life(process) is not fate and time.monotonic() < ends:
        time.sleep(0.005)
    return life(process) is fate


def test_a_folder_that_cannot_be_written_stops_nobody() -> None:
    """It goes on with all that there is, since it has never met anybody, and says so."""
    ledger = new(Path("/proc/account.share"))  # where not even root can make a file
    assert takes(ledger, 0.2) == LIMIT.amount
    assert "as if there were none" in ledger.notices[0]


def test_a_path_that_is_no_file_stops_nobody(tmp_path: Path) -> None:
    """Whatever stands there is left alone."""
    path = tmp_path / "account.share"
    path.symlink_to("/dev/null")
    ledger = new(path)
    assert takes(ledger, 0.2) == LIMIT.amount
    assert "as if there were none" in ledger.notices[0]


FULL = """
import resource, sys, time
from pathlib import Path
from runner.core.limits import Limit
from runner.core.values import Charge
from runner.ledgers.pages import Member
from runner.ledgers.processes import this_process
from runner.ledgers.shared import SharedLedger
from runner.ledgers.sqlite import Store

limit = Limit(scope="a", measure="input", amount=1_000, window=1.0)
me = Member(run="full", process=this_process(), since=1.0)
ledger = SharedLedger({"a": (limit,)}, store=Store(Path(sys.argv[1])), me=me)
ledger.meet(time.monotonic())
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
time.sleep(0.2)
taken, ends = [], time.monotonic() + 1.5
while (now := time.monotonic()) < ends:
    lease = ledger.take("a", Charge(1, 10, 0), now)
    if hasattr(lease, "until"):
        time.sleep(0.005)
    else:
        ledger.settle(lease, Charge(1, 10, 0), now)
        taken.append(now)
print(max(10 * sum(at - 1 < other <= at for other in taken) for at in taken), len(ledger.notices), ledger.notices[0])
"""


def test_on_a_full_disk_a_run_goes_on_with_its_part(tmp_path: Path, ledger: SharedLedger) -> None:
    """It saw one other when it could still write: it takes half of what there is in a window, and says so once."""
    ledger.meet(time.monotonic())
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "account.share")], capture_output=True, text=True, check=True
    )
    most, notices, notice = done.stdout.split(maxsplit=2)
    assert 0 < int(most) <= LIMIT.amount / 2
    assert notices == "1"
    assert "50%" in notice
