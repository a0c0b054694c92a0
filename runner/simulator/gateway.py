"""The simulated gateway without its wire: a request comes in as plain values, and what to answer comes out.

`receive` decides everything at once: whether the request is let in, what it is answered, and after how long. Whoever
carries it out (`server`) calls `finish` when that time is over; only then is unused output given back.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from runner.core.catalog import Catalogue, Model
from runner.simulator import behaviour, errors, faults, judge, models, routes, tokens
from runner.simulator.account import Account
from runner.simulator.asked import Asked, MalformedError, Said
from runner.simulator.checks import Case, complaint
from runner.simulator.config import Simulator
from runner.simulator.dialects import DIALECTS, Dialect
from runner.simulator.errors import Answer
from runner.simulator.faults import How

CAPS = re.compile(rb'"(max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens)": ?\d+,?')
"""Output caps in a body, in every dialect's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in any case; the mapping finds them in lower case."""
    body: bytes = b""


@dataclass(slots=True)
class Body:
    """What is remembered of a request's body, by its hash."""

    attempts: int = 0
    """How often it was let in."""
    answered: int = 0
    """How often it was answered in full with a 200."""
    input_tokens: int | None = None


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What to do about one request."""

    answer: Answer
    delay: float = 0.0
    """Seconds after which it is answered."""
    how: How = How.SEND
    taken: list[judge.Taken] = field(default_factory=list)
    output_tokens: int = 0
    """What it will have used of what it reserved."""
    body: Body | None = None
    """Set for a request that was let in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A request that has been understood."""

    asked: Asked
    model: Model
    dialect: Dialect
    body: Body
    key: int
    """Its hash, which is all its luck."""
    input_tokens: int


class Gateway:
    """Everything that the simulator remembers; a new one remembers nothing."""

    def __init__(self, config: Simulator, catalogue: Catalogue, *, wall: float | None = None) -> None:
        self._config = config
        self._catalogue = catalogue
        self._count = config.counting()
        self._player = behaviour.Player(manner=config.manner, counter=self._count)
        self._names = {name: model for model in catalogue.models.values() for name in model.names}
        self._wall = time.time() if wall is None else wall
        phase = -self._wall % config.window_seconds if config.phase is None else config.phase
        self.account = Account(config, phase)
        self._bodies: dict[bytes, Body] = {}
        self._statuses: Counter[int] = Counter()
        self._quickest: float | None = None
        self._last_done: float | None = None

    def receive(self, now: float, incoming: Incoming) -> Exchange:
        """Decide about a request; `now` is in seconds after the first."""
        found = self._read(now, incoming)
        exchange = Exchange(answer=found) if isinstance(found, Answer) else self._serve(now, found)
        self._statuses[exchange.answer.status if exchange.how is How.SEND else 0] += 1
        return exchange

    def finish(self, now: float, exchange: Exchange) -> None:
        """The request is over: give back what it did not use, and write it down."""
        judge.settle(now, exchange.taken, exchange.output_tokens)
        if exchange.body is not None:
            self._last_done = now
            if exchange.answer.status == 200 and exchange.how is How.SEND:
                exchange.body.answered += 1
                quickest = exchange.delay if self._quickest is None else self._quickest
                self._quickest = min(exchange.delay, quickest)

    def meter(self, every: float | None = None) -> dict[str, Any]:
        """What a run really took, for whoever checks it afterwards; with `every` also in each so many seconds.

        Times are in seconds after the first request.
        """
        bodies = self._bodies.values()
        return {
            "window": self._config.window,
            "limits": {
                limit.name: limit.report(every) for limit in sorted(self.account.limits, key=lambda limit: limit.name)
            },
            "outages": self._config.outages,
            "quickest_answer": self._quickest,
            "last_done": self._last_done,
            "distinct_bodies": len(bodies),
            "answered": sum(body.answered for body in bodies),
            "answered_more_than_once": sum(1 for body in bodies if body.answered > 1),
            "never_answered": sum(1 for body in bodies if not body.answered),
            "statuses": {str(status or "none"): count for status, count in sorted(self._statuses.items())},
        }

    def _read(self, now: float, incoming: Incoming) -> Read | Answer:
        """Understand a request, or say what is wrong with it, in the order that the gateway looks."""
        if any(begin <= now < end for begin, end in self._config.outages):
            return errors.AUTHORIZATION_DOWN
        if incoming.path == routes.MODELS and incoming.method == "GET":
            refusal = self._unauthorized(incoming, "chat")
            return refusal or models.listing(self._catalogue, self._config.disabled)
        route = routes.find(incoming.path)
        if isinstance(route, Answer):
            return route
        if incoming.method != "POST":
            return errors.NO_SUCH_METHOD
        refusal = self._unauthorized(incoming, route.dialect)
        if refusal is not None:
            return refusal
        if len(incoming.body) > self._config.max_body_bytes:
            return errors.too_large(self._config.generation, self._config.max_body_bytes)
        return self._understand(route, incoming.body)

    def _unauthorized(self, incoming: Incoming, dialect: str) -> Answer | None:
        """One header for every dialect; Google's own is taken on Google's."""
        scheme, _, token = incoming.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = incoming.headers.get("x-goog-api-key", "") if dialect == "gemini" else ""
        token = token.strip()
        if token and self._config.token in (None, token):
            return None
        return errors.UNAUTHORIZED[self._config.generation]

    def _understand(self, route: routes.Route, raw: bytes) -> Read | Answer:
        dialect = DIALECTS[route.dialect]
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return errors.own(400, "request body is not valid JSON")
        if not isinstance(body, dict):
            return errors.own(400, "request body must be a JSON object")
        if route.model is not None:
            body["model"] = route.model
        if route.stream:
            body["stream"] = True
        model = self._model(body.get("model"), dialect)
        if isinstance(model, Answer):
            return model
        try:
            asked = dialect.parse(body)
        except MalformedError as error:
            return errors.rejected(self._config.generation, model.provider, str(error))
        return self._measured(asked, model, dialect, raw)

    def _model(self, name: object, dialect: Dialect) -> Model | Answer:
        if not isinstance(name, str) or not name:
            return errors.NO_MODEL
        model = self._names.get(name)
        if model is None:
            return errors.unknown_model(name)
        if dialect.name not in model.endpoints:
            return errors.wrong_endpoint(name, dialect.title)
        return errors.NOT_VERIFIED if model.short in self._config.disabled else model

    def _measured(self, asked: Asked, model: Model, dialect: Dialect, raw: bytes) -> Read | Answer:
        """Count the input, once for each body, and let the model check the request."""
        # Gemini's body names no model, and two dialects can say the same words.
        asked_of = f"{dialect.name}/{model.short}".encode()
        body = self._bodies.setdefault(hashlib.sha256(raw + asked_of).digest(), Body())
        # What a model says does not depend on how much it was allowed to say.
        luck = hashlib.sha256(CAPS.sub(b"", raw) + asked_of).digest()
        key = int.from_bytes(luck[:8]) ^ (self._config.seed * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
        if body.input_tokens is None:
            text = self._count(asked.everything)
            messages = len(asked.turns) + bool(asked.system)
            body.input_tokens = tokens.count_input(model, text, messages, asked.images, key)
        found = complaint(Case(asked=asked, model=model, dialect=dialect, input_tokens=body.input_tokens))
        if found is not None:
            provider = "Databricks" if found.databricks else model.provider
            return errors.rejected(self._config.generation, provider, found.message, found.parameter, found.code)
        return Read(asked=asked, model=model, dialect=dialect, body=body, key=key, input_tokens=body.input_tokens)

    def _serve(self, now: float, read: Read) -> Exchange:
        """Let a request in and answer it, or send it away."""
        cap = read.asked.max_tokens or behaviour.DEFAULT_CAPS.get(read.model.short)
        reserved = cap or self._config.default_reservation
        wanted = self.account.wanted(now, read.model, read.input_tokens, reserved)
        taken = judge.admit(now, wanted)
        if isinstance(taken, judge.Refused):
            if self._config.charge_refused:
                judge.charge(now, wanted)
            return Exchange(answer=self._refusal(now, taken, read))
        read.body.attempts += 1
        try:
            exchange = self._answer(now, read)
        except MalformedError as error:  # A schema that is none is found out when it is to be followed.
            exchange = Exchange(answer=errors.rejected(self._config.generation, read.model.provider, str(error)))
        exchange.taken, exchange.body = taken, read.body
        return exchange

    def _refusal(self, now: float, refused: judge.Refused, read: Read) -> Answer:
        config, limit = self._config, refused.limit
        hit = errors.Hit(
            measure=limit.measure,
            model=limit.model,
            limit=int(limit.window.limit),
            used=int(limit.window.used(now)),
            # Who asks for more than there is gets the same answer for ever: come back in a window.
            wait=limit.shape.seconds if refused.wait is None else refused.wait,
            coarseness=config.coarseness,
        )
        upstream = limit.measure in ("output", "requests")
        if limit.model is not None and config.input_refused_by == "upstream":
            upstream = True
        if not upstream:
            return errors.quota(config.generation, hit, retry_after=config.retry_after)
        if config.gemini_429 and read.dialect.name == "gemini":
            return errors.gemini_quota(hit)
        return errors.upstream_quota(
            config.generation, hit, retry_after=config.retry_after, documented=config.documented_429
        )

    def _answer(self, now: float, read: Read) -> Exchange:
        created = int(self._wall + now)
        said = self._player.answer(read.asked, read.model, read.input_tokens, read.key, created)
        delay = self._player.seconds(said, read.key)
        fault = faults.drawn(self._config.faults, read.key, read.body.attempts)
        if fault is None:
            return Exchange(answer=_write(read, said), delay=delay, output_tokens=said.output_tokens)
        if fault.said is not None:
            said = fault.said(said)
        answer = fault.answer(read.dialect, self._config.generation) if fault.answer else _write(read, said)
        spent = said.output_tokens if fault.spends else 0
        return Exchange(answer=answer, delay=delay, how=fault.how, output_tokens=spent)


def _write(read: Read, said: Said) -> Answer:
    """The answer in the request's dialect, whole or as a stream."""
    if not read.asked.stream:
        return Answer(status=200, body=orjson.dumps(read.dialect.render(said)))
    stream = read.dialect.stream(read.asked, said)
    return Answer(status=200, body=stream, content_type="text/event-stream")
