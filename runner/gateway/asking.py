"""From an ask to its result: the dialect encodes, the client sends, the dialect decodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner.core.catalog import Model
from runner.core.errors import UsageError
from runner.core.ports import Dialect
from runner.core.retry import LONGEST_WAIT, bounded
from runner.core.schedule import Ask
from runner.core.values import Failure, Kind, Reply, Request, Response
from runner.gateway.client import Client
from runner.gateway.dialects import DIALECTS


class Asking:
    """Sends asks to one gateway."""

    def __init__(self, client: Client, models: Mapping[str, Model], *, longest_wait: float = LONGEST_WAIT) -> None:
        """`longest_wait` is how long, in seconds, a gateway may tell us to wait: a window at least."""
        self._longest_wait = longest_wait
        self._client = client
        self._models = models

    async def __call__(self, ask: Ask) -> Reply | Failure:
        """The reply, or what went wrong; never raises for what a gateway may do."""
        task, model = ask.task, self._models[ask.model]
        dialect = DIALECTS[task.dialects[ask.model]]
        try:
            wire = dialect.encode(capped(task.request, ask.lease.charge.output), model)
        except UsageError as error:
            return Failure(kind=Kind.BAD_ROW, message=str(error))
        response = await self._client.send(wire, ask.model)
        if isinstance(response, Failure):
            return response
        result = dialect.decode(response)
        if isinstance(result, Failure):
            result = self._without_token(dialect, response)
        return result if isinstance(result, Reply) else bounded(result, self._longest_wait)

    def _without_token(self, dialect: Dialect, response: Response) -> Reply | Failure:
        """A failure in the gateway's words, which may be our own said back: they are printed, and kept for long.

        The token is taken out of the body, before anything is cut off in the middle of it, and out of the words, which
        may have been escaped in the body.
        """
        redact = self._client.redact
        body = redact(response.body.decode("latin-1")).encode("latin-1")
        result = dialect.decode(replace(response, body=body))
        if isinstance(result, Reply):
            return result
        return replace(result, message=redact(result.message), code=result.code and redact(result.code))


def capped(request: Request, cap: int) -> Request:
    """The request with the cap that was reserved for it."""
    if request.settings.max_tokens == cap:
        return request
    return replace(request, settings=replace(request.settings, max_tokens=cap))
