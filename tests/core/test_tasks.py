"""How rows become tasks: models, caps, dialects, ids, and what can never fit."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.catalog import Catalogue, Family, Model
from runner.core.errors import UsageError
from runner.core.job import Job
from runner.core.limits import Allowance, Limits
from runner.core.prompt import Prompt, RowError
from runner.core.tasks import LARGEST_CAP, NeverFits, TaskMaker, selected
from runner.core.values import Request
from runner.core.work import Task

MODELS = (
    Model(id="plain", provider="Somebody", max_output_tokens=2_000, context_tokens=100_000),
    Model(id="thinker", provider="Somebody", reasons=True, max_output_tokens=64_000),
    Model(id="terse", provider="Somebody", max_output_tokens=100),
    Model(id="small", provider="Somebody", context_tokens=1_500),
    Model(id="seeing", provider="Somebody", inputs=("text", "image"), family=Family(name="f", images="flat-1100")),
    Model(id="coder", provider="Somebody", endpoints=("responses",)),
    Model(id="wordy", provider="Somebody", family=Family(name="w", multiplier=2.0)),
)
CATALOGUE = Catalogue({model.short: model for model in MODELS})
PNG = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]}


def choose(request: Request, model: Model, endpoint: str | None) -> str:
    """The row's dialect, or the option, or the model's first; refused where the model does not answer in it."""
    wanted = request.dialect or endpoint or model.endpoints[0]
    if wanted not in model.endpoints:
        raise UsageError(f"{model.short} does not answer on {wanted}.")
    return wanted


def words(text: str) -> int:
    return len(text.split())


def maker(*models: str, limits: Limits = Limits(), **job: Any) -> TaskMaker:  # noqa: B008
    return TaskMaker(
        Job(input="rows.jsonl", models=models, **job),
        CATALOGUE,
        Prompt(by_url=lambda url: url.removeprefix("/v1/")),
        lambda model: limits.budgets([model])[model.short],
        choose,
        lambda _url: (1024, 1024),
    )


def tasks(made: TaskMaker, row: int = 0, **columns: Any) -> list[Task]:
    return made.tasks(row, {"prompt": "hello", **columns}, "digest", words)


def only(made: TaskMaker, **columns: Any) -> Task:
    (task,) = tasks(made, **columns)
    return task


# Which models.


def test_a_row_goes_to_the_pool_as_one_task() -> None:
    """Any of the models may answer it."""
    made = maker("plain", "terse")
    assert only(made).models == ("plain", "terse")
    assert made.slots == 1


def test_each_makes_a_task_for_every_model() -> None:
    """Each has its own slot, in the order of the models."""
    made = maker("plain", "terse", "small", each=True)
    assert [(task.row, task.slot, task.models) for task in tasks(made, row=4)] == [
        (4, 0, ("plain",)),
        (4, 1, ("terse",)),
        (4, 2, ("small",)),
    ]
    assert made.slots == 3


@pytest.mark.parametrize("each", [False, True])
def test_a_row_may_pin_itself_to_a_model(each: bool) -> None:
    """In either form of its name; the job's models do not matter to it."""
    assert only(maker("plain", "terse", each=each), model="databricks-small").models == ("small",)


def test_a_row_pinned_to_an_unknown_model_is_refused() -> None:
    """The message is about the row, and has the catalogue's suggestion."""
    with pytest.raises(RowError, match=r"its `model`: There is no model 'plian'.*Did you mean plain"):
        tasks(maker("plain"), model="plian")


def test_a_row_without_a_model_is_refused_where_the_job_names_none() -> None:
    """There is no default model."""
    with pytest.raises(RowError, match="no model is named for it: give -m MODEL"):
        tasks(maker())


def test_an_image_goes_to_the_models_of_the_pool_that_can_see() -> None:
    """The others are not asked about it."""
    assert only(maker("plain", "seeing"), **IMAGE).models == ("seeing",)


def test_an_image_for_a_model_that_cannot_see_is_refused() -> None:
    """The message says what the model reads."""
    with pytest.raises(RowError, match="it holds an image, and plain reads text only"):
        tasks(maker("plain"), **IMAGE)


# Which dialect.


def test_each_model_is_asked_in_its_own_dialect() -> None:
    """A pool may mix dialects."""
    assert only(maker("plain", "coder")).dialects == {"plain": "chat", "coder": "responses"}


def test_a_batch_line_goes_to_models_that_answer_on_its_url() -> None:
    """The others of the pool cannot be asked."""
    line = {"url": "/v1/responses", "body": {"input": "hello"}}
    assert only(maker("plain", "coder"), **line).models == ("coder",)


def test_a_model_of_the_job_that_does_not_answer_on_the_endpoint_is_refused() -> None:
    """An impossible pair is found before any row is looked at."""
    with pytest.raises(UsageError, match="coder does not answer on chat"):
        maker("plain", "coder", endpoint="chat")


def test_a_row_pinned_to_a_model_that_does_not_answer_on_the_endpoint_is_refused() -> None:
    """Of a pair that a row makes, the row is at fault."""
    with pytest.raises(RowError, match="coder does not answer on chat"):
        tasks(maker("plain", endpoint="chat"), model="coder")


# Which cap.


@pytest.mark.fault("B9")
@pytest.mark.parametrize(
    ("model", "asked", "cap"),
    [
        ("plain", None, 2_000),
        ("coder", None, LARGEST_CAP),
        ("terse", None, 100),
        ("plain", 50, 50),
        ("plain", 1_999, 1_999),
        ("plain", 9_999, 2_000),
        ("coder", 9_999, 9_999),
    ],
    ids=["open", "open, no known bound", "clamped", "asked", "asked for more", "asked too much", "no known bound"],
)
def test_a_cap_is_what_was_asked_or_left_open_and_never_more_than_the_model_takes(
    model: str, asked: int | None, cap: int
) -> None:
    """An open one is ours to choose, up to there."""
    task = only(maker(model), max_tokens=asked)
    assert task.caps == {model: cap}
    assert task.free is (asked is None)


def test_a_given_cap_may_be_meant_as_a_ceiling() -> None:
    """Then it is ours to choose as well; a batch line is sent as it is all the same."""
    made = maker("plain", cap_is="ceiling")
    assert only(made, max_tokens=500).free
    line = {"url": "/v1/responses", "body": {"input": "hello", "max_output_tokens": 500}}
    assert not only(maker("coder", cap_is="ceiling"), **line).free


def test_an_open_cap_is_never_larger_than_the_output_limit() -> None:
    """Else no row would ever fit, though nobody asked for so much."""
    limits = Limits(per_model=Allowance(output_tokens=300))
    assert only(maker("plain", limits=limits)).caps == {"plain": 300}


# What can never fit.


@pytest.mark.fault("B7")
@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(per_model=Allowance(input_tokens=100)), "100 input tokens in 60 s for plain"),
        (Limits(combined=Allowance(input_tokens=100)), "100 input tokens in 60 s for all models"),
        (Limits(count="total", combined=Allowance(input_tokens=1_000)), "1,000 total tokens in 60 s for all models"),
    ],
)
def test_a_row_larger_than_a_limit_is_refused_with_the_limit(limits: Limits, named: str) -> None:
    """It would wait for ever: the message says for what."""
    with pytest.raises(NeverFits) as refused:
        tasks(maker("plain", limits=limits), prompt="word " * 200, max_tokens=900)
    assert "it can never fit: about 206 tokens in and at most 900 out" in str(refused.value)
    assert str(refused.value).endswith(f"the limit is {named}")


@pytest.mark.fault("B7")
def test_a_cap_larger_than_the_output_limit_never_fits() -> None:
    """The gateway reserves the whole cap, so it would never let it in."""
    with pytest.raises(NeverFits, match="the limit is 300 output tokens in 60 s for plain"):
        tasks(maker("plain", limits=Limits(per_model=Allowance(output_tokens=300))), max_tokens=301)


def test_a_row_that_fills_a_limit_exactly_fits() -> None:
    """The bound that spares most rows the comparison is not the comparison."""
    limits = Limits(per_model=Allowance(input_tokens=106, output_tokens=50))
    assert only(maker("plain", limits=limits), prompt="word " * 100, max_tokens=50).size.text == 106
    with pytest.raises(NeverFits):
        tasks(maker("plain", limits=limits), prompt="word " * 101, max_tokens=50)


@pytest.mark.fault("B8")
@pytest.mark.parametrize(("count", "fits"), [(494, True), (495, False)])
def test_a_row_must_fit_the_context_window_with_its_cap(count: int, fits: bool) -> None:
    """Input and output share it."""
    if fits:
        assert only(maker("small"), prompt="word " * count, max_tokens=1_000).models == ("small",)
    else:
        with pytest.raises(NeverFits, match="the context window of small is 1,500"):
            tasks(maker("small"), prompt="word " * count, max_tokens=1_000)


def test_a_models_own_way_of_counting_decides_whether_a_row_fits() -> None:
    """Text of so many words may be twice as many tokens for another family."""
    limits = Limits(per_model=Allowance(input_tokens=300))
    assert only(maker("plain", "wordy", limits=limits), prompt="word " * 200).models == ("plain",)


def test_images_count_against_the_limit() -> None:
    """A short text with an image is a large request."""
    with pytest.raises(NeverFits):
        tasks(maker("seeing", limits=Limits(per_model=Allowance(input_tokens=1_000))), **IMAGE)


def test_a_row_too_large_for_some_goes_to_the_rest_of_the_pool() -> None:
    """It ends as an error only if none can take it."""
    assert only(maker("plain", "small"), prompt="word " * 3_000).models == ("plain",)


def test_a_row_that_fits_after_one_that_did_not_goes_to_the_whole_pool() -> None:
    """What is remembered of one row's shape holds for its shape alone."""
    made = maker("plain", "small")
    tasks(made, prompt="word " * 3_000)
    assert only(made).models == ("plain", "small")


# Names and digests.


@pytest.mark.parametrize(
    ("column", "columns", "name"),
    [
        (None, {}, "3"),
        (None, {"id": "seven"}, "seven"),
        (None, {"id": 7}, "7"),
        (None, {"id": None}, "3"),
        (None, {"id": "no", "custom_id": "yes"}, "yes"),
        ("key", {"id": "no", "key": "yes"}, "yes"),
    ],
)
def test_a_task_is_named_by_its_rows_id(column: str | None, columns: dict[str, Any], name: str) -> None:
    """By the column that was named, or one that is usual, or else its place."""
    (task,) = tasks(maker("plain", id_column=column), row=3, **columns)
    assert (task.id, task.digest) == (name, "digest")


def test_a_row_without_the_named_id_column_is_refused() -> None:
    """It is not quietly named by its place."""
    with pytest.raises(RowError, match="it has no column 'key', which --id-column names"):
        tasks(maker("plain", id_column="key"), id="seven")
    with pytest.raises(RowError, match="its 'key', which --id-column names, is null"):
        tasks(maker("plain", id_column="key"), id="seven", key=None)


# Which rows.


class Row:
    def __init__(self, index: int) -> None:
        self.index = index


def test_a_limit_ends_the_reading() -> None:
    """Rows beyond it are not even looked at."""

    def rows() -> Any:
        yield from map(Row, range(3))
        raise AssertionError("read too far")

    assert [row.index for row in selected(rows(), Job(input="x", limit=2), None)] == [0, 1]


def test_a_sample_keeps_its_rows_in_their_order() -> None:
    """Which rows were drawn is somebody else's decision."""
    chosen = frozenset({7, 2, 5})
    assert [row.index for row in selected(map(Row, range(9)), Job(input="x"), chosen)] == [2, 5, 7]
