"""What scoring and comparing cost: 100,000 rows of four models, scored, summed up with intervals, and compared.

python benchmarks/scoring.py [--rows N] [--models N] [--only runs]

With `--only runs` it is what a run's end does: from results tables on disk to scores, metrics, history and comparison.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from pathlib import Path

import polars as pl
from harness import note

from runner.core.answers import Reader
from runner.core.evaluating import Evaluation, Scoring, Slice
from runner.core.job import Job
from runner.core.votes import majority
from runner.evaluation import comparison
from runner.evaluation.ending import conclude
from runner.scoring import SCORERS
from runner.statistics.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, per_label
from runner.statistics.confusion import confusion
from runner.statistics.intervals import mean_interval, wilson
from runner.statistics.paired import compare
from runner.statistics.ratings import ratings
from runner.storage.results import RESULT_SCHEMA
from runner.storage.rundir import RunDirectory

LABELS = tuple(f"section {number}" for number in range(12))
WORDS = [f"word{number}" for number in range(2000)]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
OPTIONS = {"schema": {"schema": SCHEMA}, "choice": {"letters": "ABCD"}}
"""What a scorer is given, if anything."""


class Clock:
    """Says what each step took, and the memory at its end."""

    def __init__(self) -> None:
        self.began = self.last = time.perf_counter()

    def says(self, step: str) -> None:
        """Print the time since the last step."""
        now = time.perf_counter()
        note(f"{step:<64}{now - self.last:7.2f} s {megabytes():6.0f} MB")
        self.last = now


def megabytes() -> float:
    """The most memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def sentence(chance: random.Random, words: int) -> str:
    """So many words."""
    return " ".join(chance.choices(WORDS, k=words))


def pairs(name: str, rows: int, chance: random.Random) -> list[tuple[object, object]]:
    """Answers as such a scorer gets them, beside what is expected."""
    if name in ("f1", "edit", "rouge_l", "exact", "normalised", "contains"):
        wanted = [sentence(chance, 12) for _ in range(rows)]
        return [(f"{text} {sentence(chance, 3)}" if chance.random() < 0.5 else text, text) for text in wanted]
    if name == "regex":
        return [(sentence(chance, 12), r"word1\d\b") for _ in range(rows)]
    if name == "numeric":
        return [
            (f"In all there are {number:,} of them.", number)
            for number in (chance.randrange(10**6) for _ in range(rows))
        ]
    if name == "choice":
        return [(f"The answer is {chance.choice('ABCD')}.", "B") for _ in range(rows)]
    if name in ("set", "jaccard"):
        return [(chance.sample(LABELS, 2), list(LABELS[:2])) for _ in range(rows)]
    if name == "closeness":
        return [(chance.randint(1, 5), chance.randint(1, 5)) for _ in range(rows)]
    return [(f'{{"a": {chance.randrange(9)}, "b": "{sentence(chance, 3)}"}}', {"a": 3, "b": "x"}) for _ in range(rows)]


def written(label: str, chance: random.Random) -> str:
    """A label as models write it: mostly plain."""
    kind = chance.random()
    if kind < 0.8:
        return label
    if kind < 0.9:
        return f"**{label.title()}**."
    return f"The answer is {label}." if kind < 0.97 else "I cannot say."


def evaluate(rows: int, models: int) -> float:
    """Read, score, sum up and compare; the seconds that it took."""
    chance = random.Random(1)
    truth = chance.choices(LABELS, k=rows)
    replies = [
        [written(label if chance.random() < 0.6 + 0.02 * model else chance.choice(LABELS), chance) for label in truth]
        for model in range(models)
    ]
    reader, score = Reader(kind="label", labels=LABELS), SCORERS["normalised"].prepared()
    clock = Clock()
    answers = [[reader.read(reply) for reply in column] for column in replies]
    clock.says(f"read {rows * models:,} replies")
    scores = [[score(answer, label).value for answer, label in zip(column, truth, strict=True)] for column in answers]
    clock.says("score them")
    for column in scores:
        mean_interval(column)
        wilson(sum(value == 1.0 for value in column), len(column))
    clock.says("accuracy of each model, with bootstrap and Wilson intervals")
    labels = [[getattr(answer, "value", None) for answer in column] for column in answers]
    for column in labels:
        confusion(truth, column).figures()
    clock.says("confusion, precision, recall and F1 of each model")
    verdicts = [compare(one, other) for one, other in combinations(scores, 2)]
    clock.says(f"compare {len(verdicts)} pairs of models: McNemar and paired bootstrap")
    rated = ratings(labels)
    krippendorff_alpha(rated), fleiss_kappa(rated, incomplete="leave out")
    [cohen_kappa(rated.only(*pair)) for pair in combinations(range(models), 2)]
    per_label(rated, krippendorff_alpha)
    clock.says("alpha, kappas of all and of pairs, alpha per label, 1,000 resamples each")
    names = [f"model {number}" for number in range(models)]
    [majority(dict(zip(names, row, strict=True))) for row in zip(*labels, strict=True)]
    clock.says(f"{rows:,} majority votes")
    grades = [[chance.random() for _ in range(rows)] for _ in range(2)]
    clock.last = time.perf_counter()
    compare(*grades)
    clock.says("compare two models by graded scores, each different: paired bootstrap")
    note(verdicts[0].sentence)
    return time.perf_counter() - clock.began


def results(path: Path, rows: int, models: int, seed: int) -> None:
    """A results table as a run of a labelling job leaves it."""
    chance = random.Random(1)
    truth, sizes = chance.choices(LABELS, k=rows), [chance.randrange(200, 1200) for _ in range(rows)]
    texts = [sentence(chance, 40) for _ in range(rows)]
    chance = random.Random(seed)
    number = [row for row in range(rows) for _ in range(models)]
    answers = [
        truth[row] if chance.random() < 0.6 + 0.02 * (at % models) else chance.choice(LABELS)
        for at, row in enumerate(number)
    ]
    frame = pl.DataFrame(
        {
            "row": number,
            "id": [f"row {row}" for row in number],
            "model": [f"model {at % models}" for at in range(len(number))],
            "status": ["succeeded"] * len(number),
            "outcome": ["ok"] * len(number),
            "answer": answers,
            "cost_usd": [0.001] * len(number),
            "input_tokens": [200] * len(number),
            "output_tokens": [4] * len(number),
            "latency_s": [chance.random() for _ in number],
            "description": [texts[row] for row in number],
            "section": [truth[row] for row in number],
            "size": [sizes[row] for row in number],
        },
        schema_overrides=RESULT_SCHEMA,
    )
    frame.write_parquet(path)


def ended(folder: Path, name: str, rows: int, models: int, evaluation: Evaluation, seed: int) -> Path:
    """A run directory in which a run has ended, but for its evaluation."""
    directory = RunDirectory.create(folder / name, name)
    job = Job(input="rows", name="bench", models=tuple(map(str, range(models))), each=True, evaluate=evaluation)
    gateway = {"local": True, "origin": None}
    manifest = {"run": name, "created": "now", "job": job.to_json(), "gateway": gateway}
    directory.write_json(directory.manifest_path, manifest)
    results(directory.results_path, rows, models, seed)
    return directory.path


def evaluate_runs(rows: int, models: int) -> float:
    """Two runs from their results tables to scores, metrics and history, and compared; the seconds that it took."""
    evaluation = Evaluation(
        expected="section",
        scorers=(Scoring(name="exact", scorer="exact"), Scoring(name="f1", scorer="f1")),
        main="exact",
        slices=(Slice(column="section"), Slice(column="size"), Slice(column="description", by="length")),
    )
    columns = dict.fromkeys(("description", "section", "size"))
    with tempfile.TemporaryDirectory() as folder:
        # Made by processes of their own, so that the memory shown is that of the evaluation.
        with ProcessPoolExecutor(1) as pool:
            made = [
                pool.submit(ended, Path(folder), name, rows, models, evaluation, seed) for seed, name in enumerate("ab")
            ]
            runs = [future.result() for future in made]
        clock = Clock()
        for path in runs:
            directory = RunDirectory.open(path)
            job = Job.from_json(directory.read_json(directory.manifest_path)["job"])
            summary = {"exit_code": 0, "cost_usd": 0.0}
            directory.write_json(directory.summary_path, {**summary, **conclude(directory, job, columns, {}, summary)})
            clock.says(f"score, sum up and write down {rows * models:,} answers of run {path.name}")
        found = comparison.compare(comparison.side(str(runs[0])), comparison.side(str(runs[1])))
        clock.says(f"compare the runs: {len(found.parts)} models, {len(found.parts[0].rows):,} rows gained and lost")
        note(found.parts[0].verdict.sentence)
        return time.perf_counter() - clock.began


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--only", choices=["runs"])
    options = parser.parse_args()
    if options.only == "runs":
        taken = evaluate_runs(options.rows, options.models)
        note(
            f"{options.rows:,} rows x {options.models} models, two runs, in {taken:.1f} s, {megabytes():.0f} MB at most"
        )
        return
    taken = evaluate(options.rows, options.models)
    note(f"{options.rows:,} rows x {options.models} models in {taken:.1f} s, {megabytes():.0f} MB at most\n")
    few = min(options.rows, 20_000)
    note(f"{'scorer':<16}{'µs an answer':>14}{'s for all':>12}")
    for name, row in SCORERS.items():
        score, given = row.prepared(OPTIONS.get(name)), pairs(name, few, random.Random(2))
        began = time.perf_counter()
        for answer, expected in given:
            score(answer, expected)
        each = (time.perf_counter() - began) / few
        note(f"{name:<16}{1e6 * each:>14.1f}{each * options.rows * options.models:>12.1f}")


if __name__ == "__main__":
    main()
