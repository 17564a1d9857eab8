"""`python -m tools.release`: what it builds from a tag, and what it refuses to release."""

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from tests.support.stacks import REPO
from tools.base import ToolError
from tools.release.__main__ import main
from tools.release.archives import PLATFORMS
from tools.release.bill import pinned, validate
from tools.release.build import SUMS, build
from tools.release.checks import CHANGELOG, SNAPSHOTS, check, sections
from tools.release.source import git, of_tag, of_working_tree, version_in

VERSION, TAG = "1.2.3", "v1.2.3"
FILES = ("components", "plugin", "docs/package.md", "LICENSE", "requirements.txt")
HISTORY = f"""# Changelog

## {VERSION} - 2026-12-01

- New.

## 1.2.2 - 2026-11-01

- Old.
"""


def commit(repository: Path) -> None:
    who = ("-c", "user.name=tests", "-c", "user.email=tests@example.com", "-c", "commit.gpgsign=false")
    git(repository, "add", "--all")
    git(repository, *who, "commit", "--quiet", "--message", "change")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What `check` reads, in a repository that can be released."""
    return new_repository(tmp_path / "repository")


def new_repository(place: Path) -> Path:
    """A repository of two releases; the second is VERSION."""
    git(place.parent, "init", "--quiet", str(place))
    project = (REPO / "pyproject.toml").read_text().splitlines()
    lines = [f'version = "{VERSION}"' if line.startswith("version = ") else line for line in project]
    (place / "pyproject.toml").write_text("\n".join(lines) + "\n")
    (place / CHANGELOG).write_text(HISTORY)
    for version in ("1.2.2", VERSION):
        (place / SNAPSHOTS / version).mkdir(parents=True)
        (place / SNAPSHOTS / version / "hosts.json").write_text("{}\n")
        commit(place)
        git(place, "tag", f"v{version}")
    return place


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of two builds of one tag: in the repository, and in a clone with other modes and ends of lines."""
    place = tmp_path_factory.mktemp("release")
    first, second = place / "first", place / "second"
    new_repository(first)
    for name in FILES:
        (first / name).parent.mkdir(exist_ok=True)
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, first / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPO / name, first / name)
    commit(first)
    git(first, "tag", "--force", TAG)
    other = ("--config", "core.autocrlf=true", "--config", "tar.umask=user")
    subprocess.run(["git", "clone", "--quiet", *other, first, second], check=True, timeout=60, umask=0o077)
    assert b"\r\n" in (second / "LICENSE").read_bytes()
    return [build(of_tag(repository, TAG), repository / "dist") for repository in (first, second)]


@pytest.fixture(scope="module")
def bill(builds: list[Path]) -> dict[str, Any]:
    return dict(json.loads((builds[0] / f"external-etcd-{VERSION}.cdx.json").read_text()))


def test_two_builds_of_a_tag_are_the_same_byte_for_byte(builds: list[Path]) -> None:
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in builds)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_release_has_these_files_and_their_checksums(builds: list[Path]) -> None:
    names = {f"external_etcd-{VERSION}-py3-none-any.whl", f"external_etcd-{VERSION}.tar.gz"}
    names |= {f"pulumi-resource-external-etcd-v{VERSION}-{platform}.tar.gz" for platform in PLATFORMS}
    names |= {f"external-etcd-{VERSION}.cdx.json"}
    assert {path.name for path in builds[0].iterdir()} == {*names, SUMS}
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", SUMS], cwd=builds[0], capture_output=True, text=True, check=True
    )
    assert {line.partition(":")[0] for line in checked.stdout.splitlines()} == names


def test_the_plugin_in_its_archive_serves_the_components(builds: list[Path], tmp_path: Path) -> None:
    with tarfile.open(builds[0] / f"pulumi-resource-external-etcd-v{VERSION}-{PLATFORMS[0]}.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    assert (tmp_path / "PulumiPlugin.yaml").exists(), "Pulumi expects it at the top"
    # As Pulumi starts it; the second argument is the engine's address.
    command = [sys.executable, str(tmp_path / "__main__.py"), "127.0.0.1:9"]
    plugin = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert plugin.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{plugin.stdout.readline().strip()}") as channel:
            request = provider_pb2.GetSchemaRequest(version=0)
            schema = json.loads(provider_pb2_grpc.ResourceProviderStub(channel).GetSchema(request, timeout=30).schema)
    finally:
        plugin.kill()
        plugin.wait(30)
    assert (schema["name"], schema["version"]) == ("external-etcd", VERSION)
    assert "external-etcd:index:EtcdCluster" in schema["resources"]


def test_the_bill_lists_every_package_with_its_checksums(bill: dict[str, Any]) -> None:
    found = {each["name"]: each for each in bill["components"] if each["type"] == "library"}
    wanted = pinned((REPO / "requirements.txt").read_text())
    assert {name: each["version"] for name, each in found.items()} == {
        name: each.version for name, each in wanted.items()
    }
    lines = (REPO / "requirements.txt").read_text()
    assert sum(len(each["hashes"]) for each in found.values()) == lines.count("--hash=sha256:")
    # Each is there because of another one, and in the end of the project.
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    reached, new = set(), {"external-etcd"}
    while new:
        reached |= new
        new = {each for ref in new for each in needs[ref]} - reached
    assert reached == needs.keys()


def test_the_bill_lists_the_programs_that_machines_download(bill: dict[str, Any]) -> None:
    found = {(each["name"], each["version"]): each for each in bill["components"] if each["type"] == "application"}
    assert {name for name, _ in found} == {"etcd", "rclone", "age"}
    assert len([name for name, _ in found if name == "etcd"]) == 3
    (age,) = [each for (name, _), each in found.items() if name == "age"]
    archives = {each["url"].rpartition("/")[2]: each["hashes"][0]["content"] for each in age["externalReferences"]}
    assert [name.rpartition("-")[2] for name in archives] == ["amd64.tar.gz", "arm64.tar.gz"]
    assert all(len(digest) == 64 for digest in archives.values())


def test_a_bill_outside_the_schema_is_refused() -> None:
    with pytest.raises(ToolError, match="does not fit the schema of CycloneDX"):
        validate('{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": "etcd"}]}')


def test_a_package_without_a_checksum_is_refused() -> None:
    with pytest.raises(ToolError, match=r"pulumi has no --hash in requirements\.txt"):
        pinned("pulumi==3.272.0\n    # via -r requirements.in\n")


def test_without_a_tag_the_version_says_that_it_is_no_release(repository: Path, tmp_path: Path) -> None:
    assert of_working_tree(repository).version == f"{VERSION}-dev0+g{git(repository, 'rev-parse', 'HEAD')[:7]}"
    (repository / ".gitignore").write_text("ignored\n")
    (repository / "ignored").touch()
    (repository / "new.py").touch()
    source = of_working_tree(repository)
    assert source.version.endswith(".changed")
    source.copy_to(tmp_path / "copy")
    assert f'version = "{source.version}"' in (tmp_path / "copy" / "pyproject.toml").read_text()
    assert (tmp_path / "copy" / "new.py").exists()
    assert not (tmp_path / "copy" / "ignored").exists()


def test_the_command_line_prints_the_reasons_of_a_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["v0.0.0"]) == 1
    assert capsys.readouterr().err.startswith("tools release: v0.0.0 cannot be released:\n  pyproject.toml has the ")


def test_the_changelog_has_a_section_for_the_version_in_work() -> None:
    assert version_in((REPO / "pyproject.toml").read_text()) in sections((REPO / CHANGELOG).read_text())


def test_a_complete_checkout_of_the_tag_can_be_released(repository: Path) -> None:
    check(repository, TAG)


def _rewrite(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(repository: Path) -> None:
        place = repository / path
        place.write_text(place.read_text().replace(old, new))
        commit(repository)
        git(repository, "tag", "--force", TAG)

    return change


def _missing_snapshots(repository: Path) -> None:
    shutil.rmtree(repository / SNAPSHOTS / VERSION)
    commit(repository)
    git(repository, "tag", "--force", TAG)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda repository: git(repository, "tag", "--delete", TAG), f"There is no tag {TAG}.*git tag -a {TAG}"),
        (
            lambda repository: git(repository, "checkout", "-q", "v1.2.2~0"),
            f"another commit than {TAG}.*git checkout {TAG}",
        ),
        (lambda repository: (repository / "new").touch(), r"The working tree has changes \(new\)"),
        (lambda repository: (repository / CHANGELOG).write_text(""), rf"The working tree has changes \({CHANGELOG}\)"),
        (_rewrite("pyproject.toml", VERSION, "1.3.0"), r"pyproject\.toml has the version 1\.3\.0.*must be v1\.3\.0"),
        (_rewrite(CHANGELOG, "2026-12-01", "unreleased"), f"says `{VERSION} - unreleased`. Put the date there"),
        (_rewrite(CHANGELOG, f"## {VERSION}", "## 1.2.4"), f"no section for it. Add the heading `## {VERSION} - "),
        (_rewrite(CHANGELOG, "- New.", ""), f"The section of {VERSION} in {CHANGELOG} is empty"),
        (_missing_snapshots, f"{SNAPSHOTS}/{VERSION} is missing.*UPDATE_SNAPSHOTS=1"),
        (lambda repository: git(repository, "tag", "--delete", "v1.2.2"), r"no tag v1\.2\.2. Run: git fetch --tags"),
        (
            _rewrite(f"{SNAPSHOTS}/1.2.2/hosts.json", "{}", "[]"),
            r"1\.2\.2/hosts\.json changed after 1\.2\.2 was released",
        ),
    ],
    ids=[
        "tag",
        "commit",
        "new file",
        "changed file",
        "version",
        "date",
        "section",
        "text",
        "record",
        "old tag",
        "old record",
    ],
)
def test_a_checkout_that_cannot_be_released_is_refused_with_the_remedy(
    spoil: Callable[[Path], object], reason: str, repository: Path
) -> None:
    spoil(repository)
    with pytest.raises(ToolError, match=reason):
        check(repository, TAG)
