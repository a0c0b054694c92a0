"""Where all chance comes from. A draw is a function of a request and a purpose, so the same request has the same luck.

Nothing keeps a state: neither the order of requests nor their number changes what one of them is answered.
"""

from __future__ import annotations

import enum
import math
from statistics import NormalDist

_MASK = 2**64 - 1
_NORMAL = NormalDist()


class Purpose(enum.IntEnum):
    """What a draw is for; draws of different purposes are independent."""

    COUNT = 1
    ERROR = 2
    TIE = 3
    LENGTH = 4
    REASONING = 5
    LATENCY = 6
    FAULT = 7
    VALUE = 8
    WRONG = 9
    PLACE = 10
    QUOTE = 11
    WORDS = 12


def bits(key: int, purpose: int) -> int:
    """64 random bits: one step of SplitMix64."""
    z = (key + purpose * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(key: int, purpose: int) -> float:
    """A number in [0, 1)."""
    return (bits(key, purpose) >> 11) * 2.0**-53


def lognormal(key: int, purpose: int, mean: float, sigma: float) -> float:
    """A number from the log-normal distribution of this mean; `sigma` is that of its logarithm."""
    if mean <= 0:
        return 0.0
    normal = _NORMAL.inv_cdf(max(uniform(key, purpose), 1e-12))
    return mean * math.exp(sigma * normal - sigma * sigma / 2)
