"""In CI every skip is a failure: of a test, of a module, and an expected failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
FILES = {
    "lacks": "from tests.support.needs import leave_out\ndef test_it(): leave_out('no lab')\n",
    "marked": "import pytest\n@pytest.mark.skip(reason='no lab')\ndef test_it(): pass\n",
    "expected": "import pytest\n@pytest.mark.xfail(reason='no lab')\ndef test_it(): assert False\n",
    "module": "import pytest\npytest.skip('no lab', allow_module_level=True)\n",
    "another": "def test_it(): pass\n",
}


@pytest.mark.parametrize(
    ("ci", "said", "outcome"),
    [("true", 4, "2 failed, 1 passed, 2 errors"), ("", 0, "1 passed, 3 skipped, 1 xfailed")],
    ids=["CI", "elsewhere"],
)
def test_a_skip_fails_in_ci_with_a_reason(tmp_path: Path, ci: str, said: int, outcome: str) -> None:
    for name, text in FILES.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    options = ["-p", "tests.support.needs", "-p", "no:cacheprovider", "-rA", "--continue-on-collection-errors"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        cwd=REPO,
        env={**os.environ, "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome in done.stdout
    assert (done.returncode != 0) == bool(ci), done.stdout
    assert done.stdout.count("\nno test may be skipped in CI: ") == said, done.stdout
    assert done.stdout.count("no lab") >= 4
