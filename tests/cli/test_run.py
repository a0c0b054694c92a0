"""What `runner run` does with its options, its inputs and its run directory."""

from __future__ import annotations

import base64
import contextlib
import csv
import errno
import fcntl
import gzip
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema_rs
import polars as pl
import pytest

from runner.storage.rundir import RunDirectory

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MODEL = "claude-haiku-4-5"
OTHER = "gpt-5-4-nano"
ROOT = Path(__file__).parents[2]

COLUMNS = (
    "row",
    "id",
    "model",
    "status",
    "outcome",
    "text",
    "answer",
    "error_type",
    "error_message",
    "estimated_input_tokens",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "attempts",
    "latency_s",
)
"""Columns that every results table has, by docs and design; others may stand between them."""


def table(run: Path) -> pl.DataFrame:
    """A run's results."""
    return pl.read_parquet(run / "results.parquet")


# Models.


def test_a_pool_shares_the_rows(command, gateway, rows, tmp_path) -> None:
    """Without --each a row is answered once, by any of the models, and all of them get some."""
    done = command("run", rows(40), "-m", f"{MODEL},{OTHER}", "--out", tmp_path / "run", env=gateway.env)
    assert done.code == 0
    assert table(tmp_path / "run")["row"].to_list() == list(range(40))
    assert set(table(tmp_path / "run")["model"]) == {MODEL, OTHER}


def test_each_asks_every_model_about_every_row_in_input_order(command, gateway, rows, tmp_path) -> None:
    """The lines stand by row, and within a row by model as they were named."""
    done = command("run", rows(5), "-m", OTHER, "-m", MODEL, "--each", "--out", tmp_path / "run", env=gateway.env)
    assert done.code == 0
    expected = [(row, model) for row in range(5) for model in (OTHER, MODEL)]
    assert table(tmp_path / "run").select("row", "model").rows() == expected


def test_a_row_that_never_fits_has_one_line_whoever_would_be_asked(command, gateway, tmp_path) -> None:
    """With --each its lines were one errored and one canceled, though nothing was left open; it is nobody's fault."""
    source, limits = tmp_path / "rows.jsonl", tmp_path / "limits.toml"
    source.write_text("".join(json.dumps({"prompt": "word " * count}) + "\n" for count in (1, 3000)))
    limits.write_text("[per_model]\ninput_tokens = 1000\n")
    words = ["-m", f"{OTHER},{MODEL}", "--each", "--limits", limits, "--bad-rows", "record", "--out", tmp_path / "run"]
    done = command("run", source, *words, "--json", env=gateway.env)
    assert (done.code, done.json()["tasks"]["total"]) == (3, 3)
    lines = table(tmp_path / "run").select("row", "model", "annotator", "status").rows()
    assert lines == [(0, OTHER, OTHER, "succeeded"), (0, MODEL, MODEL, "succeeded"), (1, "", None, "errored")]


def test_a_model_named_twice_is_one_model(command, gateway, rows, tmp_path) -> None:
    """The databricks- form of a name is the same model, with one budget and one answer."""
    words = ["run", rows(2), "-m", f"{MODEL},databricks-{MODEL}", "--each", "--out", tmp_path / "run"]
    command(*words, env=gateway.env)
    assert table(tmp_path / "run").select("row", "model").rows() == [(0, MODEL), (1, MODEL)]


def test_a_row_that_names_its_model_is_answered_by_it(command, gateway, rows, tmp_path) -> None:
    """A row's own `model` goes over the pool."""
    command("run", rows(5, model="gpt-5-4"), "-m", f"{MODEL},{OTHER}", "--out", tmp_path / "run", env=gateway.env)
    assert table(tmp_path / "run")["model"].to_list() == ["gpt-5-4"] * 5


def test_no_row_settings_makes_a_model_column_plain_data(command, gateway, rows, tmp_path) -> None:
    """A column that is called `model` by chance can be left alone; it stays beside the results under another name."""
    words = ["run", rows(2, model="T-1000"), "-m", MODEL, "--no-row-settings", "--out", tmp_path / "run"]
    assert command(*words, env=gateway.env).code == 0
    assert table(tmp_path / "run").select("model", "input_model").rows() == [(MODEL, "T-1000")] * 2


# Which rows.


def test_limit_takes_the_first_rows(command, gateway, rows, tmp_path) -> None:
    """The rest of the file is not asked."""
    command("run", rows(10), "-m", MODEL, "--limit", "3", "--out", tmp_path / "run", env=gateway.env)
    assert table(tmp_path / "run")["row"].to_list() == [0, 1, 2]


def test_sample_draws_the_same_rows_for_the_same_seed(command, gateway, rows, tmp_path) -> None:
    """A drawing can be repeated, and another seed gives another one."""
    drawn = []
    for number, seed in enumerate((1, 1, 2)):
        out = tmp_path / f"run-{number}"
        words = ["run", rows(50), "-m", MODEL, "--sample", "8", "--seed", str(seed), "--out", out]
        command(*words, env=gateway.env)
        drawn.append(table(out)["row"].to_list())
    assert drawn[0] == drawn[1] == sorted(drawn[0])
    assert len(drawn[0]) == 8
    assert drawn[2] != drawn[0]


def test_id_column_names_the_rows(command, gateway, rows, tmp_path) -> None:
    """The column's values stand in `id`, as text."""
    words = ["run", rows(2, ticket=17), "-m", MODEL, "--id-column", "ticket", "--out", tmp_path / "run"]
    command(*words, env=gateway.env)
    assert table(tmp_path / "run")["id"].to_list() == ["17", "17"]


def test_an_id_column_that_is_not_there_is_refused(command, gateway, rows) -> None:
    """A misspelt column would leave the results without names."""
    done = command("run", rows(1), "-m", MODEL, "--id-column", "tickett", env=gateway.env)
    assert done.code == 7
    assert "it has no column 'tickett', which --id-column names" in done.err


# Inputs.


TEXTS = [f"Say something about {word}." for word in ("rain", "snow, and ice", 'the "wind"', "Ä ö ü 🌧")]


def _jsonl() -> bytes:
    return "".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS).encode()


def _csv() -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([["prompt"], *([text] for text in TEXTS)])
    return text.getvalue().encode()


def _parquet() -> bytes:
    sink = io.BytesIO()
    pl.DataFrame({"prompt": TEXTS}).write_parquet(sink)
    return sink.getvalue()


@pytest.fixture
def answers(command, gateway, tmp_path) -> Any:
    """Run a file of these bytes under this name, and give its rows and answers."""

    def ask(name: str, data: bytes) -> list[tuple[int, str]]:
        (tmp_path / name).write_bytes(data)
        done = command("run", name, "-m", MODEL, "--out", f"run-{name}", env=gateway.env)
        assert done.code == 0, done.err
        lines: list[tuple[int, str]] = table(tmp_path / f"run-{name}").select("row", "prompt", "answer").rows()
        return lines

    return ask


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("rows.jsonl.gz", gzip.compress(_jsonl()), id="gzip"),
        pytest.param("rows.jsonl.zst", zstd.compress(_jsonl()), id="zstd"),
        pytest.param("rows.csv", _csv(), id="CSV"),
        pytest.param("rows.csv.gz", gzip.compress(_csv()), id="CSV, gzip"),
        pytest.param("rows.parquet", _parquet(), id="Parquet"),
        pytest.param("crlf.jsonl", _jsonl().replace(b"\n", b"\r\n"), id="JSONL, CRLF"),
        pytest.param("bom.jsonl", b"\xef\xbb\xbf" + _jsonl(), id="JSONL, BOM"),
    ],
)
def test_the_same_rows_in_another_format_give_the_same_answers(answers, name, data) -> None:
    """The local gateway answers the same request alike, so the requests were the same."""
    assert answers(name, data) == answers("rows.jsonl", _jsonl())


@pytest.mark.parametrize("place", [0, 2])
def test_a_row_that_a_dialect_cannot_say_is_named_before_anything_is_sent(command, gateway, tmp_path, place) -> None:
    """Wherever it stands; or it is recorded, like any other that cannot be asked."""
    file = tmp_path / "rows.jsonl"
    with file.open("w") as lines:
        for row in range(3):
            url = f"data:image/png;base64,{'@@@' if row == place else 'AAAA'}"
            content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
            lines.write(json.dumps({"messages": [{"role": "user", "content": content}]}) + "\n")
    words = ("run", file, "-m", MODEL, "--endpoint", "messages", "--max-tokens", "9", "--out", "run")
    done = command(*words, env=gateway.env)
    assert done.code == 7
    assert f"line {place + 1}: An image's data: URL does not hold base64" in done.err
    assert gateway.meter()["statuses"] == {}
    assert command(*words, "--bad-rows", "record", env=gateway.env).code == 3
    assert sorted(table(tmp_path / "run")["status"].to_list()) == ["errored", "succeeded", "succeeded"]


def _parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def test_standard_input_is_an_input(command, gateway, answers, tmp_path) -> None:
    """`-` reads rows from standard input, and gives the same answers."""
    done = command("run", "-", "-m", MODEL, "--out", "run", env=gateway.env, stdin=_jsonl())
    assert done.code == 0
    assert table(tmp_path / "run").select("row", "prompt", "answer").rows() == answers("rows.jsonl", _jsonl())


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "jsonl.gz", "parquet"])
def test_standard_input_of_any_form_is_read(form: str, command, gateway, answers, tmp_path) -> None:
    """Nothing says what it is but what it holds; and the run keeps it in a file of that name."""
    frame = pl.DataFrame({"prompt": TEXTS, "n": range(len(TEXTS))})
    content = {
        "csv": lambda: frame.write_csv().encode(),
        "tsv": lambda: frame.write_csv(separator="\t").encode(),
        "csv.gz": lambda: gzip.compress(frame.write_csv().encode()),
        "jsonl.gz": lambda: gzip.compress(_jsonl()),
        "parquet": lambda: _parquet(frame),
    }[form]()
    done = command("run", "-", "-m", MODEL, "--out", "run", env=gateway.env, stdin=content)
    assert (done.code, done.err.count("Traceback")) == (0, 0), done.err
    assert table(tmp_path / "run")["prompt"].to_list() == TEXTS
    assert command("resume", "run", env=gateway.env).code == 0


def test_csv_on_standard_input_is_read_and_can_be_resumed(command, gateways, tmp_path) -> None:
    """Nothing says what it is but what it holds."""
    strict = gateways("--no-limits", "--token", "the-right-one")
    command("run", "-", "-m", MODEL, "--out", "run", env=strict.env, stdin=_csv())
    done = command("resume", "run", env={**strict.env, "NEON_AI_GATEWAY_TOKEN": "the-right-one"})
    assert done.code == 0
    assert table(tmp_path / "run")["prompt"].to_list() == TEXTS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'text,n\n"never closed,1\n', "standard input: line 2: a quote is opened"),
        ('{"prompt": "a"}\n'.encode("utf-16"), "This makes one of it: iconv -f UTF-16 -t UTF-8\n"),
        (b"PAR1 and no more", "standard input cannot be read as Parquet"),
        (b"\x1f\x8b\x08 cut off", "standard input cannot be read to its end"),
    ],
    ids=["an open quote", "UTF-16", "Parquet", "gzip"],
)
def test_standard_input_that_cannot_be_read_is_called_so(command, gateway, content, said) -> None:
    """And not by the name of the copy that was made of it, which is gone when that is read."""
    done = command("run", "-", "-m", MODEL, env=gateway.env, stdin=content)
    assert done.code == 7
    assert said in done.err
    assert "stdin" not in done.err


def test_a_run_of_standard_input_can_be_resumed(command, gateways, tmp_path) -> None:
    """The rows are kept in the run directory, because nobody can read standard input again."""
    strict = gateways("--no-limits", "--token", "the-right-one")
    command("run", "-", "-m", MODEL, "--out", "run", env=strict.env, stdin=_jsonl())
    done = command("resume", "run", env={**strict.env, "NEON_AI_GATEWAY_TOKEN": "the-right-one"})
    assert done.code == 0
    assert table(tmp_path / "run")["status"].to_list() == ["succeeded"] * 4


@pytest.mark.parametrize("how", ["moved", "repaired"])
def test_a_run_of_standard_input_goes_on_wherever_its_directory_is(command, gateways, tmp_path, how) -> None:
    """Its rows are in it, and go with it."""
    strict = gateways("--no-limits", "--token", "the-right-one")
    command("run", "-", "-m", MODEL, "--out", "run", env=strict.env, stdin=_jsonl())
    if how == "moved":
        (tmp_path / "run").rename(tmp_path / "elsewhere")
    else:
        assert command("repair", "run", "--out", "elsewhere").code == 0
        shutil.rmtree(tmp_path / "run")
    done = command("resume", "elsewhere", env={**strict.env, "NEON_AI_GATEWAY_TOKEN": "the-right-one"})
    assert done.code == 0, done.err
    assert table(tmp_path / "elsewhere")["status"].to_list() == ["succeeded"] * 4


@pytest.mark.parametrize("before", ["write_json", "settle"])
def test_a_run_of_standard_input_that_is_killed_as_it_begins_is_begun_again(
    command, gateway, tmp_path, monkeypatch, before
) -> None:
    """Before it has a manifest it is no run, and its copy in nobody's way; from then on it holds its rows."""

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, before, fail)
        patch.setattr(RunDirectory, "held", lambda _: contextlib.nullcontext())  # as of a process that is gone
        command("run", "-", "-m", MODEL, "--out", "run", env=gateway.env, stdin=_jsonl())
    again = ["run", "-", "-m", MODEL, "--out", "run"] if before == "write_json" else ["resume", "run"]
    done = command(*again, env=gateway.env, stdin=_jsonl())
    assert done.code == 0, done.err
    assert table(tmp_path / "run")["prompt"].to_list() == TEXTS
    assert (tmp_path / "run" / "input.jsonl").read_bytes() == _jsonl()


def test_a_copy_of_standard_input_that_finds_no_room_is_a_storage_failure(
    command, gateway, tmp_path, monkeypatch
) -> None:
    """With the place, as for any other file of the run."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "move", full)
    done = command("run", "-", "-m", MODEL, "--out", "run", env=gateway.env, stdin=_jsonl())
    assert (done.code, done.err) == (8, "runner: run/input.jsonl cannot be written: No space left on device.\n")


def test_standard_input_leaves_nothing_elsewhere(command, gateway, tmp_path, monkeypatch) -> None:
    """The copy of the rows is in the run directory alone, and no empty folder stays behind."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    command("run", "-", "-m", MODEL, "--out", "run", env=gateway.env, stdin=_jsonl())
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_run_that_does_not_begin_keeps_nothing_of_standard_input(command, gateway, tmp_path, monkeypatch) -> None:
    """Rows that were refused are not left lying in the folder for temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    done = command("run", "-", "-m", MODEL, env=gateway.env, stdin=b"[]\n")
    assert (done.code, done.err.partition(":")[2][:45]) == (7, " standard input: 1 of 1 rows cannot be asked;")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_input_without_rows_is_a_run_of_nothing(command, gateway, tmp_path) -> None:
    """Nothing is said of times and models that there were not, and who looks at errors only learns of it."""
    (tmp_path / "none.jsonl").touch()
    ran = command("run", "none.jsonl", "-m", MODEL, "--out", "run", env=gateway.env)
    assert (ran.code, ran.out.split("\n")[0]) == (0, "0 tasks: none; 0 s, $0.0000")
    assert not re.search(r"^[0-9.]+ s:", ran.out, re.MULTILINE)
    assert ran.err == "note: The input has no rows: nothing was asked.\n"
    assert command("plan", "none.jsonl", "-m", MODEL).out == "0 rows, 0 requests\n"


# What is asked.


def test_a_prompt_from_a_file_asks_the_same_as_from_the_command_line(command, gateway, rows, tmp_path) -> None:
    """`--prompt @FILE` is the text of the file."""
    template = "In one word, what is {{ word }}?"
    (tmp_path / "prompt.jinja").write_text(template)
    for out, prompt in (("text", template), ("file", "@prompt.jinja")):
        words = ["run", rows(2, word="tea"), "-m", MODEL, "--prompt", prompt, "--out", out]
        assert command(*words, env=gateway.env).code == 0
    assert gateway.meter()["distinct_bodies"] == 1


def test_a_system_prompt_is_sent(command, gateway, rows, tmp_path) -> None:
    """The gateway counts it as input."""
    system = "You are a terse clerk of the registry of numbers, and you answer in the language of {{ place }}."
    command("run", rows(1, place="Wales"), "-m", MODEL, "--out", "plain", env=gateway.env)
    command("run", rows(1, place="Wales"), "-m", MODEL, "--system", system, "--out", "system", env=gateway.env)
    plain, with_system = (table(tmp_path / name)["input_tokens"][0] for name in ("plain", "system"))
    assert with_system > plain + 15


TEXT = {"type": "text"}
SCHEMA = {
    "type": "object",
    "properties": {"team": {"enum": ["billing", "shipping"]}, "urgent": {"type": "boolean"}},
    "required": ["team", "urgent"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [
        pytest.param(MODEL, "chat", id="chat"),
        pytest.param(MODEL, "messages", id="messages"),
        pytest.param("gpt-5-4-mini", "responses", id="responses"),
        pytest.param("gemini-2-5-flash", "gemini", id="gemini"),
    ],
)
def test_a_schema_gives_answers_that_satisfy_it(command, gateway, rows, tmp_path, model, endpoint) -> None:
    """Every answer is JSON of the schema, on every dialect."""
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    words = ["run", rows(4), "-m", model, "--endpoint", endpoint, "--schema", "schema.json", "--out", "run"]
    assert command(*words, env=gateway.env).code == 0
    for answer in table(tmp_path / "run")["answer"]:
        jsonschema_rs.validate(SCHEMA, json.loads(answer))


def test_an_answer_that_breaks_its_schema_is_asked_again_and_then_told_of(command, gateways, rows, tmp_path) -> None:
    """JSON that breaks off is no answer; the rows that stay without one are counted."""
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    env = gateways("--no-limits", "--fault", "broken_answer=0.9").env
    words = ["run", rows(12), "-m", MODEL, "--schema", "schema.json", "--out", "run"]
    done = command(*words, env=env)
    summary, found = json.loads((tmp_path / "run" / "summary.json").read_text()), table(tmp_path / "run")
    answers = found["answer"].drop_nulls()
    invalid = found.filter(pl.col("answer_status") == "invalid")
    assert done.code == 0
    assert 0 < len(answers) < 11
    assert all(jsonschema_rs.is_valid(SCHEMA, json.loads(answer)) for answer in answers)
    assert set(invalid["invalid_reason"]) == {"its JSON breaks off or cannot be read"}
    assert summary["requests"]["asked_again"] == summary["requests"]["sent"] - 12 > 0
    assert summary["invalid"] == summary["models"][MODEL]["invalid"] == len(invalid) == 12 - len(answers)
    for said in (done.out, command("status", "run").out):
        assert f"\n{len(invalid)} answers invalid: " in said


def test_a_batch_line_with_a_form_of_its_own_is_not_read_by_the_schema(command, gateway, tmp_path) -> None:
    """The schema was not sent with it; the line beside it leaves its form open, and is read by it."""
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    bodies = [{"messages": [{"role": "user", "content": "hi"}], **own} for own in ({"response_format": TEXT}, {})]
    lines = [{"custom_id": str(n), "url": "/v1/chat/completions", "body": body} for n, body in enumerate(bodies)]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["run", "lines.jsonl", "-m", MODEL, "--schema", "schema.json", "--out", "run"]
    assert command(*words, env=gateway.env).code == 0
    own, by_schema = table(tmp_path / "run").to_dicts()
    assert (own["answer"], own["answer_status"], own["invalid_reason"]) == (own["text"], None, None)
    assert by_schema["answer_status"] == "read"
    jsonschema_rs.validate(SCHEMA, json.loads(by_schema["answer"]))


@pytest.mark.parametrize("schema", ['{"type": "strng"}', '{"$ref": "http://127.0.0.1/other.json"}'])
def test_a_schema_that_is_none_is_refused_before_anything_is_begun(command, gateway, rows, tmp_path, schema) -> None:
    """One sentence, and no run; nothing is fetched either."""
    done = command("run", rows(1), "-m", MODEL, "--schema", schema, "--out", "run", env=gateway.env)
    assert (done.code, (tmp_path / "run").exists()) == (2, False)
    assert done.err.startswith("runner: The answer's schema is no JSON schema: ")


def test_strict_params_refuses_a_parameter_that_a_model_rejects(command, gateway, rows) -> None:
    """The sentence names the parameter and the model, and nothing is sent."""
    words = ["run", rows(1), "-m", "claude-opus-4-8", "--temperature", "0.5", "--strict-params"]
    done = command(*words, env=gateway.env)
    assert done.code == 2
    assert "temperature" in done.err
    assert "claude-opus-4-8" in done.err
    assert gateway.meter()["statuses"] == {}


def test_without_strict_params_a_notice_says_what_is_left_out(command, gateway, rows, tmp_path) -> None:
    """The rows are answered without the parameter, and the screen and the summary say so."""
    words = ["run", rows(1), "-m", "claude-opus-4-8", "--temperature", "0.5", "--out", "run"]
    done = command(*words, env=gateway.env)
    assert done.code == 0
    assert re.search(r"^note: .*temperature", done.err, re.MULTILINE)
    notices = json.loads((tmp_path / "run" / "summary.json").read_text())["notices"]
    assert len(notices) == 1


# What is printed.


def test_json_prints_one_object_and_nothing_else(command, gateway, rows, tmp_path) -> None:
    """Standard output can be piped into a JSON reader, and is what summary.json holds, with the run's place."""
    done = command("run", rows(3), "-m", MODEL, "--json", "--out", tmp_path / "run", env=gateway.env)
    assert done.json() == {
        "run": str(tmp_path / "run"),
        **json.loads((tmp_path / "run" / "summary.json").read_text()),
    }
    assert done.err == ""


def test_quiet_prints_nothing(command, gateway, rows, tmp_path) -> None:
    """A cron job that succeeds sends no mail."""
    done = command("run", rows(3), "-m", MODEL, "--quiet", "--out", tmp_path / "run", env=gateway.env)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_the_summary_names_the_results(command, gateway, rows, tmp_path) -> None:
    """Whoever has just run something wants to know where it is."""
    done = command("run", rows(3), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    assert done.out.startswith("3 tasks: 3 succeeded; ")
    assert f"Results: {tmp_path / 'run' / 'results.parquet'}" in done.out.splitlines()


def test_answers_that_are_none_are_told_of_apart(command, gateways, rows, tmp_path) -> None:
    """A run whose answers were cut short does not look like one that went well: on screen, in status and as JSON."""
    env = gateways("--no-limits", "--fault", "refusal=0.4").env
    words = ["run", rows(8), "-m", f"{MODEL},{OTHER}", "--each", "--max-tokens", "4", "--out", "run"]
    done, status = command(*words, env=env), command("status", "run")
    found = table(tmp_path / "run")["outcome"].value_counts()
    counts = dict(found.iter_rows())
    assert done.code == 0
    assert counts.keys() == {"truncated", "refused"}
    for said in (done.out, status.out):
        assert f"\n{counts['truncated']} answers truncated (" in said
        assert f"\n{counts['refused']} answers refused by the model (" in said
    assert command("status", "run", "--json").json()["outcomes"] == counts
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["outcomes"] == counts


def test_the_time_of_a_run_is_divided_over_all_its_sessions(command, gateway, rows, tmp_path) -> None:
    """What it waited for and its own work add up to the time that it took; a resume adds its own to it."""
    (tmp_path / "limits.toml").write_text("[per_model]\nrequests_per_second = 5\n")
    words = ["run", rows(9), "-m", MODEL, "--limits", "limits.toml", "--max-total-tokens", "900", "--out", "run"]
    stopped = command(*words, "--json", env=gateway.env).json()
    again = command("resume", "run", "--max-total-tokens", "100000", "--json", env=gateway.env).json()
    assert (stopped["exit_code"], again["exit_code"], again["sessions"]) == (4, 0, 2)
    assert again["elapsed_s"] > stopped["elapsed_s"]
    for summary in (stopped, again):
        assert sum(summary["waiting_s"].values()) == pytest.approx(summary["elapsed_s"], abs=0.002)
    assert again["waiting_s"]["requests"] > 0
    told = command("resume", "run", env=gateway.env).out
    assert re.search(r"^\d\.\d s: \d\.\d s waited for .*request limits", told, re.MULTILINE)


def test_the_local_gateway_is_named_on_screen_and_in_the_run(command, rows, tmp_path) -> None:
    """Nobody takes its answers for a model's."""
    words = ["run", rows(2), "-m", MODEL, "--gateway", "local?time-scale=0", "--out", tmp_path / "run"]
    done = command(*words)
    assert "local gateway, which is no model" in " ".join(done.err.split())
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["gateway"]["local"] is True
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["gateway"]["local"] is True


def test_piped_progress_is_plain_lines(command, gateway, rows, tmp_path) -> None:
    """Where standard error is no terminal, progress is a line with the time, and nothing that moves a cursor; what it
    counts are tasks, as in the summary: nine rows of two models are 18."""
    (tmp_path / "limits.toml").write_text("[per_model]\nrequests_per_second = 5\n")
    words = [
        "run",
        rows(9),
        "-m",
        f"{MODEL},gpt-5-4-mini",
        "--each",
        "--limits",
        "limits.toml",
        "--out",
        tmp_path / "run",
    ]
    done = command(*words, env=gateway.env)
    lines = [line for line in done.err.splitlines() if re.match(r"\d\d:\d\d:\d\d \d+/18 tasks · ", line)]
    assert lines
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", done.err)


def test_hostile_text_cannot_move_the_terminal(command, gateway, tmp_path) -> None:
    """An id with escape sequences is printed without them."""
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "\x1b[2Jgone\r", "prompt": "Say yes."}) + "\n")
    done = command("run", "rows.jsonl", "-m", MODEL, "--out", "run", env=gateway.env)
    assert "gone" in done.out
    assert "\x1b" not in done.out
    assert "\r" not in done.out


def on_a_terminal(words: list[str], env: dict[str, str], cwd: Path) -> str:
    """What `runner WORDS` writes to a terminal of 120 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **env},
    )
    os.close(theirs)
    written = bytearray()
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # Linux's word for the end of a terminal
        pass
    os.close(ours)
    process.wait(20)
    return written.decode()


COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|38|9[0-7])(?:;\d+)*m")


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["plain", "NO_COLOR"])
@pytest.mark.parametrize("what", ["run", "doctor"])
def test_a_terminal_gets_colours_unless_no_color_is_set(gateway, rows, tmp_path, env, coloured, what) -> None:
    """no-color.org: a variable that is set and not empty switches colours off, in every command."""
    (tmp_path / "limits.toml").write_text("[per_model]\nrequests_per_second = 5\n")
    words = {
        "run": ["run", str(rows(9)), "-m", MODEL, "--limits", "limits.toml", "--out", "run"],
        "doctor": ["doctor", "-m", MODEL],
    }
    written = on_a_terminal(words[what], {**gateway.env, **env}, tmp_path)
    assert MODEL in written
    assert bool(COLOUR.search(written)) is coloured


# The run directory.


@pytest.fixture
def finished(command, gateways, rows, tmp_path) -> Path:
    """The directory of a run in which some attempts failed, and some rows with them."""
    flaky = gateways("--no-limits", "--fault", "invalid_json=0.4", "--seed", "3")
    out = tmp_path / "run"
    words = ["run", rows(8, weight=0.5, tags=["a"]), "-m", MODEL, "--attempts", "2", "--out", out]
    assert command(*words, env=flaky.env).code == 3
    return out


def test_a_run_directory_holds_its_files_for_the_owner_alone(finished) -> None:
    """The folder is 0700 and its files 0600: rows and answers are nobody else's business."""
    names = {"attempts.parquet", "errors.parquet", "journal.jsonl", "lock", "manifest.json", "results.parquet"}
    assert {path.name for path in finished.iterdir()} == names | {"summary.json"}
    assert finished.stat().st_mode & 0o777 == 0o700
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in finished.iterdir()} == dict.fromkeys(
        names | {"summary.json"}, "0o600"
    )


def test_the_copy_of_standard_input_is_for_the_owner_alone(command, gateway, tmp_path) -> None:
    """It holds the same rows as the tables do."""
    command("run", "-", "-m", MODEL, "--out", "run", env=gateway.env, stdin=_jsonl())
    assert oct((tmp_path / "run" / "input.jsonl").stat().st_mode & 0o777) == "0o600"


def test_results_have_the_columns_of_the_design_and_then_those_of_the_input(finished) -> None:
    """Programs that read the table count on names, types and order."""
    schema = table(finished).schema
    own = [name for name in schema if name in COLUMNS]
    assert own == list(COLUMNS)
    assert list(schema)[-3:] == ["prompt", "weight", "tags"]
    assert schema["row"] == pl.Int64
    assert schema["cost_usd"] == schema["latency_s"] == schema["weight"] == pl.Float64
    assert {schema[name] for name in ("id", "model", "status", "outcome", "answer", "tags")} == {pl.String}
    assert {schema[name] for name in ("input_tokens", "output_tokens", "attempts")} == {pl.Int64}


def test_results_have_a_line_for_every_row_in_input_order(finished) -> None:
    """Errored rows stand among the others."""
    assert table(finished)["row"].to_list() == list(range(8))
    assert set(table(finished)["status"]) == {"succeeded", "errored"}


def test_errors_are_the_rows_that_did_not_succeed(finished) -> None:
    """`errors.parquet` holds them with their reasons."""
    errored = table(finished).filter(pl.col("status") != "succeeded")
    errors = pl.read_parquet(finished / "errors.parquet")
    assert errors.rows() == errored.select(errors.columns).rows()
    assert errors["error_message"].null_count() == 0


def test_attempts_have_a_line_for_every_request(finished) -> None:
    """As many lines as requests that came back, and as many of a row as the results say."""
    attempts = pl.read_parquet(finished / "attempts.parquet")
    of_row = dict(attempts.group_by("row").len().rows())
    assert of_row == dict(table(finished).select("row", "attempts").rows())
    assert set(attempts["status"]) == {"replied", "failed"}


def test_the_summary_adds_up(finished) -> None:
    """Its counts, tokens and dollars are the sums of the tables."""
    summary = json.loads((finished / "summary.json").read_text())
    lines, attempts = table(finished), pl.read_parquet(finished / "attempts.parquet")
    tasks = summary["tasks"]
    assert tasks["total"] == 8 == sum(tasks[name] for name in tasks if name != "total")
    assert tasks["succeeded"] == lines.filter(pl.col("status") == "succeeded").height
    assert summary["requests"]["sent"] == attempts.height
    assert summary["requests"]["failed"] == attempts.filter(pl.col("status") == "failed").height
    assert summary["tokens"]["input"] == lines["input_tokens"].sum()
    assert summary["tokens"]["output"] == lines["output_tokens"].sum()
    assert summary["cost_usd"] == pytest.approx(lines["cost_usd"].sum(), abs=1e-5)


def test_the_manifest_says_what_was_run(finished) -> None:
    """The input with its digest, the job, the models, the limits, and the gateway without its token."""
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["input"]["rows"] == 8
    assert len(manifest["input"]["digest"]) == 64
    assert manifest["job"]["models"] == [MODEL]
    assert manifest["job"]["attempts"] == 2
    assert manifest["limits"]["per_model"]["input_tokens"] == 200_000
    assert set(manifest["gateway"]) == {"local", "origin", "credential"}


def test_without_out_a_run_goes_into_a_folder_of_its_own(command, gateway, rows, tmp_path) -> None:
    """Under runs/, by time and the input's name; two in the same second do not meet."""
    for _ in range(2):
        assert command("run", rows(1, name="my rows.jsonl"), "-m", MODEL, env=gateway.env).code == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2
    assert all(re.fullmatch(r"\d{8}-\d{6}-my-rows(-2)?", name) for name in names)


# The token.


SECRET = "s3ntinel+/token=42"
FORMS = (
    SECRET,
    base64.b64encode(SECRET.encode()).decode().rstrip("="),
    base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    urllib.parse.quote(SECRET, safe=""),
    urllib.parse.quote(SECRET),
    urllib.parse.quote_plus(SECRET),
)
"""The token as it is, and as servers are known to echo it."""


class Echo(BaseHTTPRequestHandler):
    """A gateway that refuses every request, and tells everything it was told in its error."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Authorization"] == f"Bearer {SECRET}"
        body = json.dumps({"error": {"message": f"not for {' or '.join(FORMS)}"}}).encode()
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a gateway that echoes the token, with this status."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.status = request.param  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def traces(run: Path, done: Any) -> list[tuple[str, str]]:
    """Where the token can be found in what a run left and printed, and in which form."""
    texts = {"stdout": done.out, "stderr": done.err}
    for path in run.rglob("*"):
        texts[path.name] = path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            texts[path.name] += str(pl.read_parquet(path).to_dicts())
    return [(where, form) for where, text in texts.items() for form in FORMS if form in text]


def test_the_token_is_nowhere_after_a_run(command, gateway, rows, tmp_path) -> None:
    """Not in the run directory and not on the screen, in no form."""
    env = {**gateway.env, "NEON_AI_GATEWAY_TOKEN": SECRET}
    done = command("run", rows(2), "-m", MODEL, "--out", tmp_path / "run", env=env)
    assert done.code == 0
    assert traces(tmp_path / "run", done) == []


@pytest.mark.parametrize("echo", [400], indirect=True)
def test_a_token_that_the_gateway_echoes_is_taken_out(command, echo, rows, tmp_path) -> None:
    """Error messages are kept, with the token taken out of them in every form."""
    env = {"NEON_AI_GATEWAY_BASE_URL": echo, "NEON_AI_GATEWAY_TOKEN": SECRET}
    done = command("run", rows(2), "-m", MODEL, "--out", tmp_path / "run", env=env)
    assert done.code == 3
    assert "not for ***" in pl.read_parquet(tmp_path / "run" / "errors.parquet")["error_message"][0]
    assert traces(tmp_path / "run", done) == []


@pytest.mark.parametrize("echo", [401, 503], indirect=True)
def test_a_run_that_ends_with_the_gateways_words_says_them_without_the_token(command, echo, rows, tmp_path) -> None:
    """On the screen, in the summary and in the journal: what stops a run is told there as well."""
    env = {"NEON_AI_GATEWAY_BASE_URL": echo, "NEON_AI_GATEWAY_TOKEN": SECRET}
    done = command("run", rows(2), "-m", MODEL, "--patience", "1", "--out", tmp_path / "run", env=env)
    assert done.code in (5, 9)
    assert "not for ***" in done.err
    assert traces(tmp_path / "run", done) == []


def test_a_dot_env_file_in_the_working_directory_is_read(command, gateway, rows, tmp_path) -> None:
    """Gateway and token can stand there instead of the environment."""
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in gateway.env.items()))
    assert command("run", rows(1), "-m", MODEL, "--out", "run").code == 0


def test_the_environment_goes_over_the_dot_env_file(command, gateway, rows, tmp_path) -> None:
    """What is set for this one command is what is meant."""
    (tmp_path / ".env").write_text("NEON_AI_GATEWAY_BASE_URL=https://gateway.invalid\nNEON_AI_GATEWAY_TOKEN=t0ken\n")
    assert command("run", rows(1), "-m", MODEL, "--out", "run", env=gateway.env).code == 0


# Starting.


def test_help_imports_no_heavy_library(tmp_path) -> None:
    """`runner --help` answers at once: it imports none of what only a run needs."""
    code = (
        "import sys, runner.cli.main as m\n"
        "sys.argv = ['runner', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'aiohttp', 'polars', 'pydantic', 'tiktoken', 'rich', 'jinja2'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines()[-1] == "[]"


def test_a_run_imports_no_statistics(tmp_path) -> None:
    """Numbers about annotators and judges are for the jobs that have them: what a plain run needs is imported."""
    code = "import sys, runner.app; print('polars' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    assert done.stdout.decode().split() == ["True", "False"]


def test_help_lists_every_command(command) -> None:
    """Each with a line that says what it is for."""
    done = command("--help")
    assert done.code == 0
    for name in ("run", "resume", "plan", "status", "results", "models", "limits", "doctor", "simulate", "completion"):
        assert re.search(rf"^  {name} +\S", done.out, re.MULTILINE)


def test_a_cap_on_costs_says_of_which_models_no_price_is_known(command, gateway, rows, tmp_path) -> None:
    """It would be taken to hold for them."""
    (tmp_path / "own.toml").write_text('[models.mine]\nprovider = "Me"\n')
    words = ("--catalog", tmp_path / "own.toml", "--max-cost", "1", "--json")
    done = command("plan", rows(1), "-m", f"mine,{MODEL}", *words)
    assert "--max-cost does not hold for mine: no price is known." in done.json()["notices"]
