"""The installer of etcd-node and power cuts: its files are on disk, and damaged ones are written again."""

import base64
import bz2
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from components import bundle


class _Installed:
    """The installer's files below a directory."""

    def __init__(self, place: Path) -> None:
        self.home, self.wrapper = place / "lib" / "etcd-node", place / "sbin" / "etcd-node"
        text = bundle.RECEIVER.replace("/usr/local/lib/etcd-node", str(self.home))
        text = text.replace("/usr/local/sbin/etcd-node", str(self.wrapper))
        self._text = f"import os\nos.geteuid = lambda: 0\n{text}"

    @property
    def program(self) -> Path:
        return self.home / bundle.digest()

    def received(self, program: str, before: str = "") -> "subprocess.CompletedProcess[str]":
        """The result if this was uploaded."""
        return subprocess.run(
            [sys.executable, "-I", "-c", before + self._text, bundle.sha256(), "etcd-2", "help"],
            input=f"{program}\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def run(self, arrives: int | None = None, before: str = "") -> None:
        """The number of characters that arrive."""
        done = self.received(bundle.program()[:arrives], before)
        assert done.returncode == 0, done.stderr
        assert "etcd-node manages this machine's member" in done.stdout


def test_the_installer_is_repeatable_and_runs_its_program(tmp_path: Path) -> None:
    installed = _Installed(tmp_path)
    for _ in range(2):
        installed.run()
    programs = installed.wrapper
    assert [path.name for path in installed.home.iterdir()] == [bundle.digest()]
    assert str(installed.program) in programs.read_text()
    assert programs.stat().st_mode & 0o777 == 0o755

    # A system upgrade removed the Python that ran the installer.
    programs.write_text(programs.read_text().replace(sys.executable, str(tmp_path / "gone")))
    done = subprocess.run([str(programs), "help"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "etcd-node manages this machine's member" in done.stdout


def test_only_older_programs_are_removed(tmp_path: Path) -> None:
    """Earlier versions accepted a data directory beside them."""
    installed = _Installed(tmp_path)
    old, data = installed.home / "0123456789ab", installed.home / "data"
    for place in (old, data):
        place.mkdir(parents=True)
        os.utime(place, (0, 0))
    installed.run()
    assert not old.exists()
    assert data.exists()


@pytest.mark.parametrize("arrives", [None, 1000, 0], ids=["whole", "in part", "not"])
def test_files_that_a_power_cut_emptied_are_written_again(tmp_path: Path, arrives: int | None) -> None:
    """Also from its own copy, if nothing was uploaded because of that copy."""
    installed = _Installed(tmp_path)
    installed.run()
    module, main = installed.program / "etcd_node" / "shared" / "say.py", installed.program / "__main__.py"
    whole = module.read_bytes()
    (cache,) = (module.parent / "__pycache__").glob("say.*.pyc")
    untouched = installed.program / "etcd_node" / "cli.py"
    before = untouched.stat().st_ino
    main.write_bytes(b"")
    module.write_bytes(whole[:100])
    cache.write_bytes(cache.read_bytes()[:40])
    installed.wrapper.write_bytes(b"")
    installed.run(arrives)
    assert main.read_text() == bundle._MAIN
    assert module.read_bytes() == whole
    assert untouched.stat().st_ino == before
    assert [path for path in installed.program.rglob("*") if path.suffix not in ("", ".py", ".pyc")] == []


def test_a_disk_that_cannot_be_written_is_named_in_one_sentence(tmp_path: Path) -> None:
    installed = _Installed(tmp_path)
    full = """\
import os
def fsync(_):
    raise OSError(28, "No space left on device")
os.fsync = fsync
"""
    done = installed.received(bundle.program(), before=full)
    assert done.returncode == 1
    assert done.stderr == (
        f"etcd-2: etcd-node cannot be installed: {installed.home}: No space left on device. Free space there (df -h) "
        "or repair the disk (dmesg), then run again.\n"
    )
    assert [path for path in installed.home.rglob("*") if path.is_file()] == []
    installed.home.rename(tmp_path / "moved")
    installed.home.touch()  # as on a disk where nothing can be created
    done = installed.received(bundle.program())
    assert done.stderr.startswith(f"etcd-2: etcd-node cannot be installed: {installed.program}")


def test_an_unexpected_program_is_neither_run_nor_written(tmp_path: Path) -> None:
    """A foreign file or a partial upload at its path; and a copy that a power cut damaged."""
    installed = _Installed(tmp_path)
    other = base64.b64encode(bz2.compress(b"PK")).decode()
    for arrives in (other, bundle.program()[:1000], "", "\0" * 100):
        done = installed.received(arrives)
        assert done.returncode == 1
        assert done.stderr.startswith("etcd-2: etcd-node has not arrived whole")
        assert "pulumi up --replace '**-etcd-2-program'" in done.stderr
        assert not installed.home.exists()
    installed.run()
    (installed.program / "program").write_text("")
    assert installed.received("").returncode == 1
    installed.run()
    assert (installed.program / "program").read_text() == bundle.program()


def test_the_installers_files_are_on_disk_before_they_run(tmp_path: Path) -> None:
    """The order of its calls: fsync each file before its rename, and each directory before the program starts."""
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
spied("rename", lambda fresh, place: "%s %s" % (place, fresh))
import sys
sys.addaudithook(lambda event, words: event == "import" and words[0] == "etcd_node.cli" and calls.write("start\\n"))
"""
    installed = _Installed(tmp_path)
    installed.run(before=spy)
    names = zipfile.ZipFile(io.BytesIO(bz2.decompress(base64.b64decode(bundle.program())))).namelist()
    calls = [line.split(" ") for line in log.read_text().splitlines()]
    synced = {words[1]: number for number, words in enumerate(calls) if words[0] == "fsync"}
    renamed = [(number, words) for number, words in enumerate(calls) if words[0] == "rename"]
    assert len(renamed) == len(names) + 2
    for number, (_, place, fresh) in renamed:
        assert synced[fresh] < number < synced[str(Path(place).parent)], place
    assert [number for number, words in enumerate(calls) if words == ["start"]] == [len(calls) - 1]
