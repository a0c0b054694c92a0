"""How a request becomes a body, in the steps that all dialects share.

A dialect brings a `Grammar`: tables of where each setting stands and how it is said. What the model rejects or the
dialect has no word for is left out, with one notice for the user; nothing else is ever dropped. A batch line's own body
is sent as it came, save for the model's name and the wish for a stream; the job's settings say what it leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from runner.core.catalog import Model
from runner.core.errors import UsageError
from runner.core.values import Json, Message, Request, Wire
from runner.gateway.dialects import json_text

SETTINGS = ("max_tokens", "temperature", "top_p", "stop", "seed", "schema", "tools", "tool_choice")
"""The settings that have a place in a body; `effort` depends on the model and `extra` is merged in as it is."""

CALLED: Mapping[str, str] = {"schema": "response_format", "effort": "reasoning_effort"}
"""The catalogue and the notices call parameters by their chat completions names; these differ from ours."""

NEUTRAL: Mapping[str, float] = {"temperature": 1.0}
"""The value that even a model that rejects the parameter takes, because it is the default."""

STREAMING = ("stream", "stream_options")
"""Answers are read whole, so a batch line may not ask for a stream."""
UNKEPT = ("logprobs",)
"""What a batch line may ask for beside the answer, and no table has a column for."""

NAME = "answer"
"""The name that dialects want a schema to have; the model may see it."""

Fragment = dict[str, Json]
Reasoning = Callable[[str, int | None], Fragment | None]
"""(effort, output cap) -> what asks for it, or None where it cannot be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """One dialect's words for what a request can ask."""

    name: str
    places: Mapping[str, str]
    """Where each setting stands in the body, dotted. A setting without a place has no word in the dialect."""
    say: Mapping[str, Callable[[Any], Json]] = field(default_factory=dict)
    """Settings whose value must be translated; the others are said as they are."""
    turns: Callable[[tuple[Message, ...]], Fragment]
    """The conversation, as fields of the body."""
    caps: tuple[str, ...]
    """Every place in which a body of this dialect may state its output cap."""
    reasoning: Mapping[str, Reasoning]
    """By `Model.thinking`."""
    names_model: bool = True
    """Whether the body names the model; if not, the path does."""


@dataclass(slots=True)
class Draft:
    """A body in the making, with the notices of what was left out of it."""

    grammar: Grammar
    model: Model
    body: Fragment = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    own: Mapping[str, Json] = field(default_factory=dict)
    """A batch line's own words, which stand."""

    def adopt(self, body: Mapping[str, Json]) -> None:
        """Begin with a batch line's own body, and say what will not come of it as it says."""
        self.own = body
        self.merge(body)
        if body.get("stream"):
            self.notices.append("stream is left out: answers are read whole")
        self.notices += [f"{name} are not kept: no table has a column for them" for name in UNKEPT if body.get(name)]
        for name, value in body.items():
            if not self.model.accepts(name) and value != NEUTRAL.get(name):
                self.notices.append(f"{self.model.short} does not take {name}, and is sent it, as the line says")

    def put(self, parameter: str, value: Json) -> None:
        """Say one setting, unless nothing is asked, a batch line says it itself, or it has to be left out."""
        if value is None or value == () or (parameter == "max_tokens" and self.cap is not None):
            return
        called = CALLED.get(parameter, parameter)
        place = self.grammar.places.get(parameter)
        said = {} if place is None else _nested(place, self._said(parameter, value))
        if _overlap(self.own, said):
            return
        if place is None:
            self.notices.append(f"the {self.grammar.name} dialect has no {called}: left out")
        elif not self.model.accepts(called) and value != NEUTRAL.get(called):
            self.notices.append(f"{self.model.short} does not take {called}: left out")
        elif partner := self._excluded_by(parameter):
            self.notices.append(f"{self.model.short} does not take {partner} and {called} together: {called} left out")
        else:
            self.merge(said)

    def reason(self, effort: str | None) -> None:
        """Ask for reasoning in the way that the model takes; the output cap has to be in the body by now."""
        name, thinking, called = self.model.short, self.model.thinking, CALLED["effort"]
        if effort is None or (effort == "none" and thinking == "none"):
            return
        ask = self.grammar.reasoning.get(thinking)
        if thinking == "none" or (thinking == "effort" and not self.model.accepts(called)):
            self.notices.append(f"{name} does not take {called}: left out")
        elif ask is None:
            self.notices.append(f"the {self.grammar.name} dialect cannot ask {name} for {called}: left out")
        elif (fragment := ask(effort, self.cap)) is None:
            room = "" if self.cap is None else f" within {self.cap} tokens"
            self.notices.append(f"{name} cannot think at {called} {effort}{room}: left out")
        elif not _overlap(self.own, fragment):
            self.merge(fragment)

    def merge(self, fragment: Mapping[str, Json]) -> None:
        """Add fields to the body; objects are merged, everything else is replaced."""
        self.body = merged(self.body, fragment)

    def drop(self, name: str, notice: str) -> None:
        """Take a field out again, if it is there, and say so."""
        if self.body.pop(name, None) is not None:
            self.notices.append(notice)

    def extend(self, extra: Mapping[str, Json]) -> None:
        """Merge the user's own parameters, last: they win, but over a batch line's, or if the model rejects them."""
        for name, value in extra.items():
            own = self.own.get(name)
            if isinstance(own, Mapping) and isinstance(value, Mapping):
                self.merge({name: merged(value, own)})
            elif own is not None:
                continue
            elif not self.model.accepts(name) and value != NEUTRAL.get(name):
                self.notices.append(f"{self.model.short} does not take {name}: left out")
            else:
                self.merge({name: value})

    def wire(self, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> Wire:
        """The finished request; raises UsageError if the body cannot be written."""
        body = {name: value for name, value in self.body.items() if name not in (*STREAMING, "model")}
        if self.grammar.names_model:
            body = {"model": self.model.id, **body}
        try:
            written = json_text.write(body)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return Wire(path=path, body=written, headers=dict(headers), dropped=tuple(self.notices))

    @property
    def cap(self) -> int | None:
        """The output cap that the body states, or None."""
        stated = (json_text.at(self.body, place) for place in self.grammar.caps)
        return next((cap for cap in stated if cap is not None), None)

    def _said(self, parameter: str, value: Json) -> Json:
        translate = self.grammar.say.get(parameter)
        if translate is not None:
            return translate(value)
        return list(value) if isinstance(value, tuple) else value

    def _excluded_by(self, parameter: str) -> str | None:
        for pair in self.model.rejects:
            first, plus, second = pair.partition("+")
            if plus and parameter in (first, second):
                partner = first if parameter == second else second
                if json_text.at(self.body, self.grammar.places.get(partner, partner)) is not None:
                    return partner
        return None


def begin(grammar: Grammar, request: Request, model: Model) -> Draft:
    """A draft with the conversation, or the batch line's own body, and all settings but `effort` and `extra`."""
    draft = Draft(grammar, model)
    if request.body is None:
        draft.merge(grammar.turns(request.messages))
    else:
        draft.adopt(request.body)
    for setting in SETTINGS:
        draft.put(setting, getattr(request.settings, setting))
    return draft


def finish(draft: Draft, request: Request) -> Draft:
    """Add `effort`, then `extra`."""
    draft.reason(request.settings.effort)
    draft.extend(request.settings.extra)
    return draft


def merged(old: Mapping[str, Json], new: Mapping[str, Json]) -> Fragment:
    """Both objects as one, without touching either; where both hold an object, those are merged too."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        if before is not None and isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = merged(before, value)
        else:
            result[key] = value
    return result


def _overlap(own: Mapping[str, Json], said: Mapping[str, Json]) -> bool:
    """Whether both say something of one thing."""
    for name, value in said.items():
        stands = own.get(name)
        both = isinstance(stands, Mapping) and isinstance(value, Mapping)
        if stands is not None and (not both or _overlap(stands, value)):
            return True
    return False


def budget(tokens: int, cap: int | None) -> int:
    """A thinking budget that leaves a quarter of the output cap for the answer itself."""
    # A batch line may state as its cap what is none: the gateway refuses that.
    return min(tokens, int(cap) * 3 // 4) if isinstance(cap, int | float) and math.isfinite(cap) else tokens


def _nested(place: str, value: Json) -> Fragment:
    for key in reversed(place.split(".")):
        value = {key: value}
    return dict(value)
