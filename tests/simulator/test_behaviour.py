"""What the simulated models say: labels, instances of schemas, tool calls, lengths and errors, the same every time."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import orjson
import pytest

from runner.core.catalog import Catalogue
from runner.simulator import labels, tokens
from runner.simulator.asked import Asked, Said, Tool
from runner.simulator.behaviour import ERROR_RATE, ERROR_RATE_SMALL, Lognormal, Manner, Player, broken, talkative
from runner.simulator.chance import Purpose, bits, lognormal, uniform
from runner.simulator.faults import FAULTS, drawn
from runner.simulator.instances import Writer

SECTIONS = ("admin", "database", "games", "mail")


def say(catalogue: Catalogue, model: str = "gpt-5-2", key: int = 1, manner: Manner | None = None, **asked: Any) -> Said:
    player = Player(manner=manner or Manner(latency=0, tokens_per_second=0), counter=tokens.bytes_over_four)
    asked = {"turns": ("Say something.",), **asked}
    return player.answer(Asked(model=model, **asked), catalogue.find(model), 100, key, 0)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Labels: admin, database, games", ("admin", "database", "games")),
        ("Choose one of: a, b, or c.", ("a", "b", "c")),
        ("Classify.\nCategories are: Sport | Politics\nThe text", ("Sport", "Politics")),
        ('labels: ["x", "y"]', ("x", "y")),
        ("Which team should see this: billing, shipping or technical?", ("billing", "shipping", "technical")),
        ("Is this review positive, negative or mixed? One word.", ("positive", "negative", "mixed")),
        ("Label:", ()),
        ("Name a prime.", ()),
    ],
)
def test_labels_are_found_where_prompts_put_them(prompt: str, expected: tuple[str, ...]) -> None:
    """A line of labels in any of the usual wordings is found, and nothing else is taken for one."""
    assert labels.offered(prompt) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("an arcade game with many levels and enemies", "games"),
        ("SQL queries over tables and indexes", "database"),
        ("fetches mail from an IMAP server and filters spam", "mail"),
        ("monitors processes, disks and filesystems", "admin"),
    ],
)
def test_the_label_follows_the_words(text: str, expected: str) -> None:
    """A text full of one section's words is put into that section."""
    assert labels.pick(SECTIONS, text, 0.5) == expected


def test_a_label_of_its_own_word_is_found_without_hints() -> None:
    """Labels that the hint table does not know are picked by their own word and its stem."""
    assert labels.pick(("refund", "invoice"), "two invoices were sent", 0.0) == "invoice"


def test_ties_are_decided_by_the_draw() -> None:
    """Without any word to go by, the request's luck decides."""
    assert {labels.pick(SECTIONS, "zzz", tie / 4) for tie in range(4)} == set(SECTIONS)


@pytest.mark.parametrize(("model", "rate"), [("gpt-5-mini", ERROR_RATE_SMALL), ("gpt-5-2", ERROR_RATE)])
def test_models_err_at_their_rate(catalogue: Catalogue, model: str, rate: float) -> None:
    """Small models err more often than large ones, each at its rate."""
    prompt = f"Labels: {', '.join(SECTIONS)}\nan arcade game with many levels"
    keys = [bits(number, Purpose.TIE) for number in range(3_000)]
    wrong = sum(say(catalogue, model, key, turns=(prompt,)).text != "games" for key in keys)
    assert wrong / len(keys) == pytest.approx(rate, abs=0.02)


def test_the_same_request_is_answered_the_same(catalogue: Catalogue) -> None:
    """An answer is a function of the request."""
    assert say(catalogue, "gpt-5-mini", 7) == say(catalogue, "gpt-5-mini", 7)


def test_other_prompts_get_a_plain_sentence(catalogue: Catalogue) -> None:
    """Without labels or schema the answer says that no model wrote it, and what it was sent."""
    text = say(catalogue, turns=("Name a prime number above ten.",)).text
    assert "simulator" in text
    assert "no model" in text
    assert "100 input tokens" in text
    assert "Name a prime number" in text


SCHEMAS: dict[str, Any] = {
    "flat": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 30, "maxLength": 40},
            "age": {"type": "integer", "minimum": 18, "maximum": 19},
            "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.01},
            "even": {"type": "integer", "multipleOf": 7, "minimum": 50},
            "open": {"type": "boolean"},
            "nothing": {"type": "null"},
            "maybe": {"type": ["string", "null"]},
            "day": {"type": "string", "format": "date"},
        },
        "required": ["name", "age", "share", "even", "open", "nothing", "maybe", "day"],
        "additionalProperties": False,
    },
    "choices": {
        "type": "object",
        "properties": {
            "kind": {"const": "fruit"},
            "colour": {"enum": ["red", "green"]},
            "size": {"enum": [1, 2, None]},
            "either": {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 3}]},
            "both": {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}]},
        },
        "required": ["kind", "colour", "size", "either", "both"],
    },
    "lists": {
        "type": "object",
        "properties": {
            "three": {"type": "array", "items": {"type": "string"}, "minItems": 3},
            "none": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
            "unique": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True},
            "words": {"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True},
        },
        "required": ["three", "none", "unique", "words"],
    },
    "tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["value", "children"],
            }
        },
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("key", range(5))
def test_instances_satisfy_their_schema(catalogue: Catalogue, name: str, key: int) -> None:
    """A schema is answered with JSON that an independent validator accepts."""
    answer = orjson.loads(say(catalogue, key=bits(key, 1), schema=SCHEMAS[name]).text)
    jsonschema_rs.validator_for(SCHEMAS[name]).validate(answer)


def test_gemini_schemas_are_understood() -> None:
    """Gemini writes types in upper case."""
    writer = Writer(choose=lambda values: values[0], text=str, quote=str, fraction=lambda _name: 0.5)
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}, "s": {"type": "STRING"}}}
    assert writer.write(schema) == {"n": 5, "s": "s"}


def test_bounds_that_stand_in_a_description_are_kept() -> None:
    """Claude's own dialect takes them nowhere else."""
    writer = Writer(choose=lambda values: values[0], text=lambda _name: "a text", quote=str, fraction=lambda _name: 1.0)
    schema = {"type": "integer", "description": "How good.\n\n{minimum: 1, maximum: 5}"}
    assert writer.write(schema) == 5
    assert writer.write({"type": "string", "description": "{maxLength: 3}"}) == "a t"
    assert writer.write({"type": "array", "items": {"type": "null"}, "description": "{minItems: 2}"}) == [None, None]


def test_an_enum_in_a_schema_is_labelled_like_a_line_of_labels(catalogue: Catalogue) -> None:
    """Structured output is picked by the same rule as plain labels."""
    schema = {"type": "object", "properties": {"section": {"enum": list(SECTIONS)}}, "required": ["section"]}
    keys = [bits(number, 1) for number in range(50)]
    turns = ("an arcade game with many levels and enemies",)
    answers = [json.loads(say(catalogue, key=key, turns=turns, schema=schema).text)["section"] for key in keys]
    assert answers.count("games") > 40


def test_a_tool_is_called_where_one_must_be(catalogue: Catalogue) -> None:
    """With tool choice `required` the answer is a call with valid arguments; otherwise it is text."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = Tool(name="weather", parameters=parameters)
    called = say(catalogue, tools=(tool,), must_call="")
    assert (called.tool, called.ended) == ("weather", "tool_calls")
    assert "city" in orjson.loads(called.arguments)
    assert say(catalogue, tools=(tool,)).tool is None


def test_an_answer_stops_at_its_cap(catalogue: Catalogue) -> None:
    """Output is cut at the cap, and says so."""
    said = say(catalogue, max_tokens=5)
    assert (said.output_tokens, said.ended) == (5, "length")
    assert 0 < len(said.text) < len(say(catalogue).text)


def test_reasoning_can_use_up_the_cap(catalogue: Catalogue) -> None:
    """With a cap below the reasoning the answer is empty, and is paid for all the same."""
    said = say(catalogue, "gpt-5-mini", max_tokens=20)
    assert (said.text, said.ended) == ("", "length")
    assert (said.reasoning_tokens, said.output_tokens) == (20, 20)


def test_effort_decides_how_much_is_reasoned(catalogue: Catalogue) -> None:
    """More effort is more hidden tokens, and `none` is none."""
    spent = [say(catalogue, "gpt-5-mini", effort=effort).reasoning_tokens for effort in ("none", "low", "high")]
    assert spent[0] == 0 < spent[1] < spent[2]


def test_sonnet_4_stops_at_a_thousand_tokens_without_a_cap(catalogue: Catalogue) -> None:
    """The gateway's default cap for this one model holds where the request has none."""
    manner = Manner(lengths=Lognormal(mean=5_000))
    assert say(catalogue, "claude-sonnet-4", manner=manner).output_tokens == 1_000
    assert say(catalogue, "claude-haiku-4-5", manner=manner).output_tokens > 1_000


def test_lengths_have_the_mean_that_was_asked_for(catalogue: Catalogue) -> None:
    """A log-normal distribution of lengths has its own mean, whatever its spread."""
    manner = Manner(lengths=Lognormal(mean=250, sigma=0.8))
    keys = [bits(number, 1) for number in range(3_000)]
    lengths = [say(catalogue, key=key, manner=manner).output_tokens for key in keys]
    assert sum(lengths) / len(lengths) == pytest.approx(250, rel=0.06)


def test_time_grows_with_the_answer(catalogue: Catalogue) -> None:
    """An answer takes as long as its tokens take to write, scaled."""
    player = Player(manner=Manner(latency=0, tokens_per_second=50, time_scale=0.5), counter=tokens.bytes_over_four)
    said = say(catalogue)
    assert player.seconds(said, 1) == pytest.approx(0.5 * said.output_tokens / 50)


def test_each_family_counts_in_its_own_way(catalogue: Catalogue) -> None:
    """The same text is more tokens for Claude than for GPT, more again for Claude 4.8, and gpt-oss hides some."""
    names = ("gpt-5-2", "claude-haiku-4-5", "claude-opus-4-8", "gpt-oss-120b")
    gpt, claude, opus, oss = [tokens.count_input(catalogue.find(n), 10_000, 1, 0, 5) for n in names]
    assert claude / gpt == pytest.approx(1.22, rel=0.01)
    assert opus / gpt == pytest.approx(1.62, rel=0.01)
    assert oss - gpt == 60


def test_no_estimate_is_exact(catalogue: Catalogue) -> None:
    """Requests of equal length are counted a few per cent apart."""
    model = catalogue.find("gpt-5-2")
    counts = [tokens.count_input(model, 10_000, 1, 0, bits(key, 1)) for key in range(200)]
    assert len(set(counts)) > 100
    assert max(counts) / min(counts) == pytest.approx(1.06, abs=0.01)


def test_images_count(catalogue: Catalogue) -> None:
    """An image is a flat number of tokens by family."""
    model = catalogue.find("gemini-2-5-pro")
    assert tokens.count_input(model, 10, 1, 2, 1) - tokens.count_input(model, 10, 1, 0, 1) == 2 * 258


def test_the_ranks_are_never_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ranks on disk the default counter is bytes over four."""
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    assert tokens.default_counter() is tokens.bytes_over_four
    assert tokens.bytes_over_four("abcde") == 2


def test_draws_are_even_and_independent() -> None:
    """Draws of one purpose are uniform, and draws of two purposes do not go together."""
    draws = [(uniform(bits(key, 1), 2), uniform(bits(key, 1), 3)) for key in range(5_000)]
    assert sum(a for a, _ in draws) / 5_000 == pytest.approx(0.5, abs=0.02)
    assert sum(a < 0.5 and b < 0.5 for a, b in draws) / 5_000 == pytest.approx(0.25, abs=0.03)
    assert lognormal(1, 1, 0, 1) == 0


def test_a_fault_comes_at_its_rate_and_a_retry_has_luck_of_its_own() -> None:
    """A probability of a quarter hits a quarter of the requests, and three quarters of their retries succeed."""
    keys = [bits(number, 1) for number in range(4_000)]
    hit = [key for key in keys if drawn({"error_500": 0.25}, key, 1)]
    again = [key for key in hit if drawn({"error_500": 0.25}, key, 2)]
    assert len(hit) / len(keys) == pytest.approx(0.25, abs=0.03)
    assert len(again) / len(hit) == pytest.approx(0.25, abs=0.05)
    assert drawn({"hang": 1.0}, 5, 1) is FAULTS["hang"]


@pytest.mark.parametrize("text", ["net", '{"label":"net"}'])
def test_an_answer_can_come_broken_or_with_prose_around_it(text: str) -> None:
    """Whether the model was to answer with a word or with JSON: half of it is no JSON, and prose holds all of it."""
    said = Said(id="x", model="m", created=0, text=text, ended="stop", input_tokens=1, output_tokens=1)
    assert broken(said).text == '{"label":"n'
    assert '\n{"label":"net"}\n' in talkative(said).text


def test_a_label_is_judged_by_what_was_asked_before_an_answer_was_sent_back(catalogue: Catalogue) -> None:
    """A model that is asked again for another form has not forgotten what it was asked about."""
    turns = ("A MySQL database server.", "Hm", 'Your answer "Hm" is none. Choose one of these: games, mail, database.')
    assert {say(catalogue, key=bits(key, 1), turns=turns).text for key in range(5)} == {"database"}


def test_a_label_is_not_judged_by_the_examples_before_it(catalogue: Catalogue) -> None:
    """They are about other texts."""
    labels = "Labels: games, mail, database\n"
    turns = (labels + "A chess game.", "games", labels + "An IMAP mail server.", "mail", labels + "A MySQL server.")
    said = [say(catalogue, key=bits(key, 1), turns=turns).text for key in range(50)]
    assert max(set(said), key=said.count) == "database"
