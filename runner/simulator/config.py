"""Everything that can be set about a simulator, in one frozen value. Numbers that no page states are guesses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from runner.simulator.behaviour import Lognormal, Manner
from runner.simulator.errors import Generation
from runner.simulator.faults import FAULTS
from runner.simulator.tokens import Counter, default_counter
from runner.simulator.window import Kind

MEGABYTE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Somebody else who spends of each model's limits, evenly and whatever we do."""

    input: int = 0
    """Input tokens per window, of each model's limit."""
    output: int = 0
    """Output tokens per window, of each model's limit."""
    begin: float = 0.0
    """Seconds after the first request."""
    end: float = math.inf
    """Seconds after the first request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """A gateway to start: its limits, its speed, its words and its faults."""

    window: Kind = "sliding"
    """Kind of the windows of the gateway's own limits."""
    upstream_window: Kind | None = None
    """Kind of the windows of the limits behind it (output, requests); None for the same."""
    window_seconds: float = 60.0
    phase: float | None = None
    """Where calendar windows begin, in seconds after the first request; None for the wall clock's minutes."""
    burst: float = 1.0
    """What a full bucket holds, in limits."""

    per_model_input: int | None = 200_000
    """Input tokens per window for each model; None for no limit, here and below."""
    combined_input: int | None = 1_100_000
    """Input tokens per window for all models together."""
    output_per_model: int | None = 20_000
    """Output tokens per window for each model of which neither `outputs` nor the catalogue says otherwise."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Output tokens per window for some models, by short id."""
    inputs: Mapping[str, int] = field(default_factory=dict)
    """Input tokens per window for some models."""
    catalogue_limits: bool = True
    """Whether the catalogue's `output_tokens_per_minute` holds where it is stated."""
    requests_per_second: int | None = None
    """Requests per second for each model."""
    rates: Mapping[str, int] = field(default_factory=dict)
    """Requests per second for some models."""
    count: Literal["input", "total"] = "input"
    """What the two input limits count: input alone, or input and output together."""
    default_reservation: int = 1_000
    """Output tokens reserved for a request without a cap."""
    charge_refused: bool = False
    """Whether a refused request counts against the input limits all the same."""
    neighbours: tuple[Neighbour, ...] = ()
    """Who else spends of the limits, and when."""
    limit_changes: tuple[tuple[float, float], ...] = ()
    """(seconds after the first request, factor): from then on every limit is so much of what it is set to here."""
    outages: tuple[tuple[float, float], ...] = ()
    """(from, to) in seconds after the first request: every request is answered 503."""

    generation: Generation = "july"
    """The state of the gateway's error messages."""
    retry_after: bool = True
    """Whether a 429 carries Retry-After."""
    documented_429: bool = False
    """Whether Databricks' 429s have the body of its manual instead of the one seen live."""
    gemini_429: bool = False
    """Whether its 429s on the Gemini dialect come in Google's shape."""
    input_refused_by: Literal["gateway", "upstream"] = "gateway"
    """Who answers when a model's input limit is hit."""

    lengths: Lognormal | None = None
    """Lengths of answers; None for what their text has."""
    latency: float = 0.6
    """Mean seconds until a model begins to write."""
    tokens_per_second: float = 80.0
    """How fast it writes then; 0 for at once."""
    time_scale: float = 1.0
    """Factor on these times; 0 answers at once."""

    faults: Mapping[str, float] = field(default_factory=dict)
    """Probability of each kind of fault, by its name in `faults.FAULTS`, for one attempt that was let in."""
    seed: int = 0
    token: str | None = None
    """The only token that is accepted; None for any."""
    disabled: frozenset[str] = frozenset()
    """Short ids of models that this account may not use."""
    max_body_bytes: int = 4 * MEGABYTE
    counter: Counter | None = None
    """Counts the tokens of a text before a family's ratio; None for `tokens.default_counter`."""

    def __post_init__(self) -> None:
        unknown = set(self.faults) - set(FAULTS)
        if unknown:
            raise ValueError(f"There is no fault {min(unknown)!r}; there are {', '.join(FAULTS)}.")
        if sum(self.faults.values()) > 1 or min(self.faults.values(), default=0) < 0:
            raise ValueError("The probabilities of faults must not be negative, and must add up to at most 1.")

    @property
    def coarseness(self) -> float:
        """Seconds that a stated wait is a multiple of: one, or as much less as the window is shorter than a minute."""
        return min(1.0, self.window_seconds / 60)

    @property
    def manner(self) -> Manner:
        """How all models behave."""
        return Manner(
            lengths=self.lengths,
            latency=self.latency,
            tokens_per_second=self.tokens_per_second,
            time_scale=self.time_scale,
        )

    def counting(self) -> Counter:
        """The counter to use."""
        return self.counter or default_counter()
