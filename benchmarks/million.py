"""A million rows of ten kilobytes: the first request, memory, processor time, and the resume of what is finished.

    python benchmarks/million.py [--rows N] [--formats jsonl,parquet] [--asked N] [--in-flight N] [--folder DIR]

Needs room for the input twice and for the results: some 25 GB at the full number of rows. The gateway answers at once
and keeps no limits, so it is the runner and the gateway that share the machine's processors.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from harness import ROOT, Measured, gateway, measured, note, runner

MODEL = "gpt-5-4"
GROUP = 50_000
"""Rows in a row group of the Parquet input: half a gigabyte."""
FILES = 64
"""File descriptors that the runner keeps for other things than requests."""


def write_jsonl(path: Path, count: int, size: int) -> None:
    """Rows of about `size` bytes, all different, from the samples' descriptions."""
    texts = [json.loads(line)["description"] for line in (ROOT / "samples/packages.jsonl").open()]
    chance = random.Random(0)
    blob = " ".join(chance.choice(texts) for _ in range(4000))
    with path.open("w") as file:
        for index in range(count):
            start = chance.randrange(len(blob) - size)
            row = {"id": f"row-{index}", "text": f"[{index}] {blob[start : start + size - 60]}", "number": index}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_parquet(path: Path, lines: Path) -> None:
    """The same rows as Parquet."""
    import polars as pl

    pl.scan_ndjson(lines).sink_parquet(path, row_group_size=GROUP)


def write(lines: Path, table: Path, options: argparse.Namespace) -> None:
    """Both inputs."""
    write_jsonl(lines, options.rows, options.row_bytes)
    if "parquet" in options.formats:
        write_parquet(table, lines)


def first_sent(journal: Path) -> float:
    """When the first request went out, on the wall clock."""
    with journal.open() as file:
        frames = (json.loads(line[line.index("{") :]) for line in file)
        return float(next(frame["at"] for frame in frames if frame["t"] == "sent"))


def few_at_once(command: list[str], in_flight: int) -> list[str]:
    """The command with so few file descriptors that it has at most so many requests under way."""
    return ["sh", "-c", f'ulimit -n {in_flight + FILES} && exec "$@"', "sh", *command] if in_flight else command


def run(source: Path, out: Path, options: argparse.Namespace) -> tuple[Measured, float, Measured]:
    """One whole run, the seconds to its first request, and the resume when nothing is left to do."""
    words = [
        "run",
        str(source),
        "-m",
        MODEL,
        "-p",
        f"Label this: {{{{ text[:{options.asked}] }}}}",
        "--max-tokens",
        "16",
    ]
    with gateway("--no-limits", "--time-scale=0") as local:
        command = runner(*words, "--no-limits", "--json", "-o", str(out))
        begun = time.time()
        done = measured(few_at_once(command, options.in_flight), local.url)
        again = measured(runner("resume", str(out), "--json"), local.url)
    return done, first_sent(out / "journal.jsonl") - begun, again


def report(source: Path, out: Path, options: argparse.Namespace) -> None:
    """Run, resume, and say what it took."""
    done, first, again = run(source, out, options)
    tasks, size = done.output["tasks"], source.stat().st_size / 1e9
    note(f"{source.suffix[1:]}, {size:.1f} GB: {tasks['succeeded']:,} of {tasks['total']:,} succeeded")
    note(f"  first request after {first:8.2f} s")
    note(f"  most memory         {done.megabytes:8.0f} MB in one process")
    note(f"  whole run           {done.wall:8.1f} s")
    note(f"  processor time      {1000 * done.cpu / options.rows:8.3f} ms a row")
    note(f"  journal             {(out / 'journal.jsonl').stat().st_size / 1e9:8.2f} GB")
    note(f"  resume when done    {again.wall:8.2f} s, {again.megabytes:.0f} MB, exit code {again.exit_code}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--row-bytes", type=int, default=10_000)
    parser.add_argument("--formats", default="jsonl,parquet")
    parser.add_argument("--asked", type=int, default=400, help="characters of a row that its prompt quotes")
    parser.add_argument("--in-flight", type=int, default=256, help="requests under way at most; 0: as many as it likes")
    parser.add_argument("--folder", type=Path, help="where to work; the temporary directory if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        free, needed = shutil.disk_usage(folder).free, 2.6 * options.rows * options.row_bytes
        if free < needed:
            parser.error(f"{needed / 1e9:.0f} GB are needed in {folder}, {free / 1e9:.0f} GB are free")
        note(f"{options.rows:,} rows of {options.row_bytes:,} bytes, {os.cpu_count()} processors")
        lines, table = Path(folder) / "rows.jsonl", Path(folder) / "rows.parquet"
        # In a process of its own: what is measured below would inherit this one's peak of memory.
        writer = get_context("spawn").Process(target=write, args=(lines, table, options))
        writer.start()
        writer.join()
        for form in options.formats.split(","):
            report({"jsonl": lines, "parquet": table}[form], Path(folder) / f"run-{form}", options)
            shutil.rmtree(Path(folder) / f"run-{form}")


if __name__ == "__main__":
    main()
