"""actionlint and GitLab's schema are got once, and only with the pinned checksums."""

from pathlib import Path

import pytest

from tools import workflows
from tools.base import ToolError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXTERNAL_ETCD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_in_the_cache_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for path in ("actionlint/1.7.12/actionlint", "gitlab-ci/0.39.0/gitlab-ci.json"):
        (cache / path).parent.mkdir(parents=True)
        (cache / path).touch()
    assert workflows.ensure_actionlint() == cache / "actionlint/1.7.12/actionlint"
    assert workflows.ensure_gitlab_schema() == cache / "gitlab-ci/0.39.0/gitlab-ci.json"


def test_a_package_that_pip_refuses_is_reported(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = cache.parent / "python"
    python.write_text(
        '#!/bin/sh\ncat requirements.txt >&2\necho "these packages do not match the hashes" >&2\nexit 1\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(ToolError, match=r"check-jsonschema==0\.39\.0 --hash=sha256:14ce.*\n.*do not match the hashes"):
        workflows.ensure_gitlab_schema()
    assert not (cache / "gitlab-ci").exists()


def test_a_missing_go_is_reported_for_actionlint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(ToolError, match="go is missing"):
        workflows.ensure_actionlint()
