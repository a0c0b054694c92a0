"""The least possible time: what nobody could beat who knew each limit, its window and its phase in advance.

Time is cut into slots, and a linear programme says which share of the work the limits can admit up to the end of a
slot; the first slot in which it is all of it is found by bisection. Every simplification is in favour of the one who
is to be bounded, so that no schedule that the gateway let through is faster:

- Work is a fluid, admitted in any portions, and of each measure by itself: input may run ahead of the output that
  belongs to it. Pooled work is split over the models at will.
- What is admitted in a slot is dated at the slot's best moment, and a limit that changes within one is the larger.
- Output counts as what was written, not as what was reserved for it.
- A limit that falls binds from the first admission after it, which may come when all before has run out.

All variables are cumulative: `C[m, k]` is what model m has been let through up to the end of slot k, so that what
passed in a stretch of slots is the difference of two of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

PARTS = 60
"""Slots in a window of tokens; a window of requests is short, and is one slot."""
ENOUGH = 1 - 1e-6
"""The share of the work from which it counts as all, whatever the rounding."""
WEIGHT = 1e5
"""How much more the share counts than the part of the last slot that it takes."""
LONGEST = 40_000
"""Slots; work that takes longer is taken for work that can never be done."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit of the gateway's as it really was, and what was counted against it."""

    measure: str
    model: str | None
    """None for all models together."""
    kind: str
    """fixed, sliding, counter or bucket."""
    seconds: float
    """Length of the window."""
    phase: float = 0.0
    """Where calendar windows begin, in seconds on the gateway's clock."""
    burst: float = 1.0
    """What a full bucket holds, in limits."""
    amounts: tuple[tuple[float, float], ...]
    """(seconds on the gateway's clock, amount that holds from then on), in order; the first holds before, too."""
    others: tuple[float, ...] = ()
    """What others spend of each of these beside it, in a window; nothing where it is not said."""
    counted: float
    """Tokens or requests of the work."""

    @classmethod
    def from_meter(cls, name: str, report: Mapping[str, Any]) -> Limit:
        """A limit from the gateway's meter, where it is called MEASURE/MODEL."""
        measure, _, model = name.partition("/")
        return cls(
            measure=measure,
            model=None if model == "combined" else model,
            kind=report["window"],
            seconds=report["window_seconds"],
            phase=report["phase"],
            burst=report["burst"],
            amounts=((-math.inf, report["limit"]), *((at, amount) for at, amount, _ in report["changes"])),
            others=(0.0, *(others for _, _, others in report["changes"])),
            counted=report["tokens"],
        )

    def highest(self, begin: float, end: float) -> float:
        """The largest amount that held at some moment from `begin` until `end`."""
        return _highest(self.amounts, begin, end)

    def holds(self, begin: float, end: float) -> float:
        """The most that a full bucket held at some moment from `begin` until `end`: what others draw is part of it."""
        others = self.others or (0.0,) * len(self.amounts)
        wholes = [(at, amount + more) for (at, amount), more in zip(self.amounts, others, strict=True)]
        return self.burst * _highest(wholes, begin, end)

    def poured(self, begin: float, end: float) -> float:
        """What a bucket is refilled by from `begin` until `end`."""
        borders = [begin, *(at for at, _ in self.amounts if begin < at < end), end]
        return sum((end - begin) * self.highest(begin, begin) for begin, end in pairwise(borders)) / self.seconds


def _highest(amounts: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    before = [amount for at, amount in amounts if at <= begin] or [amounts[0][1]]
    return max([before[-1], *(amount for at, amount in amounts if begin < at < end)])


def least_seconds(meter: Mapping[str, Any], *, pinned: bool, shortest: float = 0.0) -> float:
    """From the first request to the last answer, for what this gateway's meter has counted.

    `pinned` says that each row was for one model; otherwise any model of those that were asked may have answered it.
    `shortest` is as in `least_admission`.
    """
    limits = [Limit.from_meter(name, report) for name, report in meter["limits"].items()]
    admitted = least_admission(limits, pinned=pinned, outages=meter["outages"], shortest=shortest)
    return admitted + float(meter["quickest_answer"] or 0.0)


def least_admission(
    limits: Sequence[Limit],
    *,
    pinned: bool,
    outages: Sequence[Sequence[float]] = (),
    shortest: float = 0.0,
) -> float:
    """Seconds from the first request until the last can have been let in.

    `shortest` is the time that all of the work takes where nothing but the processors is in its way; they then let
    through so much at most, evenly.
    """
    measures = sorted({limit.measure for limit in limits if limit.counted})
    alike = ([limit for limit in limits if limit.measure == measure] for measure in measures)
    return max((_Programme(group, pinned, outages, shortest).least() for group in alike), default=0.0)


class _Grid:
    """The slots: they begin at the start, or where the borders of calendar windows make them."""

    def __init__(self, limit: Limit) -> None:
        self.parts = 1 if limit.measure == "requests" else PARTS
        self.length = limit.seconds / self.parts
        # How far into its calendar window the first slot lies, and when it began.
        self.offset, self._zero = 0, 0.0
        if limit.kind in ("fixed", "counter"):
            slots = math.floor(-limit.phase / self.length + 1e-9)
            self.offset, self._zero = slots % self.parts, limit.phase + slots * self.length

    def begin(self, slot: int) -> float:
        """Seconds from the start of the work to that of a slot; the first begins with the work."""
        return max(0.0, self._zero + slot * self.length)

    def border(self, slot: int) -> int:
        """The first slot of the calendar window that a slot is in; negative for one before the start."""
        return slot - (slot + self.offset) % self.parts


Row = dict[int, float]
"""Factors of cumulative amounts, by slot; before the first nothing has passed."""


def _stretch(begin: int, end: int) -> Row:
    """What passed from the slot `begin` to the slot `end`, both included."""
    return {end: 1.0, begin - 1: -1.0}


def _fixed(grid: _Grid, slot: int) -> tuple[int, Callable[[int], Row]]:
    """What is in force is what passed since the last border."""
    return grid.border(slot), lambda begin: _stretch(begin, slot)


def _sliding(grid: _Grid, slot: int) -> tuple[int, Callable[[int], Row]]:
    """What is in force is what passed in the last window's length."""
    return slot - grid.parts + 1, lambda begin: _stretch(begin, slot)


def _counter(grid: _Grid, slot: int) -> tuple[int, Callable[[int], Row]]:
    """What is in force is what passed since the last border, and a share of what passed in the window before."""
    border = grid.border(slot)
    share = 1 - (slot - border + 1) / grid.parts

    def row(begin: int) -> Row:
        if begin >= border:
            return _stretch(begin, slot)
        return {slot: 1.0, border - 1: share - 1.0, begin - 1: -share}

    return border - grid.parts, row


IN_FORCE = {"fixed": _fixed, "sliding": _sliding, "counter": _counter}
"""For each kind of window: from which slot on something is in force at the end of a slot, and how much of it."""


Cells = list[tuple[int, float]]
"""Factors of the programme's own variables, by column."""


class _Table:
    """A linear programme as it is written down: columns, and rows of factors with a ceiling."""

    def __init__(self) -> None:
        self._bounds: list[tuple[float | None, float | None]] = []
        self._rows: list[Cells] = []
        self._ceilings: list[float] = []

    def column(self, least: float | None = 0.0, most: float | None = None) -> int:
        """A new variable, from `least` to `most`."""
        self._bounds.append((least, most))
        return len(self._bounds) - 1

    def at_most(self, cells: Cells, ceiling: float) -> None:
        """Let a sum of variables be at most this."""
        self._rows.append(cells)
        self._ceilings.append(ceiling)

    def best(self, gains: Mapping[int, float]) -> list[float]:
        """The variables' values where the sum of these is largest."""
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import coo_array

        cells = [(row, column, factor) for row, found in enumerate(self._rows) for column, factor in found]
        rows, columns, factors = (np.array(part) for part in zip(*cells, strict=True))
        matrix = coo_array((factors, (rows, columns)), shape=(len(self._rows), len(self._bounds))).tocsr()
        costs = np.zeros(len(self._bounds))
        for column, gain in gains.items():
            costs[column] = -gain
        found = linprog(costs, A_ub=matrix, b_ub=self._ceilings, bounds=self._bounds, method="highs")
        if found.status != 0:
            raise RuntimeError(f"the linear programme has no solution: {found.message}")
        return [float(value) for value in found.x]


class _Programme:
    """The linear programme of one measure."""

    def __init__(
        self,
        limits: Sequence[Limit],
        pinned: bool,
        outages: Sequence[Sequence[float]],
        shortest: float,
    ) -> None:
        self._limits = limits
        self._outages = outages
        self._shortest = shortest
        self._grid = _Grid(limits[0])
        self._unit = max(amount for limit in limits for _, amount in limit.amounts)
        own = {limit.model: limit.counted for limit in limits if limit.model is not None}
        # Where no model has a limit of its own, one name stands for all of them.
        work = own or {None: limits[0].counted}
        self._models = list(work)
        self._work = [([model], counted) for model, counted in work.items()]
        if not pinned:
            self._work = [(self._models, sum(work.values()))]

    def least(self) -> float:
        """Seconds from the start until all can have been admitted."""
        low, high = 0, 1
        while self._solve(high) is None:
            low, high = high, 2 * high
            if high > LONGEST:
                return math.inf
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._solve(middle) is None else (low, middle)
        grid, part = self._grid, self._solve(high) or 0.0
        begin, end = grid.begin(high - 1), grid.begin(high)
        return begin + part * (end - begin)

    def _solve(self, slots: int) -> float | None:
        """Which part of the last of so many slots is needed to admit all; None where the whole of it is too little."""
        table = _Table()
        share, part = table.column(most=1.0), table.column(most=1.0)
        admitted = {model: [table.column() for _ in range(slots)] for model in self._models}
        for columns in admitted.values():
            self._flow(table, columns)
        if self._shortest:
            self._process(table, list(zip(*admitted.values(), strict=True)))
        for limit in self._limits:
            columns = list(zip(*(admitted[m] for m in self._models if limit.model in (None, m)), strict=True))
            if limit.kind == "bucket":
                self._draw(table, limit, columns, part)
            else:
                self._pass(table, limit, columns)
        for models, work in self._work:
            table.at_most([(share, work / self._unit), *((admitted[model][-1], -1.0) for model in models)], 0.0)
        values = table.best({share: WEIGHT, part: -1.0})
        return values[part] if values[share] >= ENOUGH else None

    def _flow(self, table: _Table, columns: list[int]) -> None:
        """Nothing is taken back, and nothing passes while the gateway is down."""
        for slot, column in enumerate(columns):
            before = [(columns[slot - 1], 1.0)] if slot else []
            table.at_most([(column, -1.0), *before], 0.0)
            begin, end = self._grid.begin(slot), self._grid.begin(slot + 1)
            if any(since <= begin and end <= until for since, until in self._outages):
                table.at_most([(column, 1.0), *((other, -factor) for other, factor in before)], 0.0)

    def _process(self, table: _Table, columns: Sequence[tuple[int, ...]]) -> None:
        """The processors let through an even share of the work in each slot, at most."""
        rate = sum(work for _, work in self._work) / self._shortest / self._unit
        for slot, now in enumerate(columns):
            passed = [(column, 1.0) for column in now]
            passed += [(column, -1.0) for column in (columns[slot - 1] if slot else ())]
            table.at_most(passed, rate * (self._grid.begin(slot + 1) - self._grid.begin(slot)))

    def _pass(self, table: _Table, limit: Limit, columns: Sequence[tuple[int, ...]]) -> None:
        """What is in force at the end of each slot is at most what the limit was at some moment since it came.

        So it is for what came since a limit fell, by itself.
        """
        grid = self._grid
        falls = [slot for slot in range(1, len(columns)) if self._falls(limit, slot)]
        for slot in range(len(columns)):
            first, in_force = IN_FORCE[limit.kind](grid, slot)
            for begin in [first, *(fall for fall in falls if first < fall <= slot)]:
                row = in_force(begin)
                cells = [(column, factor) for at, factor in row.items() if at >= 0 for column in columns[at]]
                highest = limit.highest(grid.begin(max(0, begin)), grid.begin(slot + 1))
                table.at_most(cells, highest / self._unit)

    def _falls(self, limit: Limit, slot: int) -> bool:
        before, begin, end = (self._grid.begin(number) for number in (slot - 1, slot, slot + 1))
        return limit.highest(begin, end) < limit.highest(before, begin)

    def _draw(self, table: _Table, limit: Limit, columns: Sequence[tuple[int, ...]], part: int) -> None:
        """What is missing of a full bucket is what was drawn less what was poured in, and at most all that it holds.

        What is poured into a full bucket is lost, except for what is reserved: that can be held meanwhile by
        reservations that are given back later.
        """
        grid, last = self._grid, len(columns) - 1
        missing = [table.column(least=None) for _ in columns]
        most = 0.0
        for slot, now in enumerate(columns):
            begin, end = grid.begin(slot), grid.begin(slot + 1)
            highest, poured = limit.highest(begin, end), limit.poured(begin, end)
            most = max(limit.holds(begin, end), most - poured)
            drawn = [(column, 1.0) for column in now]
            drawn += [(column, -1.0) for column in (columns[slot - 1] if slot else ())]
            ceiling = poured / self._unit
            if slot == last:
                drawn.append((part, -highest * (end - begin) / limit.seconds / self._unit))
                ceiling = 0.0
            table.at_most([*drawn, (missing[slot], -1.0), *([(missing[slot - 1], 1.0)] if slot else [])], ceiling)
            if limit.measure in ("input", "requests"):
                table.at_most([*drawn, (missing[slot], -1.0)], ceiling)
            table.at_most([(missing[slot], 1.0)], most / self._unit)
