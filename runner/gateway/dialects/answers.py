"""What an answer says, gathered from blocks of any dialect and concluded in one place.

A response is an answer, a failure (`faults`), or not understood. The last is INVALID_RESPONSE and ambiguous: the model
may well have been asked and paid. Block types and finish words are one table for all dialects, because the gateway
passes a provider's own words through on another provider's dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runner.core.values import Failure, Json, Kind, Outcome, Reply, Response, Usage
from runner.gateway.dialects import faults, json_text
from runner.gateway.dialects.envelopes import excerpt
from runner.gateway.dialects.json_text import as_object, as_text, at

OUTCOMES: Mapping[str, Outcome] = {
    # The model was done.
    "stop": Outcome.OK,
    "end_turn": Outcome.OK,
    "stop_sequence": Outcome.OK,
    "completed": Outcome.OK,
    # It was cut short; `pause_turn` asks to be continued, which a batch does not do.
    "length": Outcome.TRUNCATED,
    "max_tokens": Outcome.TRUNCATED,
    "max_output_tokens": Outcome.TRUNCATED,
    "incomplete": Outcome.TRUNCATED,
    "model_context_window_exceeded": Outcome.TRUNCATED,
    "pause_turn": Outcome.TRUNCATED,
    # It declined.
    "refusal": Outcome.REFUSED,
    # Something between the model and us withheld the answer.
    "content_filter": Outcome.FILTERED,
    "safety": Outcome.FILTERED,
    "recitation": Outcome.FILTERED,
    "language": Outcome.FILTERED,
    "blocklist": Outcome.FILTERED,
    "prohibited_content": Outcome.FILTERED,
    "spii": Outcome.FILTERED,
    "escalation": Outcome.FILTERED,
    "other": Outcome.FILTERED,
    "image_safety": Outcome.FILTERED,
    "image_prohibited_content": Outcome.FILTERED,
    "image_recitation": Outcome.FILTERED,
    "image_other": Outcome.FILTERED,
}
"""By finish word in lower case. Words for tool calls are not here: what counts is whether there are calls."""

BROKEN = frozenset(
    {
        "cancelled",
        "failed",
        "in_progress",
        "queued",
        "error",
        "malformed_function_call",
        "malformed_response",
        "missing_thought_signature",
        "too_many_tool_calls",
        "unexpected_tool_call",
    }
)
"""Finish words that say that there is no answer, whatever stands beside them."""

LARGEST_COUNT = 10**7
"""No model reads or writes this many tokens at once: a larger number is not a count."""


class Malformed(Exception):  # never leaves this package
    """This is not an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Where a dialect's usage object keeps its counts, as dotted places; totals are sums."""

    input: tuple[str, ...]
    output: tuple[str, ...]
    reasoning: str
    cached_input: str
    cache_write: str = "-"
    required: tuple[str, ...]
    """Counts without which nothing was reported."""

    def read(self, usage: Json) -> Usage:
        """The usage; one bad count among the totals makes all of it unreported, since a sum of it would be wrong.

        So does an input of nothing: no request is empty, and what is believed to cost nothing is sent without end.
        """
        inputs = [_count(at(usage, place)) for place in self.input]
        outputs = [_count(at(usage, place)) for place in self.output]
        if None in inputs or None in outputs or None in [at(usage, place) for place in self.required]:
            return Usage(reported=False)
        read, written = sum(filter(None, inputs)), sum(filter(None, outputs))
        if read == 0:
            return Usage(reported=False)
        return Usage(
            input=read,
            output=written,
            reasoning=min(_count(at(usage, self.reasoning)) or 0, written),
            cached_input=min(_count(at(usage, self.cached_input)) or 0, read),
            cache_write=min(_count(at(usage, self.cache_write)) or 0, read),
        )


@dataclass(slots=True)
class Heard:
    """The parts of one answer, in the order in which they were heard."""

    texts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    calls: list[Mapping[str, Json]] = field(default_factory=list)
    reasoned: bool = False
    understood: int = 0
    not_understood: int = 0

    def content(self, content: Json) -> None:
        """Hear a content: a string, a list of blocks, or nothing."""
        if isinstance(content, str):
            self.text(content)
        elif isinstance(content, list):
            for block in content:
                self._block(block)
        elif content is not None:
            self.strange()

    def text(self, text: Json) -> None:
        """Hear a piece of the answer."""
        if not isinstance(text, str):
            self.strange()
            return
        self.understood += 1
        self.texts.extend([text] if text else [])

    def refusal(self, text: Json) -> None:
        """Hear the model decline, if it does."""
        self.refusals.extend([text] if isinstance(text, str) and text else [])

    def reasoning(self, trace: Json) -> None:
        """Hear the model think, if it does; what it thought is not kept."""
        if trace:
            self.understood += 1
            self.reasoned = True

    def call(self, id: Json, name: Json, arguments: Json, signature: str = "") -> None:  # noqa: A002
        """Hear a tool call; its arguments are JSON text or, in two of the dialects, an object."""
        if not isinstance(name, str) or not name:
            raise Malformed("it calls a tool without a name")
        try:
            text = arguments if isinstance(arguments, str) else json_text.write(arguments or {}).decode()
        except ValueError as error:
            raise Malformed(f"it calls {name} with arguments that cannot be written") from error
        call: dict[str, Json] = {
            "id": as_text(id) or f"call_{len(self.calls)}",
            "type": "function",
            "function": {"name": name, "arguments": text or "{}"},
        }
        if signature:  # where Google's own chat endpoint puts it; it has to come back with the conversation
            call["extra_content"] = {"google": {"thought_signature": signature}}
        self.calls.append(call)

    def strange(self) -> None:
        """Hear something that means nothing to us."""
        self.not_understood += 1

    def reply(self, *, finish: str, usage: Usage, model: str) -> Reply:
        """The conclusion; raises Malformed if nothing of the answer was understood."""
        text = "".join(self.refusals or self.texts)
        outcome = Outcome.REFUSED if self.refusals else self._outcome(finish.lower())
        if outcome is Outcome.OK and not text and usage.reasoning:
            outcome = Outcome.TRUNCATED  # it thought and said nothing, though not where we can see it
        return Reply(
            text=text, outcome=outcome, finish_reason=finish, usage=usage, tool_calls=tuple(self.calls), model=model
        )

    def filtered(self, *, finish: str, usage: Usage, model: str) -> Reply:
        """The conclusion where the prompt was blocked before the model read it."""
        return Reply(text="", outcome=Outcome.FILTERED, finish_reason=finish, usage=usage, model=model)

    def _outcome(self, finish: str) -> Outcome:
        outcome = OUTCOMES.get(finish)
        if finish in BROKEN:
            raise Malformed(f"it ended with {finish!r}")
        if outcome not in (None, Outcome.OK):
            return outcome
        if self.calls:
            return Outcome.TOOL_CALLS
        if self.texts:
            return Outcome.OK
        if self.reasoned:
            return Outcome.TRUNCATED  # it thought until it had to stop, whatever word it ended with
        if outcome is None or (self.not_understood and not self.understood):
            raise Malformed("nothing is said in it")
        return Outcome.OK

    def _block(self, block: Json) -> None:
        if isinstance(block, str):
            self.text(block)
        else:
            BLOCKS.get(as_text(as_object(block).get("type")), _strange)(self, as_object(block))


def _strange(heard: Heard, _: Mapping[str, Json]) -> None:
    heard.strange()


def _hear_text(heard: Heard, block: Mapping[str, Json]) -> None:
    heard.text(block.get("text"))


def _hear_refusal(heard: Heard, block: Mapping[str, Json]) -> None:
    heard.refusal(block.get("refusal"))


def _hear_reasoning(heard: Heard, block: Mapping[str, Json]) -> None:
    heard.reasoning(block)


BLOCKS: Mapping[str, Callable[[Heard, Mapping[str, Json]], None]] = {
    "text": _hear_text,
    "output_text": _hear_text,
    "refusal": _hear_refusal,
    "reasoning": _hear_reasoning,
    "thinking": _hear_reasoning,
    "redacted_thinking": _hear_reasoning,
    "tool_use": lambda heard, block: heard.call(block.get("id"), block.get("name"), block.get("input")),
    "function_call": lambda heard, block: heard.call(block.get("call_id"), block.get("name"), block.get("arguments")),
}
"""By a block's `type`."""


def decode(response: Response, reply: Callable[[Mapping[str, Json]], Reply]) -> Reply | Failure:
    """What a response says; `reply` reads one dialect's answer and raises Malformed where it is none."""
    if response.status != 200:
        return faults.failure(response)
    body = json_text.read(response.body)
    if not isinstance(body, dict):
        return _page(response) if response.body.lstrip()[:1] == b"<" else _invalid(response, "it is no JSON object")
    if faults.confessed(body):
        return faults.failure(response)
    try:
        return reply(body)
    except Malformed as error:
        return _invalid(response, str(error))


def _page(response: Response) -> Failure:
    """What a sign-in page or a proxy's notice is: an outage, since it speaks of the way and not of the row."""
    message = f"This is a page and not an API's answer. It begins: {excerpt(response.body)}"
    return Failure(kind=Kind.SERVER_ERROR, message=message, status=response.status, ambiguous=True)


def _invalid(response: Response, reason: str) -> Failure:
    message = f"This is not an answer: {reason}. It begins: {excerpt(response.body) or '(nothing)'}"
    return Failure(kind=Kind.INVALID_RESPONSE, message=message, status=response.status, ambiguous=True)


def _count(value: Json) -> int | None:
    """A count of tokens, 0 where it is absent, None where it is no count."""
    if value is None:
        return 0
    if type(value) is int:
        return value if 0 <= value <= LARGEST_COUNT else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= LARGEST_COUNT and value == int(value) else None
