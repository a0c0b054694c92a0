"""What the storage tests share: a bound on the size of files, as a full disk sets one."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

Full = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def disk_full_at() -> Full:
    """No file can grow beyond so many bytes: the kernel writes short first, and then fails, as on a full disk."""

    @contextmanager
    def bounded(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # Python ignores SIGXFSZ: the write fails
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return bounded
