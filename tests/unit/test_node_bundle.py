"""How etcd-node gets to a machine."""

import ast
import base64
import bz2
import io
import subprocess
import sys
import zipfile
from pathlib import Path

from components.node import bundle


def _archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(bz2.decompress(base64.b64decode(bundle.program()))))


def test_the_program_is_the_same_in_another_process() -> None:
    code = "from components.node import bundle; print(bundle.digest(), bundle.program())"
    repo = Path(__file__).resolve().parents[2]
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True, timeout=60
    )
    assert other.stdout.split() == [bundle.digest(), bundle.program()]


def test_the_archive_is_uncompressed_sorted_and_dated_the_same() -> None:
    entries = _archive().infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {entry.date_time for entry in entries} == {(2020, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert "etcd_node/cli.py" in names
    assert "etcd_node/bundle.py" not in names


def test_the_unpacked_program_runs_in_isolated_mode(tmp_path: Path) -> None:
    _archive().extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path), "help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "etcd-node converge SPEC" in done.stdout


def test_the_modules_need_nothing_but_the_standard_library() -> None:
    for path in (Path(bundle.__file__).parent).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                assert name.split(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_the_modules_are_python_3_9() -> None:
    for path in (Path(bundle.__file__).parent).glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))


def test_the_installer_is_python_that_old_interpreters_can_read_up_to_its_check() -> None:
    ast.parse(bundle.INSTALLER, feature_version=(3, 4))
    assert bundle.INSTALLER.splitlines()[1].startswith("if sys.version_info < (3, 9)")


class _Installed:
    """What the installer makes below a directory."""

    def __init__(self, place: Path) -> None:
        self.library, self.wrapper = place / "lib" / "etcd-node", place / "sbin" / "etcd-node"
        text = bundle.INSTALLER.replace("/usr/local/lib/etcd-node", str(self.library))
        text = text.replace("/usr/local/sbin/etcd-node", str(self.wrapper))
        self._text = text.replace("os.geteuid() != 0", "False")

    @property
    def program(self) -> Path:
        return self.library / bundle.digest()

    def run(self, before: str = "") -> None:
        done = subprocess.run(
            [sys.executable, "-c", before + self._text, "help"],
            input=bundle.program(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "etcd-node keeps this machine's member" in done.stdout


def test_the_installer_installs_repeatedly_and_runs_what_it_installed(tmp_path: Path) -> None:
    installed = _Installed(tmp_path)
    for _ in range(2):
        installed.run()
    assert [path.name for path in installed.library.iterdir()] == [bundle.digest()]
    assert str(installed.program) in installed.wrapper.read_text()
    assert installed.wrapper.stat().st_mode & 0o777 == 0o755


def test_what_a_power_cut_has_emptied_is_written_anew(tmp_path: Path) -> None:
    installed = _Installed(tmp_path)
    installed.run()
    module, main = installed.program / "etcd_node" / "say.py", installed.program / "__main__.py"
    whole = module.read_bytes()
    (cache,) = (installed.program / "etcd_node" / "__pycache__").glob("say.*.pyc")
    untouched = installed.program / "etcd_node" / "cli.py"
    before = untouched.stat().st_ino
    main.write_bytes(b"")
    module.write_bytes(whole[:100])
    cache.write_bytes(cache.read_bytes()[:40])
    installed.wrapper.write_bytes(b"")
    installed.run()
    assert main.read_text() == bundle._MAIN
    assert module.read_bytes() == whole
    assert untouched.stat().st_ino == before
    assert [path for path in installed.program.rglob("*") if path.suffix not in ("", ".py", ".pyc")] == []


def test_all_that_the_installer_writes_is_on_the_disk_before_it_is_run(tmp_path: Path) -> None:
    """The order of its calls: each file before it gets its name, each directory before the program starts."""
    log = tmp_path / "calls"
    spy = f"""\
import os
calls = open({str(log)!r}, "w", buffering=1)
def spied(name, path, real=None):
    real = getattr(os, name)
    def call(*args):
        calls.write(name + " " + path(*args) + "\\n")
        return real(*args)
    setattr(os, name, call)
spied("fsync", lambda fd: os.readlink("/proc/self/fd/%d" % fd))
spied("rename", lambda fresh, place: place + " " + fresh)
spied("execv", lambda *_: "")
"""
    installed = _Installed(tmp_path)
    installed.run(spy)
    calls = [line.split(" ") for line in log.read_text().splitlines()]
    synced = {words[1]: number for number, words in enumerate(calls) if words[0] == "fsync"}
    renamed = [(number, words) for number, words in enumerate(calls) if words[0] == "rename"]
    assert len(renamed) == len(_archive().namelist()) + 1
    for number, (_, place, fresh) in renamed:
        assert synced[fresh] < number < synced[str(Path(place).parent)], place
    assert calls[-1][0] == "execv"
