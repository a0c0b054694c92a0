"""What a reply means: it is read by rule into an `Answer`, or is `Invalid` with the reason; nothing is guessed."""

from runner.core.answers.reader import Reader
from runner.core.answers.values import REPAIRS, Answer, Invalid, Span

__all__ = ["REPAIRS", "Answer", "Invalid", "Reader", "Span"]
