"""What the benchmark runs: workloads, what the gateway does meanwhile, and the kinds of window it counts by.

A minute's budgets are compressed into a window of ten seconds, or of another length, and latencies with them. The
limits that a client is told are always the page's; what the gateway really does differs by scenario.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUT = 200_000
"""Input tokens per window and model."""
REQUESTS = 100
"""A second and model, at real speed."""
POOL = ("gpt-5-4", "gpt-5-4-mini", "gpt-5-4-nano", "gpt-5-1", "claude-haiku-4-5", "claude-sonnet-4-6")
CHARACTERS = 4.8
"""Of the samples' descriptions, for one token."""

KINDS: Mapping[str, tuple[str, ...]] = {
    "sliding": ("--window=sliding",),
    "fixed": ("--window=fixed",),
    "counter": ("--window=counter",),
    "bucket": ("--window=bucket",),
    "bucket25": ("--window=bucket", "--burst=0.25"),
    "bucket10": ("--window=bucket", "--burst=0.1"),
}
"""The gateway's options for each kind of window. Where calendar windows begin differs by seed."""

BURSTS = {"bucket25": 0.25, "bucket10": 0.1}

Draw = Callable[[random.Random], float]
Happening = Callable[[random.Random, float], list[str]]
"""Options of the gateway, for a window of so many seconds."""


def lognormal(mean: float, sigma: float) -> Draw:
    """Numbers of this mean; `sigma` is the standard deviation of their logarithm."""
    return lambda chance: chance.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


def limits(window: float) -> str:
    """The limits file, where it differs from the page: a minute's budgets in a window of so many seconds."""
    return f"window_seconds = {window:g}\n[per_model]\nrequests_per_second = {round(REQUESTS * 60 / window)}\n"


def _nothing(_: random.Random, __: float) -> list[str]:
    return []


def _neighbour(chance: random.Random, window: float) -> list[str]:
    """Somebody takes 30 to 60 % of each model's input for two and a half windows."""
    begin = chance.uniform(1.0, 1.5) * window
    return [f"--neighbour={round(chance.uniform(0.3, 0.6) * INPUT)}:{begin:.2f}:{begin + 2.5 * window:.2f}"]


def _drop(chance: random.Random, window: float) -> list[str]:
    """All limits are halved."""
    return [f"--limit-change={chance.uniform(1.5, 2.5) * window:.2f}:0.5"]


def _outage(chance: random.Random, window: float) -> list[str]:
    """Nothing but 503 for most of a window."""
    begin = chance.uniform(1.0, 2.0) * window
    return [f"--outage={begin:.2f}:{begin + 0.8 * window:.2f}"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A workload, and what the gateway does."""

    name: str
    rows: int = 17_600
    models: tuple[str, ...] = POOL
    pinned: bool = False
    """Whether each row names one of the models, in turn; otherwise any may answer it."""
    tokens: Draw = lognormal(290, 0.07)
    """Length of a row's text."""
    template: str = ""
    """What a text stands in, at `{{ description }}`; the text alone where there is none."""
    cap: int | None = 16
    """The cap on output that the user gives."""
    words: tuple[str, ...] = ()
    """Further words for the runner's command line."""
    gateway: tuple[str, ...] = ()
    """Options of the gateway."""
    happens: Happening = _nothing
    """Further options of the gateway, by seed."""
    only: tuple[str, ...] = tuple(KINDS)
    """The kinds of window that it can run under."""
    optional: bool = False
    """Whether it runs only when it is asked for by name."""

    def prompts(self, count: int, kind: str, seed: int) -> Iterator[dict[str, str]]:
        """The rows, all different: id, prompt, and the model of a pinned row. No text is longer than a bucket holds."""
        descriptions = (json.loads(line)["description"] for line in (ROOT / "samples/packages.jsonl").open("rb"))
        everything = " ".join(descriptions)
        chance = random.Random(f"{self.name}:{seed}")
        longest = 0.75 * INPUT * BURSTS.get(kind, 1.0)
        for number in range(count):
            length = round(CHARACTERS * min(longest, self.tokens(chance)))
            start = chance.randrange(len(everything) // 2)
            text = (everything[start:] + everything * (length // len(everything) + 1))[:length]
            prompt = f"[{number}] {text}"
            if self.template:
                prompt = self.template.replace("{{ description }}", prompt)
            row = {"id": f"row-{number}", "prompt": prompt}
            yield {**row, "model": self.models[number % len(self.models)]} if self.pinned else row

    def options(self, kind: str, seed: int, window: float) -> list[str]:
        """What the gateway is started with, for windows of so many seconds."""
        chance = random.Random(f"{self.name}:{seed}:gateway")
        paces = [f"--phase={chance.uniform(0, window):.2f}", f"--time-scale={window / 60}", f"--seed={seed}"]
        return [*KINDS[kind], *paces, *self.gateway, *self.happens(chance, window)]


SECTION = (ROOT / "samples/section.jinja").read_text("utf-8")
PARITY = "Is the first number even or odd?\nLabels: even, odd\n{{ description }}"
ANSWERS = ("--lengths=100,0.4",)

SCENARIOS = (
    Scenario(name="label", template=SECTION),
    Scenario(
        name="output-bound",
        rows=1_600,
        models=POOL[:4],
        pinned=True,
        tokens=lognormal(350, 0.15),
        cap=400,
        gateway=("--lengths=230,0.4",),
    ),
    Scenario(name="mixed", rows=3_000, tokens=lognormal(1_500, 1.3), cap=200, gateway=("--lengths=60,0.3",)),
    Scenario(name="no-caps", rows=4_000, tokens=lognormal(350, 0.15), cap=None, gateway=ANSWERS),
    Scenario(
        name="generous-caps",
        rows=4_000,
        tokens=lognormal(350, 0.15),
        cap=4_096,
        words=("--caps", "ceiling"),
        gateway=ANSWERS,
        # A tenth of 20,000 tokens holds no reservation of 4,096.
        only=tuple(kind for kind in KINDS if kind != "bucket10"),
    ),
    Scenario(name="neighbour", template=SECTION, rows=12_000, happens=_neighbour),
    Scenario(name="limit-drop", template=SECTION, rows=12_000, happens=_drop),
    Scenario(name="outage", template=SECTION, rows=12_000, happens=_outage),
    Scenario(name="charged-refusals", template=SECTION, rows=12_000, gateway=("--charge-refused",)),
    Scenario(
        name="no-retry-after", template=SECTION, rows=12_000, gateway=("--no-retry-after", "--generation=october")
    ),
    Scenario(name="tiny", template=PARITY, rows=30_000, tokens=lognormal(2, 0.1)),
    Scenario(name="million", template=PARITY, rows=1_000_000, tokens=lognormal(2, 0.1), optional=True),
)
