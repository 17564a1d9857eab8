"""The components as a wheel: built, installed into an environment of its own, imported as external_etcd."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wheel import REPO, installed_wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_wheel(tmp_path_factory.mktemp("wheel"))


def _run(python: Path, code: str, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_the_wheel_is_imported_as_external_etcd_from_anywhere(python: Path, tmp_path: Path) -> None:
    code = (
        "import external_etcd, sys; print(external_etcd.__file__, *external_etcd.__all__, 'components' in sys.modules)"
    )
    said = _run(python, code, tmp_path)
    assert str(python.parent.parent) in said
    assert "EtcdCluster" in said
    assert said.rstrip().endswith("False")


def test_the_wheel_holds_the_same_program_for_the_machines_as_the_checkout(python: Path, tmp_path: Path) -> None:
    digest = "from {}.node import bundle; print(bundle.digest(), len(bundle.program()))"
    assert _run(python, digest.format("external_etcd"), tmp_path) == _run(
        Path(sys.executable), digest.format("components"), REPO
    )


def test_the_wheel_tells_type_checkers_that_it_is_typed(python: Path, tmp_path: Path) -> None:
    code = "import external_etcd, pathlib; print((pathlib.Path(external_etcd.__file__).parent / 'py.typed').exists())"
    assert _run(python, code, tmp_path).strip() == "True"
