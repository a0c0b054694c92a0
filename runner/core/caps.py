"""What a user allows a run to spend in all: tokens, dollars, time. Reservations in flight count as spent."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from runner.core.catalog import Model, Price
from runner.core.values import Charge, Usage


def cost(price: Price | None, usage: Usage) -> float:
    """US dollars for a reply by the catalogue's price; 0 where no price is known.

    Cached input is billed at its own price where there is one; a long prompt at the long prices for all of it.
    """
    if price is None:
        return 0.0
    long = price.long_above is not None and usage.input > price.long_above
    input_price = price.long_input if long and price.long_input else price.input
    output_price = price.long_output if long and price.long_output else price.output
    cached_price = price.cached_input if price.cached_input is not None else input_price
    write_price = price.cache_write if price.cache_write is not None else input_price
    plain = max(0, usage.input - usage.cached_input - usage.cache_write)
    dollars = (
        plain * input_price
        + usage.cached_input * cached_price
        + usage.cache_write * write_price
        + usage.output * output_price
    )
    return dollars / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The user's bounds; None means none."""

    max_cost: float | None = None
    """US dollars."""
    max_total_tokens: int | None = None
    """Input and output together."""
    deadline: float | None = None
    """Seconds after the start at which admission ends."""


def _reached(cap: str, held: str, more: str) -> str:
    return f"{cap}: {held} are spent or in flight, and the next request may take {more}; give a higher one"


def _dollars(amount: float) -> str:
    """Four decimals, or as many as it takes to show two digits."""
    places = 4 if amount <= 0 else max(4, 1 - math.floor(math.log10(amount)))
    return f"${amount:.{places}f}"


class Spending:
    """What a run has spent and holds in reserve."""

    def __init__(self, caps: Caps, models: Iterable[Model], started: float) -> None:
        self._caps = caps
        self._prices = {model.short: model.price for model in models}
        self.ends = None if caps.deadline is None else started + caps.deadline
        """The moment at which admission ends, if there is one."""
        self.cost = 0.0
        self.tokens = 0
        self._held_cost = 0.0
        self._held_tokens = 0

    @property
    def over(self) -> str:
        """What is said when that moment has come."""
        return f"--deadline: {self._caps.deadline:g} seconds are over"

    def refuses(self, model: str, charge: Charge) -> str | None:
        """Why this charge may not be added, or None if it may."""
        caps = self._caps
        tokens = charge.input + charge.output
        if caps.max_total_tokens is not None:
            held = self.tokens + self._held_tokens
            if held + tokens > caps.max_total_tokens:
                return _reached(f"--max-total-tokens {caps.max_total_tokens:,}", f"{held:,}", f"{tokens:,}")
        if caps.max_cost is not None:
            held_cost = self.cost + self._held_cost
            worst = self._worst(model, charge)
            if held_cost + worst > caps.max_cost:
                return _reached(f"--max-cost {caps.max_cost:g}", _dollars(held_cost), _dollars(worst))
        return None

    def _worst(self, model: str, charge: Charge) -> float:
        """The dollars that a reservation holds; nobody asks where dollars have no bound."""
        if self._caps.max_cost is None:
            return 0.0
        return cost(self._prices[model], Usage(input=charge.input, output=charge.output))

    def hold(self, model: str, charge: Charge) -> None:
        """Reserve a charge that was admitted."""
        self._held_tokens += charge.input + charge.output
        self._held_cost += self._worst(model, charge)

    def settle(self, model: str, charge: Charge, usage: Usage | None) -> None:
        """Replace a reservation by what was used; None if nothing was."""
        self._held_tokens -= charge.input + charge.output
        self._held_cost -= self._worst(model, charge)
        if usage is not None:
            self.tokens += usage.input + usage.output
            self.cost += cost(self._prices[model], usage)

    def add(self, tokens: int, dollars: float) -> None:
        """Count what earlier sessions of the run have spent."""
        self.tokens += tokens
        self.cost += dollars

    def add_untold(self, model: str, charge: Charge, requests: int) -> None:
        """Count requests of earlier sessions that may have been billed for all that each of them reserved."""
        self.tokens += requests * (charge.input + charge.output)
        self.cost += requests * self._worst(model, charge)
