"""Logs have a bound, are ours alone, and stop nothing."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from runner.core.errors import UsageError
from runner.storage.logs import OLD, Log, logged, open_log


@pytest.mark.fault("P25")
def test_a_log_is_turned_over_before_it_is_too_large(tmp_path: Path) -> None:
    """P25: this one and two before it, none above the bound, and the newest lines are there."""
    path = tmp_path / "log"
    with Log(path, largest=1000) as log:
        for number in range(500):
            log.write(f"line {number}\n")
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log", "log.1", "log.2"]
    assert len(files) == OLD + 1
    assert all(file.stat().st_size <= 1000 for file in files)
    lines = "".join(file.read_text() for file in reversed(files)).splitlines()
    assert lines == [f"line {number}" for number in range(500 - len(lines), 500)]


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Also its bound does."""
    for _ in range(3):
        with Log(tmp_path / "log", largest=25) as log:
            log.write("0123456789")
    assert (tmp_path / "log").read_text() == "0123456789"
    assert (tmp_path / "log.1").read_text() == "0123456789" * 2


@pytest.mark.fault("P18")
def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    """P18: whatever cron's umask is, and whatever the file was before; the next one too."""
    path = tmp_path / "a" / "log"
    path.parent.mkdir()
    path.touch()
    path.chmod(0o644)
    before = os.umask(0o022)
    try:
        with Log(path, largest=5) as log:
            log.write("12345")
            log.write("12345")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A prepared link does not say where we write."""
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="log"):
        open_log(tmp_path / "log")
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe would hold the run up."""
    os.mkfifo(tmp_path / "log")
    with pytest.raises(UsageError, match="log"):
        open_log(tmp_path / "log")


@pytest.mark.fault("P25")
def test_a_full_disk_stops_nothing(tmp_path: Path, disk_full_at: Any) -> None:
    """P25: the text is lost, the run is not."""
    with Log(tmp_path / "log") as log, disk_full_at(100):
        for _ in range(50):
            log.write("0123456789")
    assert (tmp_path / "log").stat().st_size <= 100


def test_all_that_is_said_goes_into_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results and complaints; an error that ends the run is said outside too, for whoever reads cron's mails."""

    def speak() -> None:
        print("out")
        click.echo("complaint é", err=True)
        sys.stderr.write("more\n")
        raise UsageError("wrong.")

    with pytest.raises(UsageError), logged(tmp_path / "log"):
        speak()
    lines = (tmp_path / "log").read_text().splitlines()
    assert f"process {os.getpid()} begins" in lines[0]
    assert lines[1:] == ["out", "complaint é", "more", "runner: wrong."]
    assert capsys.readouterr() == ("", "")
