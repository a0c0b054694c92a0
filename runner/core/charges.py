"""What to reserve for a task at a model: the input that it is expected to have, and the output cap to send with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from runner.core.catalog import Model
from runner.core.estimate import Estimator
from runner.core.knowledge import Knowledge
from runner.core.latency import Latencies
from runner.core.lengths import Lengths
from runner.core.limits import Budget
from runner.core.values import Charge, Usage
from runner.core.work import Task

BOUNDLESS = 2**60


class Charges:
    """Charges of tasks, learned from what answers really took."""

    def __init__(self, models: Iterable[Model], budgets: Mapping[str, Budget], window: float) -> None:
        self._models = {model.short: model for model in models}
        self.estimator = Estimator(self._models.values())
        self.lengths = Lengths(self._models, window)
        self.latencies = Latencies(self._models)
        self._input = {name: _least(budget, "input", "total") for name, budget in budgets.items()}
        self._total = {name: _least(budget, "total") for name, budget in budgets.items()}
        self._limited = {name for name, budget in budgets.items() if _least(budget, "output", "total") < BOUNDLESS}
        """Models whose output is limited: with the others a tight cap would gain nothing."""

    def __call__(self, task: Task, model: str) -> Charge:
        """What to reserve for a task now."""
        # A correction learned later must not make a row larger than the limit that it was checked against.
        tokens = min(self.estimator.input_tokens(task.size, model), self._input[model])
        cap = self._cap(task, model, tokens)
        total = self._total[model]
        return Charge(1, tokens if tokens + cap <= total else max(0, total - cap), cap)

    def _cap(self, task: Task, model: str, tokens: int) -> int:
        ceiling = task.caps[model]
        if not task.free:
            return ceiling if task.request.body is not None else self.lengths.within(model, ceiling)
        context = self._models[model].context_tokens or BOUNDLESS
        ceiling = max(1, min(ceiling, context - tokens, self._total[model] - tokens))
        if model not in self._limited:
            return self.lengths.within(model, ceiling)
        return self.lengths.cap(model, ceiling, task.least)

    def recall(self, known: Knowledge, job: str) -> None:
        """Begin with what earlier runs have learned; `job` is the key of the one that is run."""
        self.estimator.recall(known.ratios)
        self.lengths.recall(known.lengths.get(job, {}), known.output_caps)
        self.latencies.recall(known.speeds)

    def remember(self, known: Knowledge, job: str) -> Knowledge:
        """What was known, with what was learned since."""
        lengths = {**known.lengths.get(job, {}), **self.lengths.remember()}
        return replace(
            known,
            ratios={**known.ratios, **self.estimator.remember()},
            output_caps={**known.output_caps, **self.lengths.most},
            lengths={**known.lengths, job: lengths} if lengths else known.lengths,
            speeds={**known.speeds, **self.latencies.remember()},
        )

    def learn(self, task: Task, model: str, usage: Usage, seconds: float) -> None:
        """Take in what an answer took, in tokens and in seconds."""
        self.estimator.learn(task.size, model, usage)
        self.lengths.learn(model, usage, seconds)
        self.latencies.learn(model, usage, seconds)


def _least(budget: Budget, *measures: str) -> int:
    return min((limit.amount for limit in budget if limit.measure in measures), default=BOUNDLESS)
