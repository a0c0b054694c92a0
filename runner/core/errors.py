"""Everything that can end a run, each with the exit code it ends with. The docstring is the message if none is given.

A *failure* (one attempt that went wrong) is a value, `values.Failure`; these are errors: the run cannot go on.
"""

from __future__ import annotations


class RunnerError(Exception):
    """The run could not go on."""

    exit_code = 70

    def __str__(self) -> str:
        detail = super().__str__()
        return detail or (type(self).__doc__ or "").strip()


class UsageError(RunnerError):
    """The command, the job or the configuration is not right."""

    exit_code = 2


class RunBusy(RunnerError):
    """Another process is working in this run directory."""

    exit_code = 6


class InputRejected(RunnerError):
    """The input cannot be used as it is."""

    exit_code = 7


class StorageFailed(RunnerError):
    """The run directory cannot be written, or what it holds is damaged."""

    exit_code = 8


class StorageDamaged(StorageFailed):
    """What the run directory holds does not read back; going on as before would not help."""


class GatewayUnavailable(RunnerError):
    """The gateway could not be used for longer than the run's patience."""

    exit_code = 9


class BrokenInvariant(RunnerError):
    """The runner contradicted itself; this is a bug in it."""

    exit_code = 70
