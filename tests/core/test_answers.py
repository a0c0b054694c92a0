"""How replies are read: what models really write, case by case, and what holds for any text."""

from __future__ import annotations

import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.answers import REPAIRS, Answer, Invalid, Reader
from runner.core.errors import UsageError
from runner.core.values import Json

MOOD = Reader(
    kind="label",
    labels=("positive", "negative", "neutral", "not relevant"),
    synonyms={"favourable": "positive", "pos": "positive", "mixed": "neutral"},
)
TOPICS = Reader(kind="labels", labels=("art", "sport", "arts and crafts", "C++"), synonyms={"football": "sport"})
STARS = Reader(kind="rating", low=1, high=5, synonyms={"excellent": "5"})
WHOLE = Reader(kind="rating", low=0, high=100, whole=True)
PERSON: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "born": {"type": "integer"},
        "role": {"enum": ["author", "editor"]},
    },
    "required": ["name"],
    "additionalProperties": False,
}
FIELDS = Reader(kind="fields", schema=PERSON, synonyms={"writer": "author"})
SPANS = Reader(kind="spans", labels=("person", "place"))
SOURCE = "Ann met Bob in Rome. Later Ann left   Rome for Saint\nPetersburg."


def persons(value: Json) -> list[str]:
    """What is wrong with a person, as a validator would say it."""
    if not isinstance(value, dict) or "name" not in value:
        return ['"name" is required']
    wrong = [f'"{key}" is unexpected' for key in value if key not in PERSON["properties"]]
    if "born" in value and (isinstance(value["born"], bool) or not isinstance(value["born"], int)):
        wrong.append("born: it is no integer")
    if "role" in value and value["role"] not in ("author", "editor"):
        wrong.append("role: it is none of the roles")
    return wrong


LABELS = [
    ("positive", "positive", ""),
    ("Positive", "positive", "case"),
    ("POSITIVE\n", "positive", "case"),
    ("  positive  ", "positive", ""),
    ("positive.", "positive", "punctuation"),
    ('"positive"', "positive", "quotes"),
    ("“Negative”", "negative", "quotes case"),
    ("**neutral**", "neutral", "quotes"),
    ("`neutral`", "neutral", "quotes"),
    ("[neutral]", "neutral", "quotes"),
    ("Label: positive", "positive", "prefix"),
    ("**Label:** positive", "positive", "prefix"),
    ("**Label**: **Positive**.", "positive", "prefix punctuation quotes case"),
    ("Final answer: positive", "positive", "prefix"),
    ("The sentiment of this text = negative", "negative", "prefix"),
    ("Sentiment -> negative", "negative", "prefix"),
    ("- positive", "positive", "bullet"),
    ("1. positive", "positive", "bullet"),
    ("# Positive", "positive", "bullet case"),
    ("```\npositive\n```", "positive", "fence"),
    ("```text\nPositive\n```", "positive", "fence case"),
    ("Here is the label:\n```\npositive\n```", "positive", "fence"),
    ('```json\n{"label": "positive"}\n```', "positive", "fence"),
    ('{"label": "positive"}', "positive", ""),
    ('{"Label": "Positive"}', "positive", "key case"),
    ('{"sentiment": "positive"}', "positive", "key"),
    ('{"label": "positive", "reason": "nothing negative in it"}', "positive", ""),
    ('{"label": ["positive"]}', "positive", "list"),
    ('["positive"]', "positive", "list"),
    ("{'label': 'positive'}", "positive", "python"),
    ('{"label": "positive",}', "positive", "commas"),
    ('{"result": {"label": "positive"}}', "positive", "key"),
    ('Sure! Here it is:\n{"label": "negative"}\nAnything else?', "negative", "prose"),
    ('Sure:\n```json\n{"label": "negative"}\n```\nThis is because of the tone.', "negative", "prose"),
    ('{"label": "negative"}\n{"label": "negative"}', "negative", "prose repeated"),
    ("<think>positive? negative?</think>\nneutral", "neutral", "thinking"),
    ("<think>\n<think>\npositive?</think>\nneutral", "neutral", "thinking"),
    ("It may be positive.</think>neutral", "neutral", "thinking"),
    ("Let me see.\n<think>It is positive.</think>\nThe label is neutral.", "neutral", "thinking statement"),
    ("<label>positive</label>\n<reasoning>It is not negative.</reasoning>", "positive", "thinking tags"),
    ("<label>positive</label> <reasoning>It is not negative.</reasoning>", "positive", "thinking tags"),
    ('Positive. <reasoning>It is "good".</reasoning>', "positive", "thinking punctuation case"),
    ("Okay <think>It is good.</think>positive", "positive", "thinking"),
    ("Okay, let me think. <think>It is negative?</think> positive", "positive", "thinking last line"),
    ("<label>positive</label>", "positive", "tags"),
    (r"\boxed{positive}", "positive", "boxed"),
    (r"$\boxed{\text{positive}}$", "positive", "boxed"),
    ("not_relevant", "not relevant", "separators"),
    ("NOT-RELEVANT", "not relevant", "separators"),
    ("not  relevant", "not relevant", "case"),
    ("favourable", "positive", "synonym"),
    ("Pos.", "positive", "punctuation synonym"),
    ("Mixed", "neutral", "synonym"),
    ("positive\n\nThe reviewer is happy.", "positive", "remark"),
    ("Positive. The reviewer is happy.", "positive", "remark"),
    ("**Positive** - the reviewer is happy", "positive", "remark"),
    ("Positive (0.95)", "positive", "remark"),
    ("Positive, because they liked it", "positive", "remark"),
    ("Positive, the reviewer is happy.", "positive", "remark"),
    ("Positive. No further comment.", "positive", "remark"),
    ("Positive. It does not name a fault.", "positive", "remark"),
    ("Positive. From a no-reply address, not signed.", "positive", "remark"),
    ("Positive. Not a single fault is named.", "positive", "remark"),
    ("Positive: no complaint is made", "positive", "remark"),
    ("**Positive** (no complaints)", "positive", "remark"),
    ("Positive - no complaints, many thanks", "positive", "remark"),
    ("Positive\n\nThe reviewer does not complain. It is a positive text.", "positive", "remark"),
    ("Label: positive\nReason: they did not complain.", "positive", "prefix remark"),
    ("Label: positive\nSigned: no\nLines: 3", "positive", "prefix remark"),
    ("They are happy with all of it.\n\nPositive", "positive", "last line"),
    ("Let me look at the tone.\nFinal label: **Positive**", "positive", "last line"),
    ("The sentiment is positive.", "positive", "statement"),
    ('I would classify this text as "positive".', "positive", "statement"),
    ("The reviewer is happy. So the answer is: **positive**", "positive", "statement"),
    ("The answer is positive. No complaint is made.", "positive", "statement"),
    ("There is one joke at least, so the answer is positive.", "positive", "statement"),
    ("Most likely: positive", "positive", "prefix"),
    ("Positive. They can't wait!", "positive", "remark"),
    ("Positive. Sarcasm absent.", "positive", "remark"),
    ("Positive. Actually, it is enthusiastic.", "positive", "remark"),
    ('{"positive_or_not": "positive"}', "positive", "key"),
    ('{"sentiment?": "positive"}', "positive", "key"),
]
NO_LABELS = [
    ("", "empty"),
    ("   \n", "empty"),
    ("positive or negative", "names 2 labels"),
    ("positive, negative", "names 2 labels"),
    ("Positive. It is not negative.", "names 2 labels"),
    ("favourable, not negative", "names 2 labels"),
    ('"positive" / "negative"', "names 2 labels"),
    ("This is not positive.", "does not state"),
    ("It isn't positive.", "does not state"),
    ("I cannot say whether it is positive.", "does not state"),
    ("It could be positive.", "does not state"),
    ("It is probably positive.", "does not state"),
    ("Is it positive?", "does not state"),
    ("Unlike a positive review, this one is bad.", "does not state"),
    ("Anything but: positive", "does not state"),
    ("Positive? Hard to say.", "does not state"),
    ("Positive (not sure)", "does not state"),
    ("Positive, but only in parts", "does not state"),
    ("Positive: 0.3", "does not state"),
    ("**Positive:** 0.3", "does not state"),
    ("Positive: No", "does not state"),
    ("**Positive:** No", "does not state"),
    ("positive: false", "does not state"),
    ("Positive: unlikely", "does not state"),
    ("Positive: not applicable", "does not state"),
    ("Positive: no because they complain", "does not state"),
    ("Positive: not positive", "does not state"),
    ("Positive (no)", "does not state"),
    ("Positive (less likely)", "does not state"),
    ("Positive - no", "does not state"),
    ("Positive – nein", "does not state"),
    ("Positive\nNo", "does not state"),
    ("Positive. No, wait: they complain.", "does not state"),
    ("Positive. Wait, they complain.", "does not state"),
    ("Positive. Sorry, they complain.", "does not state"),
    ("Positive. That is wrong.", "does not state"),
    ("Positive. It is not.", "does not state"),
    ("Positive. Well, it isn't.", "does not state"),
    ("Positive. It isn't a positive text.", "does not state"),
    ("Positive\n\nActually, no: they complain.", "does not state"),
    ("The answer is positive. No, wait: they complain.", "does not state"),
    ("Label (excluded): positive", "does not state"),
    ("Ruled out: positive", "does not state"),
    ("Less likely: positive", "does not state"),
    ("Second choice: positive", "does not state"),
    ("It is unlikely to be positive.", "does not state"),
    ("I am unable to classify this as positive.", "does not state"),
    ("There is insufficient evidence to classify this as positive.", "does not state"),
    ("It is doubtful that this is positive.", "does not state"),
    ("This is too mild to be positive.", "does not state"),
    ("I refuse to label it as positive.", "does not state"),
    ("It pretends to be positive.", "does not state"),
    ("It is not\npositive", "does not state"),
    ("Which one is it?\npositive", "does not state"),
    ("Label: not positive", "does not state"),
    ("nonpositive", "none of the labels"),
    ("non-positive", "none of the labels"),
    ("positively", "none of the labels"),
    ("I'm sorry, but I can't help with that.", "none of the labels"),
    ("relevant", "none of the labels"),
    ('{"label": "happy"}', "none of the labels"),
    ('{"label": null}', "null"),
    ('{"label": {"name": 1, "of": 2}}', 'no field "label"'),
    ('{"label": ["positive", "negative"]}', "2 values"),
    ('{"label": "positive or negative"}', "names 2 labels"),
    ('{"label": "positive", "label": "negative"}', "names 2 labels"),
    ('{"mood": "positive", "text": "x"}', 'no field "label"'),
    ('{"excluded": "positive"}', 'no field "label"'),
    ('{"is_not": "positive"}', 'no field "label"'),
    ('{"lessLikely": "positive"}', 'no field "label"'),
    ('{"label": "positive"} {"label": "negative"}', "differ"),
    ('{"label": "posi', "none of the labels"),
    ("<think>it is positive, so", "thinking"),
    ("<think>positive</think>", "empty"),
    ("Let me see.\n<think>It is positive.</think>\nI cannot decide.", "none of the labels"),
    ("positive\n<reasoning>It is negative", "names 2 labels"),
    ("positive <think>Or?</think> negative", "names 2 labels"),
    ("It is not <think>Hm.</think>positive", "does not state"),
]


@pytest.mark.parametrize(("reply", "label", "repairs"), LABELS)
def test_a_label_is_read_as_models_write_it(reply: str, label: str, repairs: str) -> None:
    """Each reply gives its label, and every repair that it took is named in the order in which it was made."""
    assert MOOD.read(reply) == Answer(label, tuple(_named(repairs)))


@pytest.mark.parametrize(("reply", "reason"), NO_LABELS)
def test_what_leaves_the_label_open_is_invalid(reply: str, reason: str) -> None:
    """Two labels, a denial, a doubt or a mere mention is never resolved into a label."""
    answer = MOOD.read(reply)
    assert isinstance(answer, Invalid), answer
    assert reason in answer.reason


def _named(repairs: str) -> list[str]:
    """The names of repairs in a line of a table; those of two words are put together again."""
    for name in REPAIRS:
        repairs = repairs.replace(name, name.replace(" ", "_")) if " " in name else repairs
    return [name.replace("_", " ") for name in repairs.split()]


YES_NO = Reader(kind="label", labels=("yes", "no"))
SPAM = Reader(kind="label", labels=("spam", "not spam"))


@pytest.mark.parametrize(
    ("reader", "reply", "label"),
    [
        (YES_NO, "No. It does not.", "no"),
        (YES_NO, "No, it does not.", "no"),
        (YES_NO, "No. Not at all.", "no"),
        (YES_NO, "No. It isn't.", "no"),
        (YES_NO, "No (never).", "no"),
        (YES_NO, "No. That is wrong.", "no"),
        (YES_NO, "No: it does not.", "no"),
        (YES_NO, "No\n\nThe text doesn't.", "no"),
        (YES_NO, "No\n\nNo source is named.", "no"),
        (YES_NO, "The answer is no. It does not.", "no"),
        (SPAM, "Not spam. No.", "not spam"),
        (YES_NO, "No. Wait, it does.", None),
        (YES_NO, "No, but it might.", None),
        (YES_NO, "No (not sure)", None),
        (YES_NO, "Yes. It does not.", None),
        (SPAM, "Not spam: no", None),
        (SPAM, "**Not spam:** no", None),
        (SPAM, "Spam: no", None),
    ],
)
def test_a_denial_agrees_with_a_label_that_is_one(reader: Reader, reply: str, label: str | None) -> None:
    """Only what takes back or leaves open speaks against a negative label."""
    answer = reader.read(reply)
    assert (answer.value if isinstance(answer, Answer) else None) == label


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("5. Perfect; no errors or omissions.", 5),
        ("4. Good answer, minor errors or omissions.", 4),
        ("2. Several facts are wrong.", 2),
        ("1. It is wrong.", 1),
        ("1. Wrong.", 1),
        ("2. It does not answer.", 2),
        ("2. Unclear.", 2),
        ("3 - The text might be improved by examples.", 3),
        ("3. Perhaps examples would help.", 3),
        ("4. What more could one want?", 4),
        ("The rating is 1. It is wrong.", 1),
        ("4 - a guess", None),
        ("4 (I'm guessing)", None),
        ("4 (maybe)", None),
        ("4. No, wait", None),
        ("4. Sorry, it is worse.", None),
        ("4 (?)", None),
        ("4. I am not entirely sure.", None),
        ("Rating: 4. Not sure.", None),
    ],
)
def test_only_a_remark_about_the_number_itself_speaks_against_a_rating(reply: str, value: float | None) -> None:
    """What it finds wrong with the text is the reason for the rating."""
    answer = STARS.read(reply)
    assert (answer.value if isinstance(answer, Answer) else None) == value


@pytest.mark.parametrize(
    ("reply", "labels", "repairs"),
    [
        ('["art", "sport"]', ("art", "sport"), ""),
        ('{"labels": ["sport", "art"]}', ("art", "sport"), ""),
        ('{"labels": []}', (), ""),
        ("sport, art", ("art", "sport"), ""),
        ("Labels: Sport; art", ("art", "sport"), "prefix case"),
        ("- art\n- sport", ("art", "sport"), "bullet"),
        ("1. art\n2. football", ("art", "sport"), "bullet synonym"),
        ("art and sport", ("art", "sport"), ""),
        ("art, sport and C++.", ("art", "sport", "C++"), "punctuation"),
        ("arts and crafts", ("arts and crafts",), ""),
        ("arts and crafts, C++", ("arts and crafts", "C++"), ""),
        ("art, art", ("art",), "repeated"),
        ("None", (), ""),
        ('{"labels": "art, sport"}', ("art", "sport"), ""),
        ('Here they are: {"labels": ["art"]}', ("art",), "prose"),
    ],
)
def test_several_labels_are_read_from_lists_of_any_kind(reply: str, labels: tuple[str, ...], repairs: str) -> None:
    """They come once each, in the order of the declaration."""
    assert TOPICS.read(reply) == Answer(labels, tuple(_named(repairs)))


@pytest.mark.parametrize(
    "reply",
    [
        "art, music",
        "art, not sport",
        '["art", 3]',
        "It is about art and sport.",
        "[[]]",
        "",
        "Absent: art, sport",
        "Second choice: art\nLess likely: sport",
        '{"excluded": ["art"]}',
        "art: no\nsport: yes",
    ],
)
def test_a_list_with_anything_else_in_it_is_invalid(reply: str) -> None:
    """An item that is no label is not left out: the model may have meant one by it."""
    assert isinstance(TOPICS.read(reply), Invalid)


def test_the_number_of_labels_is_held_to() -> None:
    """Too few and too many are invalid, with what is wanted."""
    one_or_two = Reader(kind="labels", labels=("a", "b", "c"), fewest=1, most=2)
    assert one_or_two.read("[]") == Invalid("it gives 0 labels, and 1 to 2 are wanted")
    assert one_or_two.read("a, b, c") == Invalid("it gives 3 labels, and 1 to 2 are wanted")
    assert one_or_two.read("a, b, a") == Answer(("a", "b"), ("repeated",))


@pytest.mark.parametrize(
    ("reader", "reply", "value", "repairs"),
    [
        (STARS, "4", 4, ""),
        (STARS, "4.5", 4.5, ""),
        (STARS, "4.0", 4, ""),
        (STARS, '{"rating": 3}', 3, ""),
        (STARS, '{"rating": "3"}', 3, "number"),
        (STARS, '{"score": 2.5}', 2.5, "key"),
        (STARS, "Rating: 4", 4, "prefix"),
        (STARS, "Okay, <think>3 or 4?</think>4", 4, "thinking"),
        (STARS, "**4**", 4, "quotes"),
        (STARS, "4/5", 4, "out of"),
        (STARS, "4 out of 5 stars", 4, "out of"),
        (STARS, "Rating: 4/5", 4, "prefix out of"),
        (STARS, "4 stars", 4, "unit"),
        (STARS, "excellent", 5, "synonym"),
        (STARS, "4 - it is good", 4, "remark"),
        (STARS, "4. No complaint is made.", 4, "remark"),
        (STARS, "4\n\nIt is good.", 4, "remark"),
        (STARS, "I would give it a 4.", 4, "statement"),
        (STARS, "I would rate this 4 out of 5.", 4, "out of statement"),
        (STARS, "The rating is **4**.", 4, "statement"),
        (WHOLE, "80%", 80, "unit"),
        (WHOLE, "0", 0, ""),
    ],
)
def test_a_rating_is_read_as_models_write_it(reader: Reader, reply: str, value: float, repairs: str) -> None:
    """A number by itself, out of the highest, with a unit, a remark or a sentence around it."""
    assert reader.read(reply) == Answer(value, tuple(_named(repairs)))


@pytest.mark.parametrize(
    ("reader", "reply", "reason"),
    [
        (STARS, "7", "7 is not between 1 and 5"),
        (STARS, "0", "not between"),
        (STARS, "-4", "not between"),
        (STARS, "4-5", "several numbers"),
        (STARS, "4 or 5", "several numbers"),
        (STARS, "4,5", "comma"),
        (STARS, "8/10", "out of 10"),
        (STARS, "80%", "does not state"),
        (STARS, "I have read 3 reviews.", "does not state"),
        (STARS, "I would not give it a 4.", "does not state"),
        (STARS, "It is unlikely to be a 4.", "does not state"),
        (STARS, "4 (not sure)", "does not state"),
        (STARS, "4: no", "does not state"),
        (STARS, "4. No, wait: it is worse.", "does not state"),
        (STARS, "The rating is 4. No, wait: it is worse.", "does not state"),
        (STARS, '{"excluded": 4}', 'no field "rating"'),
        (STARS, "good", "no number"),
        (STARS, '{"rating": true}', "no number"),
        (STARS, '{"rating": NaN}', "no number"),
        (STARS, '{"rating": null}', "no number"),
        (WHOLE, "4.5", "no whole number"),
        (STARS, "1e400", "no number"),
        (STARS, '{"rating": ' + "9" * 400 + "}", "too large"),
        (STARS, "9" * 400, "not between"),
    ],
)
def test_a_rating_that_is_left_open_is_invalid(reader: Reader, reply: str, reason: str) -> None:
    """Another scale, another number beside it or a mere mention is never resolved into a rating."""
    answer = reader.read(reply)
    assert isinstance(answer, Invalid), answer
    assert reason in answer.reason


ANN = {"name": "Ann"}


@pytest.mark.parametrize(
    ("reply", "value", "repairs"),
    [
        ('{"name": "Ann"}', ANN, ""),
        ('```json\n{"name": "Ann"}\n```', ANN, "fence"),
        ('```\n{"name": "Ann"}', ANN, "fence"),
        ('Here is the JSON you asked for:\n\n{"name": "Ann"}\n\nTell me if {more} is needed.', ANN, "prose"),
        ('The set {1, 2} is:\n{"name": "Ann"}', ANN, "prose"),
        ('{"name": "Ann {the} \\"great\\" }"}', {"name": 'Ann {the} "great" }'}, ""),
        ('{"name": "Ann",}', ANN, "commas"),
        ('{"name": "a,}",}', {"name": "a,}"}, "commas"),
        ("{'name': 'Ann'}", ANN, "python"),
        ('{"name": "Ann\nLee"}', {"name": "Ann\nLee"}, "line breaks"),
        ('{"name": "Ann", "born": "1970"}', {"name": "Ann", "born": 1970}, "number"),
        ('{"name": "Ann", "role": "Author"}', {"name": "Ann", "role": "author"}, "case"),
        ('{"name": "Ann", "role": "writer"}', {"name": "Ann", "role": "author"}, "synonym"),
        ('{"name": "Ann"} {"name": "Ann"}', ANN, "prose repeated"),
        ('<think>{"name": "Bob"}</think>{"name": "Ann"}', ANN, "thinking"),
        ('{"name": "<think>Ann</think>"}', {"name": "<think>Ann</think>"}, ""),
        ('Here: {"name": "An <think>n</think>"}', {"name": "An <think>n</think>"}, "prose"),
        (
            'Okay <think>{"name": "Bob"}</think>{"name": "An <think>n</think>"}',
            {"name": "An <think>n</think>"},
            "thinking",
        ),
    ],
)
def test_fields_are_read_and_mended_only_where_the_schema_leaves_no_choice(
    reply: str, value: Json, repairs: str
) -> None:
    """Fences, prose, spelling of the JSON, words of an enumeration, numbers in quotes."""
    assert FIELDS.read(reply, validate=persons) == Answer(value, tuple(_named(repairs)))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Ann", "holds no JSON"),
        ('{"name": "Ann"', "breaks off"),
        ('{"name": "Ann", "born": NaN}', "cannot be read"),
        ('{"born": 1970}', '"name" is required'),
        ('{"name": "Ann", "age": 3}', '"age" is unexpected'),
        ('{"name": "Ann", "born": "about 1970"}', "no integer"),
        ('{"name": "Ann"} or {"name": "Bob"}', "differ"),
        ('{"name": "Ann", "name": "Bob"}', "cannot be read"),
        ("[" * 5000, "breaks off"),
        ('{"a":' * 5000, "breaks off"),
    ],
)
def test_fields_that_do_not_satisfy_the_schema_are_invalid(reply: str, reason: str) -> None:
    """What breaks off is never closed, and of two values none is chosen."""
    answer = FIELDS.read(reply, validate=persons)
    assert isinstance(answer, Invalid), answer
    assert reason in answer.reason


def spans(*items: Json) -> str:
    return json.dumps({"spans": list(items)})


def person(text: str, **more: Json) -> Json:
    return {"label": "person", "text": text, **more}


@pytest.mark.parametrize(
    ("reply", "places", "repairs"),
    [
        (spans(), [], ""),
        (spans(person("Ann")), [(0, 3, 1)], ""),
        (spans(person("Ann"), person("Ann")), [(0, 3, 1), (27, 30, 2)], ""),
        (spans(person("Ann", occurrence=2)), [(27, 30, 2)], ""),
        (spans(person("Ann", occurrence=2), person("Ann")), [(27, 30, 2), (0, 3, 1)], ""),
        (spans(person("Ann"), person("Ann"), person("Ann")), [(0, 3, 1), (27, 30, 2)], "repeated"),
        (spans(person("Ann", occurrence=1), person("Ann", occurrence=1)), [(0, 3, 1)], "repeated"),
        (spans(person("bob")), [(8, 11, 1)], "source"),
        (spans(person(" LATER  ann\nleft rome ")), [(21, 42, 1)], "source"),
        (spans({"label": "Place", "text": "Saint Petersburg"}), [(47, 63, 1)], "case source"),
        ("Here: " + spans(person("Bob")), [(8, 11, 1)], "prose"),
        (json.dumps([person("Bob")]), [(8, 11, 1)], ""),
    ],
)
def test_spans_are_found_in_the_source(reply: str, places: list[tuple[int, int, int]], repairs: str) -> None:
    """The offsets are the source's own, whatever the model thinks they are."""
    answer = SPANS.read(reply, source=SOURCE)
    assert isinstance(answer, Answer), answer
    assert [(span.start, span.end, span.occurrence) for span in answer.value] == places
    assert all(SOURCE[span.start : span.end] == span.text for span in answer.value)
    assert answer.repairs == tuple(_named(repairs))
    assert len(json.loads(json.dumps(answer.to_json()))) == len(places)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (spans(person("Eve")), "'Eve' does not occur"),
        (spans(person("ann")), "does not occur"),
        (spans(person("Ann", occurrence=3)), "occurs 2 times"),
        (spans(person("Ann", occurrence=0)), "occurs 2 times"),
        (spans({"label": "thing", "text": "Ann"}), "none of the labels"),
        (spans({"label": "person"}), "no text"),
        ('{"spans": "Ann"}', "no list"),
        ("Ann", "no JSON"),
    ],
)
def test_a_span_that_is_not_in_the_source_is_invalid(reply: str, reason: str) -> None:
    """Words that a model made up, or that stand twice in another case, have no place."""
    answer = SPANS.read(reply, source=SOURCE)
    assert isinstance(answer, Invalid), answer
    assert reason in answer.reason


def test_text_is_taken_as_it_is() -> None:
    """Free text loses only its thinking and the space around it."""
    assert Reader(kind="text").read("<think>x</think>\n```a```\n") == Answer("```a```", ("thinking",))
    assert Reader(kind="text").read("  ") == Invalid("it is empty")
    assert Reader(kind="text").read("Write </think> at its end.") == Answer("Write </think> at its end.")


ALL = [MOOD, TOPICS, STARS, WHOLE, FIELDS, SPANS, Reader(kind="text")]
WRAPPINGS = [
    "{}", " {} ", '"{}"', "'{}'", "**{}**", "`{}`", "```\n{}\n```", "```json\n{}\n```", "Label: {}", "**Label:** {}.",
    "- {}", "<label>{}</label>", "{}\n", "<think>Let me see.</think>{}", "\\boxed{{{}}}", '{{"label": "{}"}}',
    'Sure:\n{{"label": "{}"}}', '["{}"]', "{}\n\nThat is what it says.", "The answer is {}.",
]  # fmt: skip
CASES = [str, str.upper, str.title, str.casefold]
PIECES = st.sampled_from([
    "positive", "negative", "{", "}", "[", "]", '"', "```", "json", ":", ",", "label", "\\", "\n", " ", "4", "/", "5",
    "<think>", "</think>", "NaN", "1e999", "'", "\\boxed{", "not", "spans", "text", "None", "\x00", "\ud800", "٣", "ﬁ",
])  # fmt: skip


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)), st.sampled_from(ALL))
def test_reading_never_raises(reply: str, reader: Reader) -> None:
    """Whatever comes, there is an answer or a reason; the repairs have names, and the value is JSON."""
    answer = reader.read(reply, validate=persons, source=SOURCE)
    assert isinstance(answer, Answer | Invalid)
    if isinstance(answer, Answer):
        assert set(answer.repairs) <= set(REPAIRS)
        json.dumps(answer.to_json(), allow_nan=False)
    else:
        assert answer.reason
        assert answer.reason in reader.instruction(answer, reply)


LABEL = st.from_regex(r"[a-z]{1,8}([ _-][a-z]{1,8})?", fullmatch=True)
SETS = st.lists(LABEL, min_size=2, max_size=6, unique_by=lambda label: label.replace("_", " ").replace("-", " "))


@settings(deadline=None)
@given(SETS, st.data())
def test_a_label_is_read_in_any_case_and_wrapping(labels: list[str], data: st.DataObject) -> None:
    """Unless the wrapping itself names another label, or makes the label another one."""
    label = data.draw(st.sampled_from(labels))
    wrapping = data.draw(st.sampled_from(WRAPPINGS))
    case = data.draw(st.sampled_from(CASES))
    reader = Reader(kind="label", labels=tuple(labels))
    words = set(wrapping.casefold().replace("{}", " ").replace("<", " ").replace(">", " ").replace("/", " ").split())
    loose = {word.strip(".:*`'\"\\{}[]") for word in words} | {"label", "json", "think", "let", "boxed"}
    if any(set(other.replace("_", " ").replace("-", " ").split()) & loose for other in labels):
        return
    answer = reader.read(
        wrapping.replace("{{", "{").replace("}}", "}").replace("{}", case(label))
        if "{{" not in wrapping
        else wrapping.format(case(label))
    )
    assert isinstance(answer, Answer), (answer, labels)
    assert answer.value == label


FRAMES = [
    "{} {}", "{}, {}", "{}\n{}", "Label: {}\n{}", "{} or {}", "{}. It is not {}.", '"{}", "{}"', "**{}**/{}",
    "```\n{}\n```\n{}", "The answer is {}, not {}.", "{} ({})", "{}: {}", "{} = {}", "<a>{}</a>{}", "{}{{{}}}",
    "I first thought {}.\n\n{}", "Label: {}. The other label is {}.", '{{"label": "{} {}"}}', '["{}", "{}"]',
]  # fmt: skip


@settings(deadline=None)
@given(
    st.permutations(["positive", "negative", "neutral", "pos", "mixed"]),
    st.sampled_from(FRAMES),
    st.sampled_from(CASES),
)
def test_a_text_that_names_two_labels_is_never_read_as_one(words: list[str], frame: str, case: object) -> None:
    """Also where one of them is a synonym."""
    one, other = words[:2]
    same = MOOD.synonyms.get(one, one) == MOOD.synonyms.get(other, other)
    answer = MOOD.read(case(frame.format(one, other)))  # type: ignore[operator]
    assert same or isinstance(answer, Invalid)


def test_the_longer_label_is_meant_where_one_is_part_of_another() -> None:
    """ "very positive" does not name "positive" as well."""
    reader = Reader(kind="label", labels=("positive", "very positive"))
    assert reader.read("Label: Very positive") == Answer("very positive", ("prefix", "case"))
    assert reader.read("The answer is very positive.") == Answer("very positive", ("statement",))


def test_the_first_word_in_a_fence_of_one_line_belongs_to_what_is_in_it() -> None:
    """A fence's language has a line to itself."""
    reader = Reader(kind="label", labels=("positive", "very positive"))
    assert reader.read("```very positive```") == Answer("very positive", ("fence",))
    assert isinstance(reader.read("```not positive```"), Invalid)


def test_labels_that_differ_only_in_case_are_told_apart_only_as_they_are_written() -> None:
    """Folding would make one of them the other."""
    reader = Reader(kind="label", labels=("US", "us"))
    assert reader.read("US") == Answer("US")
    assert isinstance(reader.read("Us"), Invalid)


@pytest.mark.parametrize("reader", ALL, ids=lambda reader: reader.kind)
def test_a_declaration_survives_json(reader: Reader) -> None:
    """It is kept in the manifest of a run."""
    assert Reader.from_json(json.loads(json.dumps(reader.to_json()))) == reader


@pytest.mark.parametrize("reader", ALL, ids=lambda reader: reader.kind)
def test_what_is_asked_for_is_closed(reader: Reader) -> None:
    """Each object of the schema requires all its fields and no other; free text has no schema."""
    schema = reader.ask_schema()
    assert (schema is None) == (reader.kind == "text")
    if reader.kind in ("label", "labels", "rating", "spans"):
        waiting: list[Json] = [schema]
        while waiting:
            part = waiting.pop()
            if part.get("type") == "object":
                assert part["additionalProperties"] is False
                assert set(part["required"]) == set(part["properties"])
                waiting += part["properties"].values()
            if "items" in part:
                waiting.append(part["items"])


def test_an_answer_as_the_schema_asks_for_it_needs_no_repair() -> None:
    """The two sides of structured output agree."""
    assert MOOD.read('{"label": "positive"}') == Answer("positive")
    assert TOPICS.read('{"labels": ["art"]}') == Answer(("art",))
    assert STARS.read('{"rating": 4}') == Answer(4)


def test_the_model_is_told_what_was_wrong_and_what_is_wanted() -> None:
    """One sentence for each, with its own words shown, cut short."""
    reply = "positive or negative"
    invalid = MOOD.read(reply)
    assert isinstance(invalid, Invalid)
    assert MOOD.instruction(invalid, reply) == (
        'Your answer "positive or negative" cannot be used: it names 2 labels: negative, positive. '
        "Answer with one of these only: positive, negative, neutral, not relevant."
    )
    assert len(MOOD.instruction(Invalid("it is long"), "x" * 10_000)) < 400


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"kind": "lable"}, "the kinds are label"),
        ({"kind": "label"}, "needs labels"),
        ({"kind": "label", "labels": ("a", "a")}, "must differ"),
        ({"kind": "label", "labels": ("a", " ")}, "none may be empty"),
        ({"kind": "label", "labels": ("a",), "synonyms": {"x": "b"}}, "which is no label"),
        ({"kind": "label", "labels": ("a", "b"), "synonyms": {"A": "b"}}, "is a label itself"),
        ({"kind": "rating", "low": 5, "high": 1}, "must be below"),
        ({"kind": "rating", "synonyms": {"good": "fine"}}, "no number"),
        ({"kind": "fields"}, "need a schema"),
        ({"kind": "labels", "labels": ("a",), "fewest": 2, "most": 1}, "`most`"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(declared: dict[str, Json], words: str) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(UsageError, match=words):
        Reader(**declared)


@pytest.mark.parametrize("reply", ["{'width': 5in}", "[1or 2]", "{0x1for x in y}"])
def test_python_has_nothing_to_say_of_a_reply(reply: str) -> None:
    """A reply may be code that Python warns of: that is no matter of the user's, whose terminal it would go to."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        FIELDS.read(reply, validate=persons)
    assert [str(warning.message) for warning in said] == []


LONG = [
    "[1," * 10_000, '{"a":"' * 10_000, " " * 200_000, ": " * 50_000, "<a>" + " " * 100_000, "positive is " * 10_000,
    "{" * 30_000, "`" * 100_000, "1 " * 50_000, "positive, " * 10_000, "\\boxed{" * 10_000, "<think>" * 20_000,
    "\n<think>" * 20_000, "</think><think>" * 10_000, "a <think>" * 20_000, "a <think></think>" * 10_000,
    "positive " * 50_000, '{\\"a\\": ' * 20_000, "```" + " " * 200_000 + "`x",
]  # fmt: skip


@pytest.mark.parametrize("reply", LONG, ids=lambda reply: reply[:9])
@pytest.mark.parametrize("reader", ALL, ids=lambda reader: reader.kind)
@pytest.mark.timeout(20)
def test_a_long_reply_of_nothing_does_not_hold_up_the_run(reply: str, reader: Reader) -> None:
    """Reading takes about as long as the reply is, not its square."""
    assert isinstance(reader.read(reply, validate=persons, source=SOURCE), Answer | Invalid)


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ([person("a " * 20_000 + "b")], "a " * 100_000),
        ([person("a" * 50_000 + "b")], "a" * 200_000),
        ([person("a")] * 2_000, "a " * 20_000),
    ],
    ids=["words", "letters", "one word again and again"],
)
@pytest.mark.timeout(20)
def test_spans_of_a_text_that_repeats_itself_do_not_hold_up_the_run(said: list[Json], source: str) -> None:
    """A row of dots and a model that copies them take no longer than any other."""
    assert isinstance(SPANS.read(spans(*said), source=source), Answer | Invalid)


@pytest.mark.parametrize("reader", ALL[:-1], ids=lambda reader: reader.kind)
@pytest.mark.timeout(20)
def test_a_reply_longer_than_any_model_writes_is_not_looked_through(reader: Reader) -> None:
    """A gateway may send megabytes of what takes the longest to read."""
    found = reader.read("positive " * 3_000_000, validate=persons, source=SOURCE)
    assert isinstance(found, Invalid)
    assert found.reason == "it has 27,000,000 characters, and more than 2,000,000 are not looked through"
