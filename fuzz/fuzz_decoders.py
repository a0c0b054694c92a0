"""Any bytes, as a response: each dialect makes a reply or a failure of it, within the bounds that journals count on."""

from __future__ import annotations

import json
from typing import Any

from runner.core.values import Failure, Reply, Response
from runner.gateway.dialects import DIALECTS
from runner.gateway.dialects.envelopes import LONGEST_CODE, LONGEST_MESSAGE
from runner.gateway.secret import Secret

STATUSES = (200, 400, 401, 403, 404, 413, 429, 500, 503, 529, 204, 302)
SECRET = Secret("dapi0123456789abcdef0123456789abcdef")

BODIES: tuple[Any, ...] = (
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
        "model": "m",
    },
    {
        "content": [{"type": "text", "text": "yes"}, {"type": "tool_use", "id": "1", "name": "f", "input": {}}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 1},
    },
    {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "yes"}]}],
        "usage": {"input_tokens": 5, "output_tokens": 1},
    },
    {
        "candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1},
    },
    {"error": {"message": '{"error_code": "RATE_LIMIT", "message": "output tokens per minute"}', "code": 429}},
    {"error": {"details": [{"@type": "x/RetryInfo", "retryDelay": "37s"}], "status": "RESOURCE_EXHAUSTED"}},
)
SEEDS = tuple(bytes([at]) + json.dumps(body).encode() for body in BODIES for at in (0, 1, 6))


def one(data: bytes) -> None:
    """Decode the bytes in all dialects; the first one chooses the status."""
    if not data:
        return
    status, body = STATUSES[data[0] % len(STATUSES)], SECRET.redact_body(data[1:])
    assert SECRET.reveal().encode() not in body  # noqa: S101
    for dialect in DIALECTS.values():
        result = dialect.decode(Response(status=status, headers={}, body=body))
        assert isinstance(result, Reply | Failure)  # noqa: S101
        if isinstance(result, Failure):
            assert len(result.message) <= LONGEST_MESSAGE  # noqa: S101
            assert len(result.code or "") <= LONGEST_CODE  # noqa: S101
        else:
            assert min(result.usage.input, result.usage.output) >= 0  # noqa: S101


if __name__ == "__main__":
    from driver import drive

    drive(one, SEEDS)
