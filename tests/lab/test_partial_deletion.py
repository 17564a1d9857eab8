"""No option of Pulumi removes a member before the cluster has removed it, except with the whole cluster."""

from typing import Any

import pytest

from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, etcdctl, process_ids
from tests.support.stacks import Stack, machine_config

IDENTITY = "/var/lib/etcd-node/identity.json"


def deleted_marks(stack: Stack) -> list[str]:
    """The resources that the state only keeps for deletion."""
    return [each["urn"] for each in stack.export()["deployment"]["resources"] if each.get("delete")]


def initial_cluster(stack: Stack) -> dict[str, Any]:
    """The recorded bootstrap: its members, its token, and the operator."""
    resources = stack.export()["deployment"]["resources"]
    return next(dict(each["outputs"]["output"]) for each in resources if each["urn"].endswith("Stash::test-bootstrap"))


def test_no_pulumi_option_retires_a_voter(bootstrapped: Bootstrapped, monkeypatch: pytest.MonkeyPatch) -> None:
    found, stack = bootstrapped()
    etcdctl(found[0], "put", "kept", "yes")
    before, first = process_ids(found), initial_cluster(stack)

    prepare = "**:test-etcd-2-prepare"
    for run in (
        stack.preview("--replace", prepare, check=False),
        stack.up("--replace", prepare, check=False),
        stack.up("--replace", prepare, "--continue-on-error", check=False),
        stack.up("--target-replace", prepare, "--target-dependents", check=False),
    ):
        assert run.code != 0
        assert "would retire the machine of etcd-2" in run.text
    stack.up("--expect-no-changes")
    assert stack.up("--replace", "**", check=False).code != 0
    # The certificates are reissued, as after any renewal.
    stack.up()
    assert initial_cluster(stack) == first

    run = stack.pulumi("destroy", "--yes", "--target", prepare, "--target-dependents", check=False)
    assert run.code != 0
    assert "a part of the cluster test would be destroyed" in run.text
    assert process_ids(found) == before
    assert deleted_marks(stack) == []
    stack.up()
    stack.up("--expect-no-changes")

    # Two of three must leave, and the remaining one cannot remove them from the cluster.
    stack.config["machines"] = [machine_config(found[0])]
    outputs = stack.outputs()
    run = stack.up("--target", "**:test-etcd-3-prepare", "--target-dependents", check=False)
    assert run.code != 0
    assert "etcd-2, etcd-3 left the list of members" in run.text
    # Sometimes the engine (3.232) has now written what it skipped before what that depends on. The manual names this.
    stack.pulumi("state", "repair", "--yes")
    found[0].run(f"cp -p {IDENTITY} /root/ && echo '{{}}' > {IDENTITY}", root=True)
    run = stack.up("--continue-on-error", check=False)
    assert run.code != 0
    assert "not proved the cluster test healthy" in run.text
    stack.environ["PULUMI_CONTINUE_ON_ERROR"] = "true"
    assert stack.up(check=False).code != 0
    del stack.environ["PULUMI_CONTINUE_ON_ERROR"]
    assert process_ids(found) == before
    assert stack.outputs() == outputs
    found[0].run(f"mv /root/identity.json {IDENTITY}", root=True)

    # An update without --target completes it.
    run = stack.up()
    for machine in found[1:]:
        assert f"{machine.name} has left the cluster" in run.text
        assert machine.run("test -e /usr/local/sbin/etcd-node", check=False).returncode != 0
    assert process_ids(found[:1]) == {"etcd-1": before["etcd-1"]}
    assert_serves_all_members(found[:1])
    assert etcdctl(found[0], "get", "kept", "--print-value-only").strip() == "yes"
