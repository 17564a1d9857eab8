"""Policies `odd-members` and `one-machine-per-update`: of the whole stack."""

import pytest

from tests.support.policies import UNKNOWN, Pack, Resource

COMMAND = "command:remote:Command"


def stack(
    *,
    members: int = 3,
    new: tuple[int, ...] = (),
    running: bool = True,
    cloud: str = "hcloud:index/server:Server",
    machines: str = "HetznerMachines",
    cluster: str = "etcd",
) -> list[Resource]:
    """A cluster. The machines of the members `new` do not exist yet; `running`: the members were once permitted."""
    etcd, slots = Resource("EtcdCluster", cluster), Resource(machines, cluster)
    found = [etcd, slots]
    bastion = Resource(cloud, f"{cluster}-bastion", {"id": UNKNOWN}, Resource("HetznerBastion", cluster))
    for number in range(1, members + 1):
        name = f"{cluster}-etcd-{number}"
        member = Resource("EtcdMember", name, parent=etcd)
        server = Resource(cloud, name, {"id": UNKNOWN if number in new else str(number), "name": name}, slots)
        prepared = Resource(COMMAND, f"{name}-prepare", {"stdout": UNKNOWN}, member, [server, bastion])
        answer = "ready" if running else UNKNOWN
        permitted = Resource(COMMAND, f"{name}-bootstrap", {"stdout": answer}, member, [prepared])
        found += [member, server, prepared, permitted]
    assert bastion.parent is not None
    return [*found, bastion.parent, bastion]


@pytest.mark.parametrize("members", [1, 3, 5, 7])
def test_an_odd_number_of_members_passes(members: int) -> None:
    assert Pack().said_of_stack(stack(members=members)) == []


@pytest.mark.parametrize("members", [2, 4])
def test_an_even_number_of_members_is_refused(members: int) -> None:
    (found,) = Pack().said_of_stack(stack(members=members))
    assert found.startswith(f"odd-members: The cluster has {members} members. That tolerates no more failures than")
    assert found.endswith("Use 3, 5 or 7.")


def test_the_number_of_members_is_configured() -> None:
    config = {"odd-members": {"minimum": 3, "maximum": 5}}
    assert Pack(config).said_of_stack(stack(members=3)) == []
    for members in (1, 7):
        (found,) = Pack(config).said_of_stack(stack(members=members))
        assert f"The cluster has {members} members; this policy requires 3 to 5." in found


def test_each_cluster_of_a_program_counts_for_itself() -> None:
    both = [*stack(cluster="one", members=3, new=(1,)), *stack(cluster="two", members=3, new=(1,))]
    assert Pack().said_of_stack(both) == []
    (found,) = Pack().said_of_stack([*stack(cluster="one", members=3), *stack(cluster="two", members=2)])
    assert "2 members" in found


def test_a_program_without_a_cluster_passes() -> None:
    assert (
        Pack().said_of_stack([Resource("EtcdCluster", "etcd"), Resource("aws:ec2/vpc:Vpc", "vpc", {"id": UNKNOWN})])
        == []
    )


@pytest.mark.parametrize(("new", "running"), [((), True), ((2,), True), ((1, 2, 3), False)])
def test_one_new_machine_or_a_new_cluster_passes(new: tuple[int, ...], running: bool) -> None:
    assert Pack().said_of_stack(stack(new=new, running=running)) == []


@pytest.mark.parametrize(
    ("cloud", "machines"),
    [("hcloud:index/server:Server", "HetznerMachines"), ("aws:ec2/instance:Instance", "AwsMachines")],
)
def test_two_new_machines_of_a_running_cluster_are_refused(cloud: str, machines: str) -> None:
    found = Pack().said_of_stack(stack(new=(1, 3), cloud=cloud, machines=machines))
    assert found == [
        "one-machine-per-update: etcd-etcd-1, etcd-etcd-3 would get new machines in one update; this policy allows 1. "
        "Raise the generation of one slot, run pulumi up, then raise the next one. If these machines are lost already: "
        "set `machines` of this policy for this update."
    ]


def test_more_new_machines_pass_if_configured() -> None:
    assert Pack({"one-machine-per-update": {"machines": 2}}).said_of_stack(stack(new=(1, 3))) == []


def test_new_slots_are_no_replacement() -> None:
    grown = stack(members=5, new=(4, 5))
    for each in grown:
        if each.name in ("etcd-etcd-4-bootstrap", "etcd-etcd-5-bootstrap"):
            each.outputs["stdout"] = UNKNOWN
    assert Pack().said_of_stack(grown) == []
