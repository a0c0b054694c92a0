"""What a model says, how long that is and how long it takes: a function of the request alone.

A list of labels is answered with a label, two texts behind labels with the label of one, a schema with a valid
instance, a tool that must be called with a call, and anything else with a sentence that says where it comes from.
Models err at rates of their own, so that comparing them on the local gateway gives a picture; it says nothing about
the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from runner.core.catalog import Model
from runner.simulator import labels, preferences, tokens
from runner.simulator.asked import Asked, Ended, Json, Said
from runner.simulator.chance import Purpose, bits, lognormal, uniform
from runner.simulator.instances import Writer
from runner.simulator.quotes import quote

SMALL = ("nano", "mini", "lite", "flash", "haiku", "-8b", "-12b", "-20b")
ERROR_RATE_SMALL = 0.12
ERROR_RATE = 0.04
FIRST_RATE_SMALL = 0.15
FIRST_RATE = 0.06
"""How often a model prefers, of texts that it is shown, the one that stands first, whatever it says."""

REASONING: dict[str, tuple[int, int]] = {
    "none": (0, 0),
    "minimal": (8, 24),
    "low": (20, 60),
    "medium": (40, 120),
    "high": (120, 360),
    "xhigh": (240, 720),
    "max": (480, 1_440),
}
"""Hidden reasoning tokens, from and to, by effort."""
EFFORT = "medium"
"""What a model that always reasons does when nothing is said."""

BLOCKS = ("gemini-3-5-flash", "gemini-3-1-pro", "gpt-oss-120b", "qwen35-122b-a10b")
"""Models whose content the chat dialect gives as a list of blocks."""

DEFAULT_CAPS = {"claude-sonnet-4": 1_000}
"""Models that stop at a cap of the gateway's where the request has none."""

REFUSAL = "The local simulator plays a model that declines to answer this."
FIRST_WORDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """Output lengths from a log-normal distribution, instead of those of the texts."""

    mean: float
    """Tokens, hidden reasoning not included."""
    sigma: float = 0.5
    """Spread: the standard deviation of the length's logarithm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How all models behave."""

    lengths: Lognormal | None = None
    """Lengths of answers; None for what their text has."""
    latency: float = 0.6
    """Mean seconds until a model begins to write."""
    tokens_per_second: float = 80.0
    """How fast it writes then; 0 for at once."""
    time_scale: float = 1.0
    """Factor on all of that; 0 answers at once."""


LATENCY_SPREAD = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """What plays the models."""

    manner: Manner
    counter: tokens.Counter

    def answer(self, asked: Asked, model: Model, input_tokens: int, key: int, created: int) -> Said:
        """What `model` says to a request; `key` is the request's hash, and all its luck."""
        tool = _tool(asked)
        writer = _writer(asked, model, key)
        text = arguments = ""
        if tool is None:
            text = _text(asked, model, input_tokens, key, writer)
        else:
            parameters = next((t.parameters for t in asked.tools if t.name == tool), {})
            arguments = orjson.dumps(writer.write({"type": "object", **parameters})).decode()
        shown, reasoning = self._length(model, arguments or text, key), _reasoning(asked, model, key)
        limit = cap(asked, model)
        ended: Ended = "stop" if tool is None else "tool_calls"
        if limit is not None and reasoning + shown > limit:
            # The reasoning comes first and can use everything up. Half a call is none: its arguments would be no JSON.
            reasoning = min(reasoning, limit)
            text, tool, ended = text[: len(text) * (limit - reasoning) // shown], None, "length"
            shown = limit - reasoning
        return Said(
            id=f"{key:016x}",
            model=f"{model.short}-simulated",
            created=created,
            text=text,
            ended=ended,
            input_tokens=input_tokens,
            output_tokens=reasoning + shown,
            reasoning_tokens=reasoning,
            tool=tool,
            arguments=arguments,
            blocks=model.short in BLOCKS,
        )

    def seconds(self, said: Said, key: int) -> float:
        """How long the answer takes."""
        manner = self.manner
        writing = said.output_tokens / manner.tokens_per_second if manner.tokens_per_second else 0.0
        return manner.time_scale * (lognormal(key, Purpose.LATENCY, manner.latency, LATENCY_SPREAD) + writing)

    def _length(self, model: Model, text: str, key: int) -> int:
        lengths = self.manner.lengths
        if lengths is None:
            return tokens.count_output(model, text, self.counter)
        return max(1, round(lognormal(key, Purpose.LENGTH, lengths.mean, lengths.sigma)))


def cap(asked: Asked, model: Model) -> int | None:
    """Where an answer ends at the latest: what was asked for, or else what the model can write."""
    return asked.max_tokens or DEFAULT_CAPS.get(model.short) or model.max_output_tokens


def refused(said: Said) -> Said:
    """The same answer from a model that declines."""
    return replace(said, text=REFUSAL, ended="refused", tool=None)


def broken(said: Said) -> Said:
    """The same answer as JSON that breaks off within its last word."""
    return replace(said, text=_as_json(said.text)[:-4], tool=None)


def talkative(said: Said) -> Said:
    """The same answer as JSON with prose around it."""
    text = f"Here is the JSON that you asked for:\n\n{_as_json(said.text)}\n\nLet me know if you need anything else."
    return replace(said, text=text, tool=None)


def _as_json(text: str) -> str:
    return text if text.startswith(("{", "[")) else orjson.dumps({"label": text}).decode()


def filtered(said: Said) -> Said:
    """The same answer, stopped by a filter."""
    return replace(said, text="", ended="filtered", tool=None)


def _tool(asked: Asked) -> str | None:
    """The tool that is called: only where one must be."""
    if asked.must_call is None or not asked.tools:
        return None
    return asked.must_call or asked.tools[0].name


def _reasoning(asked: Asked, model: Model, key: int) -> int:
    """Hidden tokens: by the effort asked for, else by the model's habit."""
    if asked.effort is None and not model.reasons:
        return 0
    least, most = REASONING.get(asked.effort or EFFORT, REASONING[EFFORT])
    return least + bits(key, Purpose.REASONING) % (most - least + 1)


def _label(options: Sequence[str], asked: Asked, model: Model, key: int) -> str:
    """The label for what was said, or another one where this model errs."""
    said = asked.question or asked.system
    right = labels.pick(options, labels.without_lists(said), uniform(key, Purpose.TIE))
    if uniform(key, Purpose.ERROR) < (ERROR_RATE_SMALL if _is_small(model) else ERROR_RATE):
        return labels.other(options, right, uniform(key, Purpose.WRONG))
    return right


def _preferred(options: Sequence[str], behind: dict[str, str], asked: Asked, model: Model, key: int) -> str:
    """The label of the text that is preferred of those shown, or another one where this model errs."""
    weakness = FIRST_RATE_SMALL if _is_small(model) else FIRST_RATE
    best = preferences.prefer(options, behind, "\n".join(asked.turns), uniform(key, Purpose.PLACE), weakness)
    if uniform(key, Purpose.ERROR) < (ERROR_RATE_SMALL if _is_small(model) else ERROR_RATE):
        return labels.other(options, best, uniform(key, Purpose.WRONG))
    return best


def _is_small(model: Model) -> bool:
    return any(word in model.short for word in SMALL)


def _writer(asked: Asked, model: Model, key: int) -> Writer:
    def choose(values: Sequence[Json]) -> Json:
        if all(isinstance(value, str) for value in values):
            return _label(values, asked, model, key)
        return values[bits(key, Purpose.VALUE) % len(values)]

    def text(name: str) -> str:
        return f"simulated {name}".strip()

    def fraction(name: str) -> float:
        return uniform(key ^ hash_of(name), Purpose.VALUE)

    def copied() -> str:
        return quote(asked.question, uniform(key, Purpose.QUOTE), uniform(key, Purpose.WORDS))

    return Writer(choose=choose, text=text, quote=copied, fraction=fraction)


def hash_of(name: str) -> int:
    """A number for a name that is the same in every process, as Python's own hash is not."""
    return int.from_bytes(name.encode()[-8:].rjust(8, b"\0"))


def _text(asked: Asked, model: Model, input_tokens: int, key: int, writer: Writer) -> str:
    if asked.schema is not None:
        return orjson.dumps(writer.write(asked.schema)).decode()
    prompt = asked.turns[-1] if asked.turns else ""
    options, behind = preferences.shown("\n".join(asked.turns))
    if options:
        text = _preferred(options, behind, asked, model, key)
    else:
        options = labels.offered(prompt) or labels.offered(asked.system)
        text = _label(options, asked, model, key) if options else _sentence(prompt, input_tokens)
    if asked.json_mode:
        return orjson.dumps({"label" if options else "text": text}).decode()
    return text


def _sentence(prompt: str, input_tokens: int) -> str:
    begin = " ".join(prompt[:400].split()[:FIRST_WORDS])
    return (
        f"This comes from the local simulator, which is no model."
        f' It was sent {input_tokens} input tokens that end in a message beginning "{begin}".'
    )
