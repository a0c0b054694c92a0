"""What is printed of pairs that a judge has compared: wins, whether they are chance, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.report.safe import safe

LEVEL = 0.05
TIES = {
    "same": "of the same answer",
    "tie": "in both orders",
    "inconsistent": "because the orders contradict each other",
    "neither": "without an answer on either side",
}
"""Kinds of ties by their names in the summary -> as people call them."""
LEFT_OUT = {"invalid": "with a reply that cannot be read", "unjudged": "without a reply"}
"""Kinds of pairs of which nothing is said."""


def pair_lines(pairwise: Mapping[str, Any]) -> list[str]:
    """The whole of it, as lines."""
    return list(_lines(pairwise, *(safe(side, 60) for side in pairwise["sides"])))


def _lines(pairwise: Mapping[str, Any], one: str, other: str) -> Iterator[str]:
    results = pairwise["results"]
    yield (
        f"{safe(pairwise['model'], 60)} compared {one} with {other} in both orders: "
        f"{pairwise['questions']:,} questions for ${pairwise['cost_usd']:.4f}"
    )
    won, lost = (results[name] + results[f"{name} alone"] for name in ("one", "other"))
    ties = _listed(results, TIES)
    yield f"  of {pairwise['pairs']:,} pairs {one} won {won:,}, and {other} {lost:,}{ties and f'; ties: {ties}'}"
    if alone := results["one alone"] + results["other alone"]:
        yield f"  {alone:,} of them were won without a judge: the other answer was missing or invalid"
    rate = pairwise["win_rate"]
    if rate["value"] is not None:
        yield (
            f"  {one} has {_share(rate)} of the decided pairs; {_chance(pairwise['p'], 'no preference shown')} "
            f"(sign test p {_p(pairwise['p'])})"
        )
    if left := _listed(results, LEFT_OUT):
        yield f"  left out: {left} ({pairwise['invalid_replies']:,} invalid replies in all)"
    if pairwise["without_partner"]:
        yield f"  {pairwise['without_partner']:,} answers have no partner: only one side was asked about their rows"
    yield from _places(pairwise["places"])
    if "agreement" in pairwise:
        yield from _agreement(pairwise["agreement"])


def _places(places: Mapping[str, Any]) -> Iterator[str]:
    share = places["inconsistent"]
    if share["value"] is None:
        return
    yield f"  swapping the order changed what it says in {_share(share)} of {places['pairs']:,} pairs"
    if places["first"] + places["second"]:
        yield (
            f"  in these it preferred the first place {places['first']:,} times and the second {places['second']:,}: "
            f"{_chance(places['p'], 'no preference for a place shown')} (sign test p {_p(places['p'])})"
        )


def _agreement(agreement: Mapping[str, Any]) -> Iterator[str]:
    known = safe(agreement["with"], 40)
    if agreement["unreadable"]:
        yield f"  {agreement['unreadable']:,} cells of {known} name neither a side nor `tie`, and are left out"
    if agreement["share"]["value"] is None:
        return
    kappa = agreement["kappa"]
    chance = f"no kappa: {kappa['reason']}" if kappa["value"] is None else f"kappa {kappa['value']:.2f}"
    yield (
        f"  it agrees with {known} on {_share(agreement['share'])} of {agreement['n']:,} pairs, "
        f"opposes it on {agreement['opposed']:,} and ties {agreement['ties']:,} ({chance})"
    )


def _listed(results: Mapping[str, int], names: Mapping[str, str]) -> str:
    return ", ".join(f"{results[name]:,} {what}" for name, what in names.items() if results[name])


def _share(figures: Mapping[str, Any]) -> str:
    return f"{100 * figures['value']:.1f} % ({100 * figures['low']:.0f} to {100 * figures['high']:.0f})"


def _chance(p: float, otherwise: str) -> str:
    return f"not explained by chance at the {100 * LEVEL:g} % level" if p < LEVEL else otherwise


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
