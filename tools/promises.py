"""A pytest plugin: writes which test shows which promise, and how it ended, into docs/promises.md.

    PYTHONPATH=tools pytest -p promises -m promise --promises docs/promises.md

Promises are in docs/promises.toml; a test that shows one bears `@pytest.mark.promise("NAME")`.
"""

from __future__ import annotations

import datetime
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROMISES: dict[str, dict[str, str]] = tomllib.loads((ROOT / "docs" / "promises.toml").read_text(encoding="utf-8"))

HEAD = """# Promises

What may be relied on, and what shows it. This page is made by the tests: `make promises` runs them and writes it anew.

"""
TAIL = """
## Not promised

- *That nothing is billed twice.* The gateway documents no idempotency key: a request whose answer never came may have
  been processed and billed, and its row is asked again. Such attempts are counted as ambiguous in the summary, keep
  their whole reservation for a window, and stand in `attempts.parquet`.
- *That a line on the screen is on the disk.* A result is acknowledged by the summary, by the tables and by the end of
  the command; what a running command shows may be a twentieth of a second ahead of the disk. It survives `kill -9` all
  the same, but not a loss of power.
- *That nothing is refused.* A few requests are sent above a limit to find out how it is counted, and a limit that is
  lower than stated is found by its refusals. What is refused was not let through, and costs a row nothing.
- *Storage that lies.* A disk that says it has written and has not is beyond every program.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that says where the page goes."""
    parser.addoption("--promises", type=Path, metavar="FILE", help="write the table of promises and their tests")


class Results:
    """Takes down how the tests of promises end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tests: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in PROMISES}
        self.names: dict[str, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note which test bears which name."""
        for item in items:
            self.names[item.nodeid] = [name for mark in item.iter_markers("promise") for name in mark.args]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how one ended."""
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            for name in self.names.get(report.nodeid, []):
                self.tests[name][report.nodeid.partition("[")[0]].append(report.outcome)

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        today = datetime.datetime.now(tz=datetime.UTC).date()
        lines = [HEAD, f"Last made on {today}.\n"]
        for name, promise in PROMISES.items():
            lines.append(f"\n## {promise['says']}\n\n| test | last result |\n| --- | --- |\n")
            lines += [f"| `{test}` | {_summed(ends)} |\n" for test, ends in sorted(self.tests[name].items())]
        self.path.write_text("".join(lines) + TAIL, encoding="utf-8")


def _summed(ends: list[str]) -> str:
    counts = {end: ends.count(end) for end in dict.fromkeys(ends)}
    return ", ".join(end if count == 1 else f"{count} {end}" for end, count in counts.items())


def pytest_configure(config: pytest.Config) -> None:
    """Watch the tests, if the page is wanted."""
    if path := config.getoption("--promises"):
        config.pluginmanager.register(Results(path), "results of promises")
