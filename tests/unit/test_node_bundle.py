"""The archive that carries etcd-node to a machine."""

import ast
import base64
import bz2
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from components import bundle

_MODULES = sorted(bundle.SOURCES.rglob("*.py"))


def _archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(bz2.decompress(base64.b64decode(bundle.program()))))


def test_the_program_is_the_same_in_another_process(tmp_path: Path) -> None:
    code = "from components import bundle; print(bundle.file(), bundle.file().read_text())"
    repo = Path(__file__).resolve().parents[2]
    old, recent = tmp_path / "external-etcd" / "etcd-node-1", tmp_path / "external-etcd" / "etcd-node-2"
    old.parent.mkdir()
    for path in (old, recent):
        path.touch()
    os.utime(old, (0, 0))
    environ = {**os.environ, "PULUMI_HOME": str(tmp_path)}
    places = set()
    for _ in range(2):
        other = subprocess.run(
            [sys.executable, "-c", code], cwd=repo, env=environ, capture_output=True, text=True, check=True, timeout=60
        )
        file, content = other.stdout.split()
        assert content == bundle.program()
        assert hashlib.sha256(content.encode()).hexdigest() == bundle.sha256()
        places.add(Path(file))
        # As after a run that was killed while it wrote, or a full disk.
        Path(file).write_text("damaged")
    assert set(recent.parent.iterdir()) == {*places, recent}, "one file for both runs, and that of another version"
    assert len(places) == 1


def test_the_archive_is_uncompressed_sorted_and_dated_the_same() -> None:
    entries = _archive().infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {entry.date_time for entry in entries} == {(2020, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert "etcd_node/cli.py" in names
    shipped = {f"etcd_node/{path.relative_to(bundle.SOURCES).as_posix()}" for path in _MODULES}
    assert set(names) == {"__main__.py", *shipped}


def test_the_unpacked_program_runs_in_isolated_mode(tmp_path: Path) -> None:
    _archive().extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path), "help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "etcd-node converge SPEC" in done.stdout
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path), "--answer", "conquer"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "there is no verb 'conquer'" in done.stderr


def test_the_modules_import_only_the_standard_library() -> None:
    for path in _MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                assert name.split(".")[0] in sys.stdlib_module_names, f"{path} imports {name}"


def test_the_modules_run_on_python_3_9() -> None:
    for path in _MODULES:
        ast.parse(path.read_text(), feature_version=(3, 9))
