"""One HTTP exchange, with servers that answer as they should and with servers that do not."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import random
import socket
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from runner.core.errors import UsageError
from runner.core.values import Failure, Kind, Response, Wire
from runner.gateway import client as module
from runner.gateway.client import Client, origin_of
from runner.gateway.secret import Secret

TOKEN = "dapi0123456789abcdef+/=secret"  # none of a real account
PATH = "/ai-gateway/mlflow/v1/chat/completions"
WIRE = Wire(path=PATH, body=b'{"model":"m"}')
DEADLINE = 0.3

Connect = Callable[..., Awaitable[Client]]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open clients that are closed when the test is over."""
    async with AsyncExitStack() as stack:

        async def start(url: str, **options: Any) -> Client:
            return await stack.enter_async_context(Client(url, Secret(TOKEN), **{"timeout": 5.0} | options))

        yield start


def answer(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bool = True, headers: str = "") -> bytes:
    """An answer in chunks, with or without its end."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{headers}\r\n".encode()
    return head + body + (b"0\r\n\r\n" if end else b"")


async def failed(client: Client) -> Failure:
    result = await client.send(WIRE, "m")
    assert isinstance(result, Failure)
    return result


async def answered(client: Client, wire: Wire = WIRE) -> Response:
    result = await client.send(wire, "m")
    assert isinstance(result, Response)
    return result


# Answers.


@pytest.mark.parametrize("status", [200, 204, 400, 401, 404, 429, 500, 503, 529])
async def test_every_status_is_a_response(serve: Any, connect: Connect, status: int) -> None:
    """What a status means is decided elsewhere."""
    body = b"" if status == 204 else b'{"a":1}'
    server = await serve([answer(body, f"{status} Whatever")])
    response = await answered(await connect(server.url))
    assert (response.status, response.body) == (status, body)


async def test_names_of_headers_are_in_lower_case(serve: Any, connect: Connect) -> None:
    """However the gateway writes them."""
    server = await serve([answer(b"{}", "429 Too Many", "RETRY-After: 7", "X-RateLimit-Reset: 1")])
    headers = (await answered(await connect(server.url))).headers
    assert (headers["retry-after"], headers["x-ratelimit-reset"]) == ("7", "1")
    assert all(name == name.lower() for name in headers)


async def test_headers_can_be_written_whatever_bytes_they_hold(serve: Any, connect: Connect) -> None:
    """A server may send any: what is no UTF-8 is replaced, as in a body."""
    server = await serve([answer().replace(b"\r\n", b"\r\nServer: caf\xc3\xa9 \xff\r\n", 1)])
    assert (await answered(await connect(server.url))).headers["server"] == "café \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "said",
    [
        chunked(b'{"a"', b":", b"1}"),
        chunked(gzip.compress(b'{"a":1}'), headers="Content-Encoding: gzip\r\n"),
        answer(gzip.compress(b'{"a":1}'), "200 OK", "Content-Encoding: gzip"),
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"a":1}',
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b'{"a":1}'),
    ],
    ids=["chunks", "packed chunks", "packed", "until the end", "after a 100"],
)
async def test_a_body_is_whole_and_unpacked(serve: Any, connect: Connect, step: Any, said: bytes) -> None:
    """Whatever way it comes in."""
    server = await serve([said, step.CLOSE])
    assert (await answered(await connect(server.url))).body == b'{"a":1}'


async def test_the_request_is_what_the_wire_says(serve: Any, connect: Connect) -> None:
    """Path, body and headers go out as they are, with the token in its one header."""
    server = await serve([answer()])
    path = "/ai-gateway/gemini/v1beta/models/a%2Fb:generateContent?alt=sse"
    await answered(await connect(server.url), Wire(path=path, body=b'{"x":1}', headers={"anthropic-version": "1"}))
    [seen] = server.requests
    assert (seen.line, seen.body) == (f"POST {path} HTTP/1.1", b'{"x":1}')
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert (seen.headers["content-type"], seen.headers["anthropic-version"]) == ("application/json", "1")
    assert (seen.head + seen.body).count(TOKEN.encode()) == 1


async def test_a_get_asks_the_same_origin_with_the_token(serve: Any, connect: Connect) -> None:
    """For what the gateway says of itself."""
    server = await serve([answer(b"[]")])
    response = await (await connect(server.url)).get("/api/models?x=1")
    assert isinstance(response, Response)
    assert response.body == b"[]"
    assert server.requests[0].line == "GET /api/models?x=1 HTTP/1.1"
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_response_says_when_its_request_was_written(
    serve: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before there was a connection."""
    made: list[float] = []
    create, clock = aiohttp.TCPConnector._create_connection, asyncio.get_running_loop().time

    async def noted(*words: Any) -> Any:
        protocol = await create(*words)
        made.append(clock())
        return protocol

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", noted)
    response = await answered(await connect((await serve([answer()])).url))
    assert made[0] <= response.sent_at <= clock()


async def test_requests_one_after_the_other_share_a_connection(serve: Any, connect: Connect) -> None:
    """A handshake is paid once."""
    server = await serve([answer()])
    client = await connect(server.url)
    for _ in range(5):
        await answered(client)
    assert (len(server.requests), server.connections) == (5, 1)


async def test_many_requests_go_out_side_by_side(serve: Any, connect: Connect) -> None:
    """One that hangs holds up no other."""
    server = await serve([answer()])
    client = await connect(server.url)
    results = await asyncio.gather(*[client.send(WIRE, "m") for _ in range(50)])
    assert all(isinstance(result, Response) for result in results)


@pytest.mark.fault("H43")
async def test_cookies_are_not_kept(serve: Any, connect: Connect) -> None:
    """No request depends on the one before."""
    server = await serve([answer(b"{}", "200 OK", "Set-Cookie: a=1; Path=/")])
    client = await connect(server.url)
    await answered(client)
    await answered(client)
    assert "cookie" not in server.requests[1].headers


@pytest.mark.fault("H37")
async def test_proxies_and_netrc_of_the_environment_are_not_used(
    serve: Any, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token goes to the gateway and nowhere else."""
    server, proxy = await serve([answer()]), await serve([answer()])
    (tmp_path / "netrc").write_text("machine localhost login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    await answered(await connect(server.url))
    assert (proxy.connections, server.requests[0].headers["authorization"]) == (0, f"Bearer {TOKEN}")


# Redirects.


@pytest.mark.fault("H36")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "place",
    ["http://localhost:{other}/x", "//localhost:{other}/x", "http://localhost@127.0.0.1:{other}/", "/loop", "http://["],
    ids=["another port", "no scheme", "a user name", "itself", "no address"],
)
@pytest.mark.fault("O12")
async def test_a_redirect_is_returned_and_never_followed(serve: Any, connect: Connect, status: int, place: str) -> None:
    """H36: where it points to sees not one byte, neither of the token nor of the prompt."""
    other = await serve([answer()])
    server = await serve([answer(b"", f"{status} Moved", "Location: " + place.format(other=other.port))])
    response = await answered(await connect(server.url))
    assert (response.status, len(server.requests)) == (status, 1)
    assert (other.connections, other.received) == (0, 0)


# Connections that are not made.


@pytest.mark.fault("H32")
async def test_a_refused_connection_is_unreachable_and_cost_nothing(connect: Connect) -> None:
    """H32: no byte went out, so nothing can have been billed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    failure = await failed(await connect(url))
    assert (failure.kind, failure.ambiguous, failure.scope) == (Kind.UNREACHABLE, False, "all")
    assert failure.message == f"No connection to {url}: Connection refused"


@pytest.mark.fault("H34")
async def test_a_name_that_leads_nowhere_is_unreachable(connect: Connect) -> None:
    """H34: the top-level domain `invalid` has no names (RFC 2606)."""
    failure = await failed(await connect("https://gateway.invalid"))
    assert (failure.kind, failure.ambiguous, failure.scope) == (Kind.UNREACHABLE, False, "all")
    assert "the name gateway.invalid leads nowhere" in failure.message


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate for localhost that nobody vouches for."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.fault("H35")
async def test_a_certificate_that_nobody_vouches_for_ends_it(
    serve: Any, connect: Connect, self_signed: ssl.SSLContext
) -> None:
    """H35: it is no network trouble, there is no insecure second try, and no byte of the request goes out."""
    server = await serve([answer()], context=self_signed)
    failure = await failed(await connect(server.url))
    assert (failure.kind, failure.ambiguous, failure.scope) == (Kind.CERTIFICATE, False, "all")
    assert server.received == 0


@pytest.mark.fault("H35")
async def test_a_server_that_does_not_speak_tls_is_unreachable(serve: Any, connect: Connect) -> None:
    """H35: there is no fall to plain HTTP."""
    server = await serve([answer()], greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    failure = await failed(await connect(server.url.replace("http", "https")))
    assert (failure.kind, failure.ambiguous) == (Kind.UNREACHABLE, False)
    assert server.requests == []
    assert "it speaks no TLS there" in failure.message


# Connections that break.


@pytest.mark.fault("H25", "H33")
@pytest.mark.parametrize("end", ["RESET", "CLOSE"])
@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Le", answer(b"x" * 100)[:-50]],
    ids=["before a byte", "in the status", "in the headers", "in the body"],
)
async def test_a_connection_that_breaks_after_the_request_is_ambiguous(
    serve: Any, connect: Connect, step: Any, said: bytes, end: str
) -> None:
    """H25, H33: the request may have been billed, so what it reserved stays reserved."""
    server = await serve([said, step[end]])
    failure = await failed(await connect(server.url))
    assert (failure.kind, failure.ambiguous) == (Kind.DISCONNECTED, True)


@pytest.mark.fault("H25")
@pytest.mark.parametrize(
    "said",
    [
        chunked(b"x" * 50, end=False),
        chunked(b"x" * 50)[:-20],
        answer(b"no gzip at all", "200 OK", "Content-Encoding: gzip"),
        chunked(b"x")[:-8] + b"no number\r\n",
    ],
    ids=["no last chunk", "half a chunk", "no gzip", "no chunk"],
)
async def test_a_body_that_is_not_whole_is_an_ambiguous_failure(
    serve: Any, connect: Connect, step: Any, said: bytes
) -> None:
    """H25: half an answer is no answer, and it may have been billed."""
    server = await serve([said, step.CLOSE])
    failure = await failed(await connect(server.url))
    assert failure.kind in (Kind.DISCONNECTED, Kind.INVALID_RESPONSE)
    assert failure.ambiguous


@pytest.mark.fault("H25")
async def test_half_a_gzip_is_never_taken_for_a_whole_answer(serve: Any, connect: Connect) -> None:
    """H25: where the packing ends too early in a body of the stated length, what is left is no JSON."""
    whole = gzip.compress(b'{"a":"' + random.Random(1).randbytes(5000).hex().encode() + b'"}')
    server = await serve([answer(whole[: len(whole) // 2], "200 OK", "Content-Encoding: gzip")])
    result = await (await connect(server.url)).send(WIRE, "m")
    if isinstance(result, Failure):
        assert result.ambiguous
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(result.body)


@pytest.mark.fault("H33")
async def test_a_request_is_never_sent_twice_behind_our_back(serve: Any, connect: Connect, step: Any) -> None:
    """H33: where an idle connection is closed just as it is used, the HTTP library does not try again by itself."""
    server = await serve([answer()], [step.CLOSE], [answer()])
    client = await connect(server.url)
    await answered(client)
    failure = await failed(client)
    assert (failure.kind, failure.ambiguous, len(server.requests)) == (Kind.DISCONNECTED, True, 2)
    await answered(client)


async def test_a_connection_closed_in_idleness_is_replaced(serve: Any, connect: Connect, step: Any) -> None:
    """A server that keeps no connection is a server like any other."""
    server = await serve([answer(b"{}", "200 OK", "Connection: close"), step.CLOSE])
    client = await connect(server.url)
    for _ in range(3):
        await answered(client)
    assert server.connections == 3


# Answers that do not come.


@pytest.mark.fault("H30", "H31")
@pytest.mark.parametrize("end", ["HANG", "DRIP"])
@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\nX-Long:", answer(b"x" * 10_000)[:-5000], chunked(b"x", end=False) + b"fff\r\n"],
    ids=["before a byte", "in the headers", "in the body", "in a chunk"],
)
async def test_no_answer_outlives_the_deadline(serve: Any, connect: Connect, step: Any, said: bytes, end: str) -> None:
    """H30, H31: neither silence nor a slow drip, wherever it sets in."""
    server = await serve([said, step[end]])
    client = await connect(server.url, timeout=DEADLINE)
    begun = time.monotonic()
    failure = await failed(client)
    assert time.monotonic() - begun < DEADLINE + 1.5
    if end == "HANG" or said:
        assert (failure.kind, failure.ambiguous) == (Kind.TIMEOUT, True)
        assert "0.3 seconds" in failure.message
    else:
        assert failure.ambiguous  # a space is no beginning of an answer


@pytest.mark.fault("H29")
async def test_provisional_answers_without_end_do_not_outlive_the_deadline(
    serve: Any, connect: Connect, step: Any
) -> None:
    """H29: 100 Continue is no progress."""
    server = await serve([b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, step.HANG])
    assert (await failed(await connect(server.url, timeout=DEADLINE))).ambiguous


@pytest.mark.fault("H40")
async def test_a_connection_that_timed_out_is_not_used_again(serve: Any, connect: Connect, step: Any) -> None:
    """A late answer is never taken for the next request's."""
    server = await serve([b"HTTP/1.1 200 OK\r\n", step.HANG], [answer(b"mine")])
    client = await connect(server.url, timeout=DEADLINE)
    await failed(client)
    assert (await answered(client)).body == b"mine"
    assert server.connections == 2


# Answers that are too large.

BOUND = 1_000_000
BOMB = gzip.compress(b"\0" * 10_000_000)


@pytest.mark.fault("H28")
@pytest.mark.parametrize(
    "said",
    [
        answer(b"x" * (BOUND + 1)),
        chunked(b"x" * (BOUND + 1)),
        chunked(*[b"x" * 1000] * 1001),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 2 * BOUND,
        answer(BOMB, "200 OK", "Content-Encoding: gzip"),
        chunked(BOMB, headers="Content-Encoding: gzip\r\n"),
    ],
    ids=["by its length", "one chunk", "many chunks", "until the end", "packed", "packed in a chunk"],
)
async def test_a_body_over_the_bound_is_too_large(
    serve: Any, connect: Connect, step: Any, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """H28: counted unpacked, whatever the length that is stated."""
    monkeypatch.setattr(module, "LARGEST_RESPONSE", BOUND)
    server = await serve([said, step.CLOSE])
    failure = await failed(await connect(server.url))
    assert (failure.kind, failure.ambiguous) == (Kind.RESPONSE_TOO_LARGE, True)


@pytest.mark.parametrize(
    "said",
    [answer(b"x" * BOUND), chunked(b"x" * (BOUND // 2), b"x" * (BOUND // 2))],
    ids=["by its length", "chunks"],
)
async def test_a_body_of_just_the_bound_is_read(
    serve: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """The bound itself is allowed."""
    monkeypatch.setattr(module, "LARGEST_RESPONSE", BOUND)
    server = await serve([said])
    assert len((await answered(await connect(server.url))).body) == BOUND


@pytest.mark.fault("H28", "H44")
async def test_an_endless_body_ends_at_the_bound(serve: Any, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """H28: what is stated to be 10 GB is not waited for."""
    monkeypatch.setattr(module, "LARGEST_RESPONSE", BOUND)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"
    server = await serve([head + b"x" * 2 * BOUND], [answer()])
    client = await connect(server.url)
    assert (await failed(client)).kind is Kind.RESPONSE_TOO_LARGE
    await answered(client)


@pytest.mark.fault("H28")
async def test_a_bomb_takes_no_more_memory_than_the_bound(serve: Any, connect: Connect) -> None:
    """H28: 200 kB that unpack to 200 MB are stopped on the way, at the bound as it is."""
    server = await serve([answer(gzip.compress(bytes(200 * 2**20), 1), "200 OK", "Content-Encoding: gzip")])
    client = await connect(server.url)
    tracemalloc.start()
    try:
        failure = await failed(client)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failure.kind is Kind.RESPONSE_TOO_LARGE
    assert peak < 3 * module.LARGEST_RESPONSE


@pytest.mark.fault("H28")
async def test_bodies_that_come_at_once_are_bounded_together(
    serve: Any, connect: Connect, step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H28: hundreds of requests are under way, and each may be answered with what is just let through."""
    monkeypatch.setattr(module, "LARGEST_TOGETHER", BOUND)
    half = [chunked(b"x" * (BOUND // 2 + 1), end=False), step.HANG]
    server = await serve(half, half, [answer(b"x" * (BOUND // 2 + 1))])
    client = await connect(server.url, timeout=DEADLINE)
    failures = await asyncio.gather(failed(client), failed(client))
    assert {(failure.kind, failure.ambiguous) for failure in failures} == {
        (Kind.DISCONNECTED, True),
        (Kind.TIMEOUT, True),
    }
    await answered(client)


# What is no answer.


@pytest.mark.fault("H29")
@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"\0" * 1000,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx",
    ],
    ids=[
        "SSH",
        "TLS",
        "zeros",
        "no status",
        "no version",
        "no header",
        "no length",
        "a length below zero",
        "a long header",
        "many headers",
        "no gzip",
        "another protocol",
    ],
)
async def test_what_is_no_answer_is_a_failure(serve: Any, connect: Connect, step: Any, said: bytes) -> None:
    """H26, H29: nothing that a server says raises, and the message is a short line, with no status in it."""
    server = await serve([said, step.CLOSE])
    result = await (await connect(server.url, timeout=1.0)).send(WIRE, "m")
    if isinstance(result, Response):  # for the dialects to judge
        assert result.status in (101, 200)
        return
    assert result.kind in (Kind.INVALID_RESPONSE, Kind.DISCONNECTED, Kind.TIMEOUT)
    assert result.ambiguous
    assert len(result.message) < 700
    assert not any(word in result.message for word in ("\n", "400", "message=", server.url))


# The token.


@pytest.mark.parametrize(
    "said",
    [
        "HTTP/1.1 abc {token}\r\n\r\n",
        "{token}\r\n\r\n",
        "HTTP/1.1 200 OK\r\n{token}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: {token}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: {token}\0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("form", ["plain", "bearer", "base64", "url", "cut"])
@pytest.mark.fault("O6")
async def test_no_message_holds_the_token(serve: Any, connect: Connect, step: Any, said: str, form: str) -> None:
    """G6, O6: not where a server echoes it in what is no answer, in any form that servers echo it in."""
    forms = {
        "plain": TOKEN,
        "bearer": f"Authorization: Bearer {TOKEN}",
        "base64": "ZGFwaTAxMjM0NTY3ODlhYmNkZWYrLz1zZWNyZXQ=",
        "url": "dapi0123456789abcdef%2B%2F%3Dsecret",
        "cut": "x" * 480 + TOKEN,
    }
    server = await serve([said.format(token=forms[form]).encode(), step.CLOSE])
    result = await (await connect(server.url)).send(WIRE, "m")
    if isinstance(result, Failure):
        shown = repr(result)
        assert not any(piece in shown for piece in ("dapi0123456789", "9abcdef", "ZGFwaTAxMjM0NTY3", "z1zZWNyZXQ"))


@pytest.mark.fault("O5")
async def test_no_text_of_a_client_holds_the_token(serve: Any, connect: Connect) -> None:
    """O5: what a log or a traceback prints of it."""
    client = await connect((await serve([answer()])).url)
    assert TOKEN not in repr(client) + str(vars(client).get("_token")) + f"{client._token}"


# The guard on requests a second.


async def test_no_more_than_the_rate_starts_in_a_second(serve: Any, connect: Connect) -> None:
    """The sixth request of a lane waits until a second after the first, and another lane does not wait with it."""
    server = await serve([answer()])
    client = await connect(server.url, requests_per_second=5)
    ends: dict[str, list[float]] = {"a": [], "b": []}

    async def send(lane: str) -> None:
        await client.send(WIRE, lane)
        ends[lane].append(time.monotonic() - begun)

    begun = time.monotonic()
    await asyncio.gather(*[send(lane) for lane in "aaaaaabbbbb"])
    *first, last = ends["a"]
    assert (len(first), len(ends["b"])) == (5, 5)
    assert last > 1.0
    assert max(*first, *ends["b"]) < 1.0


# Addresses.


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://gateway.example", "https://gateway.example"),
        ("https://gateway.example/", "https://gateway.example"),
        ("https://GATEWAY.example:8443", "https://gateway.example:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_taken_from_the_address(url: str, origin: str) -> None:
    """Over TLS any host, without it only this machine."""
    assert str(origin_of(url)) == origin


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("gateway.example", "not of the form https://host"),
        ("//gateway.example", "not of the form https://host"),
        ("ftp://gateway.example", "not of the form https://host"),
        ("https://", "not of the form https://host"),
        ("", "not of the form https://host"),
        ("http://gateway.example", "not https"),
        ("http://169.254.169.254", "not https"),
        ("http://localhost.evil.example", "not https"),
        ("http://127.0.0.1.evil.example", "not https"),
        ("http://127.evil.example", "not https"),
        ("http://0.0.0.0", "not https"),
        ("http://[::2]", "not https"),
        ("https://gateway.example@evil.example", "user name or a password"),
        ("https://user:hunter2@gateway.example", "user name or a password"),
        ("https://:hunter2@gateway.example", "user name or a password"),
        ("http://user:hunter2@gateway.example", "user name or a password"),
        ("https://gateway.example/v1", r"only the host: https://gateway\.example$"),
        ("https://gateway.example/?x=1", "only the host"),
        ("https://gateway.example/?token=hunter2", "only the host"),
        ("http://gateway.example/?token=hunter2", "not https"),
        ("nt_live_hunter2", "may be the token"),
        ("https://gateway.example:99999", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://xn--", "not a URL"),
        ("ftp://gateway.example/?token=hunter2", "'ftp://gateway.example' is not of the form https://host"),
        ("https://?token=hunter2", "'https://' is not of the form https://host"),
        ("https://gateway.example:99999/hunter2?x=hunter2", "'https://gateway.example:99999' is not a URL"),
        ("https://gateway.example#hunter2", "only the host"),
    ],
)
@pytest.mark.fault("O12")
def test_an_address_that_the_token_must_not_go_to_is_refused(url: str, reason: str) -> None:
    """O12: each with the reason, and never with a password or a token in it, as where two variables were mixed up."""
    with pytest.raises(UsageError, match=reason) as caught:
        origin_of(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.fault("O12")
def test_a_client_is_not_made_for_an_address_that_is_refused() -> None:
    """O12: before anything is opened."""
    with pytest.raises(UsageError):
        Client("http://gateway.example", Secret(TOKEN))
