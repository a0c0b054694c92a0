"""Every sample, run against the local gateway as its README says, gives what `expected.json` says it must."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import runner
from runner.core.errors import InputRejected

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
EXPECTED: dict[str, dict[str, Any]] = json.loads((SAMPLES / "expected.json").read_text())
LOCAL = "local?time-scale=0&latency=0"
MODEL = "claude-haiku-4-5"

Ran = Callable[[str], runner.Finish]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run a sample, once for all tests, without limits; broken lines are recorded."""
    finished: dict[str, runner.Finish] = {}

    def run(name: str) -> runner.Finish:
        if name not in finished:
            expected = EXPECTED[name]
            words: dict[str, Any] = {"id_column": expected["id_column"], "bad_rows": "record"}
            if "prompt" in expected:
                words["prompt"] = f"@{SAMPLES / expected['prompt']}"
            if "models" not in expected:
                words["models"] = MODEL
            out = tmp_path_factory.mktemp("samples") / "run"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PYTHONPATH", str(ROOT))
                finished[name] = runner.run(SAMPLES / name, gateway=LOCAL, no_limits=True, out=out, **words)
        return finished[name]

    return run


def samples_with(key: str) -> list[str]:
    """The samples of which something is expected."""
    return [name for name, expected in EXPECTED.items() if expected.get(key)]


def good(ran: Ran, name: str) -> pl.DataFrame:
    """The rows of a sample that were answered."""
    return ran(name).results().filter(pl.col("status") == "succeeded")


def test_every_sample_is_expected_and_every_expected_one_is_there() -> None:
    """No input lies in the folder of which nothing is said."""
    inputs = {path.name for path in SAMPLES.iterdir() if path.suffix in (".jsonl", ".parquet")}
    assert inputs == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_as_many_rows_as_expected_are_answered_in_input_order(ran, name) -> None:
    """The answered rows are those that are sound, from the first to the last."""
    rows = good(ran, name)["row"].to_list()
    assert len(rows) == EXPECTED[name]["rows"]
    assert rows == sorted(rows)


@pytest.mark.parametrize("name", samples_with("all_succeed"))
def test_a_sound_sample_succeeds_whole(ran, name) -> None:
    """The run ends with 0, and no row is missing."""
    finish = ran(name)
    assert finish.ending.exit_code == 0
    assert finish.results().height == EXPECTED[name]["rows"]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_columns_of_the_input_stand_behind_the_results(ran, name) -> None:
    """All of them, in their order; an `id` that the rows are called by is not there twice."""
    columns = [column for column in EXPECTED[name]["columns"] if column != "id"]
    assert ran(name).results().columns[-len(columns) :] == columns


@pytest.mark.parametrize("name", samples_with("labels"))
def test_every_package_is_answered_with_one_of_the_labels(ran, name) -> None:
    """The twelve sections, and nothing else."""
    assert set(ran(name).results()["answer"]) <= set(EXPECTED[name]["labels"])


@pytest.mark.parametrize("name", samples_with("truth_column"))
def test_the_true_labels_are_as_many_of_each(ran, name) -> None:
    """The sample is balanced."""
    expected = EXPECTED[name]
    truth = Counter(ran(name).results()[expected["truth_column"]])
    assert truth == dict.fromkeys(expected["labels"], expected["rows_per_label"])


@pytest.mark.parametrize("name", samples_with("same_rows_as"))
def test_the_same_rows_in_another_format_are_answered_alike(ran, name) -> None:
    """Parquet and JSONL ask the same."""
    columns = [*EXPECTED[name]["columns"], "row", "id", "answer", "input_tokens"]
    other = EXPECTED[name]["same_rows_as"]
    assert ran(name).results().select(columns).equals(ran(other).results().select(columns))


def test_batch_lines_are_answered_by_the_models_they_name(ran) -> None:
    """Each under its custom_id; the catalogue's short names stand for both forms."""
    models = dict(ran("openai_batch.jsonl").results().select("id", "model").rows())
    expected = EXPECTED["openai_batch.jsonl"]["models"]
    assert models == {name: model.removeprefix("databricks-") for name, model in expected.items()}


def test_batch_lines_go_to_as_many_of_each_endpoint(ran) -> None:
    """The sample has both."""
    urls = Counter(ran("openai_batch.jsonl").results()["url"])
    assert urls == EXPECTED["openai_batch.jsonl"]["rows_per_url"]


def test_a_batch_line_with_a_schema_is_answered_with_json_of_it(ran) -> None:
    """The answer is an object with what the schema requires."""
    table = ran("openai_batch.jsonl").results()
    for name in EXPECTED["openai_batch.jsonl"]["json_answers"]:
        line = table.filter(pl.col("id") == name).row(0, named=True)
        schema = json.loads(line["body"])["response_format"]["json_schema"]["schema"]
        assert set(json.loads(line["answer"])) >= set(schema["required"])


@pytest.mark.parametrize("name", samples_with("ids"))
def test_rows_are_called_by_their_ids(ran, name) -> None:
    """In the order of the file."""
    assert ran(name).results()["id"].to_list() == EXPECTED[name]["ids"]


def test_conversations_are_sent_with_all_their_turns(ran) -> None:
    """What is kept beside the answer has the roles that the README names."""
    for messages in ran("chat.jsonl").results()["messages"]:
        assert [message["role"] for message in json.loads(messages)] == EXPECTED["chat.jsonl"]["roles"]


def test_a_picture_is_counted_by_its_size(ran) -> None:
    """A disc of 64 x 48 pixels is a few tokens; the logo's size is not known, so it is taken for a large one."""
    estimated = dict(ran("image.jsonl").results().select("id", "estimated_input_tokens").rows())
    assert estimated["disc-inline"] < 200 < estimated["logo-by-url"]


def test_the_picture_is_as_large_as_expected() -> None:
    """Width and height stand in the PNG's header, and `expected.json` says the same."""
    from runner.gateway.images import pixels

    for line in (SAMPLES / "image.jsonl").read_text().splitlines():
        row = json.loads(line)
        image = next(part for part in row["messages"][0]["content"] if part["type"] == "image_url")["image_url"]["url"]
        expected = EXPECTED["image.jsonl"]["images"][row["id"]]
        if "url" in expected:
            assert image == expected["url"]
        else:
            assert pixels(image) == (expected["width"], expected["height"])


def test_a_model_that_reads_no_images_is_refused() -> None:
    """The sentence says what it does read, and nothing is sent."""
    with pytest.raises(InputRejected, match="line 1, line 2: it holds an image, and gpt-oss-20b reads text only"):
        runner.run(SAMPLES / "image.jsonl", models="gpt-oss-20b", gateway=LOCAL)


def test_broken_lines_are_named_by_their_numbers() -> None:
    """All of them at once, and nothing is sent."""
    with pytest.raises(InputRejected) as rejected:
        runner.run(SAMPLES / "broken.jsonl", models=MODEL, gateway=LOCAL)
    said = [line.strip() for line in str(rejected.value).splitlines()[1:3]]
    lines = [problem["line"] for problem in EXPECTED["broken.jsonl"]["bad_lines"]]
    assert [line.partition(": ")[0] for line in said] == [f"line {number}" for number in lines]
    assert said[0].partition(": ")[2].startswith("not JSON at byte ")
    assert said[1].partition(": ")[2].startswith("a JSON array, not an object")


def test_the_sound_lines_of_a_broken_file_can_be_answered(ran) -> None:
    """With `--bad-rows record` the run ends with 3, and the broken ones stand among the others as errored."""
    finish = ran("broken.jsonl")
    assert finish.ending.exit_code == 3
    assert good(ran, "broken.jsonl")["id"].to_list() == EXPECTED["broken.jsonl"]["good_ids"]
    bad = finish.results().filter(pl.col("status") == "errored")["row"].to_list()
    assert bad == [problem["line"] - 1 for problem in EXPECTED["broken.jsonl"]["bad_lines"]]


def test_the_readme_lists_every_sample() -> None:
    """A row for each, with the command that runs it."""
    readme = (SAMPLES / "README.md").read_text()
    for name in EXPECTED:
        assert f"`runner run samples/{name} " in readme
