"""States of released versions stay usable: an update by this version replaces nothing in them."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.engine import environment
from tests.components.test_cloud_previews import AMI, NOBODY, OFFLINE
from tests.support import pretended, released
from tests.support.cloud_stacks import FILES, example
from tests.support.snapshot import UPDATE
from tests.support.sshd import new_key
from tests.support.stacks import REPO, Stack
from tools.release.checks import released as released_versions
from tools.release.source import version_in

PRIVATE_KEY = new_key()[0]
AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0t0XqD4OPnFfMbtS6BBrvqCeNNxu6bCc8SPnj8qJY1"


def _cloud(platform: str, keys: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A cloud's example with these keys, and with these of the platform's object."""
    given = {key.removeprefix("external-etcd:"): value for key, value in example(platform).items()}
    return {**given, **keys, platform: {**given[platform], **changes}}


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "hosts": {
        "platform": "hosts",
        "clusterName": "production",
        "machines": [
            {"name": f"etcd-{n}", "address": f"192.0.2.{n}", "ssh": {"user": "root", "hostKey": HOST_KEY}}
            for n in (1, 2, 3)
        ],
        "prometheus": True,
        "authentication": True,
        "users": [{"name": "backup", "prefix": "/backup/", "permission": "read"}],
        "firewall": {"clients": ["192.0.2.64/26"]},
        "backup": {"recipients": [AGE], "directory": "/srv/etcd"},
    },
    "aws": _cloud(
        "aws",
        {"backup": {"recipients": [AGE]}},
        ami=AMI,
        publicIpv4=False,
        natGateway=True,
        bastion={"instanceType": "t3.nano", "ami": AMI},
        volume={"size": 20},
        backupBucket={"name": "example-etcd", "days": 90, "objectLock": {"mode": "GOVERNANCE", "days": 30}},
    ),
    "aws-public": _cloud("aws", {}, ami=AMI),
    "hetzner": _cloud("hetzner", {}, publicIpv4=False, bastion={}, volume={"size": 10}),
}
"""With what creates the most kinds of resources."""
VERSION = version_in((REPO / "pyproject.toml").read_text())
RELEASED = released_versions((REPO / "CHANGELOG.md").read_text())
CARRIED = RELEASED or [VERSION]
"""The released versions whose states this version takes over, newest first. Before the first release: its own."""
KEY = (
    "external-etcd:index:EtcdCluster$external-etcd:index:EtcdPki$tls:index/privateKey:PrivateKey"
    "::production-pki-healthcheck-client"
)
RENAMED = """
import runpy, sys
import pulumi
import pulumi_tls as tls

sys.path.insert(0, {program!r}.rpartition("/")[0])
create = tls.PrivateKey.__init__

def other(self, name, *args, opts=None, **inputs):
    if name == {name!r}:
        aliases = [pulumi.Alias(name=name)] if {alias} else []
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=aliases))
        name = "production-pki-health-client"
    create(self, name, *args, opts=opts, **inputs)

tls.PrivateKey.__init__ = other
runpy.run_path({program!r}, run_name="__main__")
"""


def left_by(content: Mapping[str, Any], directory: Path) -> Stack:
    """A stack with the state and the configuration that are in a released version's file."""
    config = {**content["config"], **OFFLINE.get(content["config"]["platform"], {})}
    if config["platform"] == "hosts":
        config["sshPrivateKey"] = PRIVATE_KEY
    environ = {**environment(directory / "engine"), **NOBODY}
    stack = Stack(directory / "released", environ, config, FILES, released.PROJECT)
    # The stand-ins, even if the official plugins are there: the state has the mocks' keys, certificates and IDs.
    stack.environ["PATH"] = f"{pretended.PATH}:{REPO / 'lab/plugins/bin'}:{stack.environ['PATH']}"
    state = directory / "state.json"
    state.write_text(json.dumps(released.state(content, stack.export(), "released", config)))
    stack.pulumi("stack", "import", "--file", str(state))
    return stack


def previewed(stack: Stack) -> tuple[list[str], dict[str, int]]:
    """What a preview replaces or deletes, and its number of resources by what happens to them."""
    preview = json.loads(stack.preview_json())
    # The guard can read what the released version applied.
    assert "compared with nothing" not in json.dumps(preview["diagnostics"])
    return released.replaced(preview["steps"]), preview["changeSummary"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A stack on existing machines as the last released version left it."""
    return left_by(released.read(CARRIED[0], "hosts"), tmp_path_factory.mktemp("hosts"))


@pytest.mark.parametrize("name", [*CONFIGURATIONS, released.MACHINES])
def test_the_resources_of_this_version_are_on_record(name: str) -> None:
    """Until the version is released. From then on its file is what the states have, and never changes."""
    is_released = VERSION in RELEASED
    found = released.recorded(CONFIGURATIONS[name], PRIVATE_KEY) if name in CONFIGURATIONS else released.on_machines()
    if os.environ.get(UPDATE) and not is_released:
        released.write(VERSION, name, found)
    known = released.read(VERSION, name) if VERSION in released.versions() else {}
    before, now = known.get("resources", {}), found["resources"]
    changed = [each for each in {**before, **now} if before.get(each) != now.get(each)]
    remedy = (
        "Raise the version in pyproject.toml; this one is released" if is_released else f"To accept it, set {UPDATE}=1"
    )
    assert known == json.loads(json.dumps(found)), f"{remedy} (docs/releasing.md). Changed: {changed}"


@pytest.mark.parametrize("version", CARRIED)
def test_what_is_on_machines_keeps_its_place(version: str) -> None:
    missing = released.read(version, released.MACHINES)["resources"].keys() - released.on_machines()["resources"].keys()
    assert missing == set(), f"Machines of {version} have these. docs/decisions/releases.md says what to do."


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("version", CARRIED)
def test_an_update_of_a_released_stack_replaces_nothing(version: str, name: str, tmp_path: Path) -> None:
    content = released.read(version, name)
    found, counts = previewed(left_by(content, tmp_path))
    assert found == [], f"States of {version} have these resources. docs/decisions/releases.md says what to do."
    # Nothing was passed over: also what is deleted on purpose counts. The stack itself is a resource too.
    kept = sum(count for step, count in counts.items() if step not in ("create", "read"))
    assert kept == len(content["resources"]) + 1


def test_an_input_for_which_a_provider_replaces_is_found(tmp_path: Path) -> None:
    content = released.read(CARRIED[0], "hosts")
    request = KEY.replace("privateKey:PrivateKey", "certRequest:CertRequest")
    content["resources"][request]["inputs"]["subject"]["commonName"] = "another"
    found, _ = previewed(left_by(content, tmp_path))
    assert f"replace {request}" in found


def test_a_renamed_child_without_an_alias_is_found(hosts: Stack, tmp_path: Path) -> None:
    with renamed(hosts, tmp_path, alias=False):
        found, _ = previewed(hosts)
    assert f"delete {KEY}" in found


def test_a_renamed_child_with_an_alias_stays(hosts: Stack, tmp_path: Path) -> None:
    with renamed(hosts, tmp_path, alias=True):
        found, counts = previewed(hosts)
    assert found == []
    assert "create" not in counts


def test_an_update_of_a_released_stack_ends_and_the_next_one_changes_nothing(hosts: Stack) -> None:
    """Must be the last test here, because it updates the stack."""
    before = {each["urn"] for each in hosts.export()["deployment"]["resources"]}
    hosts.up()
    after = {each["urn"] for each in hosts.export()["deployment"]["resources"]}
    assert {urn for urn in before - after if "pulumi:providers:" not in urn} == set()
    # `read`: the outputs of the last update.
    assert previewed(hosts)[1].keys() <= {"same", "read"}


@contextlib.contextmanager
def renamed(stack: Stack, directory: Path, *, alias: bool) -> Iterator[None]:
    """Meanwhile the stack's program is one in which the child KEY has another name."""
    program = stack.directory / "__main__.py"
    real = program.resolve()
    (directory / "renamed.py").write_text(RENAMED.format(name=KEY.rpartition("::")[2], alias=alias, program=str(real)))
    program.unlink()
    program.symlink_to(directory / "renamed.py")
    try:
        yield
    finally:
        program.unlink()
        program.symlink_to(real)
