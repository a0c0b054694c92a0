"""`runner score`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.options import Place, job_file, show_options
from runner.cli.unattended import RUN

OF_A_RUN = ("gateway", "limits", "no_limits", "catalogs")
"""Words of a job file that say how to run it."""


@click.command()
@RUN
@click.option("--job", type=Place(), metavar="JOB", help="The job as it is now; else as it was.")
@show_options
def score(directory: Path, job: Path | None, quiet: bool, as_json: bool) -> int:
    """Read and score the replies of the finished run in directory RUN again, and write its tables anew. Asks nothing.

    With --job, as the sections [answer], [vote], [gold], [evaluate] and [gates] of that job say; what it asks must be
    what the run asked.
    """
    from runner.core.errors import UsageError
    from runner.report.printing import print_finish
    from runner.rescoring import rescore
    from runner.storage.jobs import declare, read_words

    if job is not None and not job_file(str(job)):
        raise UsageError(f"{job} is no job: it is neither a folder with a job.toml nor a TOML file.")
    words = {} if job is None else {name: said for name, said in read_words(job).items() if name not in OF_A_RUN}
    finish = rescore(directory, None if job is None else declare(words, str(job)))
    print_finish(finish, quiet=quiet, as_json=as_json)
    return finish.ending.exit_code
