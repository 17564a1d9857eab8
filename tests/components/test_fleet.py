"""Several clusters: the example program that creates them, and `external-etcd status` with the real CLI.

`UPDATE_SNAPSHOTS=1` writes the table of docs/fleet.md anew.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components import cli
from lab.engine import environment
from tests.support import pretended
from tests.support.snapshot import UPDATE
from tests.support.sshd import new_key
from tests.support.stacks import REPO, Stack

PRIVATE_KEY, PUBLIC_KEY = new_key()
HOST_KEY = " ".join(PUBLIC_KEY.split()[:2])
CANARY = "canary-in-an-output"
MANUAL = REPO / "docs" / "fleet.md"
PROJECT = "etcd-fleet"

Status = Callable[..., tuple[int, str]]


def entry(network: int, members: int, **arguments: Any) -> dict[str, Any]:
    """A cluster in the configuration of the example."""
    numbers = range(1, members + 1)
    return {
        "machines": [{"name": f"etcd-{n}", "address": f"10.0.{network}.1{n}", "host_key": HOST_KEY} for n in numbers],
        "arguments": {"version": "3.5.35", "release_mirror": "https://releases.example.com", **arguments},
    }


class Fleet:
    """A project with two stacks, and one with another project's stack in the same backend.

    `production` has two clusters by the example's program. `staging` is as if an earlier update had left its outputs,
    and a later one had been killed.
    """

    def __init__(self, directory: Path) -> None:
        environ = environment(directory / "engine")
        environ["PATH"] = f"{pretended.PATH}:{environ['PATH']}"
        files = {name: REPO / "examples" / "fleet" / name for name in ("Pulumi.yaml", "__main__.py")}
        # As pip installs it.
        files |= {"external_etcd": REPO / "components", ".venv": REPO / ".venv"}
        config = {"clusters": {"blue": entry(1, 3), "green": entry(2, 1)}, "ssh_key": PRIVATE_KEY}
        self.stack = Stack(directory / "production", environ, config, files, PROJECT)
        self.stack.up()
        outputs = self.stack.outputs()
        staging = Stack(directory / "staging", environ, {}, files, PROJECT, like=self.stack)
        staging.left(clusters={"test": _older(outputs["clusters"]["green"])}, note=CANARY)
        website = directory / "Pulumi.yaml"
        website.write_text("name: website\nruntime: yaml\n")
        Stack(directory / "website", environ, {}, {"Pulumi.yaml": website}, "website").left(password=CANARY)
        keys = [PRIVATE_KEY, *(text for made in outputs["kubeadm_files"].values() for text in made.values())]
        lines = [line for key in keys for line in key.splitlines() if len(line) > 24 and "-----" not in line]
        assert len(lines) > 10
        self.canaries = [CANARY, *lines]

    def preview(self, clusters: dict[str, Any]) -> str:
        """`pulumi preview --json` with these clusters instead."""
        before = dict(self.stack.config)
        self.stack.config["clusters"] = clusters
        try:
            return self.stack.preview_json(check=False)
        finally:
            self.stack.config = before


def _older(cluster: dict[str, Any]) -> dict[str, Any]:
    """What that cluster left almost a year ago, with a backup."""
    now = datetime.now(UTC)
    at = {days: f"{now + timedelta(days=days, hours=1):%Y-%m-%dT%H:%M:%SZ}" for days in (-14, -15, 12)}
    ends = {name: at[12] for name in cluster["certificates"] if not name.startswith("ca-")}
    backup = {"taken": at[-14], "name": "x.age", "drill": {"proved": {"at": at[-15], "name": "x.age"}}}
    applied = {**cluster["applied"], "cluster": "test", "checked": at[-14]}
    return {**cluster, "applied": applied, "certificates": {**cluster["certificates"], **ends}, "backup": backup}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture
def status(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Status:
    """Runs `external-etcd status` in the project; returns exit status and standard output, which have no secret."""
    for key, value in fleet.stack.environ.items():
        monkeypatch.setenv(key, value)

    def run(*arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        code = cli.main(["status", "-C", str(fleet.stack.directory), *arguments])
        said = capfd.readouterr()
        assert [each for each in fleet.canaries if each in said.out + said.err] == []
        return code, said.out

    return run


def resources(fleet: Fleet) -> list[tuple[str, str, str]]:
    """URN, ID and time of the last change of the state's resources, without the stack's own outputs of before."""
    found = fleet.stack.export()["deployment"]["resources"]
    rows = [each for each in found if each["type"] != "pulumi:pulumi:StackReference"]
    return [(each["urn"], each.get("id", ""), each.get("modified", "")) for each in rows]


def test_names_of_clusters_in_one_program_do_not_collide(fleet: Fleet) -> None:
    urns = Counter(urn for urn, *_ in resources(fleet))
    assert set(urns.values()) == {1}
    names = [urn.rpartition("::")[2] for urn in urns]
    for cluster, count in (("blue", 3), ("green", 1)):
        assert sum(name.startswith(f"{cluster}-etcd-") and name.endswith("-converge") for name in names) == count
        assert {f"{cluster}-pki-1-ca", f"{cluster}-pki-peer-1-ca", f"{cluster}-health"} <= {*names}


def test_the_table_of_the_manual_is_printed(status: Status) -> None:
    code, printed = status()
    assert code == 0
    text = MANUAL.read_text()
    command = "$ external-etcd status\n"
    before, _, rest = text.partition(command)
    shown, _, after = rest.partition("```")
    if os.environ.get(UPDATE):
        MANUAL.write_text(f"{before}{command}{printed}```{after}")
        shown = printed
    assert _timeless(printed) == _timeless(shown)


def _timeless(table: str) -> str:
    return re.sub(r" +", " ", re.sub(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?", "DATE", re.sub(r"\d+ days", "DAYS", table)))


def test_the_json_has_every_cluster_of_every_project(status: Status) -> None:
    code, printed = status("--all-projects", "--format=json", "--fail-on=backup")
    assert code == 0
    found = json.loads(printed)
    assert found["without_a_cluster"] == ["organization/website/website"]
    production, staging = found["stacks"]
    assert [(each["where"], each["name"], each["version"]) for each in production["clusters"]] == [
        ("clusters.blue", "blue", "3.5.35"),
        ("clusters.green", "green", "3.5.35"),
    ]
    assert production["clusters"][0]["members"] == ["etcd-1", "etcd-2", "etcd-3"]
    assert production["clusters"][0]["checked"]
    assert production["conditions"] == []
    (test,) = staging["clusters"]
    assert test["snapshot"] and test["proved"] and not test["failed_drill"]
    assert staging["conditions"] == ["expiring", "unhealthy", "pending"]
    assert status("--stack=staging", "--within=3", "--fail-on=expiring")[0] == 0


def test_a_change_of_several_clusters_is_reviewed_as_one(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "preview.json"
    path.write_text(fleet.preview({"blue": entry(1, 3, version="3.6.16"), "green": entry(2, 1, quota="4GiB")}))
    capsys.readouterr()
    assert cli.main(["review", str(path)]) == 0
    comment = capsys.readouterr().out
    assert "etcd clusters `blue`, `green`, stack `production`: 4 members restart, one at a time" in comment
    assert "blue: etcd-3 restarts: etcd 3.5.35 → 3.6.16 (2 of 3 voters running" in comment
    assert "green: etcd-1 restarts: --quota-backend-bytes (0 of 1 voter running" in comment


def test_a_renamed_cluster_is_another_one_and_leaves_the_others_alone(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "preview.json"
    path.write_text(fleet.preview({"blue": entry(1, 3), "red": entry(2, 1)}))
    steps = [(step["op"], step["urn"].rpartition("::")[2]) for step in json.loads(path.read_text())["steps"]]
    changed = {op: {name.partition("-")[0] for each, name in steps if each == op} for op in {op for op, _ in steps}}
    assert changed.keys() == {"same", "read", "create", "delete"}
    assert (changed["create"], changed["delete"]) == ({"red"}, {"green"})
    capsys.readouterr()
    assert cli.main(["review", str(path), "--fail-on=irreversible"]) == 3
    assert "The cluster `green` is removed" in capsys.readouterr().out


def test_an_update_that_was_killed_is_noticed(fleet: Fleet, status: Status) -> None:
    """Must be one of the last tests here: it leaves an interrupted update behind. The last one was an hour ago."""
    backend = Path(fleet.stack.environ["PULUMI_BACKEND_URL"].removeprefix("file://").partition("?")[0])
    (history,) = backend.glob(f".pulumi/history/{PROJECT}/production/*.history.json")
    last = json.loads(history.read_text())
    history.write_text(json.dumps({**last, "endTime": last["endTime"] - 3600}))
    before = resources(fleet)
    fleet.stack.config["clusters"] = {"blue": entry(1, 3, quota="4GiB"), "green": entry(2, 1)}
    fleet.stack.up_killed_when(lambda: resources(fleet) != before)
    code, printed = status("--stack=production", "--fail-on=unhealthy")
    assert code == 3
    assert "in progress, interrupted, or its state was edited, " in printed


def test_a_refused_change_of_one_cluster_changes_none(fleet: Fleet, status: Status) -> None:
    """Must be the last test here, because it leaves a failed update behind."""
    before = resources(fleet)
    fleet.stack.config["clusters"] = {"blue": entry(1, 3, quota="4GiB"), "green": entry(2, 1, version="3.7.3")}
    refused = fleet.stack.up(check=False)
    assert refused.code != 0
    assert "This change of the cluster green is refused; nothing was touched:" in refused.text
    assert resources(fleet) == before
    code, printed = status("--stack=production", "--fail-on=unhealthy")
    assert code == 3
    assert "the last update failed, " in printed
