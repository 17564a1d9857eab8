"""A run without a change does nothing."""

from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, etcdctl, member_list, process_ids
from tests.support.machines import Machines
from tests.support.stacks import Stacks


def test_a_second_up_or_bootstrap_changes_nothing(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found)
    stack.up()
    before = process_ids(found)

    stack.preview("--expect-no-changes")
    stack.up("--expect-no-changes")
    stack.up("--refresh", "--expect-no-changes")

    assert process_ids(found) == before
    assert_serves_all_members(found)

    # The bootstrap command again, with running members: other tools would create an empty cluster.
    etcdctl(found[0], "put", "kept", "yes")
    members = member_list(found[0])
    resources = stack.export()["deployment"]["resources"]
    commands = [resource["urn"] for resource in resources if resource["type"] == "command:remote:Command"]
    bootstraps = [urn for urn in commands if urn.endswith("-bootstrap")]
    assert len(bootstraps) == len(found)
    # Without the recorded state no slot gets bootstrap members; here only the machines prevent it.
    stack.left(applied=None)
    run = stack.up(*[f"--replace={urn}" for urn in bootstraps])
    assert all(f"{machine.name}: has been a member before: converge decides" in run.text for machine in found)
    assert process_ids(found) == before
    assert member_list(found[0]) == members
    assert [etcdctl(m, "get", "kept", "--print-value-only", "--consistency=s").strip() for m in found] == ["yes"] * 3


def test_a_state_without_the_clusters_ca_cannot_take_it_over(stacks: Stacks, bootstrapped: Bootstrapped) -> None:
    """The state was lost, or the stack was created twice: another CA must not reach a running cluster."""
    found, _ = bootstrapped()
    etcdctl(found[0], "put", "kept", "yes")
    before = process_ids(found)
    authorities = [machine.run("sha256sum /etc/etcd/pki/ca.crt", root=True).stdout for machine in found]

    mistaken = stacks.new(found)
    run = mistaken.up(check=False)

    assert run.code != 0
    assert "CA" in run.text
    # Destroying the mistaken stack removes nothing of the real one.
    text = mistaken.destroy().text
    for machine in found:
        assert f"another stack manages the member {machine.name} of test on this machine: left alone" in text
    assert [machine.run("sha256sum /etc/etcd/pki/ca.crt", root=True).stdout for machine in found] == authorities
    assert process_ids(found) == before
    assert etcdctl(found[1], "get", "kept", "--print-value-only").strip() == "yes"
    assert_serves_all_members(found)


def test_with_a_users_own_ca_a_lost_state_can_be_recreated(
    machines: Machines, stacks: Stacks, own_authority: dict[str, str]
) -> None:
    ours = {"name": "ours", "certificate": own_authority["certificate"], "privateKey": own_authority["private_key"]}
    found = machines.fresh(3)
    stacks.new(found, authorities=[ours]).up()
    etcdctl(found[0], "put", "kept", "yes")
    before = process_ids(found)

    again = stacks.new(found, authorities=[ours])
    again.up()

    assert process_ids(found) == before
    assert etcdctl(found[1], "get", "kept", "--print-value-only").strip() == "yes"
    assert_serves_all_members(found)
    again.up("--expect-no-changes")
