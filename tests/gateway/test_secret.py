"""A token that cannot be printed by accident."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import traceback
import urllib.parse
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.gateway.secret import Secret

TEXT = "dapi01234+/= secret"


@dataclass(frozen=True)
class Holder:
    token: Secret


@pytest.mark.parametrize(
    "show",
    [repr, str, format, "{}".format, "{!r:>30}".format, "{:>30}".format, "%s".__mod__, ascii, lambda s: repr([s])],
)
@pytest.mark.fault("O5")
def test_a_secret_does_not_show_itself(show: Any) -> None:
    """O5: however it gets into a message."""
    assert "dapi" not in show(Secret(TEXT))


@pytest.mark.fault("O5")
def test_what_holds_a_secret_does_not_show_it() -> None:
    """O5: a dataclass prints its fields."""
    assert "dapi" not in f"{Holder(Secret(TEXT))} {Holder(Secret(TEXT))!r} {vars(Holder(Secret(TEXT)))}"


@pytest.mark.fault("O5")
def test_a_traceback_with_a_secret_in_its_locals_does_not_show_it() -> None:
    """O5: also where the values of variables are printed."""
    secret = Secret(TEXT)
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "secret = Secret(***)" in shown
    assert "dapi" not in shown.replace(repr(TEXT), "")


@pytest.mark.parametrize(
    "write", [pickle.dumps, copy.copy, copy.deepcopy, orjson.dumps, json.dumps, lambda s: asdict(Holder(s))]
)
@pytest.mark.fault("O5")
def test_a_secret_is_not_written_anywhere(write: Any) -> None:
    """O5: not into a pickle, a copy or a manifest."""
    with pytest.raises(TypeError):
        write(Secret(TEXT))


def test_a_secret_has_no_dictionary() -> None:
    """`vars` and its like find nothing."""
    with pytest.raises(TypeError):
        vars(Secret(TEXT))


def test_a_secret_is_revealed_to_who_asks_by_name() -> None:
    """For the one header that carries it."""
    assert Secret(TEXT).reveal() == TEXT


def test_fingerprints_tell_secrets_apart_and_nothing_else() -> None:
    """The manifest knows whether the credential changed."""
    one = Secret(TEXT).fingerprint
    assert one == Secret(TEXT).fingerprint != Secret(TEXT + "x").fingerprint
    assert len(one) == 16
    assert one.isalnum()


FORMS = {
    "plain": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 without its end": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "percent": lambda text: urllib.parse.quote(text, safe=""),
    "form": urllib.parse.quote_plus,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "escapes": lambda text: "".join(f"\\u{ord(character):04X}" for character in text),
    "HTML": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "percent, small": lambda text: "".join(f"%{ord(character):02x}" for character in text),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.fault("O6")
def test_a_secret_is_taken_out_of_what_servers_echo(form: Any) -> None:
    """O6: in every form that servers are known to echo it in, however often."""
    shown = Secret(TEXT).redact(f"Authorization: Bearer {form(TEXT)}; again {form(TEXT)}!")
    assert form(TEXT).strip('"=') not in shown
    assert shown.count("***") == 2
    assert shown.endswith("!")


@settings(deadline=None)
@given(text=st.text(min_size=4), before=st.text(), behind=st.text())
def test_no_text_holds_a_secret_after_redaction(text: str, before: str, behind: str) -> None:
    """Whatever stands around it."""
    if any(character == "*" or "\ud800" <= character <= "\udfff" for character in text):
        return
    assert text not in Secret(text).redact(before + text + behind)


@pytest.mark.fault("O6")
@settings(deadline=None)
@given(before=st.binary(max_size=7), behind=st.binary(max_size=7))
def test_base64_of_whatever_a_secret_stands_in_is_taken_out(before: bytes, behind: bytes) -> None:
    """Where it begins decides on all of its letters; a few at its ends may stay, and say nothing."""
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        whole = encode(before + TEXT.encode() + behind).decode()
        for shown in (Secret(TEXT).redact(whole), Secret(TEXT).redact_body(whole.encode()).decode()):
            assert "***" in shown
            assert len(shown) <= len(whole) - len(TEXT)


@pytest.mark.fault("O6")
@pytest.mark.parametrize("keep", [12, 20, 30])
def test_the_beginning_of_a_secret_is_taken_out_where_a_text_was_cut(keep: int) -> None:
    """Half of a token is as good as a token, to guess the rest."""
    text = Secret("dapi0123456789abcdef0123").redact("error: " + "dapi0123456789abcdef0123"[:keep])
    assert text == "error: ***"


@pytest.mark.fault("O6")
@pytest.mark.timeout(20)
def test_a_body_of_backslashes_does_not_hold_up_the_run() -> None:
    """The search takes about as long as the body is, not its square, also where it has to be gone through."""
    body = b"\\u0064" + b"\\" * 300_000
    assert Secret(TEXT).redact_body(body) == body


def test_a_body_without_the_secret_is_the_same_object() -> None:
    """Nearly every body: nothing is copied."""
    body = b'{"choices": []}' * 100
    assert Secret(TEXT).redact_body(body) is body


def test_what_is_no_secret_stays() -> None:
    """A message without it is the same message."""
    assert Secret(TEXT).redact("The model is overloaded.") == "The model is overloaded."


@pytest.mark.parametrize("text", ["", "a", "abc"])
def test_a_secret_too_short_to_be_one_takes_nothing_out(text: str) -> None:
    """Messages would be full of stars."""
    assert Secret(text).redact("abc abc") == "abc abc"
