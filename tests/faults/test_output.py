"""What leaves the runner: each case of the catalogue's part O that no other test shows."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runner
from runner.cli import adopting, background, evaluating, looking, pruning
from runner.core.errors import UsageError
from runner.core.prompt import Prompt, RowError
from runner.labelling import decisions
from runner.ledgers.sqlite import Store
from runner.report.printing import preview, print_json, show_errors
from runner.report.safe import safe, safe_json, safe_lines, safe_whole
from runner.storage.exports import export
from runner.storage.journal import cut_torn_tail
from runner.storage.knowledge import Memory
from runner.storage.logs import open_log
from runner.storage.results import ERROR_COLUMNS, RESULT_SCHEMA
from runner.storage.rows import spool
from runner.storage.rundir import RunDirectory, replace_file

ROOT = Path(runner.__file__).parent
NASTY = "\x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://evil\x07\r\x08\x00\x7f\x9b31m\u202e\u2066\u200b\ufeff\u061c\u00ad\U000e0041"
MOVES = set(NASTY) - set("[2J]0;title52;c;ZXZpbA==8;;http://evil31m")


# The terminal.


@pytest.mark.fault("O4")
@pytest.mark.parametrize("make", [safe, safe_lines, safe_whole, safe_json], ids=lambda make: make.__name__)
def test_nothing_that_moves_a_terminal_is_left(make: Any) -> None:
    """Controls of both sets, bidirectional and invisible characters, in whatever form text is shown."""
    assert not MOVES & set(make(f"a{NASTY}b"))


@pytest.mark.fault("O4")
@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=[])), longest=st.integers(1, 50))
def test_any_text_is_one_printable_line_of_bounded_length(text: str, longest: int) -> None:
    """Lone surrogates too: a terminal's encoding takes whatever comes."""
    shown = safe(text, longest)
    assert len(shown) <= longest
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)


@pytest.mark.fault("O4")
def test_marks_are_not_piled_up_over_other_lines() -> None:
    """Three marks are more than any language puts on a letter."""
    assert safe("a" + "\u0301" * 100 + "b") == "a\u0301\u0301\u0301b"


@pytest.mark.fault("O4")
def test_what_is_no_harm_is_shown_as_it_is() -> None:
    """Languages, symbols and marks of ordinary number stay."""
    text = "Ünïcode 漢字 עברית 🙂 e\u0301 \u00a0x"
    assert safe(text) == safe_whole(text) == text


@pytest.mark.fault("O4")
def test_a_message_has_a_bounded_number_of_lines() -> None:
    """What was left out is marked as left out."""
    assert safe_lines("a\nb\nc", most=2) == "a\nb\n…"
    assert safe_lines("a\nb", most=2) == "a\nb"


@pytest.mark.fault("O4")
@settings(max_examples=200, deadline=None)
@given(value=st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists))
def test_json_for_a_terminal_reads_back_the_same(value: Any) -> None:
    """Only the writing differs: as escapes."""
    assert json.loads(safe_json({"value": value})) == {"value": value}


@pytest.mark.fault("O4")
def test_json_that_is_printed_holds_no_controls(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON itself forbids only those of the first set."""
    print_json({"reason": NASTY})
    out = capsys.readouterr().out
    assert not MOVES & set(out)
    assert json.loads(out) == {"reason": NASTY}


def hold(path: Path, **columns: Any) -> Path:
    """A table of one line with these texts in it."""
    line = {"row": 0, "id": "0", "model": "m", "status": "succeeded"} | columns
    pl.DataFrame([line], schema=RESULT_SCHEMA).write_parquet(path)
    return path


@pytest.mark.fault("O4")
def test_tables_that_are_shown_hold_no_controls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids, models, answers and errors are all made by strangers."""
    path = hold(
        tmp_path / "t.parquet", **dict.fromkeys(("id", "model", "answer", "error_type", "error_message"), NASTY)
    )
    preview(path)
    pl.read_parquet(path).select(ERROR_COLUMNS).write_parquet(tmp_path / "errors.parquet")
    show_errors(tmp_path / "errors.parquet")
    out = capsys.readouterr().out
    assert "title" in out
    assert not MOVES & set(out)


@pytest.mark.fault("O4")
@pytest.mark.parametrize(
    "words",
    [
        ["run", f"no{NASTY}.jsonl".replace("\0", ""), "-m", "gpt-5-4"],
        ["status", f"no{NASTY}".replace("\0", "")],
        [f"no{NASTY}command".replace("\0", "")],
        ["run", "x", f"--no{NASTY}option".replace("\0", "")],
        ["models", f"no{NASTY}model".replace("\0", "")],
    ],
    ids=["input", "run", "command", "option", "model"],
)
def test_names_from_the_file_system_and_the_command_line_hold_no_controls(tmp_path: Path, words: list[str]) -> None:
    """`runner run *` in a folder that somebody else filled names their files in its messages."""
    done = subprocess.run(
        [sys.executable, "-m", "runner", *words], cwd=tmp_path, env=plain(), capture_output=True, text=True
    )
    assert done.returncode in (2, 7)
    assert done.stderr
    assert not MOVES & set(done.stderr + done.stdout)


@pytest.mark.fault("O4")
def test_what_is_said_of_a_run_holds_no_controls(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The folder of a run may have come from somebody, and so may its name, and what its gateway said last."""
    path = Path("runs") / NASTY.replace("/", "")
    monkeypatch.setattr("runner.background.stop", lambda *_: True)
    monkeypatch.setattr("runner.storage.runs.prunable", lambda *_: [path])
    monkeypatch.setattr("runner.storage.runs.remove", lambda _path: True)
    monkeypatch.setattr("runner.evaluation.history.is_accepted", lambda _run: False)
    monkeypatch.setattr("runner.evaluation.history.accept", lambda _run: NASTY)
    monkeypatch.setattr("runner.labelling.adopt", lambda *_: (1, {"decided": 1, "open": 0}))
    tasks = {"total": 1, "succeeded": 0, "errored": 0}
    state = {"status": "failed", "tasks": tasks, "cost_usd": 0.0, "errors": NASTY}
    for command, words in {
        background.pause: (path,),
        pruning.prune: (None, 1, None, True),
        evaluating.accept: (path,),
        adopting.adopt: (path, path),
        looking._show_line: (state, True),
    }.items():
        getattr(command, "callback", command)(*words)
    shown = capsys.readouterr().out
    assert shown.count("\n") == 5
    assert not MOVES & set(shown)


def plain(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NEON_", "RUNNER_DEBUG"))}
    return {**kept, "PYTHONPATH": str(ROOT.parent), **more}


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    """A run with one answer that would move a terminal."""
    directory = RunDirectory.create(tmp_path / "run", "r")
    directory.write_json(directory.manifest_path, {"run": "r"})
    hold(directory.results_path, text=NASTY, answer=NASTY)
    return directory.path


@pytest.mark.fault("O4")
@pytest.mark.parametrize("form", ["csv", "jsonl", "openai-batch"])
def test_results_on_a_terminal_hold_no_controls(answered: Path, form: str) -> None:
    """`runner results RUN` without a file, looked at by a person."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "runner", "results", str(answered), "--to", form]
    process = subprocess.Popen(words, stdout=theirs, stderr=theirs, env=plain())
    os.close(theirs)
    out = b"".join(pieces(ours))
    os.close(ours)
    assert process.wait() == 0
    assert b"title" in out
    assert not (MOVES - {"\r"}) & set(out.decode())  # the terminal itself ends lines with \r\n


def pieces(fd: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:  # Linux says so when the other side is closed
            return
        if not piece:
            return
        yield piece


@pytest.mark.fault("O4")
def test_a_terminal_is_not_shown_parquet(answered: Path) -> None:
    """Bytes of a file are nothing for a screen."""
    with pytest.raises(UsageError, match="give --out FILE"):
        export(answered, "parquet", None, shown=str)


@pytest.mark.fault("O4")
def test_results_for_a_program_are_left_as_they_are(answered: Path, capfdbinary: Any) -> None:
    """What is piped is data."""
    export(answered, "jsonl", None)
    assert orjson.loads(capfdbinary.readouterr().out)["text"] == NASTY


# CSV.


@pytest.mark.fault("O2")
def test_a_cell_that_begins_with_a_line_feed_is_defused(answered: Path, tmp_path: Path) -> None:
    """Spreadsheets skip it, and take what follows for a formula."""
    hold(answered / "results.parquet", text="\n=1+1")
    export(answered, "csv", tmp_path / "out.csv")
    assert "'\n=1+1" in (tmp_path / "out.csv").read_text()


# Who may read and write.


@pytest.mark.fault("O8")
def test_a_run_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """Somebody who can write to /tmp says with a link where a run is written; the sentence names the real place."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(UsageError, match=f"is a link.*{tmp_path}/real"):
        RunDirectory.create(tmp_path / "link", "r")
    RunDirectory.create(tmp_path / "real", "r").write_json(tmp_path / "real" / "manifest.json", {})
    with pytest.raises(UsageError, match="is a link"):
        RunDirectory.open(tmp_path / "link")


@pytest.mark.fault("O8")
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_run_that_others_may_write_to_is_refused(answered: Path, mode: int) -> None:
    """What a resume reads there says what it sends and where; the sentence says what to type, also with a blank."""
    answered = answered.rename(answered.with_name("a run"))
    answered.chmod(mode)
    with pytest.raises(UsageError, match=f"chmod go-w '{answered}'"):
        RunDirectory.open(answered)
    answered.chmod(mode & ~0o022)
    assert RunDirectory.open(answered)


@pytest.mark.fault("O8")
def test_a_run_of_another_user_is_refused(answered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent for somebody who prepared a directory."""
    monkeypatch.setattr(os, "geteuid", lambda: answered.stat().st_uid + 1)
    with pytest.raises(UsageError, match="belongs to another user"):
        RunDirectory.open(answered)
    with pytest.raises(UsageError, match="belongs to another user"):
        RunDirectory.create(answered.parent / "new", "r")


@pytest.mark.fault("O8")
def test_folders_above_a_run_are_not_others_to_write_to(tmp_path: Path) -> None:
    """Without a umask, too: who may write to `runs` may put another run in the place of this one."""
    before = os.umask(0)
    try:
        RunDirectory.create(tmp_path / "a" / "b" / "run", "r")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/run")]
    assert modes == [0o755, 0o755, 0o700]


@pytest.mark.fault("O8")
@pytest.mark.parametrize("what", ["memory", "ledger", "log"])
def test_folders_above_what_is_kept_are_not_others_to_write_to(tmp_path: Path, what: str) -> None:
    """Who may write to the folder above could put another one, with another memory in it, in its place."""
    folder = tmp_path / "a" / "b"

    def visit() -> None:
        with Store(folder / "account.share").visit():
            pass

    before = os.umask(0)
    try:
        {
            "memory": lambda: Memory("https://g", "c", folder=folder).check(),
            "ledger": visit,
            "log": lambda: open_log(folder / "log").close(),
        }[what]()
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) & 0o022 for path in (folder.parent, folder)] == [0, 0]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.fault("O8")
@pytest.mark.parametrize("what", ["a file of the run", "the lock", "standard input", "the journal", "decisions"])
def test_a_link_that_was_prepared_is_not_followed(tmp_path: Path, what: str) -> None:
    """What a link points to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    links = {
        "a file of the run": ".x.json.new",
        "the lock": "lock",
        "standard input": "input.jsonl",
        "the journal": "journal.jsonl",
        "decisions": "decisions.jsonl",
    }
    (tmp_path / links[what]).symlink_to(victim)
    with pytest.raises(Exception, match=r"symbolic link|links"):
        {
            "a file of the run": lambda: replace_file(tmp_path / "x.json", b"theirs"),
            "the lock": lambda: RunDirectory(tmp_path).lock(),
            "standard input": lambda: spool(io.BytesIO(b"theirs"), tmp_path / "input.jsonl"),
            "the journal": lambda: cut_torn_tail(tmp_path / "journal.jsonl", 0),
            "decisions": lambda: decisions.keep(tmp_path / "decisions.jsonl", {0: "theirs"}, "r"),
        }[what]()
    assert victim.read_text() == "mine"


@pytest.mark.fault("O8")
def test_decisions_are_for_their_owner_alone(tmp_path: Path) -> None:
    """From the first byte, as everything of a run."""
    before = os.umask(0)
    try:
        decisions.keep(tmp_path / "decisions.jsonl", {0: "spam"}, "r")
        decisions.keep(tmp_path / "decisions.jsonl", {1: "ham"}, "r")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "decisions.jsonl").stat().st_mode) == 0o600
    assert decisions.kept(tmp_path) == {0: "spam", 1: "ham"}


@pytest.mark.fault("O7")
@pytest.mark.fault("O8")
def test_standard_input_is_spooled_for_its_owner_alone(tmp_path: Path) -> None:
    """Prompts are as private as answers."""
    before = os.umask(0)
    try:
        path = spool(io.BytesIO(b"x"), tmp_path / "input.jsonl")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.fault("O5")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_command_leaves_no_core(tmp_path: Path) -> None:
    """A process that dies of a fault in a library writes none of its memory, with the token in it, to a file."""
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)\n"
        "from runner.cli.main import main\n"
        "sys.argv = ['runner', '--version']\n"
        "try: main()\n"
        "except SystemExit: print(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=plain(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert resource.RLIMIT_CORE is not None


# Names and paths.


IDS = ["../../etc/cron.d/x", "CON", "x" * 300, "a\0b", "/abs", "..", "~root", "$HOME"]


@pytest.mark.fault("O1")
def test_an_id_is_never_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever rows are called: the files of their run have the names that they always have, and are the owner's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"id": name, "prompt": "Hi."}) + "\n" for name in IDS))
    finish = runner.run("rows.jsonl", models="claude-haiku-4-5", gateway="local?no-limits", out="run", memory=False)
    assert finish.results()["id"].to_list() == IDS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl", "run"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "attempts.parquet",
        "errors.parquet",
        "journal.jsonl",
        "lock",
        "manifest.json",
        "results.parquet",
        "summary.json",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()} == {0o600}


@pytest.mark.fault("O13")
@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "http://169.254.169.254/latest", "gopher://x", "/etc/passwd", "javascript:alert(1)", ""],
)
def test_an_image_that_is_neither_data_nor_https_is_refused(url: str) -> None:
    """The runner opens none of them, and hands on none that would make the gateway open what is inside a network."""
    block = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(RowError, match="neither data:image"):
        Prompt().request({"messages": [{"role": "user", "content": [block]}]})


@pytest.mark.fault("O15")
def test_the_runner_s_columns_have_one_type_each() -> None:
    """Nothing of a reply decides on a type: what has no fixed form is JSON text."""
    assert {str(kind) for kind in RESULT_SCHEMA.values()} == {"Int64", "String", "Float64"}


# What the program does not have.

BANNED = {
    "pickle": "O10",
    "cPickle": "O10",
    "dill": "O10",
    "cloudpickle": "O10",
    "joblib": "O10",
    "torch": "O10",
    "marshal": "O10",
    "shelve": "O10",
    "yaml": "O9",
    "ruamel": "O9",
    "requests": "O13",
    "urllib3": "O13",
    "httpx": "O13",
    "subprocess": "O19",
    "pty": "O19",
    "webbrowser": "O19",
}
STARTING = {
    "gateway/environment.py": "the local gateway",
    "surveyor.py": "the look over the input",
    "storage/parquet.py": "the decoding of Parquet",
    "background.py": "a run in the background",
    "schedules/installed.py": "the crontab command",
    "notifying.py": "the command that the user has named, without a shell and with counts alone",
}
"""Modules that start a process -> which."""
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.spawnv"}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.fault("O9")
@pytest.mark.fault("O10")
@pytest.mark.fault("O13")
@pytest.mark.fault("O19")
@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_do_what_data_might_ask_for(path: Path) -> None:
    """No pickles, no YAML, no shell, no fetching of URLs, no code out of texts: there is nothing to talk into it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    allowed = {"subprocess"} if path.relative_to(ROOT).as_posix() in STARTING else set()
    assert not BANNED.keys() & set(imports(tree)) - allowed
    assert not CALLS & set(calls(tree))


@pytest.mark.fault("O19")
def test_the_only_programs_that_are_started_are_our_own() -> None:
    """None of them is chosen by a row or an answer, and no tool is called."""
    started = {
        str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if "subprocess" in path.read_text(encoding="utf-8")
    }
    assert started == STARTING.keys()
