"""The limits of the simulated account: which of them bind a request, and what it wants of each."""

from __future__ import annotations

from runner.core.catalog import Model
from runner.simulator.config import Simulator
from runner.simulator.judge import Limit, Measure, Wanted
from runner.simulator.window import Shape


class Account:
    """All limits, made for each model when it is first asked."""

    def __init__(self, config: Simulator, phase: float) -> None:
        self._config = config
        own = Shape(kind=config.window, seconds=config.window_seconds, phase=phase, burst=config.burst)
        upstream = config.upstream_window or config.window
        self._own = own
        self._upstream = Shape(kind=upstream, seconds=config.window_seconds, phase=phase, burst=config.burst)
        self._input: Measure = "total" if config.count == "total" else "input"
        self._models: dict[str, tuple[Limit, ...]] = {}
        self._moments = _moments(config)
        self._since: float | None = None
        self.combined: Limit | None = None
        if config.combined_input is not None:
            self.combined = Limit(measure=self._input, model=None, amount=config.combined_input, shape=own)

    @property
    def limits(self) -> list[Limit]:
        """Every limit that some request has met."""
        shared = [self.combined] if self.combined else []
        return shared + [limit for limits in self._models.values() for limit in limits if limit.model]

    def wanted(self, now: float, model: Model, input_tokens: int, reserved: int) -> list[Wanted]:
        """What a request wants of each limit that binds it."""
        self._change(now)
        limits = self._models.get(model.short)
        if limits is None:
            limits = self._models[model.short] = self._of(model)
        return [_want(limit, input_tokens, reserved) for limit in limits]

    def _of(self, model: Model) -> tuple[Limit, ...]:
        config, short = self._config, model.short
        own, upstream = self._own, self._upstream
        limits = [self.combined] if self.combined else []
        amount = config.inputs.get(short, config.per_model_input)
        if amount is not None:
            limits.append(Limit(measure=self._input, model=short, amount=amount, shape=own))
        output = self._output(model)
        if output is not None:
            limits.append(Limit(measure="output", model=short, amount=output, shape=upstream))
        rate = config.rates.get(short, config.requests_per_second)
        if rate is not None:
            second = Shape(kind="sliding", seconds=1.0)
            limits.append(Limit(measure="requests", model=short, amount=rate, shape=second))
        if self._since is not None:
            self._let_hold(self._since, [limit for limit in limits if limit.model])
        return tuple(limits)

    def _output(self, model: Model) -> int | None:
        if model.short in self._config.outputs:
            return self._config.outputs[model.short]
        if self._config.catalogue_limits and model.output_tokens_per_minute:
            return model.output_tokens_per_minute
        return self._config.output_per_model

    def _change(self, now: float) -> None:
        """Let the changes that are due take effect, each at its moment."""
        while self._moments and self._moments[0] <= now:
            self._since = self._moments.pop(0)
            self._let_hold(self._since, self.limits)

    def _let_hold(self, at: float, limits: list[Limit]) -> None:
        """Set limits to what holds from a moment on."""
        factors = [factor for begin, factor in sorted(self._config.limit_changes) if begin <= at]
        present = [near for near in self._config.neighbours if near.begin <= at < near.end]
        spent: dict[Measure, int] = {
            self._input: sum(near.input for near in present),
            "output": sum(near.output for near in present),
        }
        for limit in limits:
            taken = spent.get(limit.measure, 0) if limit.model else 0
            limit.change(at, factors[-1] if factors else 1.0, taken)


def _moments(config: Simulator) -> list[float]:
    """When a limit changes or a neighbour comes or goes, in seconds after the first request."""
    changes = {at for at, _ in config.limit_changes}
    return sorted(changes | {at for near in config.neighbours for at in (near.begin, near.end)})


def _want(limit: Limit, input_tokens: int, reserved: int) -> Wanted:
    match limit.measure:
        case "input":
            return Wanted(limit, input_tokens)
        case "total":
            return Wanted(limit, input_tokens, reserved)
        case "output":
            return Wanted(limit, 0, reserved)
        case _:
            return Wanted(limit, 1)
