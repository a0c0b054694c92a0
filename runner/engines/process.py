"""What a run asks of the process that it is in: many open connections, and a collector that seldom looks."""

from __future__ import annotations

import contextlib
import gc
import resource


def most_connections() -> int:
    """How many requests may be in flight: what the file descriptors allow, less some for everything else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(8, min(4000, soft - 64))


def spare_the_collector() -> None:
    """Collect garbage seldom: what is made for a row goes without it, and what stays is looked at for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
