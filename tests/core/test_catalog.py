"""The catalogue: the packaged facts against the page, and how a table of a user's own changes them."""

from __future__ import annotations

import tomllib
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from runner.core.catalog import Catalogue, build
from runner.core.errors import UsageError
from runner.core.estimate import IMAGE_TOKENS

PROVIDERS = ("anthropic", "google", "openai", "databricks", "meta", "alibaba")
"""The order of the page."""

CLAUDE = ("chat", "messages")
GEMINI = ("chat", "gemini")
GPT = ("chat", "responses")
CODEX = ("responses",)
CHAT = ("chat",)

PAGE = (
    ("claude-opus-4-8", "Anthropic", CLAUDE),
    ("claude-opus-4-7", "Anthropic", CLAUDE),
    ("claude-opus-4-6", "Anthropic", CLAUDE),
    ("claude-opus-4-5", "Anthropic", CLAUDE),
    ("claude-opus-4-1", "Anthropic", CLAUDE),
    ("claude-sonnet-4-6", "Anthropic", CLAUDE),
    ("claude-sonnet-4-5", "Anthropic", CLAUDE),
    ("claude-sonnet-4", "Anthropic", CLAUDE),
    ("claude-haiku-4-5", "Anthropic", CLAUDE),
    ("gemini-3-5-flash", "Google", GEMINI),
    ("gemini-3-1-pro", "Google", GEMINI),
    ("gemini-3-1-flash-lite", "Google", GEMINI),
    ("gemini-3-pro", "Google", GEMINI),
    ("gemini-3-flash", "Google", GEMINI),
    ("gemini-2-5-pro", "Google", GEMINI),
    ("gemini-2-5-flash", "Google", GEMINI),
    ("gemma-3-12b", "Google", CHAT),
    ("gpt-5-4", "OpenAI", GPT),
    ("gpt-5-4-mini", "OpenAI", GPT),
    ("gpt-5-4-nano", "OpenAI", GPT),
    ("gpt-5-3-codex", "OpenAI", CODEX),
    ("gpt-5-2-codex", "OpenAI", CODEX),
    ("gpt-5-2", "OpenAI", GPT),
    ("gpt-5-1-codex-max", "OpenAI", CODEX),
    ("gpt-5-1-codex-mini", "OpenAI", CODEX),
    ("gpt-5-1", "OpenAI", GPT),
    ("gpt-5", "OpenAI", GPT),
    ("gpt-5-mini", "OpenAI", GPT),
    ("gpt-5-nano", "OpenAI", GPT),
    ("databricks-gpt-oss-120b", "Databricks", CHAT),
    ("databricks-gpt-oss-20b", "Databricks", CHAT),
    ("databricks-llama-4-maverick", "Meta", CHAT),
    ("databricks-meta-llama-3-3-70b-instruct", "Meta", CHAT),
    ("databricks-meta-llama-3-1-8b-instruct", "Meta", CHAT),
    ("databricks-qwen3-next-80b-a3b-instruct", "Alibaba", CHAT),
    ("databricks-qwen35-122b-a10b", "Alibaba", CHAT),
)
"""Id, provider and endpoints, the recommended endpoint first: the page's tables, typed again by hand."""

PICKS = {
    "chat": ("claude-sonnet-4-6",),
    "images": ("claude-sonnet-4-6", "gemini-2-5-flash"),
    "audio-video": ("gemini-3-5-flash",),
    "code": ("gpt-5-3-codex",),
    "reasoning": ("claude-opus-4-7", "gpt-5-1"),
    "long-documents": ("gemini-3-1-pro", "claude-opus-4-7"),
    "cheap": ("claude-haiku-4-5", "gpt-5-4-nano"),
    "open-weight": ("gpt-oss-120b",),
}

PARAMETERS = {
    *("temperature", "top_p", "temperature+top_p", "frequency_penalty", "presence_penalty"),
    *("seed", "stop", "effort"),
}


def table(name: str) -> dict[str, Any]:
    return tomllib.loads((files("runner") / "catalog" / f"{name}.toml").read_text(encoding="utf-8"))


TABLES = tuple((f"{name}.toml", table(name)) for name in ("families", *PROVIDERS, "picks"))


def catalogue(*more: tuple[str, dict[str, Any]]) -> Catalogue:
    return build([*TABLES, *more])


def own(text: str) -> tuple[str, dict[str, Any]]:
    return "mine.toml", tomllib.loads(text)


def test_each_provider_has_as_many_models_as_on_the_page() -> None:
    """Nine from Anthropic, eight from Google, twelve from OpenAI, seven open-weight ones: thirty-six."""
    counts = Counter(model.provider for model in catalogue())
    assert counts == {"Anthropic": 9, "Google": 8, "OpenAI": 12, "Databricks": 2, "Meta": 3, "Alibaba": 2}
    assert len(catalogue()) == 36


def test_the_models_are_those_of_the_page_in_its_order() -> None:
    """Ids, providers and endpoints are the page's, and nothing else is there."""
    assert tuple((model.id, model.provider, model.endpoints) for model in catalogue()) == PAGE


@pytest.mark.parametrize("identifier", [row[0] for row in PAGE])
def test_both_forms_of_an_id_name_one_model(identifier: str) -> None:
    """The short id and the prefixed one find the same object, so they share one budget."""
    short = identifier.removeprefix("databricks-")
    found = catalogue()
    assert found.find(short) is found.find(f"databricks-{short}")
    assert found.find(short).id == identifier


def test_a_name_is_found_whatever_its_case_and_surrounding_space() -> None:
    """A name typed or pasted carelessly still finds its model."""
    assert catalogue().find(" Claude-Haiku-4-5 ").short == "claude-haiku-4-5"


def test_an_unknown_name_is_refused_with_the_nearest_ones() -> None:
    """A misspelt model is a usage error that offers what was probably meant."""
    with pytest.raises(UsageError, match=r"no model 'claude-sonet-4-6'.*Did you mean claude-sonnet-4-6 or"):
        catalogue().find("claude-sonet-4-6")


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    """When nothing is near, nothing is suggested, but the message says how to go on."""
    with pytest.raises(UsageError, match=r"in the catalogue\. `runner models` lists them all"):
        catalogue().find("zzz")


def test_the_picks_are_those_of_the_page() -> None:
    """Every task of the page's quick picks names its models, the first recommended first."""
    assert catalogue().picks == PICKS


@pytest.mark.parametrize("task", PICKS)
def test_a_pick_finds_its_first_model(task: str) -> None:
    """`pick:TASK` can stand wherever a model's name can."""
    assert catalogue().find(f"pick:{task}").short == PICKS[task][0]


def test_an_unknown_pick_is_refused_with_the_list_of_picks() -> None:
    """The message for a task that nobody named lists those that are there."""
    with pytest.raises(UsageError, match=r"no pick 'poetry'.*chat, images, audio-video, code"):
        catalogue().find("pick:poetry")


def test_a_pick_of_a_model_that_is_not_there_is_refused() -> None:
    """A pick is resolved when the catalogue is built, not when somebody uses it."""
    with pytest.raises(UsageError, match="no model 'gpt-2'"):
        catalogue(own('[picks]\nold = ["gpt-2"]'))


def test_codex_models_answer_on_responses_only() -> None:
    """The four codex variants are never sent to chat completions, and only they are kept from it."""
    without_chat = {model.short for model in catalogue() if "chat" not in model.endpoints}
    assert without_chat == {model.short for model in catalogue() if "codex" in model.short}
    assert {catalogue().find(name).endpoints for name in without_chat} == {CODEX}


def test_every_fact_has_a_source_that_its_file_explains() -> None:
    """Each `source` is made of keys of the file's own [sources], and each of those is used."""
    for name in PROVIDERS:
        facts = table(name)
        used: set[str] = set()
        for model, stated in facts["models"].items():
            for key, fact in stated.items():
                if key in ("provider", "family"):
                    continue
                assert isinstance(fact, dict), f"{model}.{key}"
                used |= set(fact["source"].split(", "))
        assert used == set(facts["sources"]), name


def test_a_models_sources_are_kept_for_show() -> None:
    """What the catalogue says of a model can be traced to where it was read."""
    sources = catalogue().find("claude-opus-4-8").sources
    assert sources["endpoints"] == "seed"
    assert sources["context_tokens"] == sources["price"] == "models.json 2026-07"


def test_facts_use_the_words_that_the_code_knows() -> None:
    """Parameters, ways of thinking, kinds of input, formulas and encodings come from short lists."""
    for model in catalogue():
        assert set(model.rejects) <= PARAMETERS, model.id
        assert model.thinking in ("none", "effort", "adaptive", "budget", "level"), model.id
        assert set(model.inputs) <= {"text", "image", "video", "audio"}, model.id
        assert model.family.images in IMAGE_TOKENS, model.id
        assert (model.family.images == "none") == ("image" not in model.inputs), model.id
        assert model.family.encoding == "o200k_base", model.id


def test_every_model_says_how_long_a_reply_may_be_and_what_it_costs() -> None:
    """Caps are clamped and costs summed for all of them, so none may lack these facts."""
    for model in catalogue():
        assert model.max_output_tokens is not None, model.id
        assert model.context_tokens is not None, model.id
        assert model.max_output_tokens < model.context_tokens, model.id
        assert model.price is not None, model.id


def test_only_the_open_weight_models_have_an_output_limit_of_their_own() -> None:
    """Elsewhere the account's default holds, and input is bound by the gateway before it is upstream."""
    higher = {model.short for model in catalogue() if model.output_tokens_per_minute == 100_000}
    assert higher == {identifier.removeprefix("databricks-") for identifier, _, _ in PAGE[29:]} | {"gemma-3-12b"}
    assert {model.output_tokens_per_minute for model in catalogue()} == {100_000, None}
    assert {model.input_tokens_per_minute for model in catalogue()} == {None}


def test_terms_are_the_providers_unless_the_model_has_its_own() -> None:
    """Gemini is bound by Google Cloud's terms, Gemma and each Llama by its own."""
    found = catalogue()
    assert found.find("gemini-3-flash").terms[0] == "https://cloud.google.com/terms/aup"
    assert found.find("gemma-3-12b").terms[0] == "https://ai.google.dev/gemma/terms"
    assert found.find("llama-4-maverick").terms[0] == "https://www.llama.com/llama4/license"


def test_the_accounts_limits_are_those_of_the_page() -> None:
    """1,100,000 input tokens a minute for all, 200,000 for one model, 20,000 of output."""
    limits = table("limits")
    assert (limits["window_seconds"], limits["count"]) == (60, "input")
    assert limits["combined"] == {"input_tokens": 1_100_000}
    assert limits["per_model"] == {"input_tokens": 200_000, "output_tokens": 20_000, "requests_per_second": 100}


def test_a_users_table_adds_a_model() -> None:
    """A model that the page does not have can be asked after a few lines of TOML."""
    found = catalogue(own('[models.gpt-6]\nprovider = "OpenAI"\nfamily = "gpt"\nendpoints = ["responses"]'))
    model = found.find("databricks-gpt-6")
    assert (model.id, model.provider, model.endpoints, model.family.name) == ("gpt-6", "OpenAI", CODEX, "gpt")
    assert model.terms == found.find("gpt-5").terms
    assert len(found) == 37


def test_a_fact_that_nobody_stated_is_none() -> None:
    """What is not known is None rather than a guess, so that nothing is clamped or priced by it."""
    model = catalogue(own('[models.gpt-6]\nprovider = "OpenAI"')).find("gpt-6")
    assert (model.context_tokens, model.max_output_tokens, model.price) == (None, None, None)


@pytest.mark.parametrize("name", ["gpt-oss-20b", "databricks-gpt-oss-20b"])
def test_a_users_table_overrides_one_fact_and_keeps_the_others(name: str) -> None:
    """The fact's source becomes the user's file; the rest, and the id that is sent, stay as they were."""
    old = catalogue().find("gpt-oss-20b")
    found = catalogue(own(f"[models.{name}]\nmax_output_tokens = 4_096"))
    new = found.find("gpt-oss-20b")
    assert (new.max_output_tokens, new.sources["max_output_tokens"]) == (4_096, "mine.toml")
    assert (new.id, new.price, new.rejects, new.family) == (old.id, old.price, old.rejects, old.family)
    assert new.sources["price"] == old.sources["price"]
    assert [model.id for model in found] == [model.id for model in catalogue()]


def test_a_users_fact_may_name_its_own_source() -> None:
    """A fact with a source keeps it, whichever file it stands in."""
    text = '[models.gpt-5]\ncontext_tokens = { value = 1_050_000, source = "my account manager" }'
    assert catalogue(own(text)).find("gpt-5").sources["context_tokens"] == "my account manager"


def test_a_misspelt_fact_is_refused_with_the_nearest() -> None:
    """A typing error in a table is an error that says where it is, not a fact that is silently ignored."""
    with pytest.raises(UsageError, match=r"there is no such fact\. Did you mean 'max_output_tokens'\?"):
        catalogue(own("[models.gpt-5]\nmax_output_token = 1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models.gpt-5]\nfamily = 'gtp'", "models.\"gpt-5\".family: there is no family 'gtp'"),
        ("[models.gpt-5]\nendpoints = ['completions']", "endpoints: 'completions' is none of chat, messages,"),
        ("[models.gpt-5]\nthinking = 'hard'", "thinking: 'hard' is none of none, effort, adaptive, budget, level"),
        ("[models.gpt-5]\nrejects = ['temprature']", "rejects: 'temprature' is none of temperature, top_p"),
        ("[models.gpt-5]\nrejects = [7]", "rejects: expected a list of texts; got [7]"),
        ("[models.gpt-5]\ncontext_tokens = '400K'", "context_tokens: expected a whole number above zero; got '400K'"),
        ("[models.gpt-5]\ncontext_tokens = 1.5", "context_tokens: expected a whole number above zero; got 1.5"),
        ("[models.gpt-5]\nmax_output_tokens = 0", "max_output_tokens: expected a whole number above zero; got 0"),
        ("[models.gpt-5]\nmax_output_tokens = true", "max_output_tokens: expected a whole number above zero; got True"),
        ("[models.gpt-5]\nreasons = 1", "reasons: expected true or false; got 1"),
        ("[models.gpt-5]\nnotes = 1", "notes: expected a text; got 1"),
        ("[models.gpt-5]\nprice = 5", 'models."gpt-5".price: expected a table'),
        ("[models.gpt-5]\nprice = { input = 5 }", "price: a price has `input` and `output`"),
        ("[models.gpt-5]\nprice = { input = 5, output = 9, outptu = 25 }", "price: a price has `input` and `output`"),
        ("[models.gpt-5]\nprice = { input = '5', output = 9 }", "price.input: expected dollars for a million tokens"),
        ("[models.gpt-5]\nprice = { input = true, output = 9 }", "price.input: expected dollars for a million tokens"),
        ("[models.gpt-5]\nprice = { input = -1, output = 9 }", "price.input: expected dollars for a million tokens"),
        ("[models]\ngpt-5 = 7", 'models."gpt-5": expected a table'),
        ("models = 7", "[models]: expected a table"),
        ("picks = 7", "[picks]: expected a table"),
        ("[picks]\nchat = 7", "picks.chat: expected a list of texts; got 7"),
        ("[families.gpt]\nmultiplier = 'two'", 'families."gpt".multiplier: expected a number above zero'),
        ("[families.gpt]\nmultiplier = 0", 'families."gpt".multiplier: expected a number above zero'),
        ("[families.gpt]\nimages = 'patches-31'", "images: 'patches-31' is none of"),
        (
            "[model.gpt-5]\ncontext_tokens = 1",
            "there is no table [model]; there are families, providers, models, picks",
        ),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    """Every refusal names the file, the fact and what is wanted there."""
    with pytest.raises(UsageError) as refused:
        catalogue(own(text))
    assert str(refused.value).startswith("mine.toml: ")
    assert message in str(refused.value)


@pytest.mark.parametrize("formula", IMAGE_TOKENS)
def test_a_family_may_name_every_formula_that_there_is(formula: str) -> None:
    """The words that are allowed are the words that the estimates know."""
    assert catalogue(own(f"[families.gpt]\nimages = '{formula}'")).find("gpt-5").family.images == formula


def test_a_new_model_must_name_its_provider() -> None:
    """All else may be unknown of it."""
    with pytest.raises(UsageError, match=r'mine\.toml: models\."gpt-6": a new model needs a `provider`'):
        catalogue(own("[models.gpt-6]\nnotes = 'new'"))


@pytest.mark.parametrize("names", ["[]", '["pick:chat"]', '["gpt-5", ""]'])
def test_a_pick_must_name_models(names: str) -> None:
    """An empty list recommends nothing, and a pick of a pick could go round in a circle."""
    with pytest.raises(UsageError, match=r"picks\.mine: names of models are wanted, and at least one"):
        catalogue(own(f"[picks]\nmine = {names}"))


def test_a_users_family_reaches_the_packaged_models_of_it() -> None:
    """A multiplier that somebody measured holds for every model that counts like that."""
    found = catalogue(own("[families.gpt]\nmultiplier = 1.5"))
    old = catalogue().find("gpt-5").family
    assert {model.family.multiplier for model in found if model.family.name == "gpt"} == {1.5}
    assert found.find("gpt-5").family.images == old.images
    assert found.find("claude-haiku-4-5") == catalogue().find("claude-haiku-4-5")


def test_a_users_terms_of_a_provider_reach_its_models() -> None:
    """A model without terms of its own is bound by its provider's, wherever those are stated."""
    found = catalogue(own('[providers."OpenAI"]\nterms = "https://example.org/terms"\nsource = "our contract"'))
    assert found.find("gpt-5").terms == ("https://example.org/terms",)
    assert found.find("gpt-5").sources["terms"] == "our contract"
    assert found.find("gemma-3-12b").terms == catalogue().find("gemma-3-12b").terms


def test_ids_are_one_whatever_their_case() -> None:
    """A table for an id in other letters is about the same model."""
    found = catalogue(own("[models.Databricks-GPT-5]\nnotes = 'ours'"))
    assert len(found) == 36
    assert (found.find("gpt-5").notes, found.find("gpt-5").id) == ("ours", "gpt-5")


@pytest.mark.parametrize("name", ["Fast-One", "fast-one", "databricks-fast-one", " FAST-ONE "])
def test_an_alias_finds_its_model_whatever_its_case(name: str) -> None:
    """As an id does."""
    found = catalogue(own('[models.gpt-5-nano]\naliases = ["Fast-One"]'))
    assert found.find(name).short == "gpt-5-nano"


def test_an_alias_can_be_recommended() -> None:
    """A pick may use any name that finds a model."""
    found = catalogue(own('[models.gpt-5-nano]\naliases = ["fast"]\n[picks]\ntiny = ["fast"]'))
    assert found.find("pick:tiny").short == "gpt-5-nano"
