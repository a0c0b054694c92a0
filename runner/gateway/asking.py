"""From an ask to its result: the dialect encodes, the client sends, the dialect decodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner.core.catalog import Model
from runner.core.errors import UsageError
from runner.core.retry import LONGEST_WAIT, bounded
from runner.core.values import Failure, Kind, Reply, Request
from runner.core.work import Ask
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
        ask.sent_at = response.sent_at
        result = dialect.decode(response)
        return result if isinstance(result, Reply) else bounded(result, self._longest_wait)


def capped(request: Request, cap: int) -> Request:
    """The request with the cap that was reserved for it."""
    if request.settings.max_tokens == cap:
        return request
    return replace(request, settings=replace(request.settings, max_tokens=cap))
