"""The size of an image in pixels, from the bytes of a data URL. Nothing is fetched."""

from __future__ import annotations

import base64
import binascii
import io

import imagesize

from runner.core.estimate import UNKNOWN_PIXELS

HEAD = 512 * 1024
"""Characters of base64 that are looked at: sizes stand before the pixels, behind previews at the most."""

NETPBM = b"P"
"""How a format begins that no model takes: its sizes are digits, which are copied again for each one that follows."""


def pixels(url: str) -> tuple[int, int]:
    """Width and height; a fixed guess for what is not a data URL or cannot be read."""
    head, found, data = url.partition(";base64,")
    if not found or not head.startswith("data:"):
        return UNKNOWN_PIXELS
    try:
        start = base64.b64decode(data[: HEAD - HEAD % 4] if len(data) > HEAD else data)
        if start.startswith(NETPBM):
            return UNKNOWN_PIXELS
        width, height = imagesize.get(io.BytesIO(start))
    except (binascii.Error, ValueError, OSError):
        return UNKNOWN_PIXELS
    return (width, height) if width > 0 and height > 0 else UNKNOWN_PIXELS
