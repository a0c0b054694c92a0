"""Which gateway is meant: the environment, `.env`, an option or the local one, and never a guess."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.core.errors import UsageError
from runner.gateway.environment import BASE_URL, LOCAL_TOKEN, TOKEN, again, resolve, resolve_again

URL = "https://gateway.example"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and an environment in which nothing is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(BASE_URL, raising=False)
    monkeypatch.delenv(TOKEN, raising=False)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the gateway's variables."""

    def put(url: str | None = URL, token: str | None = "t0ken") -> None:
        for name, value in ((BASE_URL, url), (TOKEN, token)):
            if value is not None:
                monkeypatch.setenv(name, value)

    return put


def dotenv(text: str) -> None:
    Path(".env").write_text(text, encoding="utf-8")


def test_the_environment_names_the_gateway(env: Any) -> None:
    """Address and token."""
    env()
    gateway = resolve(None)
    assert (gateway.url, gateway.token.reveal(), gateway.local) == (URL, "t0ken", False)


def test_a_dotenv_file_names_the_gateway() -> None:
    """In the folder that the command is given in; quotes, comments and `export` are no part of it."""
    dotenv(f"# ours\nexport {BASE_URL}='{URL}/'\n{TOKEN}=\"t0ken\" # mine\n")
    gateway = resolve(None)
    assert (gateway.url, gateway.token.reveal()) == (URL, "t0ken")


def test_the_real_environment_goes_over_the_file(env: Any) -> None:
    """What is set for one command holds for it."""
    dotenv(f"{BASE_URL}=https://other.example\n{TOKEN}=other\n")
    env()
    gateway = resolve(None)
    assert (gateway.url, gateway.token.reveal()) == (URL, "t0ken")


def test_a_dotenv_file_that_cannot_be_read_is_named(env: Any) -> None:
    """Also where nothing of it is needed: it may have been meant to say more."""
    env()
    Path(".env").write_bytes("# für uns\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"\.env in this folder is not UTF-8 text"):
        resolve(None)


def test_one_may_come_from_each(env: Any) -> None:
    """The address from the environment, the token from the file."""
    dotenv(f"{TOKEN}=t0ken\n")
    env(token=None)
    assert resolve(None).token.reveal() == "t0ken"


def test_the_file_changes_no_environment() -> None:
    """Programs that are started do not inherit the token."""
    dotenv(f"{BASE_URL}={URL}\n{TOKEN}=t0ken\n")
    resolve(None)
    assert TOKEN not in os.environ


def test_an_option_goes_over_the_environment(env: Any) -> None:
    """`--gateway URL`, with the token that the environment has."""
    env()
    assert resolve("http://localhost:8080").url == "http://localhost:8080"


def test_without_a_gateway_it_is_said_what_to_set() -> None:
    """Nothing falls back to the local gateway."""
    with pytest.raises(UsageError, match=f"Set {BASE_URL} .and {TOKEN}.*--gateway local"):
        resolve(None)


@pytest.mark.parametrize("token", [None, "", "  \n"])
def test_a_missing_token_is_named_by_its_variable(env: Any, token: str | None) -> None:
    """And by the gateway that it is for."""
    env(token=token)
    with pytest.raises(UsageError, match=f"No token for {URL}: set {TOKEN} "):
        resolve(None)


@pytest.mark.parametrize("token", ["a b", "a\nb", "a\tb", "töken", "a\x7fb", "a\u200bb"])
def test_a_token_that_can_be_none_is_refused_without_being_shown(env: Any, token: str) -> None:
    """A header cannot carry it, and a message must not."""
    env(token=token)
    with pytest.raises(UsageError, match=f"{TOKEN} holds characters that no token has") as caught:
        resolve(None)
    assert token not in str(caught.value)


def test_space_around_a_token_is_no_part_of_it(env: Any) -> None:
    """As a file ends with a newline."""
    env(token=" t0ken\n")
    assert resolve(None).token.reveal() == "t0ken"


@pytest.mark.parametrize("url", ["http://gateway.example", "https://gateway.example/v1", "gateway.example"])
@pytest.mark.fault("O12")
def test_an_address_that_the_token_must_not_go_to_is_refused(env: Any, url: str) -> None:
    """O12: wherever it was named."""
    env(url=url)
    with pytest.raises(UsageError, match="address"):
        resolve(None)


@pytest.mark.parametrize(
    "url", ["https://ann:hush@gateway.example", "ftp://ann:hush@gateway.example", "ann:hush@gateway.example", "h://[@"]
)
def test_an_address_with_a_password_is_shown_nowhere(url: str) -> None:
    """Neither where it is refused, nor in a command that goes on, which may be made before that."""
    with pytest.raises(UsageError, match="holds a user name or a password") as caught:
        resolve(url)
    assert "hush" not in str(caught.value)
    assert again(url) == ""


# The local gateway.


def test_the_local_gateway_is_used_where_it_is_named(env: Any) -> None:
    """Also where a real one is set, and with a token that is none."""
    env()
    gateway = resolve("local")
    assert (gateway.url, gateway.local, gateway.token.reveal(), gateway.options) == (None, True, LOCAL_TOKEN, {})


def test_options_of_the_local_gateway_stand_behind_a_question_mark() -> None:
    """Percent-encoding and all."""
    gateway = resolve("local?window=sliding&errors=500%3A0.1&quiet=")
    assert gateway.options == {"window": "sliding", "errors": "500:0.1", "quiet": ""}


@pytest.mark.parametrize("choice", ["local?quiet", "local?a=1&&b=2", "local?=x&a"])
def test_options_that_cannot_be_read_are_a_usage_error_or_flags(choice: str) -> None:
    """A slip in an option is no crash."""
    try:
        assert resolve(choice).local
    except UsageError:
        return


@pytest.mark.parametrize("choice", ["Local", "locale", "local/", "localhost:8080"])
def test_what_is_nearly_local_is_an_address(env: Any, choice: str) -> None:
    """And refused as one."""
    env()
    with pytest.raises(UsageError, match="not of the form https://host"):
        resolve(choice)


# Manifests.


def test_a_manifest_holds_no_token(env: Any) -> None:
    """G6: only a hash by which a changed credential is known."""
    env()
    written = orjson.dumps(resolve(None).manifest())
    assert b"t0ken" not in written
    assert orjson.loads(written) == {"local": False, "origin": URL, "credential": resolve(None).token.fingerprint}


def test_a_run_goes_on_with_the_gateway_that_it_began_with(env: Any) -> None:
    """With the token as it is now."""
    env()
    manifest = resolve(None).manifest()
    env(token="n3w")
    gateway = resolve_again(manifest, None)
    assert (gateway.url, gateway.token.reveal()) == (URL, "n3w")


@pytest.mark.fault("R11")
@pytest.mark.parametrize("url", ["https://other.example", "https://gateway.example:8443", "http://localhost"])
def test_a_run_does_not_go_on_with_another_gateway(env: Any, url: str) -> None:
    """The answers would be another model's, and both addresses are named."""
    env()
    manifest = resolve(None).manifest()
    env(url=url)
    with pytest.raises(UsageError, match=f"begun against {URL}, and the gateway is now {url}"):
        resolve_again(manifest, None)


@pytest.mark.fault("R11")
def test_a_stored_address_never_gets_the_token(env: Any) -> None:
    """A manifest that somebody prepared names no gateway; the environment does."""
    env(url=None)
    with pytest.raises(UsageError, match=f"begun against https://evil.example. No gateway is named. Set {BASE_URL}"):
        resolve_again({"local": False, "origin": "https://evil.example", "credential": "x"}, None)


@pytest.mark.parametrize(
    ("choice", "set_to", "words"),
    [
        (None, URL, ""),
        ("local?window=fixed", None, ""),
        (URL, URL, ""),
        (URL, None, f" --gateway {URL}"),
        (URL, "https://other.example", f" --gateway {URL}"),
    ],
)
def test_what_the_environment_does_not_name_is_named_to_go_on(
    env: Any, choice: str | None, set_to: str | None, words: str
) -> None:
    """The local gateway is remembered."""
    env(url=set_to)
    assert again(choice) == words


def test_a_real_run_does_not_go_on_locally(env: Any) -> None:
    """Made-up answers are not mixed into real ones."""
    env()
    with pytest.raises(UsageError, match="is now local"):
        resolve_again(resolve(None).manifest(), "local")


@pytest.mark.parametrize("choice", [None, "local"])
def test_a_local_run_goes_on_with_its_options(env: Any, choice: str | None) -> None:
    """The same gateway as before, also where a real one is set by now."""
    manifest = resolve("local?window=sliding").manifest()
    env()
    gateway = resolve_again(manifest, choice)
    assert (gateway.local, gateway.options) == (True, {"window": "sliding"})


def test_a_local_run_may_go_on_with_other_options() -> None:
    """Those that are named now."""
    manifest = resolve("local?window=sliding").manifest()
    assert resolve_again(manifest, "local?window=fixed").options == {"window": "fixed"}


def test_a_local_run_does_not_go_on_with_a_real_gateway(env: Any) -> None:
    """Real answers are not mixed into made-up ones."""
    env()
    with pytest.raises(UsageError, match="begun against the local gateway"):
        resolve_again(resolve("local").manifest(), URL)
