"""When a refusal asks to come back, and what kind of refusal it is: decoding alone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runner.core.retry import LONGEST_WAIT, Action, action, bounded
from runner.core.values import Failure, Kind, Response
from runner.gateway.dialects.faults import failure

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
MOMENT = 1_792_567_680
"""The same, in seconds since 1970."""


def refused(headers: dict[str, str], message: str = "slow down", status: int = 429, **more: Any) -> Failure:
    body = orjson.dumps({"error": {"message": message, **more}})
    return bounded(failure(Response(status=status, headers=headers, body=body)))


@pytest.mark.fault("H3")
@pytest.mark.parametrize(
    ("stated", "date", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:28:30 GMT", DATE, 30.0),
        ("Wed, 21 Oct 2026 07:28:30", DATE, 30.0),
        ("Wednesday, 21-Oct-26 07:28:30 GMT", DATE, 30.0),
        ("Wed Oct 21 07:28:30 2026", DATE, 30.0),
        ("Wed, 21 Oct 2026 07:20:00 GMT", DATE, None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", "", None),
    ],
    ids=["plain", "of no zone", "RFC 850", "asctime", "past", "without the response's own date"],
)
def test_a_date_to_come_back_counts_from_the_responses_own(stated: str, date: str, seconds: float | None) -> None:
    """Our clock is not asked, so a date alone says nothing; nor does one that is past."""
    assert refused({"retry-after": stated, "date": date}).retry_after == seconds


@pytest.mark.fault("H39", "H38")
@pytest.mark.parametrize("year", ["1999", "2026", "2044"])
def test_a_server_whose_clock_is_wrong_is_understood(year: str) -> None:
    """Both of its dates are wrong by as much; and ours is not in it, however it jumps."""
    headers = {"retry-after": f"Wed, 21 Oct {year} 07:28:30 GMT", "date": f"Wed, 21 Oct {year} 07:28:00 GMT"}
    assert refused(headers).retry_after == 30.0


@pytest.mark.fault("H4")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # The finer header goes first, then any wait that was asked for, then the draft's hint, then resets.
        ({"retry-after-ms": "1500", "retry-after": "9", "ratelimit": '"a";r=0;t=20'}, 1.5),
        ({"retry-after": "9", "ratelimit": '"a";r=0;t=20', "x-ratelimit-reset-tokens": "40s"}, 9.0),
        ({"ratelimit": '"a";r=0;t=20', "x-ratelimit-reset-tokens": "40s"}, 20.0),
        ({"ratelimit": '"a";q=100;t=20;r=0'}, 20.0),
        ({"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "40s"}, 40.0),
        # What a reset may look like.
        ({"x-ratelimit-reset-tokens": "1m30s"}, 90.0),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-tokens": "500ms"}, 0.5),
        ({"x-ratelimit-reset-tokens": "1.5s"}, 1.5),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": str(MOMENT + 12), "date": DATE}, 12.0),
        ({"x-ratelimit-reset": str(MOMENT * 1000 + 12_000), "date": DATE}, 12.0),
        ({"anthropic-ratelimit-input-tokens-reset": "2026-10-21T07:28:12Z", "date": DATE}, 12.0),
        ({"anthropic-ratelimit-input-tokens-reset": "2026-10-21T09:28:12+02:00", "date": DATE}, 12.0),
        # Only limits that have nothing left are waited for.
        ({"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "40s"}, None),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
                "x-ratelimit-remaining-tokens": "9",
                "x-ratelimit-reset-tokens": "40s",
            },
            2.0,
        ),
        # Hints that are none: a moment without a date, one that is past, a day's limit, garbage.
        ({"x-ratelimit-reset": str(MOMENT + 12)}, None),
        ({"x-ratelimit-reset": str(MOMENT - 12), "date": DATE}, None),
        ({"x-ratelimit-reset-requests": "23h59m"}, None),
        ({"x-ratelimit-reset-requests": "0s"}, None),
        ({"ratelimit": '"a";r=0;t=99999'}, None),
        *(({"x-ratelimit-reset": text}, None) for text in ("", "soon", "-5", "1e3", "١٢", "nan", "s", "9" * 10_000)),
        *(({"ratelimit": text}, None) for text in ("", "t=20", ";t=", ";t=-5", ";t=2.5", ";t=1e3", ";t=" + "9" * 9999)),
        ({"anthropic-ratelimit-tokens-reset": "2026-13-41T07:28:12Z", "date": DATE}, None),
    ],
)
def test_headers_of_limits_are_hints_where_nobody_said_when_to_come_back(headers, seconds) -> None:
    """In every form that the providers behind the gateway write."""
    assert refused(headers).retry_after == seconds


@pytest.mark.fault("H4")
def test_a_hint_does_not_make_the_gateways_own_block_temporary() -> None:
    """Without a Retry-After only its support lifts it, whatever other limits have left."""
    found = refused({"x-ratelimit-reset-tokens": "30s"}, "ai gateway quota exceeded")
    assert (found.kind, found.scope) == (Kind.QUOTA_EXHAUSTED, "all")


@pytest.mark.fault("H4")
def test_only_a_refusal_for_a_limit_looks_at_limits() -> None:
    """They stand on every response, and say nothing of why a model is down."""
    assert refused({"x-ratelimit-reset-tokens": "30s"}, status=503).retry_after is None


@pytest.mark.fault("H5")
@pytest.mark.parametrize(
    "garbage",
    [
        "0",
        "0.0",
        "-5",
        "1e9",
        "1e400",
        "NaN",
        "inf",
        "1_000",
        "١٢",
        "",
        " ",
        "5, 900",
        "0x10",
        "+5",
        "5s",
        "1" * 10_000,
        "½",
    ],
)
@pytest.mark.parametrize("name", ["retry-after", "retry-after-ms"])
def test_a_time_that_is_none_is_passed_over(name: str, garbage: str) -> None:
    """It is as if the header were not there: a pause of our own applies."""
    assert refused({name: garbage, "date": DATE}).retry_after is None


@pytest.mark.fault("H5", "H7")
@pytest.mark.parametrize("stated", ["901", "86400", "999999999", "Wed, 21 Oct 2126 07:28:00 GMT"])
@pytest.mark.parametrize("words", ["slow down", "Exceeded rate limit across all models"])
def test_a_refusal_for_longer_than_anybody_waits_ends_what_it_names(stated: str, words: str) -> None:
    """The rows stay for a resume, and the message says how long: a run that sleeps for hours looks as if it hung."""
    found = refused({"retry-after": stated, "date": DATE}, words)
    assert (found.kind, found.retry_after) == (Kind.QUOTA_EXHAUSTED, LONGEST_WAIT)
    assert action(found, 1, 5) is (Action.STOP if "all models" in words else Action.PEND)
    assert "it says to come back in" in found.message


@pytest.mark.fault("H5")
def test_the_longest_wait_is_one() -> None:
    """The bound itself is waited for."""
    found = refused({"retry-after": "900"})
    assert (found.kind, found.retry_after) == (Kind.RATE_LIMITED, 900.0)


@pytest.mark.fault("H5")
def test_a_window_of_hours_is_waited_for() -> None:
    """Where limits are counted by the hour, its rest is no more than what was to be expected."""
    found = failure(Response(status=429, headers={"retry-after": "3000"}, body=b""))
    assert bounded(found, 3600.0) == found


@pytest.mark.fault("H5")
@pytest.mark.parametrize("status", [500, 503, 529])
def test_an_outage_is_asked_about_again_after_the_longest_wait(status: int) -> None:
    """Whatever it says of when it is over: the run's patience decides, and not the gateway."""
    assert refused({"retry-after": "999999999"}, status=status).retry_after == LONGEST_WAIT


@pytest.mark.fault("H7")
@pytest.mark.parametrize(
    ("message", "more", "scope"),
    [
        ("You exceeded your current quota", {"code": "insufficient_quota"}, "all"),
        ("Your credit balance is too low", {"type": "billing_error"}, "all"),
        ("ai gateway account daily spend limit exceeded.", {}, "all"),
        ("Exceeded rate limit of 0 for databricks-claude-opus-4-8", {}, "model"),
        ("ai gateway daily token limit exceeded for model gpt-5-mini", {}, "model"),
        ("Quota exceeded for requests per day for model gemini", {}, "model"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"retry-after": "30"}])
def test_what_no_wait_lifts_is_no_matter_of_waiting(message: str, more: Any, scope: str, headers: Any) -> None:
    """Used-up quotas and unpaid bills stay so, also where the gateway says to come back in half a minute."""
    found = refused(headers, message, **more)
    assert (found.kind, found.scope) == (Kind.QUOTA_EXHAUSTED, scope)


@pytest.mark.fault("H7")
def test_an_hours_quota_of_requests_is_waited_for_as_long_as_anybody_waits() -> None:
    """Databricks counts queries an hour as well: the rest of an hour is mostly more than that."""
    words = "Exceeded workspace QPH rate limit for databricks-claude-opus-4-8"
    soon, late = refused({"retry-after": "300"}, words), refused({"retry-after": "2400"}, words)
    assert (soon.kind, soon.measure, soon.retry_after) == (Kind.RATE_LIMITED, "requests", 300.0)
    assert (late.kind, late.scope) == (Kind.QUOTA_EXHAUSTED, "model")
