"""What comes with our dependencies and goes out with our wheel: the cases of the catalogue's part S."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
RUNTIME = ROOT / "requirements.lock"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

GATEWAY_LIBRARIES = {"litellm", "openai", "anthropic", "google-genai", "langchain", "databricks-sdk", "llm"}
"""They see every prompt and every token; one of them was taken over in March 2026."""


def audit(*words: Path | str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(ROOT / "tools" / "audit.py"), *map(str, words)]
    return subprocess.run(script, capture_output=True, text=True)


def pinned(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", lock.read_text(), re.MULTILINE))


# What we take.


@pytest.mark.fault("S3")
def test_nothing_is_known_of_what_is_locked() -> None:
    """Every pin of every lock, the tools' and the peers' too."""
    done = audit()
    assert done.stdout.endswith("nothing known of them\n")
    assert done.returncode == 0


@pytest.mark.fault("S3")
@pytest.mark.parametrize(
    ("pin", "said"),
    [
        ("aiohttp==3.13.3", "CVE-2026-22815, fixed in 3.13.4"),
        ("Jinja2==3.1.5", "CVE-2025-27516, fixed in 3.1.6"),
        ("brotli==1.2.0 ; sys_platform != 'ios'", "CVE-2026-111497, fixed in 1.2.1"),
        ("litellm==1.82.8", "a malicious release|the same"),
        ("python_dotenv==1.0", "CVE-2026-28684"),
    ],
)
def test_a_pin_that_something_is_known_of_is_found(tmp_path: Path, pin: str, said: str) -> None:
    """One line for each finding, whatever way the name is written."""
    lock = tmp_path / "requirements-x.lock"
    lock.write_text(f"orjson==3.13.0 \\\n    --hash=sha256:00\n{pin} \\\n    --hash=sha256:00\n")
    done = audit(lock)
    assert done.returncode == 1
    assert all(line.startswith("requirements-x.lock:3: ") for line in done.stdout.splitlines())
    assert re.search(said, done.stdout)


@pytest.mark.fault("S1")
def test_a_pin_without_a_hash_is_found(tmp_path: Path) -> None:
    """A version can be uploaded again elsewhere; a hash cannot."""
    lock = tmp_path / "requirements-x.lock"
    lock.write_text("orjson==3.13.0\nclick==8.5.1 \\\n    --hash=sha256:00\n")
    assert audit(lock).stdout == "requirements-x.lock:1: orjson 3.13.0 has no hash\n"


@pytest.mark.fault("S1")
@pytest.mark.parametrize("line", ["orjson>=3.13", "git+https://x/y", "--extra-index-url https://x", "-e ."])
def test_a_line_that_is_no_pin_is_refused(tmp_path: Path, line: str) -> None:
    """What is not pinned is not locked."""
    lock = tmp_path / "requirements-x.lock"
    lock.write_text(f"{line}\n")
    done = audit(lock)
    assert done.returncode == 1
    assert f"line 1 is no pin: {line}" in done.stderr


@pytest.mark.fault("S1")
def test_the_program_comes_with_no_library_of_a_gateway() -> None:
    """Its own four dialects are the only code that sees the token."""
    assert not GATEWAY_LIBRARIES & pinned(RUNTIME).keys()


@pytest.mark.fault("S1")
def test_no_package_of_the_program_runs_at_every_start_of_python() -> None:
    """A .pth file with an import, and a sitecustomize, run in every Python of the environment."""
    found = []
    for name in pinned(RUNTIME):
        try:
            files = importlib.metadata.distribution(name).files or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        found += [f"{name}: {path}" for path in files if runs_at_start(path.name)]
        assert files, f"{name} does not say what it brought"
    assert found == []


def runs_at_start(name: str) -> bool:
    return name.endswith((".pth", ".start")) or name.split(".")[0] in ("sitecustomize", "usercustomize")


# What we give.


@pytest.mark.fault("S1")
@pytest.mark.fault("S2")
def test_our_wheel_holds_our_package_and_nothing_else() -> None:
    """By its configuration: one package, no hook of a build, no file beside it; and none in the package either."""
    build = PROJECT["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"] == {"packages": ["runner"]}
    assert set(build) == {"targets"}
    tracked = [path for path in (ROOT / "runner").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.suffix for path in tracked} <= {
        ".py",
        ".toml",
        ".xz",
        ".typed",
        ".html",
        ".css",
        ".js",
        ".sql",
        ".lua",
        ".jinja",  # what `runner init` begins a job with
        ".jsonl",
    }
    assert not [path for path in tracked if runs_at_start(path.name)]


@pytest.mark.fault("S2")
def test_what_is_installed_is_what_lies_here() -> None:
    """A wheel that was built and installed has no file that the tree has not."""
    files = importlib.metadata.distribution("runner").files or []
    ours = {str(path) for path in files if "dist-info" not in str(path) and not str(path).startswith("..")}
    editable = {path for path in ours if re.fullmatch(r"_(editable_impl_)?runner\.pth", path)}
    assert all((ROOT / path).is_file() for path in ours - editable if not path.endswith(".pyc"))


@pytest.mark.fault("S2")
@pytest.mark.parametrize("path", sorted((ROOT / "dist").glob("*.whl")) or [None], ids=str)
def test_a_wheel_that_was_built_has_only_files_of_the_tree(path: Path | None) -> None:
    """Whatever lies in dist/, before it is uploaded."""
    if path is None:
        pytest.skip("no wheel was built here")
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if ".dist-info/" in name:
                continue
            assert not runs_at_start(Path(name).name)
            assert archive.read(name) == (ROOT / name).read_bytes(), name


@pytest.mark.fault("S3")
def test_the_lower_bounds_leave_out_what_is_known() -> None:
    """Who installs without the lock gets nothing older than what mended the worst either."""
    found = (re.match(r"([a-z0-9.-]+)(?:\[.*\])?>=([0-9.]+)", line) for line in PROJECT["project"]["dependencies"])
    bounds = {match[1]: match[2] for match in found if match is not None}
    assert tuple(map(int, bounds["aiohttp"].split("."))) >= (3, 14, 3)
    assert tuple(map(int, bounds["jinja2"].split("."))) >= (3, 1, 6)


# What runs.


@pytest.mark.fault("S4")
def test_nothing_is_downloaded_to_count_tokens(tmp_path: Path) -> None:
    """With no network at all and an empty cache, tokens are counted."""
    script = (
        "import socket\n"
        "def refuse(*_, **__): raise SystemExit('a connection was made')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "from runner.gateway.tokens import counter\n"
        "print(counter('o200k_base')('one two three'), counter('cl100k_base')('one two three'))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path), "TIKTOKEN_CACHE_DIR": ""}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.stdout == "3 3\n", done.stderr[-500:]


@pytest.mark.fault("S5")
def test_the_folder_where_the_user_stands_brings_no_code(tmp_path: Path) -> None:
    """Neither the local gateway nor the look over the input imports what lies there under a well-known name."""
    trap = "raise SystemExit('code of the folder ran')\n"
    for name in ("orjson", "json", "aiohttp", "polars", "uvloop", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(trap)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hi."}\n')
    words = ["run", "rows.jsonl", "-m", "claude-haiku-4-5", "--gateway", "local?no-limits", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "runner", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert "code of the folder ran" not in done.stdout + done.stderr


@pytest.mark.fault("S5")
def test_every_process_of_ours_is_started_without_the_current_folder() -> None:
    """`-P` stands before `-m`, wherever Python is started."""
    starts = [
        [ast.unparse(word).strip("'") for word in node.args[:3]]
        for path in (ROOT / "runner").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("create_subprocess_exec")
    ]
    assert len(starts) == 2
    assert all(words == ["sys.executable", "-P", "-m"] for words in starts)


@pytest.mark.fault("S5")
def test_there_are_no_plugins() -> None:
    """No package can hang itself into a run by being installed."""
    for path in (ROOT / "runner").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "entry_points(" not in text
        assert "pkgutil" not in text
    assert PROJECT["project"].keys() & {"entry-points"} == set()
