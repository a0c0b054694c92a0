"""Numbers of things, in words."""

from __future__ import annotations

import pytest

from runner.report.counts import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_one_thing_is_not_several(number: int, said: str) -> None:
    """Thousands are set apart."""
    assert counted(number, "row") == said
