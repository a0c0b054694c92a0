"""Estimates of real texts in several languages, corrected by what replies report: how near the truth they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random

import pytest

from runner.core.catalog import Family, Model
from runner.core.estimate import MARGIN, MARGIN_HALVES_AFTER, Estimator, Size, measure
from runner.core.values import Message, Request, Usage
from runner.gateway.tokens import counter

ROOT = Path(__file__).parents[2]
SENTENCES = (
    "今天早上下了一场小雨，街上的行人都撑起了伞。",
    "请把下面这段客户留言归到一个部门，并说明理由。",
    "这台机器昨天还好好的，今天却怎么也打不开了。",
    "如果包裹在三天之内没有送到，我们会把钱退给您。",
    "図書館は月曜日が休みで、火曜日から土曜日まで開いています。",
    "この商品の説明を読んで、良い点と悪い点を一つずつ書いてください。",
    "昨日注文した本がまだ届かないので、調べてもらえますか。",
    "電車が遅れたため、会議の時間を三十分だけ後にずらしました。",
    "오늘은 날씨가 맑아서 공원에 사람이 많이 모였습니다.",
    "다음 문장을 읽고 긍정인지 부정인지 한 단어로 답해 주세요.",
    "비밀번호를 바꾸는 링크가 이미 만료되었다고 나옵니다.",
    "주문한 물건이 상자만 있고 안은 비어 있었습니다.",
)
AHEAD = 300
"""Rows over which what is reserved is compared with the truth, after two hundred replies."""
# What a tokenizer counts for one token of ours: languages differ, by up to 15 percent.
EVEN = {"english": 1.0, "code": 1.0, "cjk": 1.0}
UNEVEN = {"english": 1.0, "code": 1.07, "cjk": 0.93}
STEEP = {"english": 0.95, "code": 1.0, "cjk": 1.09}
MIXTURES: dict[str, tuple[str, ...]] = {
    "english": ("english",),
    "code": ("code",),
    "cjk": ("cjk",),
    "english and code": ("english", "code"),
    "english and a little cjk": ("english", "english", "english", "cjk"),
    "all": ("english", "code", "cjk"),
}

Row = tuple[Size, float]
"""What we measure, and what the gateway counts."""


@cache
def text(language: str) -> str:
    """Some hundred thousand characters."""
    if language == "code":
        return "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "runner" / "core").glob("*.py")))
    if language == "cjk":
        chance = Random(5)
        return "".join(chance.choice(SENTENCES) for _ in range(2_000))
    lines = (ROOT / "samples" / "packages.jsonl").read_text("utf-8").splitlines()
    pages = (path.read_text("utf-8") for path in sorted(ROOT.glob("*.md")))
    return "\n".join([*(json.loads(line)["description"] for line in lines), *pages])


def rows(mixture: str, ratio: float, factors: dict[str, float], count: int, seed: int) -> list[Row]:
    """Pieces of text, each measured as the runner does, and its truth with five percent of noise."""
    chance, count_tokens = Random(seed), counter("o200k_base")
    found = []
    for number in range(count):
        language = MIXTURES[mixture][number % len(MIXTURES[mixture])]
        whole, length = text(language), chance.randint(200, 2_000) // (3 if language == "cjk" else 1)
        start = chance.randrange(len(whole) - length)
        request = Request(messages=(Message(role="user", content=whole[start : start + length]),))
        size = measure(request, count_tokens, lambda _: (0, 0))
        found.append((size, size.text * ratio * factors[language] * chance.uniform(0.95, 1.05)))
    return found


def estimator(multiplier: float = 1.0) -> Estimator:
    return Estimator([Model(id="m", provider="Somebody", family=Family(name="f", multiplier=multiplier))])


def learn(made: Estimator, seen: Sequence[Row]) -> None:
    for size, truth in seen:
        made.learn(size, "m", Usage(input=round(truth)))


def error(guess: Callable[[Size, str], int], ahead: Sequence[Row]) -> float:
    """What is reserved for rows above their truth, in sum and as a fraction."""
    return sum(guess(size, "m") for size, _ in ahead) / sum(truth for _, truth in ahead) - 1


@pytest.mark.fault("B6")
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("factors", [EVEN, UNEVEN, STEEP], ids=["even", "uneven", "steep"])
@pytest.mark.parametrize(("multiplier", "ratio"), [(1.0, 0.6), (1.3, 1.0), (1.0, 1.6)])
def test_after_two_hundred_replies_what_is_reserved_is_within_two_percent(
    mixture: str, factors: dict[str, float], multiplier: float, ratio: float
) -> None:
    """Of the truth and in sum, over the rows that follow, whatever the language: rows are in no order."""
    made, found = estimator(multiplier), rows(mixture, ratio, factors, 200 + AHEAD, seed=1)
    Random(2).shuffle(found)
    learn(made, found[:200])
    assert error(made.input_tokens, found[200:]) == pytest.approx(0.0, abs=0.02)


def test_another_tokenizer_is_learned_as_well() -> None:
    """Counted by a real one, row by row, with what it makes of each language."""
    ours, theirs, chance, found = counter("o200k_base"), counter("cl100k_base"), Random(3), []
    for number in range(200 + AHEAD):
        language = ("english", "code")[number % 2]
        start = chance.randrange(len(text(language)) - 2_000)
        piece = text(language)[start : start + chance.randint(200, 2_000)]
        found.append((Size(ours(piece)), float(theirs(piece))))
    chance.shuffle(found)
    made = estimator()
    learn(made, found[:200])
    assert error(made.input_tokens, found[200:]) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("order", [("english", "code", "cjk"), ("cjk", "code", "english")])
def test_where_rows_are_sorted_by_language_the_error_is_what_languages_differ_by(order: tuple[str, ...]) -> None:
    """A correction is one number for a model: after a change of language it is off by the difference, and follows."""
    made = estimator()
    for number, language in enumerate(order):
        found = rows(language, 1.3, UNEVEN, 1_200, seed=number)
        learn(made, found[:200])
        assert abs(error(made.input_tokens, found[200:400])) < 0.15
        learn(made, found[200:])
        assert abs(error(made.input_tokens, found[-200:])) < 0.03


@pytest.mark.parametrize("replies", [0, 1, 5, 20])
def test_the_first_windows_are_reserved_with_the_margin_that_is_stated(replies: int) -> None:
    """A tenth above what is expected before the first reply, half of that after five, and so on."""
    made, found = estimator(), rows("all", 1.0, EVEN, 400, seed=4)
    learn(made, found[:replies])
    margin = MARGIN / (1 + replies / MARGIN_HALVES_AFTER)
    reserved, expected = error(made.input_tokens, found[replies:]), error(made.expected, found[replies:])
    assert (1 + reserved) / (1 + expected) - 1 >= margin * 0.97


@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.09])
def test_a_first_window_at_a_tokenizer_near_the_guess_reserves_enough(ratio: float) -> None:
    """Up to a tenth more than the family's multiplier says is covered by the margin."""
    assert error(estimator().input_tokens, rows("all", ratio, EVEN, 400, seed=4)) >= 0.0
