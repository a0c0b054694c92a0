"""A judge of pairs from the job file to the report, against the real local gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

PACKAGES = [
    {"description": "An audio player that plays music and songs.", "section": "sound", "better": "good"},
    {"description": "A mail client for IMAP mailboxes and messages.", "section": "mail", "better": "good"},
    {"description": "A chess game for one player with puzzles.", "section": "games", "better": "tie"},
    {"description": "A web browser for html pages and links.", "section": "web", "better": None},
]
MODEL = "claude-haiku-4-5"
JOB = f"""
input = "packages.jsonl"
id_column = "name"
max_tokens = 32
models = ["{MODEL}"]
[annotators.prompts]
good = "Which section? Labels: {{{{ labels }}}}\\nThe package {{{{ name }}}}: {{{{ description }}}}"
blind = "Which section? Labels: {{{{ labels }}}}\\nThe package {{{{ name }}}}"
[answer]
kind = "label"
labels = "sound, mail, games, web"
[evaluate]
expected = "section"
"""
PAIRWISE = f"""
[evaluate.pairwise]
model = "gemini-3-1-flash-lite"
question = "@question.jinja"
sides = "{MODEL}/good, {MODEL}/blind"
gold = "better"
max_tokens = 32
"""
QUESTION = "Which section is the package {{ name }} in?\n{{ description }}\n"
LOCAL = "local?latency=0&time-scale=0"


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Path]:
    """Write a job folder of so many packages, which one model is asked about with two prompts."""

    def write(text: str = JOB + PAIRWISE, times: int = 6) -> Path:
        folder = tmp_path / "packages"
        folder.mkdir(exist_ok=True)
        rows = [
            {
                **row,
                "name": f"p{turn}-{place}",
                "better": row["better"] and row["better"].replace("good", f"{MODEL}/good"),
            }
            for turn in range(times)
            for place, row in enumerate(PACKAGES)
        ]
        (folder / "packages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "question.jinja").write_text(QUESTION)
        (folder / "job.toml").write_text(text)
        return folder

    return write


def pairs_in(run: Path) -> dict[str, Any]:
    """What the summary of a run says of its pairs."""
    found: dict[str, Any] = orjson.loads((run / "summary.json").read_bytes())["evaluation"]["pairwise"]
    return found


def test_two_prompts_of_a_model_are_compared(command: Any, job: Callable[..., Path], tmp_path: Path) -> None:
    """The one that says what is asked about wins, and every figure can be worked out again from the tables."""
    run = tmp_path / "run"
    done = command("run", job(), "--gateway", LOCAL, "--out", run)
    assert done.code == 0, done.err
    said, table = pairs_in(run), pl.read_parquet(run / "pairs.parquet")
    replies = dict(pl.read_parquet(run / "pairwise-1" / "results.parquet").select("id", "answer").iter_rows())
    assert len(replies) == said["questions"] == 2 * (24 - said["results"]["same"])
    counts = dict(table["result"].value_counts().iter_rows())
    assert counts == {name: count for name, count in said["results"].items() if count}
    assert said["results"]["one"] > said["results"]["other"]
    assert said["win_rate"]["n"] == said["results"]["one"] + said["results"]["other"]
    assert said["results"]["inconsistent"] == round(said["places"]["inconsistent"]["value"] * said["places"]["pairs"])
    assert said["agreement"]["with"] == "better"
    assert said["cost_usd"] > 0
    assert f"compared {MODEL}/good with {MODEL}/blind in both orders" in done.out
    assert "swapping the order changed what it says in" in done.out
    scores = pl.read_parquet(run / "metrics.parquet").filter(pl.col("scorer") == "pairwise", pl.col("slice") == "")
    assert scores["mean"].sum() == pytest.approx(1.0)
    compared = command("compare", f"{run}:{MODEL}/blind", f"{run}:{MODEL}/good", "--metric", "pairwise")
    assert compared.code == 0, compared.err
    assert command("history", "packages", "--in", tmp_path).code == 0


def test_the_job_that_ships_compares_two_models(command: Any) -> None:
    """As its page says."""
    job = Path(__file__).parents[2] / "jobs" / "evaluation" / "pairwise.toml"
    done = command("run", job, "--gateway", LOCAL, "--limit", "24", "--json", "--no-limits")
    assert done.code == 0, done.err
    said = done.json()["evaluation"]["pairwise"]
    assert (said["pairs"], sum(said["results"].values())) == (24, 24)


def test_replies_of_the_judge_that_cannot_be_read_are_counted(
    command: Any, job: Callable[..., Path], gateways: Any, tmp_path: Path
) -> None:
    """Nothing is guessed: each pair ends in one result, and the tables of the judge's run say the same."""
    run = tmp_path / "run"
    gateway = gateways("--no-limits", "--fault", "broken_answer=0.6")
    done = command("run", job(times=10), "--out", run, env=gateway.env)
    assert done.code == 0, done.err
    said, replies = pairs_in(run), pl.read_parquet(run / "pairwise-1" / "results.parquet")
    assert sum(said["results"].values()) == said["pairs"] == 40
    assert said["invalid_replies"] == int((replies["answer_status"] == "invalid").sum()) > 0
    unread = replies.filter(pl.col("answer").is_null())["row"] // 2  # both orders of a pair stand together
    assert said["results"]["invalid"] == unread.n_unique()
    assert said["results"]["one alone"] + said["results"]["other alone"] > 0
    assert "with a reply that cannot be read" in done.out
    assert "were won without a judge" in done.out


def test_the_judge_has_a_budget_of_its_own(command: Any, job: Callable[..., Path], tmp_path: Path) -> None:
    """What it could not be asked is counted, and that its cap was reached is the run's exit code."""
    words = ("--set", "evaluate.pairwise.max_cost=0.0000001", "--json")
    done = command("run", job(), "--gateway", LOCAL, "--out", tmp_path / "run", *words)
    assert done.code == 4, done.err
    assert "pairwise-1 has reached its own cap" in done.json()["reason"]
    said = done.json()["evaluation"]["pairwise"]
    assert (said["results"]["unjudged"], said["win_rate"]["value"]) == (said["questions"] // 2, None)


def test_a_judge_that_was_killed_goes_on_and_no_question_is_paid_twice(
    command: Any, processes: Any, job: Callable[..., Path], gateways: Any, wait_for: Any, tmp_path: Path
) -> None:
    """Every reply that its journal had stands, and only what was in flight is asked again."""
    run = tmp_path / "run"
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "0.4", "--tokens-per-second", "0")
    process = processes("run", job(), "--out", run, env=slow.env)
    journal = run / "pairwise-1" / "journal.jsonl"

    def landed() -> list[bytes]:
        lines = journal.read_bytes().splitlines() if journal.exists() else []
        return [line for line in lines if b'"landed"' in line]

    wait_for(lambda: len(landed()) > 2)
    process.popen.kill()
    process.popen.wait()
    kept, questions = landed(), len((run / "pairwise-1.jsonl").read_bytes().splitlines())
    in_flight = journal.read_bytes().count(b'"sent"') - len(kept)
    done = command("resume", run, env=slow.env)
    assert done.code == 0, done.err
    assert landed()[: len(kept)] == kept
    assert len(landed()) == questions
    meter = slow.meter()
    assert meter["answered"] - meter["distinct_bodies"] <= in_flight
    again = command("resume", run, env=slow.env)
    assert again.code == 0, again.err
    assert slow.meter()["answered"] == meter["answered"]


def test_a_run_with_nothing_expected_can_be_judged(command: Any, job: Callable[..., Path], tmp_path: Path) -> None:
    """The commonest use: two prompts, and no right answer to compare with."""
    folder = job(JOB.replace('expected = "section"\n', "") + PAIRWISE)
    done = command("run", folder, "--gateway", LOCAL, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "Judged, with 95 % intervals" in done.out
    said = json.loads((tmp_path / "run" / "summary.json").read_bytes())["evaluation"]
    assert (said["expected"], said["main"]) == (None, "pairwise")
    assert command("compare", tmp_path / "run", tmp_path / "run").code == 0


WRONG = [
    ('sides = ["a"]', "evaluate.pairwise.sides: a pair has two different sides"),
    ('sides = "a, a"', "evaluate.pairwise.sides: a pair has two different sides"),
    (f'sides = "{MODEL}/god, {MODEL}/blind"', f"Did you mean '{MODEL}/good'?"),
    ('model = "gemini-9"', "evaluate.pairwise.model: "),
    ("max_cost = 0", "evaluate.pairwise.max_cost: "),
    ('gold = "beter"', "evaluate.pairwise.gold: the input has no column 'beter'"),
    ('question = "{{ descripton }}"', "Did you mean 'description'?"),
    ('question = "{{ better }}"', "evaluate.pairwise.question shows the column 'better'"),
    ('question = "{{ answer }}"', "evaluate.pairwise.question uses 'answer', which is none of the input's columns"),
    ('question = "{% if %}"', "evaluate.pairwise.question: line 1"),
    ('qestion = "?"', "there is no word 'qestion' in [evaluate.pairwise]. Did you mean 'question'?"),
]


@pytest.mark.parametrize(("line", "reason"), WRONG, ids=[line for line, _ in WRONG])
def test_a_judge_that_cannot_judge_is_refused(command: Any, job: Callable[..., Path], line: str, reason: str) -> None:
    """In a sentence that names the place, before anything is sent."""
    word = line.partition(" ")[0]
    kept = [said for said in PAIRWISE.splitlines() if not said.startswith(f"{word} =")]
    done = command("run", job(JOB + "\n".join([*kept, line])), "--gateway", LOCAL)
    assert done.code == 2
    assert reason in done.err


def test_all_that_is_wrong_is_said_at_once(command: Any, job: Callable[..., Path]) -> None:
    """Of words that do not fit and, when they do, of names that there are none of."""
    more = ["scorers = ['exact', 'exat']", "slices = ['sectoin']"]
    settings = ["model='gemini-9'", "gold='beter'", "sides='good,bad'", "question='{{ nothing }}'"]
    words = [word for one in settings for word in ("--set", f"evaluate.pairwise.{one}")]
    said = command("check", job(JOB + "\n".join(more) + PAIRWISE), *words).err
    places = ("'exat'", "slices: sectoin", "pairwise.model", "pairwise.gold", "'good'", "'bad'", "'nothing'")
    assert [place for place in places if place not in said] == []


@pytest.mark.parametrize("prompt", ["{{ better }}: {{ name }}", "{{ row.better }}"])
def test_no_model_sees_what_is_known_to_be_better(command: Any, job: Callable[..., Path], prompt: str) -> None:
    """Neither those that answer nor the judge."""
    folder = job(JOB.replace('The package {{ name }}"', f'{prompt}"') + PAIRWISE)
    done = command("run", folder, "--gateway", LOCAL)
    assert done.code in (2, 7)
    assert "better" in done.err


def test_a_column_with_a_name_of_the_judges_own_is_refused(command: Any, job: Callable[..., Path]) -> None:
    """It would be shown in the place of an answer."""
    folder = job()
    file = folder / "packages.jsonl"
    rows = [{**json.loads(line), "first_answer": "net"} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("check", folder)
    assert done.code in (2, 7)
    assert "the input has a column 'first_answer', which the judge's own input has: rename it" in done.err


def test_check_says_what_an_evaluation_will_do(command: Any, job: Callable[..., Path]) -> None:
    """Scorers, judges with their budgets, slices and gates."""
    more = 'scorers = ["exact", {name = "numeric", absolute = 0.5}]\nslices = ["section"]\n'
    judge = '[evaluate.judge]\nmodel = "gpt-5-4-mini"\nrubric = "{{ answer }}"\nmax_cost = 0.5\n'
    gates = "[gates]\nleast.exact = 0.5\nleast.pairwise = 0.4\nnot_worse = true\nmost_unread = 0.1\nmax_cost = 2\n"
    folder = job(JOB + more + judge + PAIRWISE + gates)
    done = command("check", folder)
    assert done.code == 0, done.err
    said = re.sub(r"about \$0\.\d{4}", "about $COST", done.out)
    lines = [line for line in said.splitlines() if line.startswith(("metric:", "slices:", "gate:"))]
    assert lines == [
        "metric:     exact: equal to the character, against 'section', which verdicts are about",
        "metric:     numeric: a number within a tolerance, against 'section' (absolute = 0.5)",
        "metric:     judge: gpt-5-4-mini grades each answer from 1 to 5, about $COST if its replies are "
        "500 tokens long, since nothing is known of them, for $0.5 at most",
        f"metric:     pairwise: gemini-3-1-flash-lite compares {MODEL}/good with {MODEL}/blind in both orders, "
        "up to 48 questions beside the known preferences in 'better', about $COST if its replies are as long as their "
        "caps, without a cap of its own",
        "slices:     section",
        "gate:       exact of each model is at least 50 %",
        f"gate:       pairwise of {MODEL}/good is at least 40 %",
        "gate:       no model is worse than in the accepted run, by the paired test",
        "gate:       the run costs $2 at most, its judges with it",
        "gate:       at most 10 % of each model's answers are missing or invalid",
    ]
    found = command("check", folder, "--json").json()
    assert found["evaluate"]["pairwise"]["most_questions"] == 48


def test_check_says_about_what_the_judges_cost(command: Any, job: Callable[..., Path], tmp_path: Path) -> None:
    """With answers as long as planned: here as their caps allow, so that it is rather more than the run tells."""
    judge = '[evaluate.judge]\nmodel = "gpt-5-4-mini"\nrubric = "{{ description }} {{ answer }}. Labels: 1, 5"\n'
    folder = job(JOB + judge + "max_tokens = 16\n" + PAIRWISE)
    said = command("check", folder, "--json").json()["evaluate"]
    run = command("run", folder, "--gateway", LOCAL, "--out", tmp_path / "run", "--json").json()["evaluation"]
    for metric in ("judge", "pairwise"):
        assert run[metric]["cost_usd"] / 2 <= said[metric]["cost_usd"] <= 10 * run[metric]["cost_usd"]


def test_a_plan_says_what_judges_will_be_asked_besides(command: Any, job: Callable[..., Path]) -> None:
    """It counts the run's own requests only."""
    judge = '[evaluate.judge]\nmodel = "gpt-5-4-mini"\nrubric = "{{ answer }}"\nmax_cost = 0.5\n'
    done = command("plan", job(JOB + judge + PAIRWISE))
    assert [line for line in done.out.splitlines() if "Not in these figures" in line] == [
        "note: Not in these figures: gpt-5-4-mini grades up to 48 answers afterwards, for $0.5 at most.",
        "note: Not in these figures: gemini-3-1-flash-lite compares answers in up to 48 questions afterwards, "
        "without a cap of its own.",
    ]


def test_the_schema_for_editors_has_the_section(command: Any) -> None:
    """With what each of its words means."""
    schema = command("schema").json()
    section = schema["$defs"]["PairwiseSection"]
    assert {"model", "question", "sides"} == set(section["required"])
    assert all("description" in about for name, about in section["properties"].items() if name in ("sides", "gold"))
