"""Resources in use that must not be replaced, with the real engine: `--replace`, a taint, and what follows."""

from typing import Any

import pytest

from tests.support.stacks import REPO, Stack, Stacks

PROGRAM = """
import pulumi
from components.pki import EtcdPki
from components.ssh_key import ssh_key

names = pulumi.Config().require_object("authorities")
pki = EtcdPki("dev", {
    "members": [{"name": "etcd-1", "address": "192.0.2.1"}],
    "authorities": [{"name": name} for name in names],
    "issuer": names[0],
    "ca_validity_hours": pulumi.Config().get_int("lifetime", 87600),
})
# More at once than the program's event loop has threads.
keys = [ssh_key(f"key-{number}", "the host key of a machine", pki) for number in range(40)]
pulumi.export("ca", pki.ca_certificate)
"""
CA = "SelfSignedCert::dev-1-ca"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The certificates of a cluster, after the first update."""
    folder = tmp_path_factory.mktemp("irreplaceable")
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "Pulumi.yaml").write_text("name: authorities\nruntime: python\n")
    files = {name: folder / name for name in ("Pulumi.yaml", "__main__.py")}
    files |= {name: REPO / name for name in ("components", ".venv")}
    stack = Stacks(folder / "stacks").of_project("authorities", files, {"authorities": ["1"]})
    stack.up()
    return stack


def resources(stack: Stack) -> list[dict[str, Any]]:
    return list(stack.export()["deployment"]["resources"])


def authority(stack: Stack) -> list[tuple[str, str]]:
    """What identifies this CA's key and certificate."""
    found = [resource for resource in resources(stack) if resource["urn"].endswith("::dev-1-ca")]
    return [(each["id"], each["outputs"].get("certPem", each["outputs"].get("publicKeyPem"))) for each in found]


def test_a_cas_replacement_is_refused_at_preview_and_update(stack: Stack) -> None:
    before = authority(stack)
    for run in (
        stack.preview("--replace", f"**{CA}", check=False),
        stack.up("--replace", "**PrivateKey::dev-1-ca", check=False),
        stack.up("--replace", f"**{CA}", "--continue-on-error", check=False),
    ):
        assert run.code != 0
        assert "The CA dev-1-ca must not be replaced in place" in run.text, run.text
        assert "three updates" in run.text
    assert authority(stack) == before
    assert not any(resource.get("delete") for resource in resources(stack))


def test_a_running_machines_host_key_is_not_replaced(stack: Stack) -> None:
    run = stack.up("--replace", "**PrivateKey::key-7", check=False)
    assert run.code != 0
    assert "The ssh key key-7 is the host key of a machine: with another one nobody could log in" in run.text


def test_a_tainted_ca_is_refused_until_it_is_untainted_and_refusals_leave_no_change(stack: Stack) -> None:
    urn = next(str(resource["urn"]) for resource in resources(stack) if resource["urn"].endswith(CA))
    stack.pulumi("state", "taint", urn, "--yes")
    run = stack.up(check=False)
    assert run.code != 0
    assert f"`pulumi state untaint '{urn}'`" in run.text
    stack.pulumi("state", "untaint", urn, "--yes")
    stack.up("--expect-no-changes")


def test_a_second_ca_can_be_added_and_removed_also_when_expired(stack: Stack) -> None:
    before = authority(stack)
    stack.config |= {"authorities": ["1", "2"], "lifetime": 0}
    stack.up()
    assert authority(stack) == before
    # Its provider would create a second one with the same name.
    refused = stack.preview(check=False)
    assert refused.code != 0
    assert "The CA dev-2-ca must not be replaced in place" in refused.text
    assert "If it has expired and another CA issues the certificates, remove it from the list" in refused.text
    stack.config["authorities"] = ["1"]
    stack.up()
    stack.up("--expect-no-changes")
