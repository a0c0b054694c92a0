"""What a gateway can do to one exchange: the client and the dialects, over real sockets.

More of these cases are in `tests/gateway/test_client.py`, which looks at the client alone.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from runner.core.values import Failure, Kind, Outcome, Reply
from runner.gateway import client as module
from runner.gateway.dialects import DIALECTS

DEADLINE = 0.3
"""Seconds for a whole exchange, where one is to run out."""


def failed(result: Reply | Failure) -> Failure:
    assert isinstance(result, Failure), result
    return result


def replied(result: Reply | Failure) -> Reply:
    assert isinstance(result, Reply), result
    return result


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


# Refusals of one request.


@pytest.mark.fault("H12")
@pytest.mark.parametrize(
    ("status", "kind", "ambiguous"),
    [
        ("408 Request Timeout", Kind.TIMEOUT, True),
        ("409 Conflict", Kind.SERVER_ERROR, False),
        ("421 Misdirected Request", Kind.DISCONNECTED, False),
        ("425 Too Early", Kind.SERVER_ERROR, False),
    ],
)
async def test_a_status_that_may_pass_is_one(ask: Any, serve: Any, said: Any, status, kind, ambiguous) -> None:
    """It is tried again like any other failure of the gateway's."""
    failure = failed(await ask(await serve([said(b"", status)])))
    assert (failure.kind, failure.ambiguous) == (kind, ambiguous)


@pytest.mark.fault("H13")
@pytest.mark.parametrize("status", ["413 Content Too Large", "414 URI Too Long", "431 Request Header Fields Too Large"])
async def test_a_request_that_is_too_large_is_its_rows_fault(ask: Any, serve: Any, said: Any, status: str) -> None:
    """It costs nothing, and no other row is concerned."""
    failure = failed(await ask(await serve([said(b"", status)])))
    assert (failure.kind, failure.ambiguous, failure.scope) == (Kind.REQUEST_TOO_LARGE, False, "request")


@pytest.mark.fault("H13", "H44")
@pytest.mark.parametrize("end", ["CLOSE", "RESET"])
async def test_a_refusal_that_comes_before_the_request_is_whole_is_heard(
    ask: Any, serve: Any, said: Any, step: Any, end: str
) -> None:
    """A gateway that says 413 and hangs up while we still write has said why; its connection is not used again."""
    refusal = said(error("request body too large"), "413 Content Too Large", "Connection: close")
    server = await serve([refusal, 0.05, step[end]], patient=False)
    failure = failed(await ask(server, "x" * 5_000_000))
    assert failure.kind is Kind.REQUEST_TOO_LARGE
    failed(await ask(server))
    assert server.connections == 2


@pytest.mark.fault("H14")
async def test_a_context_length_is_the_rows_fault_and_its_message_is_kept_short(
    ask: Any, serve: Any, said: Any
) -> None:
    """However much of the prompt the gateway says back."""
    body = error("prompt is too long: 200300 tokens > 200000 maximum. " + "x" * 50_000, type="invalid_request_error")
    failure = failed(await ask(await serve([said(body, "400 Bad Request")])))
    assert (failure.kind, failure.ambiguous, len(failure.message)) == (Kind.CONTEXT_LENGTH, False, 2000)


@pytest.mark.fault("H16")
@pytest.mark.parametrize(
    "message",
    [
        "We could not parse the JSON body of your request.",
        "unexpected EOF",
        "Unexpected end of JSON input",
        "failed to read request body",
        "BAD_REQUEST: Request body is incomplete",
    ],
)
async def test_a_request_that_did_not_arrive_whole_is_sent_again(ask: Any, serve: Any, said: Any, message: str) -> None:
    """What we write is whole: where the gateway got half of it, the way was at fault and not the row."""
    failure = failed(await ask(await serve([said(error(message), "400 Bad Request")])))
    assert (failure.kind, failure.ambiguous) == (Kind.DISCONNECTED, False)


# Answers that say that there is none.


@pytest.mark.fault("H21")
@pytest.mark.parametrize(
    ("finish", "outcome"), [("content_filter", Outcome.FILTERED), ("refusal", Outcome.REFUSED), ("stop", Outcome.OK)]
)
async def test_a_withheld_answer_is_an_answer(ask: Any, serve: Any, said: Any, answer: Any, finish, outcome) -> None:
    """A row that is refused has succeeded: asking again until the model gives in would bias a data set."""
    body = {**answer, "choices": [{"message": {"content": "I cannot."}, "finish_reason": finish}]}
    assert replied(await ask(await serve([said(body)]))).outcome is outcome


@pytest.mark.fault("H21")
async def test_a_prompt_that_a_policy_forbids_is_the_rows_fault(ask: Any, serve: Any, said: Any) -> None:
    """It ends as errored with its own reason, and is not tried again."""
    body = error("Your request was flagged as violating our usage policies", code="content_policy_violation")
    failure = failed(await ask(await serve([said(body, "400 Bad Request")])))
    assert (failure.kind, failure.scope) == (Kind.CONTENT_FILTER, "request")


@pytest.mark.fault("H22")
async def test_an_answer_that_is_cut_short_says_so(ask: Any, serve: Any, said: Any, answer: Any) -> None:
    """What there is of it is kept."""
    body = {**answer, "choices": [{"message": {"content": "half of"}, "finish_reason": "length"}]}
    reply = replied(await ask(await serve([said(body)])))
    assert (reply.outcome, reply.text) == (Outcome.TRUNCATED, "half of")


# What is no answer.


PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>to the network</body></html>"


@pytest.mark.fault("H26")
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json", "text/plain"])
async def test_a_page_for_people_is_an_outage_and_no_rows_fault(
    ask: Any, serve: Any, said: Any, dialect: str, kind: str
) -> None:
    """Something between us and the gateway answered: many of these close the way, and then cost no row an attempt."""
    failure = failed(await ask(await serve([said(PAGE, kind=kind)]), dialect=dialect))
    assert (failure.kind, failure.ambiguous, failure.status) == (Kind.SERVER_ERROR, True, 200)
    assert "a page and not an API's answer" in failure.message
    assert "Sign in" in failure.message
    assert len(failure.message) < 400


@pytest.mark.fault("H27")
@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "text/html", "nonsense", ""])
async def test_an_answer_under_a_wrong_name_is_an_answer(ask: Any, serve: Any, said: Any, answer: Any, kind) -> None:
    """What counts is what it is."""
    assert replied(await ask(await serve([said(answer, kind=kind)]))).text == "yes"


@pytest.mark.fault("H28")
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
async def test_no_packing_brings_more_than_the_bound(
    ask: Any, serve: Any, said: Any, monkeypatch: pytest.MonkeyPatch, coding: str
) -> None:
    """A few kilobytes that unpack to ten megabytes, in every coding that is understood."""
    monkeypatch.setattr(module, "LARGEST_RESPONSE", 1_000_000)
    packed = packers()[coding](bytes(10_000_000))
    assert len(packed) < 50_000
    failure = failed(await ask(await serve([said(packed, "200 OK", f"Content-Encoding: {coding}")])))
    assert failure.kind is Kind.RESPONSE_TOO_LARGE


@pytest.mark.fault("H28")
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate"])
async def test_every_packing_that_is_understood_is_unpacked(
    ask: Any, serve: Any, said: Any, answer: Any, coding: str
) -> None:
    """So that the bound above is not met by chance."""
    packed = packers()[coding](json.dumps(answer).encode())
    assert replied(await ask(await serve([said(packed, "200 OK", f"Content-Encoding: {coding}")]))).text == "yes"


def packers() -> dict[str, Any]:
    import gzip
    import zlib

    brotli, zstd = pytest.importorskip("brotli"), pytest.importorskip("backports.zstd")
    return {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress, "deflate": zlib.compress}


@pytest.mark.fault("H43")
async def test_a_coding_that_nobody_asked_for_is_no_answer(ask: Any, serve: Any, said: Any, answer: Any) -> None:
    """What cannot be unpacked cannot be read, and may have been paid for."""
    packed = json.dumps(answer).encode()[::-1]
    failure = failed(await ask(await serve([said(packed, "200 OK", "Content-Encoding: lzma")])))
    assert (failure.kind, failure.ambiguous) == (Kind.INVALID_RESPONSE, True)


@pytest.mark.fault("H43")
async def test_what_a_server_says_of_itself_changes_nothing(ask: Any, serve: Any, said: Any, answer: Any) -> None:
    """Other services, cookies and strict transport: the next request goes where the first one went, without them."""
    other = await serve([said(answer)])
    offers = (
        f'Alt-Svc: http/1.1="localhost:{other.port}"; ma=86400',
        "Strict-Transport-Security: max-age=86400",
        "Set-Cookie: session=1; Path=/",
        "Refresh: 0; url=/elsewhere",
    )
    server = await serve([said(answer, "200 OK", *offers)])
    for _ in range(2):
        replied(await ask(server))
    assert (other.connections, len(server.requests)) == (0, 2)
    assert "cookie" not in server.requests[1].headers


@pytest.mark.fault("H29")
async def test_trailers_without_end_are_no_answer(ask: Any, serve: Any, step: Any) -> None:
    """They end at a bound or at the deadline."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    server = await serve([head + b"X-Trailer: y\r\n" * 50_000, step.HANG])
    assert failed(await ask(server, timeout=DEADLINE)).ambiguous


@pytest.mark.fault("H30")
@pytest.mark.parametrize("pause", [0.02, 0.1])
async def test_an_answer_that_drips_does_not_outlive_the_deadline(
    ask: Any, serve: Any, said: Any, answer: Any, pause: float
) -> None:
    """Each byte is progress, and the whole is still late."""
    whole = said(answer)
    drips = [piece for byte in whole for piece in (bytes([byte]), pause)]
    failure = failed(await ask(await serve(drips), timeout=DEADLINE))
    assert (failure.kind, failure.ambiguous) == (Kind.TIMEOUT, True)


@pytest.mark.fault("H41")
async def test_every_request_gets_its_own_answer(ask: Any, serve: Any, said: Any, answer: Any) -> None:
    """Many are under way, and are answered in any order."""

    def echo(seen: Any) -> bytes:
        prompt = json.loads(seen.body)["messages"][0]["content"]
        return said({**answer, "choices": [{"message": {"content": prompt}, "finish_reason": "stop"}]})

    pauses = [(number * 7 % 11) / 100 for number in range(60)]
    server = await serve(*([pause, echo] for pause in pauses))
    results = await asyncio.gather(*[ask(server, f"row {number}") for number in range(60)])
    assert [replied(result).text for result in results] == [f"row {number}" for number in range(60)]


@pytest.mark.fault("H41")
@pytest.mark.parametrize("asked", DIALECTS)
@pytest.mark.parametrize(
    "given",
    [
        pytest.param("chat", id="chat"),
        pytest.param("messages", id="messages"),
        pytest.param("responses", id="responses"),
        pytest.param("gemini", id="gemini"),
    ],
)
async def test_the_answer_of_another_endpoint_is_none(ask: Any, serve: Any, said: Any, asked: str, given: str) -> None:
    """A proxy that mixes answers up is noticed where they are of another shape."""
    shapes: dict[str, Any] = {
        "chat": {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]},
        "messages": {"type": "message", "content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn"},
        "responses": {
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "yes"}]}],
        },
        "gemini": {"candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}]},
    }
    result = await ask(await serve([said(shapes[given])]), dialect=asked)
    if asked == given:
        assert replied(result).text == "yes"
    else:
        assert (failed(result).kind, failed(result).ambiguous) == (Kind.INVALID_RESPONSE, True)


@pytest.mark.fault("H45")
@pytest.mark.parametrize(
    "stream",
    [
        b": keep-alive\n\n: keep-alive\n\n",
        b'event: error\ndata: {"error":{"message":"Overloaded"}}\n\n',
        b'data: {"choices":[{"delta":{"content":"y"}}]}\n\ndata: [DONE]\n\n',
    ],
    ids=["comments", "an error", "pieces"],
)
async def test_a_stream_that_nobody_asked_for_is_no_answer(ask: Any, serve: Any, said: Any, stream: bytes) -> None:
    """Nothing here asks for one, so half of one is never taken for an answer."""
    server = await serve([said(stream, kind="text/event-stream")])
    failure = failed(await ask(server))
    assert (failure.kind, failure.ambiguous) == (Kind.INVALID_RESPONSE, True)
    assert json.loads(server.requests[0].body).get("stream") in (None, False)


@pytest.mark.fault("H45")
async def test_comments_without_end_do_not_outlive_the_deadline(ask: Any, serve: Any, step: Any) -> None:
    """A connection that is kept alive is not an answer that comes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    server = await serve([head, *[b": keep-alive\n\n", 0.03] * 100, step.CLOSE])
    assert failed(await ask(server, timeout=DEADLINE)).kind is Kind.TIMEOUT


# Redirects.


PLACES = {
    "the same origin": "{scheme}://localhost:{port}/elsewhere",
    "a path": "/elsewhere",
    "another host": "http://127.0.0.2:{other}/x",
    "another port": "http://localhost:{other}/x",
    "no scheme": "//localhost:{other}/x",
    "a user name": "http://localhost:{port}@127.0.0.1:{other}/x",
    "a password": "http://user:word@localhost:{other}/x",
    "no address": "http://[",
    "nothing": "",
}


@pytest.mark.fault("H36")
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.promise("token")
async def test_a_redirect_stops_the_run_and_is_followed_nowhere(
    ask: Any, serve: Any, said: Any, trusted: Any, status: int, place: str, secure: bool
) -> None:
    """Not to plain HTTP either; wherever it points to sees no byte, and the message names no more than an origin."""
    other = await serve([said()], host="127.0.0.2" if "127.0.0.2" in place else "localhost")
    scripts: list[Any] = [[lambda _: said(b"", f"{status} Moved", f"Location: {location}")], [said()]]
    server = await serve(*scripts, context=trusted.issue() if secure else None)
    location = place.format(scheme="https" if secure else "http", port=server.port, other=other.port)
    failure = failed(await ask(server))
    assert (failure.kind, failure.scope, failure.status) == (Kind.REDIRECTED, "all", status)
    assert (other.connections, other.received, len(server.requests)) == (0, 0, 1)
    assert not any(word in failure.message for word in ("word", "user", "@", "/x"))
    assert (f":{other.port}" in failure.message) == ("{other}" in place)


# Certificates.


@pytest.mark.fault("H35")
async def test_a_certificate_of_an_authority_that_the_user_trusts_is_good(
    ask: Any, serve: Any, said: Any, answer: Any, trusted: Any
) -> None:
    """SSL_CERT_FILE names it; without this the refusals below would show nothing."""
    assert replied(await ask(await serve([said(answer)], context=trusted.issue()))).text == "yes"


@pytest.mark.fault("H35")
@pytest.mark.parametrize(
    ("host", "days", "reason"),
    [
        ("localhost", (-3, -2), "expired"),
        ("localhost", (2, 3), "not yet valid"),
        ("evil.example", (-1, 1), "Hostname mismatch"),
    ],
    ids=["expired, or our clock is fast", "not yet valid, or our clock is slow", "another host"],
)
async def test_a_certificate_that_does_not_hold_stops_the_run(
    ask: Any, serve: Any, said: Any, answer: Any, trusted: Any, host: str, days: tuple[int, int], reason: str
) -> None:
    """It is no trouble of the network, there is no insecure second try, and no byte of the request goes out."""
    server = await serve([said(answer)], context=trusted.issue(host, days))
    failure = failed(await ask(server))
    assert (failure.kind, failure.scope, failure.ambiguous) == (Kind.CERTIFICATE, "all", False)
    assert reason in failure.message
    assert server.received == 0


@pytest.mark.fault("H35")
async def test_an_authority_that_nobody_trusts_vouches_for_nothing(
    ask: Any, serve: Any, said: Any, answer: Any, authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do the switches of other programs turn the check off."""
    for name in ("PYTHONHTTPSVERIFY", "CURL_INSECURE", "NODE_TLS_REJECT_UNAUTHORIZED"):
        monkeypatch.setenv(name, "0")
    server = await serve([said(answer)], context=authority.issue())
    assert failed(await ask(server)).kind is Kind.CERTIFICATE
    assert server.received == 0


@pytest.mark.fault("H35")
@pytest.mark.parametrize("alert", [40, 70, 71], ids=["no cipher in common", "too old", "too weak"])
async def test_a_server_without_safe_tls_stops_the_run(ask: Any, serve: Any, alert: int) -> None:
    """It says so in an alert (RFC 8446 6.2), and waiting will not make it newer."""
    server = await serve([], greeting=bytes([21, 3, 1, 0, 2, 2, alert]))
    server.secure = True
    failure = failed(await ask(server))
    assert (failure.kind, failure.scope, failure.ambiguous) == (Kind.CERTIFICATE, "all", False)
    assert server.requests == []


# Proxies.


@pytest.mark.fault("H37")
async def test_a_proxy_of_the_environment_sees_nothing_of_an_https_request(
    ask: Any, serve: Any, said: Any, answer: Any, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the name of the gateway."""
    proxy = await serve([said(answer)])
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("NO_PROXY", "")
    assert replied(await ask(await serve([said(answer)], context=trusted.issue()))).text == "yes"
    assert (proxy.connections, proxy.received) == (0, 0)


@pytest.mark.fault("H37")
async def test_a_proxy_that_wants_to_be_paid_stops_the_run(ask: Any, serve: Any, said: Any) -> None:
    """A 407 comes from none that we chose: nothing of ours is offered to it."""
    server = await serve([said(b"", "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="x"')])
    failure = failed(await ask(server))
    assert (failure.kind, failure.scope) == (Kind.FORBIDDEN, "all")
    assert len(server.requests) == 1
    assert "proxy-authorization" not in server.requests[0].headers


# The token.


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "401 Unauthorized", "429 Too Many", "503 Unavailable"])
@pytest.mark.parametrize("place", ["message", "code"])
async def test_no_failure_holds_the_token(ask: Any, serve: Any, said: Any, token: str, status: str, place: str) -> None:
    """G6: a gateway that says it back, in whatever field is kept, finds it taken out before anybody prints it."""
    body = {"error": {"message": "no", "code": "no_such", place: f"invalid_token Bearer {token} of yours"}}
    failure = failed(await ask(await serve([said(body, status)])))
    assert token not in repr(failure)
    assert "invalid_token Bearer *** of yours" in (failure.message, failure.code)


async def test_a_redirect_that_holds_the_token_is_named_without_it(ask: Any, serve: Any, said: Any, token: str) -> None:
    """G6: of where it leads the host is said, and a host may be made of what was sent."""
    server = await serve([said(b"", "302 Found", f"Location: https://{token}.example/")])
    assert "redirects to https://***.example" in failed(await ask(server)).message


# What is reported of the cost.


@pytest.mark.fault("H42")
@pytest.mark.parametrize("lie", [-1, 1e12, 10**8, "12", True, 2.5, [3], {}], ids=repr)
@pytest.mark.parametrize("place", ["prompt_tokens", "completion_tokens"])
async def test_a_count_that_cannot_be_one_is_taken_for_none(
    ask: Any, serve: Any, said: Any, answer: Any, place: str, lie: Any
) -> None:
    """Then what was reserved is taken for what it cost; the answer itself is kept."""
    reply = replied(await ask(await serve([said({**answer, "usage": {**answer["usage"], place: lie}})])))
    assert (reply.text, reply.usage.reported) == ("yes", False)


@pytest.mark.fault("H42")
@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (
            "chat",
            {
                "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 0, "completion_tokens": 0},
            },
        ),
        (
            "messages",
            {
                "type": "message",
                "content": [{"type": "text", "text": "yes"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 0, "output_tokens": 0},
            },
        ),
    ],
)
async def test_an_answer_that_cost_nothing_is_not_believed(ask: Any, serve: Any, said: Any, dialect, body) -> None:
    """Room that is given back by mistake is spent again at once."""
    reply = replied(await ask(await serve([said(body)]), dialect=dialect))
    assert (reply.text, reply.usage.reported) == ("yes", False)


# What two headers of one name say.


@pytest.mark.fault("H5")
async def test_a_refusal_for_a_day_is_no_wait(ask: Any, serve: Any, said: Any) -> None:
    """What comes out of an exchange is bounded already."""
    failure = failed(await ask(await serve([said(b"", "429 Too Many Requests", "Retry-After: 86400")])))
    assert (failure.kind, failure.scope, failure.retry_after) == (Kind.QUOTA_EXHAUSTED, "model", 900.0)


@pytest.mark.fault("H5")
async def test_two_times_to_come_back_are_none(ask: Any, serve: Any, said: Any) -> None:
    """Neither of them is more likely to be meant."""
    server = await serve([said(b"", "429 Too Many Requests", "Retry-After: 5", "Retry-After: 900")])
    assert failed(await ask(server)).retry_after is None
