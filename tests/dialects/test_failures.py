"""What a response that is not an answer is taken for: the documented bodies, in every envelope they come in."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.values import Failure, Kind, Response
from runner.gateway.dialects import DIALECTS, delays
from runner.gateway.dialects.faults import failure

OPUS = "databricks-claude-opus-4-8"
TIER = "Work with your Databricks account team to request a higher FMAPI rate limit tier."
GPT = 'model "gpt-5-mini"'


def own(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def flat(code: Any, message: str) -> dict[str, Any]:
    return {"error_code": code, "message": message}


def wrapped(message: str, **more: Any) -> dict[str, Any]:
    return flat("BAD_REQUEST", orjson.dumps({"error": {"message": message, **more}}).decode())


def claude(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_9"}


def limit(message: str) -> dict[str, Any]:
    return flat("REQUEST_LIMIT_EXCEEDED", message)


def google(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}

Case = tuple[int, Any, Kind, dict[str, Any]]

CASES: dict[str, Case] = {
    # The gateway's own words, in OpenAI's envelope on every dialect.
    "401": (401, own("invalid or missing credential"), Kind.UNAUTHORIZED, {"scope": "all"}),
    "403 scope": (403, own("credential not authorized for ai gateway"), Kind.FORBIDDEN, {"scope": "all"}),
    "403 branch": (403, own("credential not authorized for this branch"), Kind.FORBIDDEN, {"scope": "all"}),
    "403 account": (403, own("model requires a verified account"), Kind.MODEL_UNAVAILABLE, {"scope": "model"}),
    "403 token": (403, flat(403, "Invalid access token."), Kind.UNAUTHORIZED, {"scope": "all", "code": "403"}),
    "403 of one row": (403, flat("PERMISSION_DENIED", "not for you"), Kind.FORBIDDEN, {"scope": "request"}),
    "400 model": (400, own('unknown model "gpt-9"'), Kind.MODEL_UNAVAILABLE, {"scope": "model"}),
    "400 endpoint": (
        400,
        own('model "gpt-5-3-codex" is not available on the chat_completions endpoint'),
        Kind.MODEL_UNAVAILABLE,
        {"scope": "model"},
    ),
    "400 host": (400, own("could not resolve workspace from host"), Kind.FORBIDDEN, {"scope": "all"}),
    "404 action": (404, own("unsupported gemini action"), Kind.INVALID_REQUEST, {"scope": "request"}),
    "404 endpoint": (
        404,
        flat("ENDPOINT_NOT_FOUND", "The given endpoint does not exist, please retry after checking it."),
        Kind.MODEL_UNAVAILABLE,
        {"scope": "model", "code": "ENDPOINT_NOT_FOUND"},
    ),
    "404 of Anthropic": (404, claude("not_found_error", "model: claude-9"), Kind.MODEL_UNAVAILABLE, {"scope": "model"}),
    "a tool that is not found": (
        400,
        flat("BAD_REQUEST", "The model returned the following errors: tool_choice: Tool 'lookup' not found in tools"),
        Kind.INVALID_REQUEST,
        {},
    ),
    "a parameter that does not exist": (
        400,
        flat("BAD_REQUEST", "The endpoint parameter 'foo' does not exist"),
        Kind.INVALID_REQUEST,
        {},
    ),
    "a client that hung up, which was not this one": (499, b"", Kind.DISCONNECTED, {"ambiguous": True}),
    "a fraction of a query a second": (
        429,
        flat("REQUEST_LIMIT_EXCEEDED", "Exceeded workspace rate limit of 0.5 queries per second"),
        Kind.RATE_LIMITED,
        {"measure": "requests"},
    ),
    "404 as text": (404, b"404 page not found", Kind.SERVER_ERROR, {"message": "404 page not found"}),
    "404 as a page": (404, b"<html><title>404 Not Found</title></html>", Kind.SERVER_ERROR, {"ambiguous": False}),
    "404 of nothing": (404, b"", Kind.SERVER_ERROR, {"message": "404 Not Found"}),
    "404 as text of a model": (404, b"model not found", Kind.MODEL_UNAVAILABLE, {"scope": "model"}),
    "410": (410, b"", Kind.MODEL_UNAVAILABLE, {"scope": "model", "message": "410 Gone"}),
    "413": (413, own("request body too large"), Kind.REQUEST_TOO_LARGE, {}),
    "414": (414, b"", Kind.REQUEST_TOO_LARGE, {}),
    "431": (431, b"", Kind.REQUEST_TOO_LARGE, {}),
    "413 as 400": (400, flat("BAD_REQUEST", "request body too large"), Kind.REQUEST_TOO_LARGE, {}),
    "502": (502, own("upstream request failed"), Kind.SERVER_ERROR, {"ambiguous": True}),
    "502 as text": (502, b"bad gateway\r\n", Kind.SERVER_ERROR, {"message": "bad gateway", "ambiguous": True}),
    "503": (503, own("authorization temporarily unavailable"), Kind.OVERLOADED, {}),
    "upstream timeout": (500, flat("X", "ai gateway upstream model timed out."), Kind.TIMEOUT, {"ambiguous": True}),
    # Statuses without words.
    "408": (408, b"", Kind.TIMEOUT, {"ambiguous": True}),
    "409": (409, b"", Kind.SERVER_ERROR, {"ambiguous": False}),
    "425": (425, b"", Kind.SERVER_ERROR, {}),
    "500": (500, b"", Kind.SERVER_ERROR, {"ambiguous": False}),
    "504": (504, b"<html>Gateway Time-out</html>", Kind.TIMEOUT, {"ambiguous": True}),
    "529": (529, claude("overloaded_error", "Overloaded"), Kind.OVERLOADED, {"code": "overloaded_error"}),
    "302": (302, b"", Kind.REDIRECTED, {"scope": "all"}),
    "308": (308, b"", Kind.REDIRECTED, {"scope": "all"}),
    "204": (204, b"", Kind.INVALID_RESPONSE, {"ambiguous": True}),
    "418": (418, b"", Kind.INVALID_REQUEST, {}),
    "599": (599, b"", Kind.SERVER_ERROR, {}),
    # Context windows.
    "context of OpenAI": (
        400,
        own(
            "This model's maximum context length is 4000 tokens. However, your messages resulted in 4100 tokens.",
            code="context_length_exceeded",
            type="invalid_request_error",
        ),
        Kind.CONTEXT_LENGTH,
        {"code": "context_length_exceeded", "cap": None},
    ),
    "context of Anthropic": (
        400,
        claude("invalid_request_error", "prompt is too long: 200300 tokens > 200000 maximum"),
        Kind.CONTEXT_LENGTH,
        {},
    ),
    "context of Anthropic, with the cap": (
        400,
        claude("invalid_request_error", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
        Kind.CONTEXT_LENGTH,
        {},
    ),
    "context of Gemini": (
        400,
        google(400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed"),
        Kind.CONTEXT_LENGTH,
        {"code": "INVALID_ARGUMENT"},
    ),
    "context, wrapped": (400, wrapped("Input is too long for requested model."), Kind.CONTEXT_LENGTH, {}),
    # Output caps.
    "cap of Anthropic": (
        400,
        claude("invalid_request_error", "max_tokens: 99000 > 64000, which is the maximum allowed number"),
        Kind.INVALID_REQUEST,
        {"cap": 64000},
    ),
    "cap of OpenAI": (
        400,
        own("max_tokens is too large: 9000. This model supports at most 8,192 completion tokens, whereas"),
        Kind.INVALID_REQUEST,
        {"cap": 8192},
    ),
    "cap of Responses, wrapped": (
        400,
        wrapped(
            "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 128000, but got 200000.",
            code="integer_above_max_value",
        ),
        Kind.INVALID_REQUEST,
        {"cap": 128000, "code": "integer_above_max_value"},
    ),
    "cap of Gemini": (
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "a maxOutputTokens value of 90000 but the supported range is from 1 (inclusive) to 65537 (exclusive)",
        ),
        Kind.INVALID_REQUEST,
        {"cap": 65536},
    ),
    "cap of Databricks": (
        400,
        flat("BAD_REQUEST", "max_tokens (10000) cannot exceed 8192. Please reduce the length of max output tokens."),
        Kind.INVALID_REQUEST,
        {"cap": 8192},
    ),
    "a floor is no cap": (
        400,
        wrapped("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1."),
        Kind.INVALID_REQUEST,
        {"cap": None},
    ),
    # What was asked.
    "400": (
        400,
        flat("BAD_REQUEST", "BAD_REQUEST: service_tier='flex' is not supported by Databricks"),
        Kind.INVALID_REQUEST,
        {"code": "BAD_REQUEST"},
    ),
    "422": (
        422,
        {"detail": [{"loc": ["body"], "msg": "field required"}]},
        Kind.INVALID_REQUEST,
        {"message": "field required"},
    ),
    "400 policy": (
        400,
        wrapped("The response was filtered due to our content management policy", code="content_filter"),
        Kind.CONTENT_FILTER,
        {"code": "content_filter"},
    ),
    "400 with an object after words": (
        400,
        flat("BAD_REQUEST", 'upstream said: {"error":{"message":"no such tool","code":"bad_tool"}}'),
        Kind.INVALID_REQUEST,
        {"message": "no such tool", "code": "bad_tool"},
    ),
    # 429, upstream.
    "429 input": (
        429,
        limit(f"REQUEST_LIMIT_EXCEEDED: Exceeded workspace input tokens per minute rate limit for {OPUS}. {TIER}"),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "input"},
    ),
    "429 output": (
        429,
        limit(f"REQUEST_LIMIT_EXCEEDED: Exceeded workspace output tokens per minute rate limit for {OPUS}. {TIER}"),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "output"},
    ),
    "429 QPS": (
        429,
        limit(f"Exceeded workspace QPS rate limit for {OPUS}. Please use a provisioned throughput endpoint."),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "requests"},
    ),
    "429 unnamed": (
        429,
        limit(f"REQUEST_LIMIT_EXCEEDED: Exceeded workspace rate limit for {OPUS}. {TIER}"),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": None},
    ),
    "429 documented": (
        429,
        own(
            "Rate limit exceeded: ITPM limit of 200,000 tokens reached",
            type="rate_limit_exceeded",
            code=429,
            limit_type="output_tokens_per_minute",
            retry_after=9,
        ),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "output", "retry_after": 9.0, "code": "rate_limit_exceeded"},
    ),
    "429 of a user's limit": (
        429,
        limit("User defined rate limit(s) exceeded for endpoint. Requests-per-minute (RPM) limit: 5"),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "requests"},
    ),
    "429 of a request that never fits": (
        429,
        limit("This request alone exceeds the limit: max_tokens 30000 is above 20000 output tokens per minute"),
        Kind.RATE_LIMITED,
        {"measure": "output"},
    ),
    "429 of zero": (429, limit(f"Exceeded rate limit of 0 for {OPUS}"), Kind.QUOTA_EXHAUSTED, {}),
    "429 of Gemini": (
        429,
        google(429, "RESOURCE_EXHAUSTED", "Quota exceeded for requests per minute", {"@type": "x"}, RETRY_INFO),
        Kind.RATE_LIMITED,
        {"retry_after": 37.0, "measure": "requests", "code": "RESOURCE_EXHAUSTED"},
    ),
    "429 of Anthropic": (
        429,
        claude("rate_limit_error", "This request would exceed the rate limit of 50,000 input tokens per minute."),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "input"},
    ),
    "429 of a spent account": (
        429,
        own("You exceeded your current quota", code="insufficient_quota"),
        Kind.QUOTA_EXHAUSTED,
        {"scope": "all"},
    ),
    "429 with nothing": (
        429,
        b"",
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": None, "message": "429 Too Many Requests"},
    ),
    # 429, the gateway's own: without Retry-After it is for good.
    "own, for good": (429, limit("ai gateway quota exceeded"), Kind.QUOTA_EXHAUSTED, {"scope": "all"}),
    "own, a model's, for good": (
        429,
        limit(f"ai gateway per-minute token limit exceeded for {GPT}"),
        Kind.QUOTA_EXHAUSTED,
        {"scope": "model", "measure": "total"},
    ),
    "own, which says that it passes": (
        429,
        limit(
            f"ai gateway token rate limit exceeded for {GPT}. Retry after the current minute resets, or ask for more"
        ),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "total"},
    ),
    "own, daily": (429, limit("ai gateway daily token limit exceeded"), Kind.QUOTA_EXHAUSTED, {"scope": "all"}),
    "own, credit": (429, limit("ai gateway credit balance depleted"), Kind.QUOTA_EXHAUSTED, {"scope": "all"}),
    "not its own": (
        429,
        limit("ai gateway upstream model is temporarily over capacity. Retry later"),
        Kind.RATE_LIMITED,
        {"scope": "model"},
    ),
}

WITH_RETRY_AFTER: dict[str, Case] = {
    "own, of a model": (
        429,
        limit(f"ai gateway TPM limit exceeded for {GPT}"),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "total"},
    ),
    "own, of all models": (
        429,
        limit("ai gateway account token rate limit exceeded (900 tokens per minute across all models in this region)."),
        Kind.RATE_LIMITED,
        {"scope": "all", "measure": "total"},
    ),
    "own, of an account's model": (
        429,
        limit(f"ai gateway account token rate limit exceeded for {GPT} (900 tokens per minute in this region)."),
        Kind.RATE_LIMITED,
        {"scope": "model", "measure": "total"},
    ),
    "own, spend": (
        429,
        limit("ai gateway account daily spend limit exceeded. Retry after the daily spend limit resets"),
        Kind.QUOTA_EXHAUSTED,
        {"scope": "all"},
    ),
    "own, of no model": (
        429,
        limit("ai gateway per-minute token limit exceeded"),
        Kind.RATE_LIMITED,
        {"scope": "all", "measure": "total"},
    ),
    "own, of nothing named": (429, limit("ai gateway quota exceeded"), Kind.RATE_LIMITED, {"scope": "model"}),
    "busy": (503, b"", Kind.OVERLOADED, {}),
}

INSIDE_200: dict[str, tuple[Any, Kind, dict[str, Any]]] = {
    "failed, limited": (
        {"status": "failed", "output": [], "error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        Kind.RATE_LIMITED,
        {"scope": "model", "code": "rate_limit_exceeded"},
    ),
    "failed, broken": (
        {"status": "failed", "output": [], "error": {"code": "server_error", "message": "oh"}},
        Kind.SERVER_ERROR,
        {"ambiguous": True},
    ),
    "failed, asked wrongly": (
        {"status": "failed", "output": [], "error": {"code": "invalid_prompt", "message": "no"}},
        Kind.INVALID_REQUEST,
        {},
    ),
    "failed, an image": (
        {"status": "failed", "error": {"code": "failed_to_download_image", "message": "no"}},
        Kind.INVALID_REQUEST,
        {},
    ),
    "overloaded": (claude("overloaded_error", "Overloaded"), Kind.OVERLOADED, {}),
    "a number": ({"error": {"code": 502, "message": "upstream"}}, Kind.SERVER_ERROR, {"ambiguous": True}),
    "flat": (
        limit(f"Exceeded workspace output tokens per minute rate limit for {OPUS}."),
        Kind.RATE_LIMITED,
        {"measure": "output"},
    ),
    "text": ({"error": "something broke"}, Kind.SERVER_ERROR, {"message": "something broke"}),
    "unknown": ({"error": {"code": "gremlins"}}, Kind.SERVER_ERROR, {"ambiguous": True}),
}


def read(status: int, body: Any, headers: dict[str, str] | None = None) -> Failure:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return failure(Response(status=status, headers=headers or {}, body=raw))


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"<html><head><title>502 Bad Gateway</title></head><hr>nginx</html>", ": nginx"),
        (
            b"<!DOCTYPE html>\n<html><style>p {color: red}</style><p>Sorry &ndash; busy</p></html>",
            ": Sorry &ndash; busy",
        ),
        (b"<HTML></HTML>", ""),
    ],
)
def test_of_a_proxy_s_page_the_status_and_the_words_are_said(page: bytes, message: str) -> None:
    """Nobody reads tags in a line of text."""
    assert read(502, page).message == f"502 Bad Gateway, with a web page instead of an answer{message}"


def check(found: object, kind: Kind, facts: dict[str, Any]) -> None:
    assert isinstance(found, Failure)
    assert found.kind is kind
    assert {name: getattr(found, name) for name in facts} == facts
    assert found.message


@pytest.mark.fault("H7", "H12", "H13", "H14")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_documented_body_is_recognised(case):
    """Each body of the list is taken for exactly what it is, without any header's help."""
    status, body, kind, facts = case
    found = read(status, body)
    check(found, kind, facts)
    assert found.status == status


@pytest.mark.parametrize("case", WITH_RETRY_AFTER.values(), ids=WITH_RETRY_AFTER.keys())
def test_retry_after_makes_a_block_temporary(case):
    """With Retry-After even the gateway's own 429 is a matter of waiting, save for daily and spending limits."""
    status, body, kind, facts = case
    check(read(status, body, {"retry-after": "12"}), kind, {**facts, "retry_after": 12.0})


@pytest.mark.fault("H23")
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", INSIDE_200.values(), ids=INSIDE_200.keys())
def test_an_error_inside_a_200_is_judged_by_the_same_tables(case, dialect):
    """A body that confesses an error is a failure in every dialect, whatever its status line said."""
    body, kind, facts = case
    response = Response(status=200, headers={}, body=orjson.dumps(body))
    check(DIALECTS[dialect].decode(response), kind, {**facts, "status": 200})


def test_a_message_is_cut():
    """A gateway that echoes a prompt into its message does not fill the journal with it."""
    assert len(read(400, own("x" * 5000)).message) == 2000
    assert len(read(502, b"y" * 5000).message) == 2000


DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.fault("H3", "H5")
@pytest.mark.parametrize(
    ("left", "measure"),
    [
        ({"requests": "0", "tokens": "5100"}, "requests"),
        ({"requests": "0"}, "requests"),
        ({"requests": "7", "tokens": "0"}, None),
        ({"requests": "0", "tokens": "0"}, None),
        ({}, None),
    ],
)
def test_headers_tell_of_requests_where_no_limit_is_named(left: dict[str, str], measure: str | None) -> None:
    """Tokens are left then, and none of their limits has less than is believed."""
    words = limit("ai gateway upstream model is temporarily over capacity. Retry later")
    headers = {f"x-ratelimit-remaining-{what}": number for what, number in left.items()}
    assert read(429, words, headers).measure == measure


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "999999999"}, 86_400.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:20:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2126 07:20:00 GMT", "date": DATE}, 86_400.0),
        ({"retry-after": "Wed, 21 Oct 2026 09:28:30 +0200", "date": DATE}, 30.0),
        ({"retry-after": DATE}, None),
        ({}, None),
        *(
            ({"retry-after": garbage, "date": DATE}, None)
            for garbage in ("", "-5", "1_000", "١٢", "1e9", "NaN", "inf", "5, 7", "9" * 10_000, "tomorrow", "0x10")
        ),
    ],
)
def test_retry_after_is_read_by_a_narrow_grammar(headers, seconds):
    """Plain numbers and dates count, dates from the response's own Date; anything else is as if it were absent."""
    assert delays.from_headers(headers) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("42s", 42.0),
        ("1.5s", 1.5),
        (3, 3.0),
        (10**400, 86_400.0),
        (-1, None),
        (True, None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_body_can_say_when_to_come_back(value, seconds):
    """Gemini's RetryInfo and Databricks' retry_after are read like the header."""
    assert delays.from_body(value) == seconds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)
KEYS = (
    *("choices", "message", "content", "finish_reason", "tool_calls", "function", "name", "arguments", "refusal"),
    *("output", "status", "incomplete_details", "reason", "stop_reason", "stop_details", "type", "text", "model"),
    *("candidates", "parts", "finishReason", "functionCall", "args", "promptFeedback", "blockReason"),
    *("usage", "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "usageMetadata"),
    *("promptTokenCount", "error", "error_code", "code", "details", "detail", "@type", "retryDelay", "retry_after"),
    "limit_type",
)
WORDS = st.sampled_from([*KEYS, "stop", "completed", "STOP", "end_turn", "tool_use", "function_call", '{"error":{}}'])
SHAPES = st.recursive(
    JSON | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)
BODIES = st.binary() | (JSON | SHAPES).map(lambda value: json.dumps(value).encode())


@pytest.mark.fault("H24")
@pytest.mark.parametrize("dialect", DIALECTS)
@given(status=st.sampled_from([200, 400, 429, 500]) | st.integers(100, 999), body=BODIES)
def test_decoding_never_raises(dialect, status, body):
    """Any status with any bytes, however close to an answer, is a reply or a failure."""
    DIALECTS[dialect].decode(Response(status=status, headers={}, body=body))


@given(
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date"]),
        st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} [-+A-Z0-9]{0,6}"),
    )
)
def test_reading_headers_never_raises(headers):
    """Any header is a wait of at most a day, or none."""
    seconds = delays.from_headers(headers)
    assert seconds is None or 0 <= seconds <= 86_400
