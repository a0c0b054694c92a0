"""`runner simulate`."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import FILE, Number, catalog_option

if TYPE_CHECKING:
    from runner.core.catalog import Catalogue
    from runner.core.limits import Limits
    from runner.simulator import Lognormal, Neighbour, Simulator

FROM_0, ABOVE_0 = Number(0.0), Number(0.0, min_open=True)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes one that is free.",
)
@click.option("--limits", type=FILE, metavar="FILE", help="Limits file: what this gateway lets through.")
@click.option("--no-limits", is_flag=True, help="Let everything through.")
@click.option("--limits-json", hidden=True)
@catalog_option
@click.option(
    "--window",
    type=click.Choice(["fixed", "sliding", "counter", "bucket"]),
    default="sliding",
    show_default=True,
    help="Kind of window: calendar, exact log, sliding counter, or a bucket that starts full.",
)
@click.option("--window-seconds", type=ABOVE_0, help="Length of a window, instead of the limits file's.")
@click.option("--phase", type=FROM_0, help="Where calendar windows begin, in seconds after the first request.")
@click.option("--burst", type=ABOVE_0, default=1.0, show_default=True, help="What a full bucket holds, in limits.")
@click.option(
    "--latency", type=FROM_0, default=0.6, show_default=True, help="Mean seconds until a model begins to write."
)
@click.option(
    "--tokens-per-second", type=FROM_0, default=80.0, show_default=True, help="How fast it writes; 0 at once."
)
@click.option(
    "--time-scale", type=FROM_0, default=1.0, show_default=True, help="Factor on these times; 0 answers at once."
)
@click.option("--lengths", metavar="MEAN,SIGMA", help="Lognormal lengths of answers in tokens, instead of their own.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=P,...",
    help="Faults and their probabilities, e.g. error_500=0.01,prose=0.03.",
)
@click.option(
    "--no-retry-after",
    is_flag=True,
    help="Send 429s without Retry-After. The gateway's own then last, unless their words say otherwise (october's do).",
)
@click.option(
    "--generation",
    type=click.Choice(["june", "july", "october"]),
    default="july",
    show_default=True,
    help="Of error messages.",
)
@click.option(
    "--neighbour",
    "neighbours",
    multiple=True,
    metavar="AMOUNT[:FROM:TO]",
    help="Input tokens a window that somebody else spends of each model's limit, seconds after the first request.",
)
@click.option(
    "--output-neighbour",
    "output_neighbours",
    multiple=True,
    metavar="AMOUNT[:FROM:TO]",
    help="The same for output tokens.",
)
@click.option(
    "--limit-change",
    "changes",
    multiple=True,
    metavar="AT:FACTOR",
    help="Change all limits, seconds after the first request.",
)
@click.option(
    "--outage",
    "outages",
    multiple=True,
    metavar="FROM:TO",
    help="Answer 503 for a while, seconds after the first request.",
)
@click.option("--charge-refused", is_flag=True, help="Count refused requests against the limits.")
@click.option("--token", metavar="TOKEN", help="The only token to accept; any, if not given.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def simulate(**options: Any) -> int:
    """Serve a gateway on this machine that speaks the four dialects and enforces the limits. It is no model.

    GET /simulator/meter tells what was really let through. Clients need a base URL and any token:

    \b
    NEON_AI_GATEWAY_BASE_URL=http://127.0.0.1:8765  NEON_AI_GATEWAY_TOKEN=any
    """
    from runner.core.errors import UsageError
    from runner.engines.loops import loop_factory
    from runner.simulator import serve
    from runner.storage.specs import load_catalogue

    catalogue = load_catalogue(options["catalogs"])
    try:
        config = _config(options, catalogue)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if options["until_stdin_closes"]:
        _end_with_parent()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as loop:
            loop.run(serve(config, catalogue, port=options["port"]))
    except OSError as error:
        raise UsageError(f"Port {options['port']} cannot be used: {error.strerror}.") from None
    return 0


def _config(options: dict[str, Any], catalogue: Catalogue) -> Simulator:
    from runner.gateway.tokens import counter
    from runner.simulator import Simulator

    limits = _limits(options, catalogue)
    rates = limits.per_model.requests_per_second
    return Simulator(
        window=options["window"],
        window_seconds=options["window_seconds"] or limits.window_seconds,
        phase=options["phase"],
        burst=options["burst"],
        per_model_input=limits.per_model.input_tokens,
        combined_input=limits.combined.input_tokens,
        output_per_model=limits.per_model.output_tokens,
        inputs=_stated(limits, "input_tokens"),
        outputs=_stated(limits, "output_tokens"),
        rates=_stated(limits, "requests_per_second"),
        catalogue_limits=False,
        requests_per_second=rates,
        count="total" if limits.count == "total" else "input",
        charge_refused=options["charge_refused"],
        neighbours=tuple(
            _neighbour(text, measure)
            for measure, texts in (("input", options["neighbours"]), ("output", options["output_neighbours"]))
            for text in texts
        ),
        limit_changes=tuple(_pairs(options["changes"], ":")),
        outages=tuple(_span(text) for text in options["outages"]),
        generation=options["generation"],
        retry_after=not options["no_retry_after"],
        lengths=_lengths(options["lengths"]) if options["lengths"] else None,
        latency=options["latency"],
        tokens_per_second=options["tokens_per_second"],
        time_scale=options["time_scale"],
        faults=dict(_fault(text) for given in options["faults"] for text in given.split(",")),
        seed=options["seed"],
        token=options["token"],
        counter=counter("o200k_base"),
    )


def _limits(options: dict[str, Any], catalogue: Catalogue) -> Limits:
    import json

    from runner.core.limits import Limits, from_table
    from runner.storage.specs import load_limits

    if options["limits_json"]:
        return from_table(json.loads(options["limits_json"]), "--limits-json")
    path: Path | None = options["limits"]
    return Limits() if options["no_limits"] else load_limits(catalogue, path)


def _stated(limits: Limits, measure: str) -> dict[str, int]:
    """What is said of single models."""
    amounts = {name: getattr(own, measure) for name, own in limits.models.items()}
    return {name: amount for name, amount in amounts.items() if amount is not None}


def _lengths(text: str) -> Lognormal:
    from runner.simulator import Lognormal

    mean, sigma = _pair(text, ",")
    return Lognormal(mean=mean, sigma=sigma)


def _pairs(texts: tuple[str, ...], between: str) -> list[tuple[float, float]]:
    return [_pair(text, between) for text in texts]


def _pair(text: str, between: str) -> tuple[float, float]:
    first, _, second = text.partition(between)
    try:
        pair = float(first), float(second)
        if not all(map(math.isfinite, pair)):
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is not of the form A{between}B, two numbers.") from None
    return pair


def _span(text: str) -> tuple[float, float]:
    begin, end = _pair(text, ":")
    if end <= begin:
        raise ValueError(f"{text!r} ends before it has begun: it would never be.")
    return begin, end


def _neighbour(text: str, measure: str) -> Neighbour:
    from runner.simulator import Neighbour

    amount, _, times = text.partition(":")
    begin, end = _span(times) if times else (0.0, float("inf"))
    try:
        tokens = int(amount)
    except ValueError:
        raise ValueError(f"{text!r} is not of the form AMOUNT or AMOUNT:FROM:TO, whole tokens and seconds.") from None
    return Neighbour(begin=begin, end=end, **{measure: tokens})


def _fault(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        return name, float(share)
    except ValueError:
        raise ValueError(f"{text!r} is not of the form KIND=P, as in error_500=0.01.") from None


def _end_with_parent() -> None:
    """End when whoever started us does, however it ends: its end of our standard input closes."""
    import os
    import signal

    def watch(read: Callable[[], bytes]) -> None:
        while read():
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, args=(lambda: sys.stdin.buffer.read(1),), daemon=True).start()
