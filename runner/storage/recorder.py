"""Writes a run's events into its journal, and keeps the history that the tables are folded from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from runner.core.caps import cost
from runner.core.catalog import Model
from runner.core.events import Event, What
from runner.core.values import Failure, Reply
from runner.core.work import Ask, Finished, Task
from runner.storage.history import History
from runner.storage.journal import VERSION, Journal


class Recorder:
    """The observer that makes a run last."""

    def __init__(
        self,
        journal: Journal,
        history: History,
        models: Mapping[str, Model],
        redact: Callable[[str], str],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._history = history
        self._models = models
        self._redact = redact
        self._wall = wall

    def begin(self, run: str) -> None:
        """Open a session; the first one writes the journal's header."""
        if self._history.end == 0:
            self._write({"t": "header", "version": VERSION, "run": run})
        self._write({"t": "session", "version": VERSION, "at": self._wall()})
        self._journal.write()

    def end(self, waiting: Mapping[str, float], least: float, reason: str | None) -> None:
        """Close a session that ends in order: the seconds that went into each cause, and the least possible."""
        parts = {cause: round(seconds, 3) for cause, seconds in waiting.items()}
        self._write(
            {
                "t": "closed",
                "at": self._wall(),
                "elapsed": round(sum(parts.values()), 3),
                "waiting": parts,
                "least": round(least, 3),
                "reason": reason,
            }
        )
        self._journal.write()

    def __call__(self, event: Event) -> None:
        """Take down one event."""
        if event.what is What.SENT and event.ask is not None:
            self._write(self._sent(event.ask))
        elif event.what is What.LANDED and event.ask is not None and event.result is not None:
            self._write(self._landed(event, event.ask, event.result))
        elif event.what is What.FINISHED and event.finished is not None:
            finished = event.finished
            if event.ask is None or finished.task is not event.ask.task:
                self._write(self._ended(finished))

    def _write(self, payload: dict[str, Any]) -> None:
        self._history.add(payload, self._journal.append(payload))

    def _sent(self, ask: Ask) -> dict[str, Any]:
        charge = ask.lease.charge
        return {
            "t": "sent",
            "row": ask.task.row,
            "slot": ask.task.slot,
            "n": ask.number,
            "model": ask.model,
            "est": charge.input,
            "cap": charge.output,
            "at": self._wall(),
        }

    def _landed(self, event: Event, ask: Ask, result: Reply | Failure) -> dict[str, Any]:
        task, charge = ask.task, ask.lease.charge
        payload: dict[str, Any] = {
            "t": "landed",
            "row": task.row,
            "slot": task.slot,
            "id": task.id,
            "key": task.digest,
            "n": ask.number,
            "model": ask.model,
            "est": charge.input,
            "cap": charge.output,
            "at": self._wall(),
            "latency": round(event.at - ask.at, 4),
            "pooled": len(task.models) > 1,
        }
        if event.landing is not None:
            mine = next((finished for finished in event.landing.finished if finished.task is task), None)
            payload["final"] = None if mine is None else mine.status
        payload["attempts"] = task.attempts + isinstance(result, Reply)
        payload |= _escalated(task) | self._before(task, payload.get("final"))
        if isinstance(result, Reply):
            payload |= self._reply(ask.model, result)
        else:
            payload["failure"] = self._failure(result)
        return payload

    def _reply(self, model: str, reply: Reply) -> dict[str, Any]:
        usage = reply.usage
        return {
            "outcome": reply.outcome,
            "finish": reply.finish_reason,
            "text": _storable(reply.text),
            "calls": list(reply.tool_calls),
            "version": reply.model,
            "usage": {
                "input": usage.input,
                "output": usage.output,
                "reasoning": usage.reasoning,
                "cached_input": usage.cached_input,
                "cache_write": usage.cache_write,
                "reported": usage.reported,
            },
            "cost": cost(self._models[model].price, usage),
        }

    def _failure(self, failure: Failure) -> dict[str, Any]:
        return {
            "kind": failure.kind,
            "message": _storable(self._redact(failure.message)),
            "status": failure.status,
            "code": failure.code,
            "scope": failure.scope,
            "measure": failure.measure,
            "retry_after": failure.retry_after,
            "ambiguous": failure.ambiguous,
        }

    def _ended(self, finished: Finished) -> dict[str, Any]:
        task = finished.task
        failure = finished.result if isinstance(finished.result, Failure) else None
        return {
            "t": "ended",
            "row": task.row,
            "slot": task.slot,
            "id": task.id,
            "key": task.digest,
            "model": finished.model,
            "attempts": task.attempts,
            "final": finished.status,
            "at": self._wall(),
            "failure": None if failure is None else self._failure(failure),
            **_escalated(task),
            **self._before(task, finished.status),
        }

    def _before(self, task: Task, final: str | None) -> dict[str, Any]:
        """What a task's replies before the last word have cost: its line in the tables is made of that frame alone."""
        paid = self._history.paid(task.row, task.slot)
        return {"before": paid} if final and paid else {}


def _escalated(task: Task) -> dict[str, Any]:
    return {"escalated": True} if task.escalated else {}


def _storable(text: str) -> str:
    """Lone surrogates are legal in a JSON text, and cannot be written as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
