"""What scoring and comparing cost: 100,000 rows of four models, scored, summed up with intervals, and compared.

python benchmarks/scoring.py [--rows N] [--models N]
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from itertools import combinations

from harness import note

from runner.core.answers import Reader
from runner.core.votes import majority
from runner.scoring import SCORERS
from runner.statistics.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha, per_label
from runner.statistics.confusion import confusion
from runner.statistics.intervals import mean_interval, wilson
from runner.statistics.paired import compare
from runner.statistics.ratings import ratings

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
        table = confusion(truth, column)
        table.figures(), table.averages("macro"), table.averages("micro")
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


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--models", type=int, default=4)
    options = parser.parse_args()
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
