"""What can go wrong with a request that was let in: a table of faults, and which of them a request meets.

A fault is drawn from the request's hash and the number of its attempt. So the same run meets the same faults, and a
retry of the same request can succeed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from runner.simulator import behaviour
from runner.simulator.asked import Said
from runner.simulator.chance import Purpose, uniform
from runner.simulator.dialects import Dialect
from runner.simulator.errors import OVER_CAPACITY, Answer, Generation, flat


class How(enum.Enum):
    """What the server does with an answer."""

    SEND = "send"
    RESET = "reset"
    """Closes the connection without a byte."""
    HANG = "hang"
    """Never answers."""
    TRUNCATE = "truncate"
    """Promises the whole body, sends half of it, and closes."""


def _error(status: int, code: str, message: str, later: str) -> Callable[[Dialect, Generation], Answer]:
    """An error of Databricks; from October on the gateway writes all of them anew."""

    def write(dialect: Dialect, generation: Generation) -> Answer:
        return flat(status, code, later if generation == "october" else message)

    return write


def _overloaded(dialect: Dialect, generation: Generation) -> Answer:
    if dialect.name != "messages" or generation == "october":
        return flat(529, "TEMPORARILY_UNAVAILABLE", OVER_CAPACITY)
    error = {"type": "overloaded_error", "message": "Overloaded"}
    return Answer(status=529, body=orjson.dumps({"type": "error", "error": error, "request_id": "req_simulated"}))


def _body_error(dialect: Dialect, _generation: Generation) -> Answer:
    """A 200 with an error inside: a failed response, or an error envelope."""
    error = {"code": "server_error", "message": "The model had an error while processing the request."}
    body: dict[str, object] = {"error": error}
    if dialect.name == "responses":
        body |= {"id": "resp_failed", "object": "response", "status": "failed", "output": [], "usage": None}
    return Answer(status=200, body=orjson.dumps(body))


PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault; what it does not set stays as it would have been."""

    answer: Callable[[Dialect, Generation], Answer] | None = None
    """What is sent instead of the answer."""
    said: Callable[[Said], Said] | None = None
    """What the model says instead."""
    how: How = How.SEND
    spends: bool = field(default=True)
    """Whether the output was written, and is paid for, although it does not arrive."""


def _fixed(answer: Answer) -> Callable[[Dialect, Generation], Answer]:
    return lambda _dialect, _generation: answer


FAULTS: Mapping[str, Fault] = {
    "error_500": Fault(
        answer=_error(500, "INTERNAL_ERROR", "Internal error.", "ai gateway upstream model error. Retry later"),
        spends=False,
    ),
    "bad_gateway_502": Fault(
        answer=_fixed(Answer(status=502, body=b'{"error":{"message":"upstream request failed"}}')), spends=False
    ),
    "unavailable_503": Fault(
        answer=_error(
            503,
            "TEMPORARILY_UNAVAILABLE",
            "The service is temporarily unavailable.",
            "ai gateway upstream model endpoint is temporarily disabled.",
        ),
        spends=False,
    ),
    "timeout_504": Fault(
        answer=_error(
            504,
            "DEADLINE_EXCEEDED",
            "Timed out while waiting for the model.",
            "ai gateway upstream model timed out. Retry, or reduce the input size",
        ),
    ),
    "overloaded_529": Fault(answer=_overloaded, spends=False),
    "reset": Fault(how=How.RESET),
    "hang": Fault(how=How.HANG),
    "truncated_body": Fault(how=How.TRUNCATE),
    "invalid_json": Fault(answer=_fixed(Answer(status=200, body=b'{"id": "broken", "choices": [{"index": 0, '))),
    "empty": Fault(answer=_fixed(Answer(status=200, body=b""))),
    "html": Fault(answer=_fixed(Answer(status=502, body=PAGE, content_type="text/html")), spends=False),
    "body_error": Fault(answer=_body_error),
    "filtered": Fault(said=behaviour.filtered),
    "refusal": Fault(said=behaviour.refused),
    "broken_answer": Fault(said=behaviour.broken),
    "prose": Fault(said=behaviour.talkative),
}
"""By the name that a configuration gives a probability to."""

STEP = 0xD1B54A32D192ED03
"""Sets the draws of a request's attempts apart."""


def drawn(probabilities: Mapping[str, float], key: int, attempt: int) -> Fault | None:
    """The fault that this attempt of a request meets, if any."""
    if not probabilities:
        return None
    point = uniform(key + attempt * STEP, Purpose.FAULT)
    for name, probability in probabilities.items():
        point -= probability
        if point < 0:
            return FAULTS[name]
    return None
