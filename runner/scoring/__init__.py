"""How right an answer is: scorers as rows of a table, from exact equality to schema validity."""

from runner.scoring.scores import Score
from runner.scoring.table import SCORERS, Scorer

__all__ = ["SCORERS", "Score", "Scorer"]
