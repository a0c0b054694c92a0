"""Tables of columns that are as wide as what stands in them."""

from __future__ import annotations

from runner.report.columns import columns
from runner.report.printing import model_table


def test_a_column_is_as_wide_as_its_widest_cell() -> None:
    """Names begin alike, figures end alike, and nothing stands behind the last of them."""
    assert columns([("model", "rows", "said"), ("a-long-name", "1", ""), ("b", "1,200", "x")], left=(0, 2)) == [
        "model         rows  said",
        "a-long-name      1",
        "b            1,200  x",
    ]


def test_the_table_of_models_fits_a_terminal_of_80_characters() -> None:
    """With the longest names of the catalogue, and what a few thousand rows spend."""
    model = {
        "succeeded": 2_400, "refused_429": 12, "input_tokens": 400_000, "output_tokens": 90_000,
        "cost_usd": 3.4567, "latency_p50_s": 10.02, "latency_p95_s": 31.4,
    }  # fmt: skip
    lines = model_table({"models": {"meta-llama-3-3-70b-instruct": model, "a": {**model, "latency_p50_s": None}}})
    assert max(map(len, lines.splitlines())) <= 80
