"""Serves the components to Pulumi programs in other languages. `pulumi package add` of this folder starts it."""

import sys
import tomllib
from pathlib import Path

# The package is not installed: it is beside this folder.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from components.plugin import serve  # noqa: E402

serve(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])
