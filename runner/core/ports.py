"""What the core asks of the outside: the shapes that the other folders fill."""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple, Protocol

from runner.core.catalog import Model
from runner.core.limits import Limit
from runner.core.values import Charge, Failure, Reply, Request, Response, Wire


class Dialect(Protocol):
    """One of the gateway's APIs: translation both ways, without any I/O. Modules of `gateway.dialects` are these."""

    def encode(self, request: Request, model: Model) -> Wire:
        """The HTTP request that asks `model` this; raises errors.UsageError if it cannot be said in this dialect."""

    def decode(self, response: Response) -> Reply | Failure:
        """What an HTTP response says. Never raises, whatever the bytes are."""


class TokenCounter(Protocol):
    """Counts tokens of text in one encoding."""

    def __call__(self, text: str, /) -> int:
        """The number of tokens."""


class Lease:
    """A charge that a ledger holds against every limit of a budget, until it is settled."""

    __slots__ = ("at", "charge", "model", "settled", "takes")

    def __init__(self, model: str, charge: Charge, at: float, takes: list[Any]) -> None:
        self.model = model
        self.charge = charge
        self.at = at
        self.takes = takes
        """The ledger's own notes."""
        self.settled = False

    def __repr__(self) -> str:
        return f"<Lease {self.charge} of {self.model} at {self.at:.3f}{', settled' if self.settled else ''}>"


class Refusal:
    """No room: which limit has none, and when there will be."""

    __slots__ = ("any_larger", "any_size", "limit", "resets", "until")

    def __init__(
        self, until: float, limit: Limit, any_size: bool = False, any_larger: bool = False, resets: bool = False
    ) -> None:
        self.until = until
        self.limit = limit
        self.any_size = any_size
        """Whether a smaller charge would have been refused as well."""
        self.any_larger = any_larger
        """Whether whatever takes no less of this limit is refused as well, for as long at least, of every model."""
        self.resets = resets
        """Whether all of the limit is there at that moment, whatever is taken before."""

    def __repr__(self) -> str:
        return f"<Refusal until {self.until:.3f}: {self.limit}>"


class Room(NamedTuple):
    """What may be taken at this moment, of each measure; infinity where nothing limits it."""

    input: float
    output: float
    total: float

    def fits(self, charge: Charge) -> bool:
        """Whether a charge may be taken."""
        return (
            charge.input <= self.input and charge.output <= self.output and charge.input + charge.output <= self.total
        )


class Refused(enum.Enum):
    """What a 429 is to a ledger."""

    EXPECTED = "it was sent to find out whether there is room, and closes nothing"
    SURPRISING = "there seemed to be room; the ledger now knows better"
    UNKNOWN = "it speaks of a limit that the ledger does not keep"


class Ledger(Protocol):
    """Where spending is kept. Every verb is atomic."""

    def take(self, model: str, charge: Charge, now: float) -> Lease | Refusal:
        """Hold a charge against all limits of a model's budget, or none."""

    def refusal(self, model: str, charge: Charge, now: float) -> Refusal | None:
        """What `take` would answer, without taking anything: None where it would be a lease."""

    def room(self, model: str, now: float) -> Room:
        """What a model's budget has room for, without anything being sent only to find out."""

    def settle(self, lease: Lease, charge: Charge, now: float, sent_at: float = -math.inf, lag: float = 0.0) -> None:
        """Replace a lease's guess by the truth; exactly once for each lease.

        It was sent at `sent_at`, if that is later than it was taken, and counted up to `lag` seconds after it was
        taken, as far as that may be believed of a window.
        """

    def accepted(self, lease: Lease, now: float) -> bool:
        """Learn from a lease that the gateway let in, before it is settled; whether anything was learned."""

    def refused(self, lease: Lease, failure: Failure, now: float, sent_at: float = -math.inf) -> Refused:
        """Learn from a 429 to a lease, before it is settled; it was sent at `sent_at`, if that is later than taken."""

    def spent(self, now: float) -> dict[Limit, int]:
        """What each limit's window holds."""

    def use(self, model: str, now: float) -> float:
        """The fullest of a model's own windows, as a fraction."""
