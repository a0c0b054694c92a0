"""What a row costs: 20,000 tiny prompts with budgets off, beside a bare aiohttp loop against the same gateway.

python benchmarks/overhead.py [--rows N] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import gateway, measured, note, runner

MODEL = "gpt-5-4"
AT_ONCE = 256


async def bare(url: str, count: int) -> None:
    """The same requests with nothing around them: no budgets, no retries, no journal, nothing read or written."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    numbers = iter(range(count))
    async with aiohttp.ClientSession(connector=connector, headers={"Authorization": "Bearer any"}) as session:

        async def work() -> None:
            for number in numbers:
                body = {"model": MODEL, "messages": [{"role": "user", "content": f"Say {number}."}], "max_tokens": 16}
                async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                    (await answer.json())["choices"][0]["message"]["content"]

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def run_bare(url: str, count: int) -> None:
    """The bare loop, under the same event loop as the runner's."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(bare(url, count))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true", help="say where the runner's time goes")
    parser.add_argument("--bare", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        run_bare(options.bare, options.rows)
        return
    with tempfile.TemporaryDirectory() as folder, gateway("--no-limits", "--time-scale=0") as local:
        rows = Path(folder) / "rows.jsonl"
        rows.write_text("".join(json.dumps({"id": str(n), "prompt": f"Say {n}."}) + "\n" for n in range(options.rows)))
        words = ["run", str(rows), "-m", MODEL, "--max-tokens", "16", "--no-limits", "--no-memory"]
        if options.profile:
            profile = Path(folder) / "profile"
            command = [
                sys.executable,
                "-m",
                "cProfile",
                "-o",
                str(profile),
                "-m",
                "runner",
                *words,
                "--json",
                "-o",
                f"{folder}/p",
            ]
            measured(command, local.url)
            shown = "import pstats, sys; pstats.Stats(sys.argv[1]).sort_stats('tottime').print_stats(40)"
            subprocess.run([sys.executable, "-c", shown, str(profile)], check=True)
            return
        empty = measured(runner(*words, "--json", "-o", f"{folder}/start", "--limit", "1"), local.url)
        loop = measured([sys.executable, __file__, "--rows", str(options.rows), "--bare", local.url])
        run = measured(runner(*words, "--json", "-o", f"{folder}/run"), local.url)
    per_bare, per_row = 1000 * loop.cpu / options.rows, 1000 * run.cpu / options.rows
    note(f"{options.rows:,} rows, {run.output['tasks']['succeeded']:,} succeeded")
    note(f"bare aiohttp loop  {loop.wall:6.1f} s  {per_bare:.3f} CPU-ms a row  {loop.megabytes:4.0f} MB")
    note(f"runner             {run.wall:6.1f} s  {per_row:.3f} CPU-ms a row  {run.megabytes:4.0f} MB")
    note(f"  of that starting {empty.wall:6.1f} s  {1000 * empty.cpu / options.rows:.3f} CPU-ms a row")
    note(f"the runner takes {per_row / per_bare:.2f} times the CPU of the bare loop: {per_row - per_bare:.3f} ms more")


if __name__ == "__main__":
    main()
