"""How a row becomes a request: one table of rows, each with the request or the reason that there is none."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import UsageError
from runner.core.prompt import Prompt, RowError
from runner.core.values import Image, Message, Other, Request, Settings, Text

PNG = "data:image/png;base64,iVBORw0KGgo="
CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def by_url(url: str) -> str:
    """Knows one endpoint."""
    if url != "/v1/chat/completions":
        raise UsageError(f"{url!r} is no endpoint.")
    return "chat"


PROMPT = Prompt(by_url=by_url)


def user(content: Any, **settings: Any) -> Request:
    return Request(messages=(Message(role="user", content=content),), settings=Settings(**settings))


def asked(*blocks: Any) -> dict[str, Any]:
    """A row with one message of these blocks."""
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def line(**body: Any) -> dict[str, Any]:
    """A line of OpenAI's batch format."""
    return {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}


ROWS: tuple[tuple[str, Mapping[str, Any], Request], ...] = (
    ("a prompt", {"prompt": "hello"}, user("hello")),
    ("a prompt among other columns", {"id": 7, "text": "x", "prompt": "hello"}, user("hello")),
    ("messages go before a prompt", {"prompt": "no", "messages": [{"role": "user", "content": "yes"}]}, user("yes")),
    ("no messages, but a prompt", {"prompt": "hello", "messages": None}, user("hello")),
    (
        "a system text of its own",
        {"prompt": "hello", "system": "be brief"},
        Request(messages=(Message(role="system", content="be brief"), Message(role="user", content="hello"))),
    ),
    ("a cap of its own", {"prompt": "hello", "max_tokens": 7}, user("hello", max_tokens=7)),
    ("a cap as a table has it", {"prompt": "hello", "max_tokens": 7.0}, user("hello", max_tokens=7)),
    ("a cap as a table has it, in CSV", {"prompt": "hello", "max_tokens": "7.0"}, user("hello", max_tokens=7)),
    (
        "an empty system text of its own",
        {"prompt": "hello", "system": ""},
        Request(messages=(Message(role="system", content=""), Message(role="user", content="hello"))),
    ),
    ("a temperature of its own", {"prompt": "hello", "temperature": 1}, user("hello", temperature=1.0)),
    ("no temperature", {"prompt": "hello", "temperature": None, "max_tokens": None}, user("hello")),
    ("a text block", asked({"type": "text", "text": "hello"}), user((Text("hello"),))),
    ("a block that is a text", asked("hello"), user((Text("hello"),))),
    ("a text block of Responses", asked({"type": "input_text", "text": "hello"}), user((Text("hello"),))),
    ("an image", asked({"type": "image_url", "image_url": {"url": PNG}}), user((Image(PNG),))),
    (
        "an image with a detail",
        asked({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}),
        user((Image(PNG, "low"),)),
    ),
    (
        "an image of Responses",
        asked({"type": "input_image", "image_url": "https://a.example/b.png", "detail": "high"}),
        user((Image("https://a.example/b.png", "high"),)),
    ),
    (
        "a block that nobody knows",
        asked({"type": "audio"}),
        user((Other({"type": "audio"}),)),
    ),
    (
        "a developer's message",
        {"messages": [{"role": "developer", "content": "be brief"}]},
        Request(messages=(Message(role="system", content="be brief"),)),
    ),
    (
        "calls and what they gave",
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "4", "tool_call_id": "1"},
            ]
        },
        Request(
            messages=(
                Message(role="assistant", content="", tool_calls=(CALL,)),
                Message(role="tool", content="4", tool_call_id="1"),
            )
        ),
    ),
    ("a batch line", line(messages=[]), Request(dialect="chat", body={"messages": []})),
    (
        "a batch line with a cap",
        line(max_completion_tokens=9),
        Request(dialect="chat", body={"max_completion_tokens": 9}, settings=Settings(max_tokens=9)),
    ),
    (
        "a batch line with a cap of Gemini's",
        line(generationConfig={"maxOutputTokens": 9}),
        Request(dialect="chat", body={"generationConfig": {"maxOutputTokens": 9}}, settings=Settings(max_tokens=9)),
    ),
    (
        "a batch line with a cap of Gemini's in snake case",
        line(generation_config={"max_output_tokens": 9}),
        Request(dialect="chat", body={"generation_config": {"max_output_tokens": 9}}, settings=Settings(max_tokens=9)),
    ),
    (
        "a batch line with settings beside its body",
        {**line(n=1), "max_tokens": 9, "temperature": 0.5},
        Request(dialect="chat", body={"n": 1}, settings=Settings(max_tokens=9, temperature=0.5)),
    ),
    (
        "a row of CSV, where all is text",
        {"prompt": "hello", "max_tokens": "9", "temperature": " 0.5", "system": "Be brief."},
        Request(
            messages=(Message(role="system", content="Be brief."), Message(role="user", content="hello")),
            settings=Settings(max_tokens=9, temperature=0.5),
        ),
    ),
    (
        "a row of CSV with empty cells",
        {"prompt": "hello", "max_tokens": "", "temperature": "", "model": ""},
        user("hello"),
    ),
    ("a web page with what to ask of it", {"url": "https://a.example", "body": "x", "prompt": "hello"}, user("hello")),
)

REFUSED: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({}, "it has neither `prompt` nor `messages`; its columns are none"),
    ({"text": "x", "label": "y"}, "its columns are text, label: say what to ask with --prompt"),
    ({"prompt": ""}, "its prompt is empty"),
    ({"prompt": " \n"}, "its prompt is empty"),
    ({"prompt": None}, "its prompt is null, not a text"),
    ({"prompt": 7}, "its prompt is 7, not a text"),
    ({"prompt": "x", "system": 7}, "its `system` is not a text"),
    ({"prompt": "x", "max_tokens": 1e30}, "its `max_tokens` is a number of more than 64 bits"),
    ({"prompt": "x", "max_tokens": "9" * 400}, "its `max_tokens` is a number of more than 64 bits"),
    ({"prompt": "x", "max_tokens": 0}, "its `max_tokens` is 0, not a whole number above zero"),
    ({"prompt": "x", "max_tokens": 1.5}, "its `max_tokens` is 1.5, not a whole number above zero"),
    ({"prompt": "x", "max_tokens": True}, "its `max_tokens` is True, not a whole number above zero"),
    ({"prompt": "x", "max_tokens": float("inf")}, "its `max_tokens` is inf, not a whole number above zero"),
    ({"prompt": "x", "max_tokens": "ten"}, "its `max_tokens` is 'ten', not a whole number above zero"),
    ({"prompt": "x", "max_tokens": "1.5"}, "its `max_tokens` is 1.5, not a whole number above zero"),
    ({"prompt": "x", "temperature": "nan"}, "its `temperature` is nan, and not from 0 to 2"),
    ({"prompt": "x", "temperature": "hot"}, "its `temperature` is 'hot', not a number"),
    ({"prompt": "x", "temperature": 3}, "its `temperature` is 3, and not from 0 to 2"),
    ({"prompt": "x", "temperature": float("nan")}, "its `temperature` is nan, and not from 0 to 2"),
    ({"prompt": "x", "temperature": True}, "its `temperature` is True, not a number"),
    ({"messages": []}, "its `messages` is not a list of messages"),
    ({"messages": "hello"}, "its `messages` is not a list of messages"),
    ({"messages": ["hello"]}, "message 0 is not an object with role and content"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "message 0 has the role 'robot'"),
    ({"messages": [{"content": "x"}]}, "message 0 has the role None"),
    ({"messages": [{"role": "user"}]}, "message 0 has no content that is a text or a list of blocks"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": 7}]}, "message 1 has no content"),
    (
        {"messages": [{"role": "assistant", "tool_calls": 7}]},
        "message 0 has `tool_calls` that are not a list of objects",
    ),
    ({"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "message 0 has `tool_calls` that are not a list"),
    (asked(7), "message 0 has a content block that is not an object"),
    (
        asked({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
        "neither data:image/... nor https://...",
    ),
    (asked({"type": "image_url", "image_url": {"url": "http://a.example/b.png"}}), "neither data:image/... nor https"),
    (asked({"type": "image_url"}), "neither data:image/... nor https://..."),
    ({"system": "a", "messages": [{"role": "system", "content": "b"}]}, "it has a system message, and the job or its"),
    ({**line(), "method": "GET"}, "its method is 'GET'; only POST can be sent"),
    ({**line(), "url": "/v1/embeddings"}, "'/v1/embeddings' is no endpoint."),
    (line(max_tokens=0), "its `max_tokens` is 0, not a whole number above zero"),
    (line(n=2), "its `n` is 2, and one answer is read of each request"),
    (line(generationConfig={"candidateCount": 2}), "its `candidateCount` is 2, and one answer is read"),
    (line(generation_config={"candidate_count": 2}), "its `candidateCount` is 2, and one answer is read"),
    (line(background=True), "its `background` asks for an answer that comes later"),
    ({**line(), "system": "Be brief."}, "its `body` is sent as it is, and takes no system prompt beside it"),
    ({**line(), "body": "x"}, "its `body` is not an object"),
    ({"custom_id": "1", "body": {}}, "it has a `body`, and no `url` that says where to"),
)


@pytest.mark.parametrize(("columns", "request_"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_row_makes_a_request(columns: Mapping[str, Any], request_: Request) -> None:
    """What the row says is what is asked, and nothing is added."""
    assert PROMPT.request(columns) == request_


@pytest.mark.parametrize(("columns", "reason"), REFUSED)
@pytest.mark.fault("I9")
def test_a_row_that_cannot_be_asked_says_why(columns: Mapping[str, Any], reason: str) -> None:
    """The reason names the column and what stands there."""
    with pytest.raises(RowError) as refused:
        PROMPT.request(columns)
    assert reason in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "user", "x", PNG]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "image_url", "url", "tool_calls"]), inner)
    ),
    max_leaves=12,
)
COLUMNS = st.dictionaries(
    st.sampled_from(["prompt", "messages", "system", "model", "max_tokens", "temperature", "url", "body"]),
    JSON,
)


@given(columns=COLUMNS)
@pytest.mark.fault("I9")
def test_whatever_a_row_holds_it_makes_a_request_or_says_why_not(columns: dict[str, Any]) -> None:
    """No row can end a run with an error of another kind."""
    for read in (PROMPT.request, PROMPT.model):
        with contextlib.suppress(RowError):
            read(columns)


# The job's own words.


def template(columns: Mapping[str, Any]) -> str:
    if "text" not in columns:
        raise RowError("it has no column 'text'")
    return f"Label this: {columns['text']}"


def test_a_jobs_template_goes_before_everything_a_row_says() -> None:
    """A row's own prompt and messages are columns like any other, then."""
    columns = {"text": "x", "prompt": "no", "messages": [{"role": "user", "content": "no"}], **line()}
    assert Prompt(template=template).request(columns) == user("Label this: x")


def test_a_template_that_renders_to_nothing_is_refused() -> None:
    """An empty prompt is the row's fault, whoever wrote it."""
    with pytest.raises(RowError, match="its prompt is empty"):
        Prompt(template=lambda _columns: " ").request({})


def test_a_jobs_system_text_stands_first() -> None:
    """It is rendered over the row's columns."""
    prompt = Prompt(system=lambda columns: f"for {columns['who']}")
    messages = prompt.request({"prompt": "hello", "who": "Ann"}).messages
    assert [(message.role, message.content) for message in messages] == [("system", "for Ann"), ("user", "hello")]


def test_a_rows_system_text_goes_over_the_jobs() -> None:
    """The particular goes over the general."""
    messages = Prompt(system=lambda _columns: "the job's").request({"prompt": "hello", "system": "its own"}).messages
    assert messages[0] == Message(role="system", content="its own")


def test_the_jobs_settings_hold_where_a_row_has_none() -> None:
    """A row changes what it names, and keeps the rest."""
    prompt = Prompt(settings=Settings(max_tokens=50, temperature=0.5, seed=3))
    settings = prompt.request({"prompt": "hello", "max_tokens": 7}).settings
    assert settings == Settings(max_tokens=7, temperature=0.5, seed=3)


def test_a_job_can_keep_rows_from_settling_anything() -> None:
    """Columns that happen to be called model or max_tokens are data, then."""
    prompt = Prompt(row_settings=False, settings=Settings(max_tokens=50))
    columns = {"prompt": "hello", "max_tokens": "many", "temperature": "hot", "system": "solar", "model": "T"}
    assert prompt.request(columns) == user("hello", max_tokens=50)
    assert prompt.model(columns) is None


@pytest.mark.parametrize(
    ("columns", "model"),
    [
        ({}, None),
        ({"model": "m"}, "m"),
        ({"model": ""}, None),
        ({"model": None}, None),
        (line(model="m"), "m"),
        ({**line(model="m"), "model": "n"}, "m"),
        ({**line(), "model": "n"}, "n"),
    ],
)
def test_a_row_may_name_its_model(columns: Mapping[str, Any], model: str | None) -> None:
    """In its own column, or in the body of a batch line."""
    assert PROMPT.model(columns) == model


def test_a_model_that_is_no_name_is_refused() -> None:
    """A number is not taken for a name."""
    with pytest.raises(RowError, match="its `model` is 7, not a name"):
        PROMPT.model({"model": 7})


def test_no_template_sees_a_hidden_column() -> None:
    """Neither by its name nor in the row as a whole."""
    seen: list[list[str]] = []

    def template(columns: Mapping[str, Any]) -> str:
        seen.append(sorted(columns))
        return "Which?"

    Prompt(template=template, system=template, hidden=frozenset({"truth"})).request({"text": "a", "truth": "b"})
    assert seen == [["text"], ["text"]]


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": {}},
        {"text": {"format": {}}},
        {"generationConfig": {"responseSchema": {}}},
        {"generation_config": {"response_mime_type": "application/json"}},
    ],
)
def test_a_batch_line_with_a_form_of_its_own_is_asked_for_no_other(body) -> None:
    """Not even where both could stand beside each other."""
    prompt = Prompt(by_url=by_url, settings=Settings(schema={"type": "object"}))
    assert (prompt.request(line(**body)).settings.schema, prompt.asks_form(line(**body))) == (None, False)
    assert (prompt.request(line(n=1)).settings.schema, prompt.asks_form(line(n=1))) == ({"type": "object"}, True)


def test_an_empty_system_text_of_csv_is_none() -> None:
    """Nobody filled the cell in: the job's stands. Elsewhere it says that there is to be no such text."""
    columns = {"prompt": "hello", "system": ""}
    said = [Prompt(system=lambda _: "the job's", blanks=csv).request(columns).messages[0] for csv in (True, False)]
    assert [message.content for message in said] == ["the job's", ""]
    assert Prompt(blanks=True).request(columns) == user("hello")
