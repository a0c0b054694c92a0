"""Inputs of one file or of several: a glob, or a folder whose parts may say a column's value, as in `month=2026-01`."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.errors import InputRejected
from runner.storage.names import complaint_about_name
from runner.storage.rows import BadRow, Record, Source

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".pq")
PACKED = (".gz", ".gzip", ".zst", ".zstd")


def open_source(path: Path) -> Source | Files:
    """The input at a path; raises InputRejected if there is nothing that can be read."""
    several = path.is_dir() or (glob.has_magic(str(path)) and not path.exists())
    return Files(path) if several else Source(path)


def files_in(path: Path) -> list[Path]:
    """The files with rows that a glob names, or that lie in a folder at any depth, in the order of their names.

    Hidden ones, and those whose name begins with `_`, hold no rows, unless a glob begins so; of a folder's, only those
    whose name says their format do. Raises InputRejected for what is no glob.
    """
    base = _base(path)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if _is_data(file) and not _is_hidden(file.relative_to(base)))
    pattern = path.relative_to(base)
    try:
        found = [file for file in base.glob(str(pattern)) if file.is_file()]
    except ValueError as error:
        raise InputRejected(f"{path} names no files: {str(error)[:1].lower()}{str(error)[1:]}.") from None
    return sorted(file for file in found if _is_hidden(pattern) or not _is_hidden(file.relative_to(base)))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _base(path: Path) -> Path:
    """The folder from which on names are shown and may say values: the folder itself, or a glob's fixed beginning."""
    parts = path.parts
    fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def _is_data(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in SUFFIXES and path.is_file()


class Files:
    """Several input files, read as one."""

    def __init__(self, path: Path) -> None:
        """Raises InputRejected if there are none, or one cannot be read."""
        self.path = path
        if complaint := complaint_about_name(path):
            raise InputRejected(complaint)
        self._base = _base(path)
        paths = files_in(path)
        if not paths:
            raise InputRejected(f"There is no JSONL, CSV or Parquet file at {path}.")
        self._sources = [Source(file) for file in paths]
        stamps = [source.stamp for source in self._sources]
        self.stamp = {
            "bytes": sum(stamp["bytes"] for stamp in stamps),
            "mtime_ns": max(stamp["mtime_ns"] for stamp in stamps),
            "files": len(stamps),
        }
        """Size, time of the last change and number: while these are the same, the content is taken to be."""
        self.format = ", ".join(sorted({source.format for source in self._sources}))

    def __iter__(self) -> Iterator[Record]:
        """All records, from the first of the first file."""
        index = 0
        for source in self._sources:
            name, said = source.path.relative_to(self._base), self._said(source)
            for record in source:
                placed: Record = replace(record, index=index, where=f"{name}, {record.where}")
                if said and not isinstance(placed, BadRow):
                    digest = hashlib.blake2b(f"{placed.digest}{sorted(said.items())}".encode(), digest_size=12)
                    placed = replace(placed, columns={**placed.columns, **said}, digest=digest.hexdigest())
                yield placed
                index += 1

    def _said(self, source: Source) -> Mapping[str, str]:
        """The values that a file's folders say: `month=2026-01` is a column `month`."""
        folders = source.path.relative_to(self._base).parts[:-1]
        return {key: value for key, equals, value in (part.partition("=") for part in folders) if equals and key}

    def digest(self) -> str:
        """SHA-256 of the files' names and digests."""
        parts = [f"{source.path.relative_to(self._base)} {source.digest()}" for source in self._sources]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def schema(self) -> dict[str, Any] | None:
        """The columns' types where all files are Parquet and agree on them; else the rows have to be looked at."""
        schemas = [source.schema() for source in self._sources]
        first = schemas[0]
        if first is None or any(schema != first for schema in schemas):
            return None
        return {**first, **{name: pl.String() for source in self._sources for name in self._said(source)}}
