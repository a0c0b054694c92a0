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
        self._changes = sorted(config.limit_changes)
        self._factor = 1.0
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
            limits = self._models[model.short] = self._of(now, model)
        return [_want(limit, input_tokens, reserved) for limit in limits]

    def _of(self, now: float, model: Model) -> tuple[Limit, ...]:
        config, short = self._config, model.short
        own, upstream = self._own, self._upstream
        limits = [self.combined] if self.combined else []
        if config.per_model_input is not None:
            amount, neighbour = config.per_model_input, config.background_input
            limits.append(Limit(measure=self._input, model=short, amount=amount, shape=own, neighbour=neighbour))
        output = self._output(model)
        if output is not None:
            neighbour = config.background_output
            limits.append(Limit(measure="output", model=short, amount=output, shape=upstream, neighbour=neighbour))
        if config.requests_per_second is not None:
            second = Shape(kind="sliding", seconds=1.0)
            limits.append(Limit(measure="requests", model=short, amount=config.requests_per_second, shape=second))
        for limit in limits:
            if limit.model is not None and self._factor != 1.0:
                limit.scale(now, self._factor)
        return tuple(limits)

    def _output(self, model: Model) -> int | None:
        if model.short in self._config.outputs:
            return self._config.outputs[model.short]
        if self._config.catalogue_limits and model.output_tokens_per_minute:
            return model.output_tokens_per_minute
        return self._config.output_per_model

    def _change(self, now: float) -> None:
        """Let the changes that are due take effect."""
        while self._changes and self._changes[0][0] <= now:
            _, self._factor = self._changes.pop(0)
            for limit in self.limits:
                limit.scale(now, self._factor)


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
