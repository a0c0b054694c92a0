"""When a scope (one model, or all) may be asked at all.

A 429 closes the scope that it names, not the one request: until the gateway's Retry-After, or for a growing share of
a window where it names none, or where what it names did not help. A run of outage failures closes it too. When the
time is up one single request goes first; an answer opens the scope, another refusal closes it for longer. Where nothing
comes back, another one goes in a while: the first may be a row that hangs.

Models that are out together are most often behind one gateway that is down: they ask in turn rather than all at once,
so that it is asked more often by no more requests, and an answer to one of them lets the others ask now.

An overloaded model that says when to come back is left alone until then; that is no refusal of anything we spent.

Refusals of requests that were sent before the gate closed belong to the same episode: they can move the moment of
opening further away, but they do not make the next pause longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from runner.core.limits import ALL
from runner.core.retry import LONGEST_WAIT, OUTAGES
from runner.core.values import Failure, Kind

FIRST_PAUSE = 1 / 15
"""Of a window: the pause after a 429 without a Retry-After; it doubles up to a whole window."""
BELIEVED = 3
"""Refusals in a row for which a Retry-After is taken as it is; then pauses grow as if it were not there."""
JITTER = 0.02
"""Of the pause, added at random, so that many runners do not come back in one instant."""
LONGEST_OUTAGE = 1 / 12
"""Of a window: the longest pause between two single requests that ask whether an outage or a refusal is over."""
OUTAGE_AFTER = 8
"""Outage failures in a row, without an answer between them, that close a scope."""


@dataclass(slots=True)
class Gate:
    """The state of one scope."""

    closed_at: float = -math.inf
    until: float = -math.inf
    stated: float = -math.inf
    """Of that: what the gateway asked for, and not our own pause."""
    refusals: int = 0
    """Episodes in a row without an answer between them."""
    narrow: bool = False
    """Whether requests go one by one until an answer comes."""
    probes: list[object] = field(default_factory=list)
    """Those that are under way."""
    probed_at: float = -math.inf
    """When the last of them was sent."""
    outages: int = 0
    reason: Kind | None = None
    """The last failure that closed it."""

    @property
    def is_out(self) -> bool:
        """Whether an outage closed it, and nothing has answered since."""
        return self.narrow and self.reason in OUTAGES


class Gates:
    """The gates of all models, and the one that all of them pass."""

    def __init__(self, window: float, rng: Random) -> None:
        self._window = window
        self._longest = max(1.0, window * LONGEST_OUTAGE)
        self._rng = rng
        self._gates: dict[str, Gate] = {}
        self._turn = -math.inf
        """When the last of the models that are out is to be asked."""

    def __getitem__(self, scope: str) -> Gate:
        return self._gates.setdefault(scope, Gate())

    def wait(self, model: str, now: float) -> float:
        """The moment from which `model` may be asked: `now` if it may be."""
        if not self._gates:
            return now
        return max(self._wait(self._gates.get(ALL), now), self._wait(self._gates.get(model), now))

    def _wait(self, gate: Gate | None, now: float) -> float:
        if gate is None:
            return now
        if gate.until > now:
            return gate.until
        return max(now, gate.probed_at + self._longest) if gate.narrow and gate.probes else now

    def reason(self, model: str, now: float) -> Kind | None:
        """What closed the gate for which `model` waits the longest; None where there is no gate."""
        gates = [gate for scope in (ALL, model) if (gate := self._gates.get(scope)) is not None]
        return max(gates, key=lambda gate: self._wait(gate, now)).reason if gates else None

    def is_narrow(self, model: str) -> bool:
        """Whether requests to it go one by one."""
        return any(gate.narrow for scope in (ALL, model) if (gate := self._gates.get(scope)) is not None)

    def is_probe(self, model: str, flight: object) -> bool:
        """Whether this is one of these."""
        return any(flight in gate.probes for scope in (ALL, model) if (gate := self._gates.get(scope)) is not None)

    def restore(self, scope: str, until: float, now: float) -> None:
        """An earlier process was told not to come back before `until`; that is believed as far as we wait at all.

        Pauses of our own making do not outlive a process: a run's first request goes alone, and closes the gate again.
        """
        if until > now:
            gate = self[scope]
            gate.until = gate.stated = min(until, now + max(LONGEST_WAIT, self._window))
            gate.reason = Kind.RATE_LIMITED

    def sent(self, model: str, flight: object, now: float) -> None:
        """A request goes out; where they go one by one, an answer to this is waited for."""
        for scope in (ALL, model):
            gate = self._gates.get(scope)
            if gate is not None and gate.narrow:
                gate.probes.append(flight)
                gate.probed_at = now

    def answered(self, model: str, flight: object) -> None:
        """The gateway looked at a request: the scope works, unless it was closed since the request was sent."""
        for scope in (ALL, model):
            gate = self._gates.get(scope)
            if gate is None:
                continue
            gate.outages = 0
            if flight in gate.probes or not gate.narrow:
                if gate.is_out:
                    self._let_ask()
                gate.narrow, gate.refusals = False, 0
                gate.probes.clear()

    def returned(self, model: str, flight: object) -> None:
        """A request is no longer under way, whatever it says of the scope: where it was alone, another may go."""
        for scope in (ALL, model):
            gate = self._gates.get(scope)
            if gate is not None and flight in gate.probes:
                gate.probes.remove(flight)

    def failed(
        self, model: str, flight: object, failure: Failure, sent_at: float, now: float, *, paced: bool = False
    ) -> str | None:
        """Take note of a failure; the scope that it closed, if it did.

        `paced` says that a ledger keeps the limit that was hit: then no herd waits behind the gate.
        """
        if failure.kind is not Kind.RATE_LIMITED and failure.kind not in OUTAGES:
            self.answered(model, flight)
            return None
        self.returned(model, flight)
        if failure.kind is Kind.RATE_LIMITED:
            scope = ALL if failure.scope == "all" else model
            closed = self._close(scope, failure, sent_at, now, self._window * FIRST_PAUSE, self._window)
            gate = self[scope]
            if closed and paced and gate.refusals == 1 and failure.retry_after is not None:
                gate.narrow = False
            return closed
        scope = ALL if failure.kind is Kind.UNREACHABLE else model
        gate = self[scope]
        gate.outages += 1
        if gate.outages >= OUTAGE_AFTER or failure.kind is Kind.UNREACHABLE or gate.narrow:
            return self._close(scope, failure, sent_at, now, 1.0, self._longest)
        if failure.kind is Kind.OVERLOADED and failure.retry_after is not None:
            return self._leave_alone(model, failure.retry_after, now)
        return None

    def _close(
        self, scope: str, failure: Failure, sent_at: float, now: float, first: float, longest: float
    ) -> str | None:
        gate = self[scope]
        same_episode = sent_at <= gate.closed_at
        believed = 0
        if failure.retry_after is not None:
            self._honour(gate, failure.retry_after, now)
            believed = BELIEVED
        if same_episode:
            return None
        gate.closed_at, gate.reason, gate.narrow = now, failure.kind, True
        gate.probes.clear()
        if gate.refusals >= believed:
            pause = min(longest, first * 2.0 ** min(gate.refusals - believed, 20))
            until = self._in_turn(gate, pause, now) if gate.is_out and scope != ALL else self._later(now, pause)
            gate.until = max(gate.until, until)
        gate.refusals += 1
        return scope

    def _in_turn(self, gate: Gate, pause: float, now: float) -> float:
        """When a model that is out is to be asked, each of them once in such a pause."""
        lately = now - self._longest  # who was not asked since has no rows left
        others = sum(other is not gate and other.is_out and other.until > lately for other in self._gates.values())
        self._turn = self._later(max(self._turn, now), pause / (1 + others))
        return self._turn

    def _let_ask(self) -> None:
        """Somebody who was out is back: the others may ask now, but for what the gateway told them."""
        self._turn = -math.inf
        for gate in self._gates.values():
            if gate.is_out:
                gate.until = gate.stated

    def _leave_alone(self, model: str, seconds: float, now: float) -> str | None:
        gate = self[model]
        was_closed = gate.until > now
        self._honour(gate, seconds, now)
        gate.reason = Kind.OVERLOADED
        return None if was_closed else model

    def _honour(self, gate: Gate, seconds: float, now: float) -> None:
        """Close it for as long as the gateway asked for."""
        gate.stated = max(gate.stated, self._later(now, seconds))
        gate.until = max(gate.until, gate.stated)

    def _later(self, now: float, seconds: float) -> float:
        return now + seconds * (1 + self._rng.uniform(0, JITTER))

    def closed(self, now: float) -> dict[str, float]:
        """The scopes that are closed at this moment, and until when."""
        return {scope: gate.until for scope, gate in self._gates.items() if gate.until > now}
