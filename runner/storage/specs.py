"""Configuration files: the packaged catalogue and limits, and the user's own TOML over them."""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from runner.core import catalog, limits
from runner.core.catalog import Catalogue
from runner.core.errors import UsageError
from runner.core.limits import Limits

PACKAGED = ("families", "anthropic", "google", "openai", "databricks", "meta", "alibaba", "picks")
"""The catalogue's files, families first and then the providers in the order of the gateway's page."""


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file; raises UsageError, with the line, if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}.") from None


@cache
def _packaged(name: str) -> dict[str, Any]:
    file = importlib.resources.files("runner") / "catalog" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def load_catalogue(own: Iterable[Path] = ()) -> Catalogue:
    """The packaged catalogue, with the user's files over it in the order given."""
    tables = [(f"{name}.toml", _packaged(name)) for name in PACKAGED]
    return catalog.build([*tables, *((str(path), read_toml(path)) for path in own)])


def load_limits(catalogue: Catalogue, own: Path | None = None) -> Limits:
    """The account's default limits and what is known upstream of single models, with the user's file over them."""
    base = limits.from_table(_packaged("limits"), "limits.toml").with_upstream(catalogue)
    return base if own is None else limits.from_table(read_toml(own), str(own), base, catalogue)
