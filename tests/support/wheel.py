"""The project's wheel in its own environment, as users install it."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


def installed_wheel(directory: Path) -> Path:
    """Build the wheel and install it into a new environment below `directory`; returns that environment's Python."""
    # A copy, because a build leaves files beside the sources and would include old ones.
    source = directory / "source"
    for name in ("pyproject.toml", "docs/package.md", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, source / name)
    shutil.copytree(REPO / "components", source / "components", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(source)]
    done = subprocess.run(build, timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = directory.glob("external_etcd-*.whl")
    venv.create(directory / "venv", with_pip=False)
    python = directory / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, timeout=120)
    # The dependencies are already installed, and pinned to the same versions.
    (site,) = (directory / "venv" / "lib").glob("python*/site-packages")
    (ours,) = (Path(sys.prefix) / "lib").glob("python*/site-packages")
    (site / "pinned.pth").write_text(f"{ours}\n")
    return python
