"""`runner completion`."""

from __future__ import annotations

import os
import sys

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), required=False)
def completion(shell: str | None) -> int:
    """Print the lines that teach SHELL to complete this command, for its start-up file.

    \b
    bash:  runner completion bash >> ~/.bashrc
    zsh:   runner completion zsh >> ~/.zshrc
    fish:  runner completion fish > ~/.config/fish/completions/runner.fish
    """
    from runner.cli.main import runner

    name = shell or os.path.basename(os.environ.get("SHELL", "bash"))  # noqa: PTH119 - a name, not a path
    found = get_completion_class(name)
    if found is None:
        raise click.UsageError(f"There is no completion for {name}; there is for bash, zsh and fish.")
    sys.stdout.write(found(runner, {}, "runner", "_RUNNER_COMPLETE").source() + "\n")
    return 0
