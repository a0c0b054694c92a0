"""Estimates of a request's tokens: what is measured, each family's formula, and what replies teach."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from runner.core.catalog import Family, Model
from runner.core.estimate import IMAGE_TOKENS, MARGIN, PER_MESSAGE, PER_REPLY, Estimator, Size, measure
from runner.core.knowledge import Ratio
from runner.core.values import Image, Message, Other, Request, Settings, Text, Usage

PIXELS = "data:image/png;base64," + "A" * 100_000


def words(text: str) -> int:
    """A counter that can be counted by hand: one token for each word."""
    return len(text.split())


def pixels(url: str) -> tuple[int, int]:
    """A size that tells which URL was looked at."""
    return (100, len(url))


def model(multiplier: float = 1.0, images: str = "none") -> Model:
    return Model(id="m", provider="Somebody", family=Family(name="f", multiplier=multiplier, images=images))


def user(*content: Any) -> Request:
    return Request(messages=(Message(role="user", content=content[0] if isinstance(content[0], str) else content),))


# What is measured.


def test_text_counts_with_the_chat_around_it() -> None:
    """Each message and the reply's opening have their overhead."""
    request = Request(
        messages=(Message(role="system", content="be brief"), Message(role="user", content="one two three"))
    )
    assert measure(request, words, pixels) == Size(5 + 2 * PER_MESSAGE + PER_REPLY)


def test_pieces_of_text_count_like_one() -> None:
    """A content in blocks is the same text."""
    assert measure(user(Text("one two"), Text("three")), words, pixels) == measure(user("one two three"), words, pixels)


def test_images_are_measured_in_pixels_and_not_as_text() -> None:
    """A megabyte of base64 is no megabyte of text."""
    size = measure(user(Text("what is this"), Image(PIXELS), Image("https://a.example/b.png")), words, pixels)
    assert size == Size(3 + PER_MESSAGE + PER_REPLY, (pixels(PIXELS), pixels("https://a.example/b.png")))


def test_blocks_that_only_a_dialect_knows_are_passed_over() -> None:
    """Nothing is guessed about audio or files."""
    assert measure(user(Text("one"), Other({"type": "file"})), words, pixels) == Size(1 + PER_MESSAGE + PER_REPLY)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(schema={"type": "object", "required": ["a b c d"]}),
        Settings(tools=({"type": "function", "function": {"name": "look", "description": "a b c d"}},)),
    ],
)
def test_schemas_and_tools_are_read_by_the_model_too(settings: Settings) -> None:
    """They are sent with every request, and count with every request."""
    plain = measure(user("one"), words, pixels).text
    with_it = measure(Request(messages=user("one").messages, settings=settings), words, pixels).text
    assert with_it >= plain + 4


def test_calls_of_tools_in_the_conversation_count() -> None:
    """An assistant's earlier calls are part of what is read."""
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "one two three four"}}
    asked = Request(messages=(Message(role="assistant", content="", tool_calls=(call,)),))
    assert measure(asked, words, pixels).text >= 4 + PER_MESSAGE + PER_REPLY


# Lines of a batch.


def body(**keys: Any) -> Request:
    return Request(dialect="chat", body={"model": "a b c", **keys})


def test_a_batch_lines_text_counts_wherever_it_stands() -> None:
    """Chat, Responses and Gemini bodies nest their text differently; all of it is read."""
    chat = body(messages=[{"role": "user", "content": "one two three"}])
    responses = body(input=[{"role": "user", "content": [{"type": "input_text", "text": "one two three"}]}])
    gemini = body(contents=[{"role": "user", "parts": [{"text": "one two three"}]}])
    assert {measure(request, words, pixels) for request in (chat, responses, gemini)} == {
        Size(3 + PER_MESSAGE + PER_REPLY)
    }


def test_what_a_job_attaches_to_a_batch_line_counts_unless_the_line_says_its_own() -> None:
    """Tools and a schema are read with it."""
    attached = Settings(tools=({"name": "a b"},), schema={"type": "c d"})
    bare = measure(body(input="one two"), words, pixels).text
    more = measure(replace(body(input="one two"), settings=attached), words, pixels).text
    own = body(input="one two", tools=[], response_format={})
    assert more == bare + 3 + 3
    assert measure(replace(own, settings=attached), words, pixels).text == bare


def test_a_batch_lines_parameters_are_not_text() -> None:
    """The model's name, metadata and sampling parameters are not read by it."""
    plain = body(input="one two")
    with_more = body(input="one two", metadata={"note": "a b c d"}, user="x y z", temperature=0.5, stop=["q r"])
    assert measure(with_more, words, pixels) == measure(plain, words, pixels)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": PIXELS}},
        {"type": "input_image", "image_url": PIXELS},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
    ],
)
def test_a_batch_lines_images_are_measured_in_pixels(block: dict[str, Any]) -> None:
    """Data URLs and links to images are not counted as text."""
    size = measure(body(messages=[{"role": "user", "content": [block]}]), words, pixels)
    assert (size.text, len(size.images)) == (PER_MESSAGE + PER_REPLY, 1)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo" * 1000}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo" * 1000}},
    ],
    ids=["messages", "gemini"],
)
def test_a_batch_lines_bare_base64_is_an_image_and_not_text(block: dict[str, Any]) -> None:
    """Anthropic and Gemini bodies carry images without a data URL around them."""
    size = measure(body(messages=[{"role": "user", "content": [block]}]), len, pixels)
    assert size.text < 100
    assert len(size.images) == 1


def test_a_batch_lines_text_that_looks_like_a_data_url_is_text() -> None:
    """A prompt may begin with the word `data:`."""
    size = measure(body(messages=[{"role": "user", "content": "data: one two three"}]), words, pixels)
    assert size == Size(4 + PER_MESSAGE + PER_REPLY)


# Images by formula.


@pytest.mark.parametrize(
    ("formula", "size", "tokens"),
    [
        ("patches-28", (1024, 1024), 37 * 37 + 70),
        ("patches-28", (28, 28), 1 + 70),
        ("patches-28", (3136, 1568), 56 * 28 + 70),  # scaled to 1568 x 784
        ("patches-28", (1568, 1568), 1600 + 70),  # 3136 patches, and no more than 1600 are made
        ("patches-28-large", (1568, 1568), 3136 + 70),
        ("patches-28-large", (9999, 9999), 4784 + 70),
        ("patches-32", (1024, 1024), 1229),
        ("patches-32", (4096, 4096), 1844),  # 1.2 for each of at most 1536 patches
        ("tiles-768", (384, 384), 258),
        ("tiles-768", (385, 100), 258),
        ("tiles-768", (1024, 1024), 4 * 258),
        ("tiles-768", (1536, 768), 2 * 258),
        ("flat-1100", (1, 9999), 1100),
        ("none", (1024, 1024), 0),
    ],
)
def test_an_image_costs_what_its_familys_formula_says(formula: str, size: tuple[int, int], tokens: int) -> None:
    """Known sizes have known costs, and large ones reach each formula's bound."""
    assert IMAGE_TOKENS[formula](*size) == tokens


@pytest.mark.parametrize("formula", IMAGE_TOKENS)
def test_an_image_of_no_size_is_no_error(formula: str) -> None:
    """A broken image is the gateway's to refuse."""
    assert IMAGE_TOKENS[formula](0, 0) >= 0


def test_images_are_added_after_the_texts_multiplier() -> None:
    """The multiplier is of text; pixels have their own formula."""
    assert Estimator([model(2.0, "patches-32")]).guess(Size(100, ((1024, 1024), (1024, 1024))), "m") == 200 + 2 * 1229


# Multipliers, and what replies teach.


@pytest.mark.parametrize(("multiplier", "tokens"), [(1.0, 1000), (1.35, 1350), (0.5, 500)])
def test_a_familys_multiplier_turns_our_tokens_into_its_own(multiplier: float, tokens: int) -> None:
    """One text has as many tokens as the tokenizer that reads it makes of it."""
    assert Estimator([model(multiplier)]).guess(Size(1000), "m") == tokens


def test_a_model_that_has_not_answered_has_the_whole_margin() -> None:
    """The first window is the one in which nothing is known."""
    assert Estimator([model()]).input_tokens(Size(1000), "m") == pytest.approx(1000 * (1 + MARGIN), abs=1)


def test_the_margin_shrinks_with_every_reply() -> None:
    """Half of it is left after five replies, and next to nothing after two hundred."""
    estimator, estimates = Estimator([model()]), []
    for _ in range(201):
        estimates.append(estimator.input_tokens(Size(100_000), "m"))
        estimator.learn(Size(100_000), "m", Usage(input=100_000))
    assert estimates == sorted(estimates, reverse=True)
    assert estimates[5] == pytest.approx(105_000, abs=2)
    assert estimates[200] < 100_300


@pytest.mark.fault("B6")
@pytest.mark.parametrize("truth", [0.4, 0.8, 1.7, 3.0])
def test_a_wrong_multiplier_is_learned_to_within_two_percent(truth: float) -> None:
    """Two hundred replies are enough, though each row is off by its own third."""
    rng, estimator = Random(1), Estimator([model(1.2)])
    for _ in range(200):
        size = rng.randint(50, 5000)
        estimator.learn(Size(size), "m", Usage(input=round(size * truth * rng.uniform(0.67, 1.33))))
    assert estimator.input_tokens(Size(10_000), "m") == pytest.approx(10_000 * truth, rel=0.02)
    assert estimator.ratios()["m"] == pytest.approx(truth, rel=0.02)


def test_models_learn_apart() -> None:
    """What one model counts says nothing of another of the same family."""
    other = Model(id="n", provider="Somebody")
    estimator = Estimator([model(), other])
    estimator.learn(Size(100), "m", Usage(input=300))
    assert estimator.input_tokens(Size(1000), "n") == 1100
    assert set(estimator.ratios()) == {"m"}


@pytest.mark.fault("H42")
@pytest.mark.parametrize("usage", [Usage(reported=False), Usage(input=0)])
def test_a_reply_that_reports_nothing_teaches_nothing(usage: Usage) -> None:
    """Zero tokens are no measurement."""
    estimator = Estimator([model()])
    estimator.learn(Size(1000), "m", usage)
    assert estimator.input_tokens(Size(1000), "m") == 1100
    assert estimator.ratios() == {}


def taught(replies: int, truth: float, size: int = 1000) -> Estimator:
    """An estimator whose model has answered so often, each time with this ratio to the guess."""
    estimator = Estimator([model()])
    for _ in range(replies):
        estimator.learn(Size(size), "m", Usage(input=round(size * truth)))
    return estimator


def recalling(replies: int, truth: float, size: int = 1000) -> Estimator:
    """One that begins with what such a one remembers."""
    estimator = Estimator([model()])
    estimator.recall(taught(replies, truth, size).remember())
    return estimator


def test_what_an_earlier_run_learned_is_where_the_next_begins() -> None:
    """With the margin of as many replies."""
    assert recalling(5, 1.4).input_tokens(Size(10_000), "m") == pytest.approx(10_000 * 1.4 * 1.05, abs=2)


def test_no_run_begins_with_more_certainty_than_fifty_replies_give() -> None:
    """However many there were: tomorrow's rows may be of another kind."""
    assert recalling(5000, 1.4).input_tokens(Size(10_000), "m") == pytest.approx(14_000 * (1 + 0.1 / 11), abs=2)


def test_what_is_recalled_is_corrected_by_what_comes() -> None:
    """After as many replies as it counts for the truth lies half way, whatever the size of the old rows was."""
    estimator = recalling(5000, 2.0, size=20_000)
    for _ in range(50):
        estimator.learn(Size(100), "m", Usage(input=100))
    assert estimator.ratios()["m"] == pytest.approx(1.5, abs=0.03)
    for _ in range(1000):
        estimator.learn(Size(100), "m", Usage(input=100))
    assert estimator.ratios()["m"] == pytest.approx(1.0, abs=0.02)


def test_a_model_that_has_not_answered_is_remembered_as_it_was_recalled() -> None:
    """And one of which nothing is known is not remembered at all."""
    known = taught(7, 1.3).remember()
    estimator = Estimator([model(), Model(id="n", provider="Somebody")])
    estimator.recall({**known, "gone": Ratio(1.0, 1.0, 1)})
    assert estimator.remember() == known


def test_what_was_recalled_and_what_was_learned_are_remembered_together() -> None:
    """The next run sees all replies."""
    estimator = recalling(10, 1.3)
    for _ in range(10):
        estimator.learn(Size(500), "m", Usage(input=550))
    ratio = estimator.remember()["m"]
    assert (ratio.replies, ratio.true / ratio.guessed) == (20, pytest.approx(1.2, abs=0.01))
