"""In CI nothing is left out: a skip, a module that is skipped and an expected failure are failures there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
WAYS = {
    "a test that lacks something": "from tests.support.needs import leave_out\ndef test_it(): leave_out('no lab')\n",
    "a marked test": "import pytest\n@pytest.mark.skip(reason='no lab')\ndef test_it(): pass\n",
    "an expected failure": "import pytest\n@pytest.mark.xfail(reason='no lab')\ndef test_it(): assert False\n",
    "a module": "import pytest\npytest.skip('no lab', allow_module_level=True)\n",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ci", ["true", ""])
def test_what_is_left_out_fails_in_ci_and_says_why(tmp_path: Path, way: str, ci: str) -> None:
    (tmp_path / "test_left_out.py").write_text(f"{WAYS[way]}\ndef test_another(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.needs", "-p", "no:cacheprovider", "-rA", tmp_path],
        cwd=REPO,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "no lab" in done.stdout
    assert (done.returncode not in (0, 5)) == bool(ci), done.stdout
    assert ("nothing is left out in CI" in done.stdout) == bool(ci)
