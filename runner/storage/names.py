"""Names of files. What a run is, and which files it reads, is written down as JSON, which holds only UTF-8."""

from __future__ import annotations

from pathlib import Path

LONGEST = 255
"""Bytes that file systems take for one name."""


def complaint_about_name(path: Path) -> str | None:
    """What is wrong with the whole name of a file or a folder, and how to mend it; None if it can be written down."""
    name = str(path.absolute())
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return f"{shown} has a name that is no UTF-8. Rename it, or the folder."
    longest = max(path.parts, key=lambda part: len(part.encode()), default="")
    if len(longest.encode()) > LONGEST:
        return f"{longest[:40]}... is no name of a file: it has more than {LONGEST} bytes."
    return None
