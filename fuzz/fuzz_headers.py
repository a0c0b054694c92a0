"""Any text, in the headers that say when to come back: a wait of at most a day, or none; nothing moves a terminal."""

from __future__ import annotations

from runner.core.values import Failure, Response
from runner.gateway.dialects import delays, faults
from runner.report.safe import safe

NAMES = ("retry-after", "retry-after-ms", "date")
SEEDS = (
    b"37\n\n",
    b"\n1500.5\n",
    b"Wed, 21 Oct 2026 07:28:00 GMT\n\nWed, 21 Oct 2026 07:27:00 GMT",
    b"-1\nNaN\nx",
    b"\x1b[31m\xc2\x9b\xe2\x80\xae\n1e9",
)


def one(data: bytes) -> None:
    """Read the lines as the headers of a 429."""
    text = data.decode("utf-8", "surrogateescape")
    headers = dict(zip(NAMES, text.split("\n"), strict=False))
    wait = delays.from_headers(headers)
    assert wait is None or 0 <= wait <= delays.LONGEST  # noqa: S101
    failure = faults.failure(Response(status=429, headers=headers, body=data))
    assert isinstance(failure, Failure)  # noqa: S101
    shown = safe(failure.message)
    assert shown.isprintable() or not set(shown) & set("\x1b\r\n\x9b\u202e")  # noqa: S101


if __name__ == "__main__":
    from driver import drive

    drive(one, SEEDS)
