"""A picture of one run: what was admitted each second against each limit of tokens, over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLUMNS = 3
ADMITTED, LIMIT = "#2a78d6", "#c43d3d"


def plot(meter: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw a panel for each limit of tokens that something was counted against."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    counted = [name for name, one in meter["limits"].items() if one["tokens"] and not name.startswith("requests/")]
    first = sorted(counted, key=lambda name: (not name.endswith("/combined"), name))
    limits = {name: meter["limits"][name] for name in first}
    if not limits:
        return
    rows = -(-len(limits) // COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(4.6 * COLUMNS, 1.7 * rows + 0.7), sharex=True, squeeze=False, layout="constrained"
    )
    panels = list(axes.flat)
    end = meter["last_done"] or 0.0
    for (name, one), panel in zip(limits.items(), panels, strict=False):
        _panel(panel, name, one, end)
    for panel in panels[len(limits) :]:
        panel.set_visible(False)
    for panel in axes[-1]:
        panel.set_xlabel("seconds")
    figure.suptitle(f"{title}: tokens admitted a second (blue), and what the limit renews (red)", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(panel: Any, name: str, one: Mapping[str, Any], end: float) -> None:
    """One limit's panel, from the first request to the last answer."""
    every, window = one["every"], one["window_seconds"]
    edges = [index * every for index in range(len(one["series"]) + 1)]
    panel.stairs([tokens / every for tokens in one["series"]], edges, fill=True, color=ADMITTED, alpha=0.75)
    steps = [(0.0, one["limit"]), *((at, amount) for at, amount, _ in one["changes"])]
    borders = [*(at for at, _ in steps), max(end, steps[-1][0])]
    panel.stairs([amount / window for _, amount in steps], borders, color=LIMIT, baseline=None)
    panel.set_title(f"{name}  {one['tokens']:,.0f} tokens, {one['refused']:,} refused", fontsize=8, loc="left")
    panel.tick_params(labelsize=7)
    panel.set_xlim(0, end)
    # A burst may be higher than the picture: what matters is how the limit is used in between.
    panel.set_ylim(0, 3 * max(amount for _, amount in steps) / window)
