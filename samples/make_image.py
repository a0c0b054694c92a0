"""Make image.jsonl: two questions about pictures, one carried in its row as a data URL, one named by its URL.

The picture carried is a red disc on white, 64 x 48 pixels, in two colours; it is stored without compression,
so every version of zlib makes the same bytes. The other is only named: its URL is passed on and nothing here
fetches it.

    python samples/make_image.py
"""

from __future__ import annotations

import argparse
import base64
import json
import struct
import zlib
from pathlib import Path

WIDTH, HEIGHT = 64, 48
CENTRE, RADIUS = (32, 24), 16
WHITE, RED = b"\xff\xff\xff", b"\xdc\x14\x1e"
LOGO = "https://www.debian.org/logos/openlogo-nd-100.png"


def main() -> None:
    """Write the rows beside this script."""
    parser = argparse.ArgumentParser(description="Make image.jsonl.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="the folder to write into")
    disc = "data:image/png;base64," + base64.b64encode(png()).decode()
    rows = [
        ask("disc-inline", "What shape is in this picture, and what colour is it? Answer in a sentence.", disc),
        ask("logo-by-url", "Describe this logo in one sentence for somebody who cannot see it.", LOGO),
    ]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (parser.parse_args().out / "image.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    print(f"{len(rows)} rows")


def ask(key: str, question: str, url: str) -> dict[str, object]:
    """A row with one user message: a question and the picture that it is about."""
    blocks = [{"type": "text", "text": question}, {"type": "image_url", "image_url": {"url": url}}]
    return {"id": key, "messages": [{"role": "user", "content": blocks}]}


def png() -> bytes:
    """The disc as a PNG file with a palette of two colours, one bit a pixel."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 1, 3, 0, 0, 0)
    pixels = b"".join(b"\0" + line(y) for y in range(HEIGHT))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", WHITE + RED)
        + chunk(b"IDAT", zlib.compress(pixels, 0))
        + chunk(b"IEND", b"")
    )


def line(y: int) -> bytes:
    """One line of pixels: a 1 inside the disc, a 0 outside."""
    bits = "".join(str(int((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2 <= RADIUS**2)) for x in range(WIDTH))
    return int(bits, 2).to_bytes(WIDTH // 8, "big")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk: length, kind, data, checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    main()
