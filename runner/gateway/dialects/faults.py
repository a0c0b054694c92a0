"""What went wrong, read from a response that is not an answer: one set of tables for all dialects.

Words decide before statuses, first match first: the same status means different things, and only the words tell. A 429
has tables of its own, because it must also say what it closes and what was spent. `envelopes` has done the reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from runner.core.values import Failure, Json, Kind, Measure, Response, Scope
from runner.gateway.dialects import delays
from runner.gateway.dialects.envelopes import Complaint, opened


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a status or a phrase means."""

    kind: Kind
    scope: Scope = "request"
    ambiguous: bool = False


INVALID = Verdict(Kind.INVALID_REQUEST)
BUSY = Verdict(Kind.OVERLOADED, "model")
BROKEN = Verdict(Kind.SERVER_ERROR)
TIMED_OUT = Verdict(Kind.TIMEOUT, ambiguous=True)
TOO_LARGE = Verdict(Kind.REQUEST_TOO_LARGE)
NO_MODEL = Verdict(Kind.MODEL_UNAVAILABLE, "model")
LIMITED = Verdict(Kind.RATE_LIMITED, "model")
LOST = Verdict(Kind.DISCONNECTED)
"""The gateway got half of a request: what is written here is whole, so it was the way that failed."""

STATUSES: Mapping[int, Verdict] = {
    401: Verdict(Kind.UNAUTHORIZED, "all"),
    402: Verdict(Kind.QUOTA_EXHAUSTED, "all"),
    403: Verdict(Kind.FORBIDDEN),
    407: Verdict(Kind.FORBIDDEN, "all"),
    408: TIMED_OUT,
    409: BROKEN,
    410: NO_MODEL,
    413: TOO_LARGE,
    414: TOO_LARGE,
    421: LOST,  # a proxy that does not serve this host on this connection: the way is wrong, and not the row
    425: BROKEN,
    429: LIMITED,
    431: TOO_LARGE,
    499: Verdict(Kind.DISCONNECTED, ambiguous=True),  # somebody on the way hung up, and it was not we
    502: Verdict(Kind.SERVER_ERROR, ambiguous=True),  # the gateway lost the model's answer, not the model the request
    503: BUSY,
    504: TIMED_OUT,
    524: TIMED_OUT,
    529: BUSY,
}
"""By status, where the words said nothing."""

CLASSES: Mapping[int, Verdict] = {
    3: Verdict(Kind.REDIRECTED, "all"),
    4: INVALID,
    5: BROKEN,
}
"""By the status's first digit, for statuses that are not listed. Others (204, 206, 999) are no answer either."""

NOT_AN_ANSWER = Verdict(Kind.INVALID_RESPONSE, ambiguous=True)


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


PHRASES: tuple[tuple[frozenset[int], re.Pattern[str], Verdict], ...] = (
    (
        frozenset({400, 403, 404}),
        _words(r"could not resolve workspace"),
        Verdict(Kind.FORBIDDEN, "all"),  # the host is not a gateway's: no request will do better
    ),
    (frozenset({403}), _words(r"verified account"), NO_MODEL),
    (
        frozenset({403}),
        _words(r"invalid (access )?token|invalid or missing credential|(token|credential) (has |is )?expired"),
        Verdict(Kind.UNAUTHORIZED, "all"),
    ),
    (
        frozenset({403}),
        _words(r"not authorized for|required scopes?|insufficient scope"),
        Verdict(Kind.FORBIDDEN, "all"),
    ),
    (
        frozenset({400, 403, 404, 410, 422}),
        _words(
            r"unknown model|missing or invalid model|\bmodel_not_found\b|\binvalid_model\b|\bendpoint_not_found\b"
            r"|\b(model|endpoint)\b:?(?! (parameter|field|option|returned|output)\b)(?:[^;:\n]|:(?! )){0,60}"
            r"\b(not found|does not exist|not available|temporarily disabled)"
            r"|\b(not found|no such)\b.{0,20}\b(model|endpoint)\b|\bmodel: [\w.-]+$"
        ),
        NO_MODEL,
    ),
    (
        frozenset({400, 413, 422}),
        _words(
            r"\bcontext_length_exceeded\b|context (length|window|limit|size)|(prompt|input) is too long"
            r"|maximum (input|prompt) (length|tokens)|\b(input|prompt) (token|length).{0,80}exceed"
            r"|exceed.{0,60}(maximum|max|limit).{0,40}(input|prompt) tokens|too many (input |prompt )?tokens"
        ),
        Verdict(Kind.CONTEXT_LENGTH),
    ),
    (
        frozenset({400, 403, 422}),
        _words(
            r"content[ _](policy|management|filter)|responsible_?ai|usage polic|safety (system|filter|polic|reasons)"
            r"|\b(bio|image_content)_policy|_policy_violation\b|flagged (as|for|by)|prohibited_content"
        ),
        Verdict(Kind.CONTENT_FILTER),
    ),
    (
        frozenset({400, 422}),
        _words(r"(body|payload|entity|request)( size)?( is)? too large|\brequest_too_large\b"),
        TOO_LARGE,
    ),
    (
        frozenset({400, 422}),
        _words(
            r"\b(unexpected|premature) (eof\b|end of (json|file|stream|(the )?(request )?body)\b)"
            r"|could not parse (the |your )?(json|request) body"
            r"|(failed|unable) to (read|parse) (the |your )?(request |json )?(body|payload)"
            r"|\bbody (is|was) (incomplete|truncated|cut off)"
        ),
        LOST,
    ),
    (frozenset({500, 502, 503}), _words(r"timed out|deadline exceeded"), TIMED_OUT),
)
"""(statuses, words, what they mean together): the first that fits wins."""

_CAP = r"(?:max_(?:output_|completion_)?tokens|maxOutputTokens|(?:output|completion) tokens)"
_NUMBER = r"(\d[\d,_]*)"
CAPS: tuple[tuple[re.Pattern[str], int], ...] = (
    (_words(rf"max_tokens: \d+ > {_NUMBER}"), 0),
    (_words(rf"supports at most {_NUMBER} {_CAP}"), 0),
    (_words(rf"{_CAP}.{{0,160}}<= ?{_NUMBER}"), 0),
    (_words(rf"{_CAP}.{{0,120}}supported range is from \d+ \(inclusive\) to {_NUMBER} \(exclusive\)"), -1),
    (_words(rf"{_CAP}.{{0,80}}(?:less than or equal to|cannot exceed|at most|must not exceed) {_NUMBER}"), 0),
    (_words(rf"{_CAP}.{{0,80}}less than {_NUMBER}"), -1),
    (_words(rf"maximum (?:number of |value (?:of|for) )?[`']?{_CAP}[`']?.{{0,60}}?(?:is|of|to|:) {_NUMBER}"), 0),
)
"""How a 400 names the largest output cap that the model takes, and what to add to its number to get that cap."""

ENDLESS = _words(
    r"\bdaily\b|\bper[ _-]?day\b|spend limit|credit balance|credits? (are |is )?(depleted|exhausted)"
    r"|rate limit of 0(?![.,]?\d)|\binsufficient_quota\b"
)
"""A 429 that no wait within a run's patience will lift."""

OWN = _words(r"\bai gateway (?!upstream\b)")
"""The gateway's own 429s. By its documentation they lift when Retry-After says; without it, only support lifts them."""

PASSING = _words(r"\bretry after the current (second|minute|hour)\b")
"""Unless the words say that they lift by themselves: a proxy may have lost the header."""

SCOPES: tuple[tuple[re.Pattern[str], Scope], ...] = (
    (_words(r"(across )?all models|\bcombined\b"), "all"),
    (_words(r"per-minute token limit exceeded(?! for)"), "all"),  # of one model it is always named
    (_words(r"for (the )?model\b|exceeded workspace|limits? (exceeded |of 0 )?for [\"'`]?[a-z]"), "model"),
    (_words(r"\baccount\b(?! team)|spend limit|\bcredits?\b|\binsufficient_quota\b"), "all"),
)
"""What a 429 closes. "Work with your account team" is how a limit of one model ends, hence the order."""

MEASURES: tuple[tuple[re.Pattern[str], Measure], ...] = (
    (_words(r"\bitpm\b|(input|prompt)[ _]tokens?"), "input"),
    (_words(r"\botpm\b|(output|completion)[ _]tokens?"), "output"),
    (_words(r"\b(qps|qph|qpm|rpm|rps|rph)\b|(requests?|queries)[ _-]per[ _-]|number of requests"), "requests"),
    (_words(r"\btpm\b|tokens?[ _-]per[ _-]|token (rate )?limit"), "total"),
)
"""Which limit a 429 speaks of; its `limit_type` is asked before its message."""


def failure(response: Response) -> Failure:
    """The failure that this response speaks of. Never raises, whatever the bytes are."""
    complaint = opened(response)
    cap = _cap(complaint) if complaint.status in (400, 422) else None
    limited = complaint.status == 429
    verdict = _limit(complaint) if limited else INVALID if cap is not None else _verdict(complaint)
    # With status 200 the model was reached, whatever it broke off with.
    reached = response.status == 200 and verdict.kind is Kind.SERVER_ERROR
    wait = complaint.retry_after
    if limited and not wait:
        wait = delays.from_resets(response.headers)
    return Failure(
        kind=verdict.kind,
        message=_message(complaint, verdict, response),
        status=response.status,
        code=complaint.code,
        scope=verdict.scope,
        measure=_measure(complaint, response.headers) if limited else None,
        retry_after=wait or None,  # "at once" is when it was refused: no time to wait for
        cap=cap,
        ambiguous=verdict.ambiguous or reached,
    )


def _message(complaint: Complaint, verdict: Verdict, response: Response) -> str:
    """The gateway's own words, with what a user must know beside them."""
    if verdict.kind is Kind.REDIRECTED:
        return f"The gateway redirects to {_place(response.headers.get('location', ''))}; is its address right?"
    return complaint.message


def _place(location: str) -> str:
    """Where a redirect leads, as an origin: never with a name, a password or a path that may hold one."""
    try:
        parts = urlsplit(location)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "nowhere"
    if not parts.hostname:
        return "another path" if location else "nowhere"
    return f"{parts.scheme or 'the same scheme'}://{parts.hostname}{port}"


def confessed(body: Mapping[str, Json]) -> bool:
    """Whether a body that came with status 200 is an error all the same."""
    return bool(body.get("error") or body.get("error_code"))


def _verdict(complaint: Complaint) -> Verdict:
    for statuses, pattern, verdict in PHRASES:
        if complaint.status in statuses and pattern.search(complaint.words):
            return verdict
    if complaint.status == 404 and not complaint.enveloped:
        return BROKEN  # of something on the way: it speaks of the address, or passes, and not of the row
    return STATUSES.get(complaint.status) or CLASSES.get(complaint.status // 100, NOT_AN_ANSWER)


def _limit(complaint: Complaint) -> Verdict:
    scope = next((scope for pattern, scope in SCOPES if pattern.search(complaint.words)), None)
    unexplained = (
        OWN.search(complaint.message) and complaint.retry_after is None and not PASSING.search(complaint.words)
    )
    if unexplained or ENDLESS.search(complaint.words):
        return Verdict(Kind.QUOTA_EXHAUSTED, scope or "all")
    return Verdict(Kind.RATE_LIMITED, scope or "model")


def _measure(complaint: Complaint, headers: Mapping[str, str]) -> Measure | None:
    """The limit that is named, or of which by the headers nothing is left: they tell where words name none."""
    for words in (complaint.limit_type, complaint.message):
        for pattern, measure in MEASURES:
            if pattern.search(words):
                return measure
    spent = {what for what in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{what}") == "0"}
    return "requests" if spent == {"requests"} else None


def _cap(complaint: Complaint) -> int | None:
    for pattern, adjustment in CAPS:
        found = pattern.search(complaint.message)
        digits = re.sub(r"\D", "", found[1]) if found else ""
        if 0 < len(digits) < 10 and int(digits) + adjustment > 0:
            return int(digits) + adjustment
    return None
