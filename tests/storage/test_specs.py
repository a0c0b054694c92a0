"""The packaged catalogue and limits, and a user's own files over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import UsageError
from runner.core.limits import ALL
from runner.storage.specs import load_catalogue, load_limits, read_toml


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """Write a TOML file."""

    def write(text: str, name: str = "own.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def amounts(text: Path | None, model: str) -> dict[tuple[str, str], int]:
    """The limits of a model by scope and measure."""
    catalogue = load_catalogue()
    budget = load_limits(catalogue, text).budgets([catalogue.find(model)])[model]
    return {(limit.scope, limit.measure): limit.amount for limit in budget}


def test_the_packaged_files_are_a_catalogue() -> None:
    """What comes with the package is whole, and every pick names models in it."""
    catalogue = load_catalogue()
    assert len(catalogue) > 20
    assert all(catalogue.find(f"pick:{task}") for task in catalogue.picks)


def test_the_packaged_limits_are_the_account_s() -> None:
    """200,000 input tokens a model, 1,100,000 for all, 20,000 output."""
    assert amounts(None, "claude-haiku-4-5") == {
        ("claude-haiku-4-5", "input"): 200_000,
        ("claude-haiku-4-5", "output"): 20_000,
        ("claude-haiku-4-5", "requests"): 100,
        (ALL, "input"): 1_100_000,
    }


def test_a_limits_file_goes_over_the_packaged_one(own: Any) -> None:
    """What it does not say stays."""
    path = own('[per_model]\ninput_tokens = 5_000\n[models."databricks-claude-haiku-4-5"]\noutput_tokens = 7\n')
    assert amounts(path, "claude-haiku-4-5") == {
        ("claude-haiku-4-5", "input"): 5_000,
        ("claude-haiku-4-5", "output"): 7,
        ("claude-haiku-4-5", "requests"): 100,
        (ALL, "input"): 1_100_000,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("windw_seconds = 60", r"no key windw_seconds\. Did you mean window_seconds\?"),
        ("[per_model]\ninput_token = 5", r"no key per_model\.input_token\. Did you mean input_tokens\?"),
        ("[per_model]\ninput_tokens = 0", r"per_model\.input_tokens is a whole number above zero; got 0"),
        (
            f"[per_model]\ninput_tokens = {2**63}",
            r"input_tokens is a whole number below 2\*\*63; got 9\d{18}\. What is left out keeps",
        ),
        ("[combined]\ninput_tokens = 1.5", r"combined\.input_tokens is a whole number above zero; got 1\.5"),
        ('[models."m"]\noutput_tokens = "x"', r'models\."m"\.output_tokens is a whole number above zero'),
        ('[models."claude-haiku-45"]\noutput_tokens = 5', r"own\.toml: models: .*Did you mean claude-haiku-4-5"),
        ("window_seconds = 0", r"window_seconds is a number of seconds"),
        ('count = "output"', r'count is "input" or "total"; got \'output\''),
        ("per_model = 5", r"\[per_model\] is a table"),
        ("models = 5", r"\[models\] is a table"),
        ("[models]\nm = 5", r'\[models\."m"\] is a table'),
        ("[per_model\nx = 1", r"own\.toml: .*line 1"),
    ],
)
def test_a_limits_file_that_is_not_right_is_refused_with_its_place(own: Any, text: str, message: str) -> None:
    """A limit that was misspelt is no limit: better none is sent."""
    with pytest.raises(UsageError, match=message) as caught:
        load_limits(load_catalogue(), own(text))
    assert "own.toml" in str(caught.value)


def test_a_limits_file_names_models_as_everything_else_does(own: Any) -> None:
    """In either form, and whatever the case: a name that were passed over would be a limit that is not kept."""
    path = own('[models."Claude-Haiku-4-5"]\noutput_tokens = 7\n')
    assert amounts(path, "claude-haiku-4-5")["claude-haiku-4-5", "output"] == 7


def test_a_file_may_begin_with_a_byte_order_mark_and_is_utf8(tmp_path: Path) -> None:
    """Some editors write one; what is no UTF-8 is named by its byte."""
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1")
    assert read_toml(path) == {"a": 1}
    path.write_bytes(b"# h\xe9")
    with pytest.raises(UsageError, match=r"own\.toml: byte 3 is not UTF-8\."):
        read_toml(path)


def test_a_limits_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """There is no silent fall to the packaged limits."""
    with pytest.raises(UsageError, match=r"gone\.toml: No such file"):
        load_limits(load_catalogue(), tmp_path / "gone.toml")


def test_a_catalogue_file_changes_single_facts(own: Any) -> None:
    """The other facts of the model stay, and the new one names its file."""
    before = load_catalogue().find("claude-haiku-4-5")
    path = own('[models."databricks-claude-haiku-4-5"]\nmax_output_tokens = 5\n')
    after = load_catalogue([path]).find("claude-haiku-4-5")
    assert (after.max_output_tokens, after.id, after.endpoints) == (5, before.id, before.endpoints)
    assert after.sources["max_output_tokens"] == str(path)


def test_a_catalogue_file_adds_models(own: Any) -> None:
    """A model that came out yesterday can be asked today."""
    catalogue = load_catalogue([own('[models."new-1"]\nprovider = "Us"\nendpoints = ["messages"]\n')])
    assert catalogue.find("databricks-new-1").endpoints == ("messages",)
    assert len(catalogue) == len(load_catalogue()) + 1


def test_the_last_of_several_catalogue_files_has_the_last_word(own: Any) -> None:
    """In the order in which they are given."""
    files = [own(f'[models."claude-haiku-4-5"]\ncontext_tokens = {n}\n', f"{n}.toml") for n in (1, 2)]
    assert load_catalogue(files).find("claude-haiku-4-5").context_tokens == 2
    assert load_catalogue(reversed(files)).find("claude-haiku-4-5").context_tokens == 1


def test_an_own_file_changes_nothing_for_others(own: Any) -> None:
    """The packaged tables are read once and shared: nobody writes into them."""
    before = load_catalogue().find("claude-haiku-4-5")
    load_catalogue([own('[models."claude-haiku-4-5"]\ncontext_tokens = 1\n')])
    assert load_catalogue().find("claude-haiku-4-5") == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[models."claude-haiku-4-5"]\ncontxt_tokens = 5', r"Did you mean 'context_tokens'\?"),
        ('[models."claude-haiku-4-5"]\ncontext_tokens = "x"', r"context_tokens: expected a whole number above zero"),
        (
            f'[models."claude-haiku-4-5"]\ninput_tokens_per_minute = {2**63}',
            r"a whole number below 2\*\*63; got 9\d{18}\.",
        ),
        ('[models."claude-haiku-4-5".price]\ninput = nan\noutput = 1', r"input: expected dollars .* got nan\."),
        ('[models."claude-haiku-4-5".price]\ninput = 1\noutput = inf', r"output: expected dollars .* got inf\."),
        ('[models."new"]\ncontext_tokens = 5', r"a new model needs a `provider`"),
        ("[modles]", r"no table \[modles\]"),
        ("[models\nx = 1", r"own\.toml: .*line 1"),
    ],
)
def test_a_catalogue_file_that_is_not_right_is_refused(own: Any, text: str, message: str) -> None:
    """Before anything is sent, with the place."""
    with pytest.raises(UsageError, match=message):
        load_catalogue([own(text)])


@pytest.mark.parametrize("content", [b"a = \xff", b"a = 1\na = 2", b"\0"])
def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    """Whatever is in it."""
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"own\.toml: "):
        read_toml(path)
