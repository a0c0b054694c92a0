"""What others use for the same: one peer in this process, over the same rows, against the same gateway.

Runs under an environment of its own (requirements-peers.lock) and imports nothing of the project. The gateway's URL
comes by the environment. Prints as JSON how many rows were answered; times and refusals are what the meter says.

    python benchmarks/peers.py NAME '{"rows": FILE, "models": [...], "cap": N or null, "window": SECONDS, ...}'

Further keys of the argument go over the peer's setting below. No peer spreads rows over a pool under each model's limit
and one for all: rows of a pool go to its models in turn, or to wherever a router of the peer's own sends them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Setting = Mapping[str, Any]
Peer = Callable[[list[dict[str, str]], Setting], Awaitable[int]]
INPUT, COMBINED = 200_000, 1_100_000
"""Tokens per window: of each model, and of all together."""

# The best of those tried, one run each, under sliding logs: at real speed with 8,800 label rows and 800 where output
# binds, or where it says so with time compressed.
SETTINGS: Mapping[str, Setting] = {
    # 10 retries take as long for labels; compressed, they lost one of 800 rows where output binds. There 16 at once
    # were never refused, and took 30 s instead of 22. Compressed label rows took 41 s with 64 at once, 37 s with 256.
    "openai": {"at_once": 128, "retries": 100},
    # Only compressed: 10 retries and the check that enforces tpm took as long where output binds, routing by usage
    # 26 s instead of 27; but for labels routing by usage took 103 s instead of 85, and 256 at once 104 s.
    "litellm": {"at_once": 64, "retries": 30, "routing": "simple-shuffle", "checks": []},
    # For each model. 64 at once took 191 s instead of 142 where output binds, and 196 s instead of 198 for labels; with
    # a budget of tokens besides, labels took 208 s. A cool-down of a whole window, compressed, with 64 at once, took
    # 38 s where output binds; a tenth of it with 16 at once 24 s.
    "async-batch-llm": {"at_once": 16, "budget": False, "burst": None, "cooldown": 0.1},
}


def address() -> dict[str, str]:
    """Where the gateway is."""
    base = os.environ["NEON_AI_GATEWAY_BASE_URL"]
    return {"base_url": f"{base}/v1", "api_key": os.environ["NEON_AI_GATEWAY_TOKEN"]}


def request(row: dict[str, str], setting: Setting) -> dict[str, Any]:
    """The words of a chat completion, without its model."""
    cap = {"max_tokens": setting["cap"]} if setting["cap"] else {}
    return {"messages": [{"role": "user", "content": row["prompt"]}], **cap}


async def counted(calls: Iterable[Callable[[], Awaitable[Any]]], at_once: int) -> int:
    """How many of these calls succeed, so many at a time."""
    waiting, answered = iter(calls), 0

    async def work() -> None:
        nonlocal answered
        for call in waiting:
            try:
                await call()
            except Exception as error:
                logging.getLogger("peers").info("lost: %s", error)
            else:
                answered += 1

    await asyncio.gather(*(work() for _ in range(at_once)))
    return answered


async def openai(rows: list[dict[str, str]], setting: Setting) -> int:
    """The OpenAI SDK with so many requests at once; it retries by itself, and heeds Retry-After."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(**address(), max_retries=setting["retries"], timeout=600) as client:

        def call(row: dict[str, str]) -> Callable[[], Awaitable[Any]]:
            return lambda: client.chat.completions.create(model=row["model"], **request(row, setting))

        return await counted((call(row) for row in rows), setting["at_once"])


async def litellm(rows: list[dict[str, str]], setting: Setting) -> int:
    """LiteLLM's router: one name for the whole pool, or a name for each model where rows are pinned."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Else the import asks the network.
    import litellm

    litellm.suppress_debug_info = True
    per_minute = round(INPUT * 60 / setting["window"])
    deployments = [
        {
            "model_name": model if setting["pinned"] else "pool",
            "litellm_params": {
                "model": f"openai/{model}",
                "api_base": address()["base_url"],
                "api_key": address()["api_key"],
                "tpm": per_minute,
            },
        }
        for model in setting["models"]
    ]
    router = litellm.Router(
        model_list=deployments,
        routing_strategy=setting["routing"],
        optional_pre_call_checks=setting["checks"],
        num_retries=setting["retries"],
        allowed_fails=10**9,
        timeout=600,
    )

    def call(row: dict[str, str]) -> Callable[[], Awaitable[Any]]:
        name = row["model"] if setting["pinned"] else "pool"
        return lambda: router.acompletion(model=name, **request(row, setting))

    return await counted((call(row) for row in rows), setting["at_once"])


async def async_batch_llm(rows: list[dict[str, str]], setting: Setting) -> int:
    """async-batch-llm: a batch for each model, each under that model's budget of tokens a minute.

    It has one measure of tokens, which is set to the input's; a limit of all models together cannot be said.
    """
    import async_batch_llm as abl

    window = setting["window"]
    most = min(INPUT, COMBINED / len(setting["models"])) if setting["budget"] else None
    config = abl.ProcessorConfig(
        concurrency=setting["at_once"],
        max_tokens_per_minute=round(most * 60 / window) if most else None,
        token_estimator=abl.CharacterTokenEstimator(expected_output_tokens=0) if most else None,
        quota_burst_seconds=setting["burst"],
        rate_limit=abl.RateLimitConfig(
            cooldown_seconds=setting["cooldown"] * window, slow_start_items=0, max_cooldown_seconds=window
        ),
        retry=abl.RetryConfig(max_rate_limit_retries=1_000),
    )

    async def batch(model: str) -> int:
        strategy = abl.llm(
            f"openai-compatible:{model}",
            generation_config={"max_tokens": setting["cap"]} if setting["cap"] else None,
            max_retries=0,
            **address(),
        )
        done = await abl.process_prompts(
            strategy, [row["prompt"] for row in rows if row["model"] == model], config=config
        )
        return sum(1 for result in done.results if result.success)

    return sum(await asyncio.gather(*(batch(model) for model in setting["models"])))


PEERS: Mapping[str, Peer] = {"openai": openai, "litellm": litellm, "async-batch-llm": async_batch_llm}


def main() -> None:
    """Run one peer."""
    name, given = sys.argv[1], json.loads(sys.argv[2])
    setting = {**SETTINGS[name], **given}
    rows = [json.loads(line) for line in Path(setting["rows"]).read_bytes().splitlines()]
    setting["pinned"] = "model" in rows[0]
    for number, row in enumerate(rows):
        row.setdefault("model", setting["models"][number % len(setting["models"])])
    logging.disable(logging.WARNING)
    answered = asyncio.run(PEERS[name](rows, setting))
    sys.stdout.write(json.dumps({"answered": answered, "lost": len(rows) - answered}) + "\n")


if __name__ == "__main__":
    main()
