"""The size of an image from the bytes of a data URL."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.core.estimate import UNKNOWN_PIXELS
from runner.gateway.images import pixels


def png(width: int, height: int, rest: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rest) + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;"


def jpeg(width: int, height: int, *segments: bytes) -> bytes:
    """A JPEG with application segments before the frame that states its size."""
    before = b"".join(b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data for data in segments)
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\0"
    return b"\xff\xd8" + before + frame + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size


def url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "data",
    [png(640, 480), gif(640, 480), jpeg(640, 480), jpeg(640, 480, b"Exif\0\0" + bytes(2000)), webp(640, 480)],
    ids=["PNG", "GIF", "JPEG", "JPEG with Exif", "WebP"],
)
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_the_size_is_read_from_the_bytes(data: bytes, kind: str) -> None:
    """Whatever kind the URL says it is."""
    assert pixels(url(data, kind)) == (640, 480)


@pytest.mark.parametrize("size", [49_000, 200_000, 1_000_000])
def test_the_size_of_a_large_file_is_read_from_its_beginning(size: int) -> None:
    """The rest is not decoded."""
    assert pixels(url(png(3000, 2000, bytes(size)))) == (3000, 2000)


@pytest.mark.parametrize("segments", [1, 2])
def test_the_size_of_a_photograph_with_a_preview_is_read(segments: int) -> None:
    """Cameras put up to 64 KB of Exif before the frame, and editors a colour profile behind that."""
    assert pixels(url(jpeg(4000, 3000, *[b"Exif\0\0" + bytes(65_527)] * segments), "jpeg")) == (4000, 3000)


@pytest.mark.parametrize(
    "given_url",
    [
        "https://example.com/a.png",
        "",
        "data:image/png;base64,",
        "data:image/png;base64,!!!",
        "data:image/png;base64,abc",
        "data:image/png,raw",
        "x" + url(png(1, 1)),
        url(b"no image"),
        url(png(640, 480)[:18]),
        url(png(0, 0)),
    ],
)
@pytest.mark.fault("O13")
def test_what_cannot_be_read_has_a_guessed_size(given_url: str) -> None:
    """Nothing is fetched, and nothing raises."""
    assert pixels(given_url) == UNKNOWN_PIXELS


@pytest.mark.fault("O13")
def test_a_format_that_no_model_takes_is_not_read() -> None:
    """Of Netpbm each digit is copied with all before it: half a million of them are seconds for one row."""
    assert pixels(url(b"P6 640 480 255\n")) == pixels(url(b"P6 " + b"1" * 390_000)) == UNKNOWN_PIXELS


BEGINNINGS = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"\xff\xd8",
    b"\xff\xd8\xff\xe0\0\x10JFIF",
    b"II*\0",
    b"MM\0*",
    b"RIFF0000WEBPVP8 ",
    b"RIFF0000WEBPVP8L",
    b"RIFF0000WEBPVP8X",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"P6\n",
    b"P6 1 ",
    b"8BPS",
    b"BM",
    b"\0\0\0\x20ftypavif",
    b"\0\0\0\x20ftypheic",
    b"<svg ",
    b"<svg width='1e9' height='x'",
    b"<?xml version='1.0'?><svg ",
    b"\0\0\1\0",
    b"\xff\x0a",
    b"DDS ",
    b"qoif",
]


@settings(deadline=None)
@given(beginning=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=200))
@example(beginning=b"\xff\xd8", rest=b"\xff\xe1\0\0" * 20)
@example(beginning=b"II*\0", rest=b"\xff" * 100)
def test_any_bytes_have_a_size(beginning: bytes, rest: bytes) -> None:
    """Whatever a row holds costs at most a guess."""
    width, height = pixels(url(beginning + rest))
    assert width > 0
    assert height > 0


@settings(deadline=None)
@given(text=st.text())
def test_any_text_has_a_size(text: str) -> None:
    """Also where it is no URL at all."""
    assert min(pixels(text)) > 0
    assert min(pixels(f"data:image/png;base64,{text}")) > 0
