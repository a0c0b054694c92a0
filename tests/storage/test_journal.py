"""The journal under torn tails, flipped bits, full disks and kills: what was written whole is what reads back."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import stat
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.core.errors import StorageFailed
from runner.storage import journal
from runner.storage.journal import Committer, DiskFile, Frame, Journal, cut_torn_tail, frame, read, read_anew, read_at

PAYLOADS: list[dict[str, Any]] = [
    {"t": "header", "version": 1, "run": "r"},
    {"t": "sent", "row": 0, "text": "é\u2028\n"},
    {"t": "landed", "row": 0, "usage": {"input": 3}},
]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits follow each other without the pause that groups them."""
    monkeypatch.setattr(journal, "COMMIT_SECONDS", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def written(path: Path, payloads: list[dict[str, Any]]) -> list[int]:
    """Write payloads behind what a journal holds, and close it; the offsets that it gave."""
    chain = list(read(path))[-1].chain if path.exists() and path.stat().st_size else 0
    book = Journal(DiskFile(path), chain)
    offsets = [book.append(payload) for payload in payloads]
    book.close()
    return offsets


def payloads(path: Path) -> list[dict[str, Any]]:
    return [frame.payload for frame in read(path)]


def frames(path: Path) -> Iterator[Frame]:
    written(path, PAYLOADS)
    return read(path)


# What is written is read back.


def test_frames_are_read_back_in_order(path: Path) -> None:
    """A payload comes back equal, and the next frame begins where one ends."""
    read_back = list(frames(path))
    assert [one.payload for one in read_back] == PAYLOADS
    assert [one.offset for one in read_back] == [0, *[one.end for one in read_back[:-1]]]
    assert read_back[-1].end == path.stat().st_size


def test_the_offsets_of_append_are_those_of_read_at(path: Path) -> None:
    """Frames are found again one by one, in any order, over sessions."""
    offsets = written(path, PAYLOADS)
    offsets += written(path, PAYLOADS)
    with path.open("rb") as file:
        for offset, payload in reversed(list(zip(offsets, PAYLOADS * 2, strict=True))):
            assert read_at(file, offset) == payload


def test_an_offset_holds_over_several_writes(path: Path) -> None:
    """Appending after a write goes on counting where the file ends."""
    book = Journal(DiskFile(path))
    first = book.append(PAYLOADS[0])
    book.write()
    second = book.append(PAYLOADS[1])
    third = book.append(PAYLOADS[2])
    book.close()
    assert [one.offset for one in read(path)] == [first, second, third]


def test_reading_at_a_place_where_no_frame_begins_fails(path: Path) -> None:
    """A stale offset is an error, never somebody else's answer."""
    [offset, *_] = written(path, PAYLOADS)
    with path.open("rb") as file, pytest.raises(StorageFailed, match=f"byte {offset + 3} "):
        read_at(file, offset + 3)


def test_what_is_written_is_in_the_file_before_the_journal_is_closed(path: Path) -> None:
    """An intent is with the kernel before its request goes out; what was only appended is not."""
    book = Journal(DiskFile(path))
    book.append(PAYLOADS[0])
    assert payloads(path) == []
    book.write()
    assert payloads(path) == PAYLOADS[:1]
    book.close()


def test_what_another_session_wrote_is_not_taken_to_be_durable(path: Path) -> None:
    """G2: it may have been killed between writing and syncing; the first sync covers that too."""
    written(path, PAYLOADS)
    book = Journal(DiskFile(path))
    assert book.durable == 0
    book.sync()
    assert book.durable == path.stat().st_size
    book.close()


@pytest.mark.promise("durable")
def test_what_was_written_survives_a_kill(path: Path) -> None:
    """G2: after `write`, no kill takes a frame away."""
    script = (
        "import os, signal, sys; from pathlib import Path; from runner.storage.journal import DiskFile, Journal\n"
        "book = Journal(DiskFile(Path(sys.argv[1])))\n"
        "book.append({'t': 'kept'}); book.write(); book.append({'t': 'lost'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert payloads(path) == [{"t": "kept"}]


def test_close_writes_and_syncs_what_is_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `close`, everything appended was handed over before the last sync."""
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_size), sync(fd)))
    written(path, PAYLOADS)
    assert synced[-1] == path.stat().st_size > 0


@pytest.mark.fault("P19")
def test_the_name_of_a_new_journal_is_durable_before_its_frames(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose bytes are synced is lost all the same if its folder does not know it when the power fails."""
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), sync(fd)))
    written(path, PAYLOADS)
    assert synced == [path.parent.stat().st_ino, path.stat().st_ino]


@pytest.mark.fault("O8")
def test_a_journal_is_for_its_owner_alone(path: Path) -> None:
    """O8: whatever the umask, nobody else reads it."""
    before = os.umask(0)
    try:
        written(path, PAYLOADS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.fault("P13")
def test_a_journal_that_cannot_be_opened_is_a_storage_failure(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(StorageFailed, match="cannot be opened"):
        DiskFile(tmp_path)


def test_an_empty_journal_has_no_frames(path: Path) -> None:
    """A run that was killed before its first frame has no history."""
    path.touch()
    assert payloads(path) == []


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), json_values, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(values=st.lists(json_objects, max_size=5))
def test_any_payloads_survive_the_journal(path: Path, values: list[dict[str, Any]]) -> None:
    """Whatever JSON objects are appended are read back equal, at the offsets that were given."""
    path.unlink(missing_ok=True)
    offsets = written(path, values)
    read_back = list(read(path))
    assert [one.payload for one in read_back] == values
    assert [one.offset for one in read_back] == offsets


# Torn tails.


@pytest.mark.fault("P19")
def test_a_tail_torn_at_any_byte_is_dropped_and_the_rest_is_read(path: Path) -> None:
    """A crash in the middle of a write costs the last frame only."""
    *_, last = frames(path)
    whole = path.read_bytes()
    for size in range(last.offset, last.end):
        path.write_bytes(whole[:size])
        assert payloads(path) == PAYLOADS[:-1]


@pytest.mark.fault("P19")
@pytest.mark.parametrize(
    "tail",
    [b"\0" * 5000, b"\n\n\n", os.urandom(64).replace(b"\n", b""), b"00000002 ffffffff {}\n", b"\0\n\0\n"],
    ids=["zeros", "newlines", "garbage", "a wrong checksum", "zeros and newlines"],
)
def test_a_tail_that_is_no_frame_is_dropped(path: Path, tail: bytes) -> None:
    """A file may have grown without its data."""
    written(path, PAYLOADS)
    with path.open("ab") as file:
        file.write(tail)
    assert payloads(path) == PAYLOADS


def test_a_torn_tail_is_cut_and_the_next_session_follows_on(path: Path) -> None:
    """What is appended after a crash stands behind the last whole frame, and its bytes are reported."""
    *_, last = frames(path)
    os.truncate(path, last.end - 5)
    end = list(read(path))[-1].end
    assert cut_torn_tail(path, end) == last.end - 5 - end
    assert written(path, [{"t": "session"}]) == [end]
    assert payloads(path) == [*PAYLOADS[:-1], {"t": "session"}]


def test_a_whole_journal_is_not_cut(path: Path) -> None:
    """Nothing goes where nothing is torn."""
    *_, last = frames(path)
    before = path.read_bytes()
    assert cut_torn_tail(path, last.end) == 0
    assert path.read_bytes() == before


# Damage with whole frames behind it.


@pytest.mark.fault("P20")
def test_any_flipped_byte_before_the_last_frame_is_noticed(path: Path) -> None:
    """Bit rot is refused, or changes nothing: paid answers are never dropped silently."""
    *_, last = frames(path)
    whole = path.read_bytes()
    lost = []
    for position in range(last.offset):
        for mask in (0x01, 0x20, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            try:
                survived = payloads(path) == PAYLOADS
            except StorageFailed:
                continue
            if not survived:
                lost.append((position, mask))
    assert lost == []


@pytest.mark.fault("P20")
def test_damage_is_named_by_its_place(path: Path) -> None:
    """The message says where the damaged frame begins."""
    _, second, _ = frames(path)
    damaged = bytearray(path.read_bytes())
    damaged[second.offset + 30] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StorageFailed, match=f"damaged at byte {second.offset}, with whole frames behind"):
        payloads(path)


def test_frames_before_the_damage_are_read_before_it_is_reported(path: Path) -> None:
    """What is whole can still be shown."""
    first, second, _ = frames(path)
    damaged = bytearray(path.read_bytes())
    damaged[second.offset + 30] ^= 1
    path.write_bytes(damaged)
    reading = read(path)
    assert next(reading).payload == first.payload
    with pytest.raises(StorageFailed):
        next(reading)


def checked(body: bytes) -> bytes:
    """A frame whose length and checksum are right, whatever is in it."""
    return b"%08x %08x %b\n" % (len(body), zlib.crc32(body), body)


pieces = st.one_of(
    st.binary(max_size=40),
    json_objects.map(lambda payload: frame(payload)[0]),
    json_values.map(lambda value: checked(orjson.dumps(value))),
    st.binary(max_size=20).map(checked),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(content=st.lists(pieces, max_size=6).map(b"".join))
@example(content=checked(b"no JSON"))
@example(content=checked(b"[1]"))
@example(content=b"00000000 00000000 \n")
def test_any_bytes_read_as_frames_or_fail_as_storage(path: Path, content: bytes) -> None:
    """Whatever stands in the file, reading gives objects, or raises StorageFailed."""
    path.write_bytes(content)
    try:
        read_back = list(read(path))
    except StorageFailed:
        return
    assert all(isinstance(one.payload, dict) for one in read_back)


# Full disks.


@pytest.mark.fault("P8")
def test_a_full_disk_stops_the_journal_and_leaves_whole_frames(path: Path, disk_full_at: Any) -> None:
    """The kernel writes short first and fails then; what is half written is taken back."""
    [_, second, _] = written(path, PAYLOADS)
    whole = path.read_bytes()
    path.unlink()
    book = Journal(DiskFile(path))
    book.append(PAYLOADS[0])
    book.write()
    with disk_full_at(second + 30):
        book.append(PAYLOADS[1])
        book.append(PAYLOADS[2])
        with pytest.raises(StorageFailed, match="cannot be written"):
            book.write()
    assert path.read_bytes() == whole[:second]
    with pytest.raises(StorageFailed):
        book.close()
    assert payloads(path) == PAYLOADS[:1]


@pytest.mark.fault("P8")
def test_a_failed_write_is_never_tried_again(path: Path, disk_full_at: Any) -> None:
    """Room on the disk later does not make a broken session whole."""
    book = Journal(DiskFile(path))
    with disk_full_at(10):
        book.append(PAYLOADS[0])
        with pytest.raises(StorageFailed):
            book.write()
    book.append(PAYLOADS[1])
    with pytest.raises(StorageFailed, match="cannot be written"):
        book.write()
    with pytest.raises(StorageFailed):
        book.close()
    assert path.read_bytes() == b""


@pytest.mark.fault("P9")
def test_a_disk_that_is_full_at_the_end_fails_the_closing(path: Path, disk_full_at: Any) -> None:
    """What `close` could not write is an error, not silence."""
    book = Journal(DiskFile(path))
    book.append(PAYLOADS[0])
    with disk_full_at(10), pytest.raises(StorageFailed):
        book.close()
    assert path.read_bytes() == b""


@pytest.mark.fault("P11")
def test_a_failed_sync_stops_the_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first failure to make frames durable ends the session, and is not tried again."""
    calls: list[int] = []

    def fails(fd: int) -> None:
        calls.append(fd)
        raise OSError(5, "Input/output error")

    book = Journal(DiskFile(path))
    monkeypatch.setattr(os, "fsync", fails)
    book.append(PAYLOADS[0])
    book.write()
    with pytest.raises(StorageFailed, match="could not be made durable"):
        book.close()
    assert len(calls) == 1


@pytest.mark.fault("P11")
def test_a_sync_that_fails_in_the_background_stops_the_next_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request goes out whose intent stands behind frames that the disk may have lost."""
    failed = threading.Event()

    def fails(_fd: int) -> None:
        failed.set()
        raise OSError(5, "Input/output error")

    book = Journal(DiskFile(path))
    monkeypatch.setattr(os, "fsync", fails)

    def goes_on() -> None:
        with Committer(book):
            book.append(PAYLOADS[0])
            book.write()
            assert failed.wait(10)
            while True:  # sync was called; once its failure is noted, nothing is taken any more
                book.write()

    with pytest.raises(StorageFailed, match="could not be made durable"):
        goes_on()
    assert payloads(path)[:1] == PAYLOADS[:1]


def test_frames_are_made_durable_while_the_run_goes_on(path: Path) -> None:
    """G2: what a committed journal holds is on the disk a moment later, not only at the end."""
    with Committer(Journal(DiskFile(path))) as book:
        book.append(PAYLOADS[0])
        book.write()
        while book.durable == 0:
            threading.Event().wait(0.001)
        assert book.durable == path.stat().st_size


def test_a_closed_journal_leaves_no_thread_behind(path: Path) -> None:
    """The thread that syncs ends with its journal."""
    before = set(threading.enumerate())
    with Committer(Journal(DiskFile(path))):
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before


# The chain.


@pytest.mark.fault("P20")
def test_a_missing_frame_is_noticed(path: Path) -> None:
    """A frame that is gone without a trace leaves the chain broken."""
    _, second, third = frames(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: second.offset] + whole[third.offset :])
    with pytest.raises(StorageFailed, match=f"damaged at byte {second.offset}"):
        payloads(path)


@pytest.mark.fault("P20")
def test_frames_in_each_others_places_are_noticed(path: Path) -> None:
    """Each frame is whole, and the order is not the one in which they were written."""
    first, second, third = frames(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: first.end] + whole[third.offset :] + whole[second.offset : second.end])
    with pytest.raises(StorageFailed, match="damaged"):
        payloads(path)


@pytest.mark.fault("P21")
def test_a_journal_without_a_chain_is_read_and_continued_with_one(path: Path) -> None:
    """Frames of the first version stand as they were written."""
    bodies = [orjson.dumps(payload) for payload in PAYLOADS]
    path.write_bytes(b"".join(b"%08x %08x %b\n" % (len(body), zlib.crc32(body), body) for body in bodies))
    old = path.read_bytes()
    written(path, [{"t": "session"}])
    assert path.read_bytes().startswith(old)
    assert payloads(path) == [*PAYLOADS, {"t": "session"}]
    path.write_bytes(old[: old.index(b"\n") + 1] + path.read_bytes()[len(old) :])  # two old frames are gone
    with pytest.raises(StorageFailed, match="damaged"):
        payloads(path)


def in_memory(path: Path) -> int:
    """How many pages of a file the kernel has in its page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        pages = -(-len(mapped) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        begin = ctypes.c_char.from_buffer(mapped)
        told = libc.mincore(ctypes.c_void_p(ctypes.addressof(begin)), ctypes.c_size_t(len(mapped)), found)
        del begin
        assert told == 0
        return sum(page & 1 for page in found)


@pytest.mark.fault("P11")
@pytest.mark.skipif(sys.platform != "linux", reason="it is the kernel that is asked")
def test_a_run_that_is_gone_on_with_is_read_from_the_disk(path: Path) -> None:
    """After a failed sync the page cache shows what was never written, to the next process too."""
    path.write_bytes(bytes(64 * mmap.PAGESIZE))
    os.sync()
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()
    if kind in ("tmpfs", "ramfs", "overlayfs"):
        pytest.skip(f"a file on {kind} is nowhere else, or in more than one place")
    path.read_bytes()
    assert in_memory(path) == 64
    read_anew(path)
    assert in_memory(path) == 0


@pytest.mark.fault("P11")
def test_what_was_written_is_not_let_go_before_it_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where that fails, nothing is: the run ends, and the next start tries anew."""
    calls: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _fd: calls.append("sync"))
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, _from, _to, _how: calls.append("let go"))
    path.touch()
    read_anew(path)
    assert calls == ["sync", "let go"]

    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFailed, match="cannot be made durable: Input/output error"):
        read_anew(path)
    assert calls == ["sync", "let go"]


def test_a_run_without_a_journal_has_nothing_to_let_go(path: Path) -> None:
    """It was stopped before it had sent anything."""
    read_anew(path)
    assert not path.exists()
