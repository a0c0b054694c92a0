"""One HTTP exchange with the gateway: a wire request in, a response or a failure out.

No retries, no redirects, no proxies or netrc from the environment, and bounds on time and size: what to do about a
failure is decided in `core.retry`. The token is added here and nowhere else, to requests for one origin only.
"""

from __future__ import annotations

import io
import ipaddress
import math
import os
import re
import ssl
from types import TracebackType
from typing import Self

import aiohttp
from asyncio_throttle.throttler import Throttler
from yarl import URL

from runner.core.errors import UsageError
from runner.core.values import Failure, Kind, Response, Wire
from runner.gateway.secret import Secret

LARGEST_RESPONSE = 32 * 1024 * 1024
"""Bytes, decompressed."""
LARGEST_TOGETHER = 1024**3
"""Bytes of all responses that are being read: a gateway may answer hundreds of requests at once, and each at length."""
LARGE_REQUEST = 2**20
"""Bytes: a larger body is written piece by piece, so that it holds up no other request."""
CONNECT_SECONDS = 10.0

NO_COMMON_TLS = frozenset(
    {
        "NO_PROTOCOLS_AVAILABLE",
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "DH_KEY_TOO_SMALL",
        "EE_KEY_TOO_SMALL",
    }
)
"""OpenSSL's words for a server whose protocol is too old or too weak: no later handshake will end otherwise."""
NO_TLS = "WRONG_VERSION_NUMBER"
"""OpenSSL's word for what begins like no handshake at all."""
ENDS_A_HOST = re.compile("[/?#]")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> URL:
    """The gateway's origin; raises UsageError for an address that the token must not be sent to."""
    if "@" in url:  # first: the other messages show it
        raise UsageError("The gateway's address holds a user name or a password; the token belongs in the environment.")
    if "://" not in url:
        raise UsageError(
            "The gateway's address is not of the form https://host; it may be the token, and is not shown."
        )
    scheme, _, rest = url.partition("://")
    shown = f"{scheme}://{ENDS_A_HOST.split(rest, maxsplit=1)[0]}"  # what comes behind it may hold a secret
    try:
        parsed = URL(url)
        host = parsed.host
    except ValueError:
        raise UsageError(f"The gateway's address {shown!r} is not a URL.") from None
    if parsed.scheme not in ("https", "http") or not host:
        raise UsageError(f"The gateway's address {shown!r} is not of the form https://host.")
    origin = parsed.origin()
    if parsed.scheme == "http" and not _is_loopback(host):
        raise UsageError(f"The gateway's address {origin} is not https: the token would be readable on the way.")
    if parsed.path not in ("", "/") or parsed.query_string or parsed.fragment:
        raise UsageError(f"The gateway's address has a path or a query; it is only the host: {origin}")
    return origin


def _tls() -> ssl.SSLContext:
    """How certificates are looked at: always, by the system's authorities or those that SSL_CERT_FILE names."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: aiohttp.ClientConnectorSSLError) -> str | None:
    cause: object = error.os_error
    return cause.reason if isinstance(cause, ssl.SSLError) else None


def _unconnected(error: aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError) -> str:
    """Why there is no connection, in words."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"none within {CONNECT_SECONDS:g} seconds"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} leads nowhere ({error.os_error.strerror or error.os_error})"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = _reason(error)
        return "it speaks no TLS there" if reason == NO_TLS else f"TLS failed ({reason or error.os_error})"
    number = error.os_error.errno
    return os.strerror(number) if number else str(error)


def _words(error: BaseException) -> str:
    """What an error says, on one line; the HTTP library puts a status of its own before it, which nobody sent.

    Its parser points to a place with a caret below, which would stand at the line's end.
    """
    said = (getattr(each, "message", None) for each in (error, error.__cause__))
    text = next((text for text in said if isinstance(text, str) and text), str(error))
    return " ".join(text.split()).removesuffix(" ^") or type(error).__name__


class _Answer(aiohttp.ClientResponse):
    sent_at = -math.inf
    """When its request was written."""


class _Request(aiohttp.ClientRequest):
    """Notes when it is written: only then is there a connection."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        answer = await super().send(conn)
        if isinstance(answer, _Answer):
            answer.sent_at = self.loop.time()
        return answer


class Client:
    """A session with one gateway. Use it as an async context manager."""

    def __init__(
        self,
        url: str,
        token: Secret,
        *,
        timeout: float = 600.0,
        connections: int = 1000,
        requests_per_second: int | None = None,
        user_agent: str = "runner",
    ) -> None:
        """`timeout` bounds a whole exchange, in seconds; `requests_per_second` the starts of requests to one path."""
        self.origin = origin_of(url)
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS)
        self._connections = connections
        self._rate = requests_per_second
        self._throttlers: dict[str, Throttler] = {}
        self._agent = user_agent
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None
        self._reading = 0
        """Bytes of the responses that are being read."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections,
                limit_per_host=0,
                ttl_dns_cache=300,
                keepalive_timeout=30,
                ssl=_tls() if self.origin.scheme == "https" else True,
            ),
            timeout=self._timeout,
            request_class=_Request,
            response_class=_Answer,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Authorization": f"Bearer {self._token.reveal()}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": self._agent,
            },
            max_line_size=32768,
            max_field_size=32768,
            read_bufsize=2**17,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, wire: Wire, lane: str) -> Response | Failure:
        """One exchange. `lane` names what the guard on requests a second counts together: the model."""
        if self._rate is not None:
            throttler = self._throttlers.get(lane)
            if throttler is None:
                throttler = self._throttlers[lane] = Throttler(self._rate, 1.0)
            await throttler.acquire()  # type: ignore[no-untyped-call]
        url = self._urls.get(wire.path)
        if url is None:
            url = self._urls[wire.path] = self.origin.join(URL(wire.path, encoded=True))
        try:
            return await self._exchange("POST", url, wire)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return self._failure(error)

    async def get(self, path: str) -> Response | Failure:
        """A GET, for what the gateway says of itself."""
        try:
            return await self._exchange("GET", self.origin.join(URL(path)), None)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return self._failure(error)

    async def _exchange(self, method: str, url: URL, wire: Wire | None) -> Response | Failure:
        if self._session is None:
            raise RuntimeError("the client is used outside its context")
        body, headers = (wire.body, wire.headers) if wire is not None else (None, None)
        data = io.BytesIO(body) if body is not None and len(body) > LARGE_REQUEST else body
        async with self._session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer:
            length = answer.content_length
            if length is not None and length > LARGEST_RESPONSE:
                answer.close()
                return self._too_large()
            content = await self._read(answer)
            if isinstance(content, Failure):
                return content
            # Before anything is read out of it or cut: whatever comes of an answer, the token is not in it.
            body = self._token.redact_body(content)
            sent_at = answer.sent_at if isinstance(answer, _Answer) else -math.inf
            return Response(status=answer.status, headers=self._headers(answer), body=body, sent_at=sent_at)

    def _headers(self, answer: aiohttp.ClientResponse) -> dict[str, str]:
        """By name in lower case; what comes several times is one list (RFC 9110 5.3), and no single value."""
        headers: dict[str, str] = {}
        for name, value in answer.headers.items():
            key = name.lower()
            # What is not UTF-8 comes as lone surrogates, which nothing can write.
            text = value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        if "location" in headers:  # the one header that is said again
            headers["location"] = self._token.redact(headers["location"])
        return headers

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes | Failure:
        """The whole body; a failure where it is larger than the bound, or all that are being read together are."""
        chunks, size = [], 0
        try:
            while True:
                chunk = await answer.content.readany()
                size += len(chunk)
                self._reading += len(chunk)
                if size > LARGEST_RESPONSE or self._reading > LARGEST_TOGETHER:
                    answer.close()
                    return self._too_large() if size > LARGEST_RESPONSE else self._too_many()
                chunks.append(chunk)
                if answer.content.at_eof():
                    return chunk if len(chunks) == 1 else b"".join(chunks)
        finally:
            self._reading -= size

    @staticmethod
    def _too_large() -> Failure:
        return Failure(
            kind=Kind.RESPONSE_TOO_LARGE,
            message=f"The response is larger than {LARGEST_RESPONSE // 2**20} MiB.",
            ambiguous=True,
        )

    @staticmethod
    def _too_many() -> Failure:
        return Failure(
            kind=Kind.DISCONNECTED,
            message=f"The responses that came at once are larger than {LARGEST_TOGETHER // 2**20} MiB together.",
            ambiguous=True,
        )

    def _failure(self, error: BaseException) -> Failure:
        message = self._token.redact(_words(error))[:500]
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
            return Failure(
                kind=Kind.CERTIFICATE, message=f"The gateway's certificate is not trusted: {message}", scope="all"
            )
        if isinstance(error, aiohttp.ClientConnectorSSLError) and _reason(error) in NO_COMMON_TLS:
            return Failure(
                kind=Kind.CERTIFICATE, message=f"The gateway speaks no TLS that is safe: {message}", scope="all"
            )
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            message = self._token.redact(f"No connection to {self.origin}: {_unconnected(error)}")[:500]
            return Failure(kind=Kind.UNREACHABLE, message=message, scope="all")
        if isinstance(error, TimeoutError):
            seconds = self._timeout.total or 0
            return Failure(kind=Kind.TIMEOUT, message=f"No whole answer within {seconds:g} seconds.", ambiguous=True)
        if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | ConnectionError):
            return Failure(kind=Kind.DISCONNECTED, message=f"The connection broke: {message}", ambiguous=True)
        return Failure(
            kind=Kind.INVALID_RESPONSE, message=f"Not a response that can be read: {message}", ambiguous=True
        )
