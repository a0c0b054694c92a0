"""What can be said of labels and scores, and how surely: agreement, confusion, intervals, comparisons of pairs.

Figures that cannot be worked out are values too: an `Estimate` without a value says why.
"""
