"""Our own commands as messages name them: so that they can be copied, also where names have blanks."""

from __future__ import annotations

import shlex


def command(verb: str, *words: object) -> str:
    """A command with its words."""
    return shlex.join(["runner", verb, *map(str, words)])


def fork_of(run: object) -> str:
    """The option that takes over what a run has answered."""
    return f"--fork {shlex.quote(str(run))}"
