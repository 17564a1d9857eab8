"""Members go when the cluster has let them go, or with all of it; no option of Pulumi makes it otherwise."""

from typing import Any

import pytest

from tests.support.etcd import assert_serves_all_members, etcdctl, process_ids
from tests.support.founded import Founded
from tests.support.stacks import Stack, machine_config

IDENTITY = "/var/lib/etcd-node/identity.json"


def deleted_marks(stack: Stack) -> list[str]:
    """What is in the state only to be deleted."""
    return [each["urn"] for each in stack.export()["deployment"]["resources"] if each.get("delete")]


def initial_cluster(stack: Stack) -> dict[str, Any]:
    """The members with which the cluster was bootstrapped, its token, and the operator."""
    resources = stack.export()["deployment"]["resources"]
    return next(dict(each["outputs"]["output"]) for each in resources if each["urn"].endswith("Stash::test-bootstrap"))


def test_a_voter_is_not_retired_by_any_option_of_pulumi(founded: Founded, monkeypatch: pytest.MonkeyPatch) -> None:
    found, stack = founded()
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
    # Certificates are others now, as after any renewal.
    stack.up()
    assert initial_cluster(stack) == first

    run = stack.pulumi("destroy", "--yes", "--target", prepare, "--target-dependents", check=False)
    assert run.code != 0
    assert "a part of the cluster test would be destroyed" in run.text
    assert process_ids(found) == before
    assert deleted_marks(stack) == []
    stack.up()
    stack.up("--expect-no-changes")

    # Two of three are to leave, and the one that stays cannot take them out of the cluster.
    stack.config["machines"] = [machine_config(found[0])]
    outputs = stack.outputs()
    run = stack.up("--target", "**:test-etcd-3-prepare", "--target-dependents", check=False)
    assert run.code != 0
    assert "etcd-2, etcd-3 left the list of members" in run.text
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

    # And what was to be done is done by an update that is not limited.
    run = stack.up()
    for machine in found[1:]:
        assert f"{machine.name} has left the cluster" in run.text
        assert machine.run("test -e /usr/local/sbin/etcd-node", check=False).returncode != 0
    assert process_ids(found[:1]) == {"etcd-1": before["etcd-1"]}
    assert_serves_all_members(found[:1])
    assert etcdctl(found[0], "get", "kept", "--print-value-only").strip() == "yes"
