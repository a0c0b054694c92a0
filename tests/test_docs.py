"""What the README tells people to type is understood, and what it links to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from runner.cli.main import runner

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    words[1:]
    for block in BLOCKS
    for line in block.splitlines()
    if (words := shlex.split(line.removeprefix("$ "), comments=True))[:1] in (["runner"], [".venv/bin/runner"])
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_is_understood(words: list[str]) -> None:
    """Each one names a command that exists, with options that it has."""
    with click.Context(runner) as context:
        name, command, rest = runner.resolve_command(context, list(words))
        assert command is not None
        assert command.make_context(name, rest, parent=context).params


def test_the_readme_has_commands_to_check() -> None:
    """The search above finds what it is meant to find."""
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    """Every file that is linked is in the repository."""
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    """The two commands that do all the set-up are in the Makefile."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
