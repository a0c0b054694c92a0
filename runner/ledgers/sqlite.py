"""The table in which runs on one host tell each other what they hold and spend: one SQLite file for each account.

A visit is one transaction: read the others, write oneself. Nothing is ever waited for longer than a moment. A damaged
file is put aside and begun anew; who had the old one open finds that out at the next visit. What stands in it is in
`pages`, what follows from it is `shared`'s business.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import orjson

from runner.core.knowledge import Facts
from runner.ledgers.pages import Member, Page, Spent
from runner.ledgers.processes import Process

VERSION = 1
PATIENCE = 0.05
"""Seconds to wait for another run's transaction, which takes a millisecond or two."""

AHEAD = 60.0
"""Seconds, by far more than lie between a look at the clock and the visit that it is for: what is dated later than that
is of an earlier boot."""

OVER = 2 * 86_400.0
"""Seconds since anything was written to a file, after which it is of no use: another machine may use it too."""


class Unusable(Exception):
    """The file cannot be used at this moment, and why."""

    def __init__(self, reason: str, *, busy: bool = False) -> None:
        super().__init__(reason)
        self.busy = busy
        """Whether somebody merely held it for too long."""


class Damaged(Unusable):
    """The file holds something else than was written."""


class Visit:
    """One transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.stamp = 0
        """This transaction's number."""

    def begin(self) -> None:
        """Take the number."""
        found = self._connection.execute("SELECT max(count) FROM transactions").fetchone()[0]
        self.stamp = (found or 0) + 1
        query = "INSERT INTO transactions VALUES (?)" if found is None else "UPDATE transactions SET count = ?"
        self._connection.execute(query, (self.stamp,))

    def renew(self, now: float) -> None:
        """Begin anew where anything is dated after now: the clock begins with the boot, which not all systems name."""
        query = (
            "SELECT max(at) > ? FROM (SELECT beat AS at FROM runs UNION ALL SELECT at FROM spent"
            " UNION ALL SELECT at FROM learned)"
        )
        if self._connection.execute(query, (now + AHEAD,)).fetchone()[0]:
            self._connection.execute("DELETE FROM runs")
            self._connection.execute("DELETE FROM spent")
            self._connection.execute("DELETE FROM learned")

    def runs(self) -> list[Page]:
        """The runs, in the order in which they joined; garbled ones are left out."""
        rows = self._connection.execute(
            "SELECT run, pid, born, boot, space, priority, since, beat, until, page FROM runs ORDER BY since, run"
        )
        return [page for row in rows if (page := Page.from_row(row)) is not None]

    def spent(self, after: int, without: str) -> list[Spent]:
        """What was written since a transaction, the earliest spending first, without that of one run."""
        query = "SELECT run, piece, at, amounts FROM spent WHERE stamp > ? AND run <> ? ORDER BY at"
        rows = self._connection.execute(query, (after, without))
        return [spent for row in rows if (spent := Spent.from_row(row)) is not None]

    def last_piece(self, run: str) -> int:
        """The number of a run's last piece; 0 for none."""
        return int(self._connection.execute("SELECT max(piece) FROM spent WHERE run = ?", (run,)).fetchone()[0] or 0)

    def write(self, page: Page) -> None:
        """Say of a run what holds from now on."""
        self._connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", page.to_row())

    def spend(self, entries: list[Spent], keep: float) -> None:
        """Say what was spent, or that it was another amount than said before; for `keep` seconds."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?, ?, ?)",
            [
                (one.run, one.piece, one.at, one.at + keep, self.stamp, orjson.dumps(one.amounts).decode())
                for one in entries
            ],
        )

    def learned(self, after: int) -> dict[str, Facts]:
        """What was told of limits since a transaction."""
        query = "SELECT key, told FROM learned WHERE stamp > ?"
        found: dict[str, Facts] = {}
        for key, text in self._connection.execute(query, (after,)):
            with contextlib.suppress(TypeError, ValueError):
                found[str(key)] = dict(orjson.loads(text))
        return found

    def tell(self, learned: Mapping[str, Facts], until: float) -> None:
        """Say what was found out of limits; what was found out later by others stays."""
        query = "DELETE FROM learned WHERE key = ? AND at <= ?"
        self._connection.executemany(query, [(key, told["at"]) for key, told in learned.items()])
        self._connection.executemany(
            "INSERT OR IGNORE INTO learned VALUES (?, ?, ?, ?, ?)",
            [(key, told["at"], until, self.stamp, orjson.dumps(told).decode()) for key, told in learned.items()],
        )

    def forget(self, model: str | None) -> None:
        """Drop what was told of limits, or of those of one model."""
        if model is None:
            self._connection.execute("DELETE FROM learned")
        else:
            self._connection.execute("DELETE FROM learned WHERE key GLOB ? || '/*'", (model,))

    def leave(self, run: str) -> None:
        """A run has ended. What it spent stays."""
        self._connection.execute("DELETE FROM runs WHERE run = ?", (run,))

    def sweep(self, now: float) -> None:
        """Drop what is of no use any more."""
        self._connection.execute("DELETE FROM spent WHERE until < ?", (now,))
        self._connection.execute("DELETE FROM learned WHERE until < ?", (now,))


def place(folder: Path, account: str, process: Process) -> Path:
    """The file of an account, in which all times are of one boot; files of boots that are over are removed."""
    boot = hashlib.sha256(process.boot.encode()).hexdigest()[:8]
    path = folder / f"{account}.{boot}.share"
    if not path.exists():
        for old in folder.glob(f"{account}.*.share*"):
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > OVER:
                    old.unlink()
    return path


class Store:
    """The file of one account."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._connection: sqlite3.Connection | None = None
        self._inode = -1
        self._sign: contextlib.ExitStack | None = None

    @contextlib.contextmanager
    def visit(self) -> Iterator[Visit]:
        """One transaction, kept if the block ends well. Raises Unusable."""
        with _explained(self.path):
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                visit = Visit(connection)
                visit.begin()
                yield visit
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.rollback()
                raise

    def look(self) -> tuple[list[Page], list[Spent]]:
        """The runs, and what was spent of late by all, without writing anything. Raises Unusable."""
        if not self.path.exists():
            return [], []
        with _explained(self.path), contextlib.closing(self._connect()) as connection:
            visit = Visit(connection)
            return visit.runs(), visit.spent(0, without="")

    def show(self, member: Member) -> None:
        """Hold a run's sign until `close`, or until this process ends, however it ends. Raises OSError."""
        if self._sign is None:
            sign = contextlib.ExitStack()
            sign.enter_context(_locked(self._sign_of(member)))
            self._sign = sign

    def sees(self, member: Member) -> bool:
        """Whether anybody holds a run's sign: all containers on a host see a lock, if not each other's processes."""
        try:
            with _locked(self._sign_of(member), os.O_RDWR):
                return False
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def hide(self, member: Member) -> None:
        """Take away the sign of a run that has ended."""
        with contextlib.suppress(OSError):
            self._sign_of(member).unlink()

    def _sign_of(self, member: Member) -> Path:
        name = hashlib.sha256(repr((member.run, member.process, member.since)).encode()).hexdigest()[:16]
        return self.path.with_suffix(f".{name}.share-sign")

    def close(self) -> None:
        """Let go of the file, and of the sign."""
        self._disconnect()
        if self._sign is not None:
            self._sign.close()
        self._sign = None

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def renew(self) -> None:
        """Put a damaged file aside, unless somebody else has done so. Raises Unusable."""
        self._disconnect()
        with _explained(self.path), _locked(self.path.with_suffix(".share-lock")):
            if not self._is_damaged():
                return
            aside = self.path.with_suffix(".share-unusable")
            self.path.replace(aside)
            for ending in ("-wal", "-shm"):
                self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
            self.notices.append(f"{self.path} was damaged, and was put aside as {aside}.")

    def _is_damaged(self) -> bool:
        try:
            with contextlib.closing(self._connect()) as connection:
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        except sqlite3.OperationalError:
            return False
        except sqlite3.DatabaseError:
            return True

    def _opened(self) -> sqlite3.Connection:
        """The connection, to the file that is there now."""
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            inode = -1
        if self._connection is not None and inode == self._inode != -1:
            return self._connection
        self._disconnect()
        folder = self.path.parent
        for missing in reversed([parent for parent in (folder, *folder.parents) if not parent.exists()]):
            missing.mkdir(exist_ok=True, mode=0o700)  # each of them is its owner's alone, whatever the umask
        # Closing a file that SQLite has open drops its locks: only one that is new is touched here.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        status = self.path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise Unusable(f"{self.path} is no file")
        self._inode = status.st_ino
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found > VERSION:
                raise Unusable("a newer runner wrote it")
            if found < VERSION:
                connection.executescript(files("runner.ledgers").joinpath("share.sql").read_text())
                connection.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What goes wrong with the file, as Unusable."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise Unusable(f"{path}: {error}", busy=code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)) from None
    except sqlite3.Error as error:
        raise Damaged(f"{path}: {error}") from None
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None


@contextlib.contextmanager
def _locked(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[None]:
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
