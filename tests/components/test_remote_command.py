"""What counts as the answer of a machine, and as success."""

import subprocess
import sys
from pathlib import Path

import pytest

from components import bundle
from components.node.shared.paths import ANSWERED
from components.remote_command import AnswerError, command_line, split_output

ROOT = {"host": "192.0.2.1", "host_key": "", "private_key": ""}


def run(*words: str, login: str = "", path: str = "") -> subprocess.CompletedProcess[str]:
    """The command line in a login shell that does `login` first."""
    line = command_line(ROOT, "etcd-2", 60, *words)  # type: ignore[arg-type]
    environ = {"PATH": path or "/usr/bin:/bin"}
    return subprocess.run(
        ["/bin/sh", "-c", f"{login}\n{line}"], capture_output=True, text=True, check=False, timeout=60, env=environ
    )


@pytest.mark.parametrize(
    ("login", "before"),
    [
        ("", ""),
        ("echo hello; echo '{'", "hello\n{\n"),
        ("printf hello", "hello"),
        ("echo", "\n"),
        ("trap 'echo bye' EXIT", ""),
    ],
)
def test_login_output_is_not_part_of_the_answer(login: str, before: str) -> None:
    done = run("sh", "-c", f"echo '{{\"a\": 1}}'; echo progress >&2; exit {ANSWERED}", login=login)
    assert done.returncode == 0
    printed, answer = split_output(done.stdout.removesuffix("\n"), "etcd-2")
    assert answer == '{"a": 1}'
    assert printed == before
    assert done.stderr == "progress\n"


def test_an_empty_program_does_not_succeed(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("")
    done = run(sys.executable, "-I", str(tmp_path), "--answer", "converge")
    assert done.returncode == 1
    assert "etcd-2: ended without an answer" in done.stderr


def test_a_failed_program_keeps_its_exit_status() -> None:
    assert run("sh", "-c", "exit 7").returncode == 7


def test_a_shell_that_ends_before_the_command_fails() -> None:
    done = run("true", login="echo hello; exit 0")
    assert done.returncode == 0
    with pytest.raises(AnswerError, match=r"etcd-2: the login there ended without running .*\.bashrc"):
        split_output(done.stdout, "etcd-2")


def _python(place: Path, name: str, lack: str = "") -> None:
    """A program with that name that handles its arguments like Python; `lack` runs before its code."""
    place.mkdir(exist_ok=True)
    program = f"import sys; {lack}; exec(sys.argv[1])"
    lacking = f'while [ "$1" != -c ]; do shift; done\nshift\nexec {sys.executable} -IS -c \'{program}\' "$@"'
    whole = f'exec {sys.executable} "$@"'
    (place / name).write_text(f"#!/bin/sh\n{lacking if lack else whole}\n")
    (place / name).chmod(0o755)


@pytest.mark.parametrize(
    "lack",
    [
        "",
        "sys.version_info = (3, 6)",
        'sys.modules["_ssl"] = None',
        'sys.modules["_bz2"] = None',
        "sys.path.clear()",
    ],
    ids=["missing", "too old", "without ssl", "without bz2", "without json"],
)
def test_another_python_is_found_if_python3_is_unsuitable(lack: str, tmp_path: Path) -> None:
    script = bundle.FIND.replace("/usr/bin", str(tmp_path / "bin")).replace("/usr/local/bin", str(tmp_path / "local"))
    script = script.replace("/usr/libexec", str(tmp_path / "libexec"))
    words = ("/bin/sh", "-c", script, "etcd-2", "-c", f"import sys; print(sys.flags.isolated); sys.exit({ANSWERED})")
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "timeout"):
        (tmp_path / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
    if lack:
        _python(tmp_path / "bin", "python3", lack)

    without = run(*words, path=str(tmp_path / "bin"))
    assert without.returncode == 1
    assert without.stderr.startswith("etcd-2: there is no Python 3.9 or later")
    assert "then run again" in without.stderr

    # Its name only begins like Python's.
    (tmp_path / "bin" / "python3.11-config").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "python3.11-config").chmod(0o755)
    _python(tmp_path / "bin", "python3.12")
    found = run(*words, path=str(tmp_path / "bin"))
    assert found.returncode == 0, found.stderr
    assert split_output(found.stdout, "etcd-2") == ("", "1")
