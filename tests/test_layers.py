"""Who may know whom: the imports of every module, read from its source, against the drawing of the layout.

`core` decides and knows nobody; every other folder is one thing outside the program and knows `core` and itself; only
the wiring knows the concrete parts. Imports for type checkers alone are not imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "runner"
OUTER = ("gateway", "ledgers", "storage", "engines", "report", "schedules", "scoring", "simulator", "statistics")
WIRING = {
    "app": "it puts a run together",
    "manifest": "it makes a job of what a run directory says, with the parts that read it",
    "session": "it keeps a journal of what is asked, and knows what is asked again, of whom else",
    "finishing": "it writes tables, labels and the summary from the journal",
    "remembering": "it brings what was learned from where it is kept",
    "earlier": "it reads what earlier runs have left",
    "forking": "it takes over from one of them, with the parts that keep answers and decisions",
    "foresight": "it simulates the run's ledger with one of its own",
    "sharing": "it brings the runs of one account together",
    "preparing": "it reads what a job names, with the parts that read it",
    "reading": "it reads replies as a job declares, with the parts that check them",
    "checking": "it says of a job what its parts say",
    "beforehand": "it plans what judges will be asked, with the parts that will ask them",
    "examples": "it reads a job's examples by its template and its reader, which are parts of two folders",
    "labelling": "it makes labels of a run's results, with the parts that count and that keep tables",
    "surveying": "it reads rows as a run will, with the parts that read and ask",
    "surveyor": "the same in a process of its own",
    "beside": "it stops the engine for what the look finds",
    "api": "the same for a program that calls us",
    "rescoring": "it writes the tables of a run that has ended anew",
    "scheduled": "it runs what is due, by what it finds of the slots before",
    "background": "it begins and stops processes, by what their directories say",
    "evaluation": "it scores what a run has answered, and knows tables, scorers and statistics",
    "examine": "`runner doctor` tries each concrete part by itself",
}
"""Modules at the top that know concrete parts, beside the command line -> what for."""

EXCEPTIONS = {
    ("report.planned", "planning"): "it prints a plan, which is a value of that verb",
    ("execution", "engines.local"): "the verb drives the engine; there is one",
}
"""Imports that the rules do not allow -> the reason why they are there all the same."""

SIMULATOR_MAY = {"core.catalog", "core.errors", "core.values"}
"""All that the judge may know of what it judges: facts and words, no rule and no arithmetic."""


def module_of(path: Path) -> str:
    """`core.schedule` for runner/core/schedule.py, `gateway` for its package, "" for runner itself."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(tree: ast.Module, everywhere: bool) -> Iterator[ast.stmt]:
    """The import statements of a module: those at its top, or those in functions too."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif is_type_checking(node):
            waiting.extend(node.orelse)  # type: ignore[attr-defined]
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(ast.iter_child_nodes(node))


def imports(module: str, *, everywhere: bool = True) -> set[str]:
    """Everything that a module imports, by full name; our own modules begin with `runner.`."""
    names: set[str] = set()
    for node in statements(ast.parse(MODULES[module].read_text(encoding="utf-8")), everywhere):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner.removeprefix("runner.") in MODULES else str(node.module))
    return names


def ours(module: str, *, everywhere: bool = True) -> set[str]:
    """The modules of our own that a module imports, without `runner.`."""
    found = {name for name in imports(module, everywhere=everywhere) if name.split(".")[0] == "runner"}
    return {name.removeprefix("runner").removeprefix(".") for name in found}


def folder(module: str) -> str:
    return module.split(".")[0]


def inside(*folders: str) -> list[str]:
    return [module for module in MODULES if folder(module) in folders]


def test_there_are_modules_to_look_at() -> None:
    """A moved folder must not make the rules below true of nothing."""
    assert set(OUTER) | {"core", "cli"} <= {folder(module) for module in MODULES}


@pytest.mark.parametrize("module", inside("core"))
def test_the_core_knows_only_itself_and_the_standard_library(module: str) -> None:
    """What is decided depends on no file format, no network and no package."""
    foreign = {name for name in imports(module) if name.split(".")[0] not in {*sys.stdlib_module_names, "runner"}}
    assert foreign == set()
    assert {folder(name) for name in ours(module)} <= {"core"}


@pytest.mark.parametrize("module", inside("core"))
def test_the_core_has_no_clock_no_loop_and_no_files(module: str) -> None:
    """Time is a number that is passed, and so is everything else."""
    forbidden = {"time", "datetime", "asyncio", "threading", "socket", "os", "pathlib", "subprocess", "io"}
    assert {name.split(".")[0] for name in imports(module)} & forbidden == set()


@pytest.mark.parametrize("module", inside(*OUTER))
def test_an_outer_folder_knows_only_the_core_and_itself(module: str) -> None:
    """Each is one thing outside the program, and none knows another."""
    known = {name for name in ours(module) if folder(name) not in ("core", folder(module))}
    assert {name for name in known if (module, name) not in EXCEPTIONS} == set()


@pytest.mark.parametrize("module", inside("simulator"))
def test_the_judge_shares_no_code_with_what_it_judges(module: str) -> None:
    """A limiter that judged itself would find itself right."""
    assert {name for name in ours(module) if folder(name) != "simulator"} <= SIMULATOR_MAY


@pytest.mark.parametrize("module", [name for name in MODULES if folder(name) not in {*OUTER, *WIRING, "cli", "core"}])
def test_only_the_wiring_knows_concrete_parts(module: str) -> None:
    """The verbs take the outside world as arguments."""
    concrete = {name for name in ours(module) if folder(name) in OUTER}
    assert {name for name in concrete if (module, name) not in EXCEPTIONS} == set()


@pytest.mark.parametrize("module", inside("cli"))
def test_the_command_line_loads_nothing_heavy_before_it_knows_the_command(module: str) -> None:
    """`runner --help` must not wait for polars: beside click, only the standard library and light modules of ours."""
    light = {*sys.stdlib_module_names, "click", "runner"}
    assert {name.split(".")[0] for name in imports(module, everywhere=False)} <= light
    assert {folder(name) for name in ours(module, everywhere=False)} <= {"cli", "core"}


@pytest.mark.parametrize("module", inside("cli"))
def test_what_the_command_line_takes_from_the_core_is_light_too(module: str) -> None:
    """A module of the core that it loads at once may load only the core in its turn."""
    for name in ours(module, everywhere=False):
        if folder(name) == "core":
            assert {folder(other) for other in ours(name)} <= {"core"}


def test_every_exception_is_still_needed() -> None:
    """A list of exceptions that nobody uses hides the next one."""
    assert {pair for pair in EXCEPTIONS if pair[1] not in ours(pair[0])} == set()


def test_nobody_knows_the_command_line() -> None:
    """It calls; it is not called."""
    callers = {module for module in MODULES if folder(module) != "cli" and "cli" in {folder(n) for n in ours(module)}}
    assert callers == {"__main__"}
