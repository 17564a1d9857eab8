"""The guard refuses, by its key, what deletes a remaining member's machine or its network; nothing else.

No engine runs: each stack has the outputs of an update, and gets another configuration.
"""

from typing import Any

import pytest

from components import ChangeRefusedError
from components.plan.guard.judge import judge
from components.plan.guard.state import State, read_state
from stacks import config, guard
from tests.support.configurations import changed, load
from tests.support.sshd import new_key

from .test_config_clouds import EXISTING

SLOTS = [{"name": f"etcd-{n}", "generation": 1} for n in (1, 2, 3)]
PRIVATE, PUBLIC = new_key()
ZONES = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
SUBNETS = [{"zone": zone, "range": f"10.2.{n}.0/24"} for n, zone in enumerate(ZONES, start=1)]
VOLUME = {"volume": {"size": 20}}


def of(platform: str, **changes: Any) -> config.StackConfig:
    """The platform's example, with some keys of its object changed; None removes one."""
    return load(changed(platform, {"slots": SLOTS, **changes}, clusterName="one"))


def hosts(before: config.StackConfig) -> config.StackConfig:
    """The platform hosts with the names and addresses of a stack."""
    host_key = " ".join(PUBLIC.split()[:2])
    machines = [
        {"name": name, "address": address, "ssh": {"hostKey": host_key}}
        for name, address in guard.wanted(before).members.items()
    ]
    values = {"platform": "hosts", "clusterName": before.cluster_name, "sshPrivateKey": PRIVATE}
    return load({**values, "machines": machines})


def left(before: config.StackConfig, *, older: bool = False) -> dict[str, Any]:
    """The outputs of an update with that configuration; an older program recorded nothing about its machines."""
    applied = {**guard.wanted(before).data(), "serial": 1}
    return {"applied": {key: each for key, each in applied.items() if not older or key != "origins"}}


def refusal(before: dict[str, Any], wanted: config.StackConfig) -> list[str]:
    """The reasons of the refusal, a line each."""
    with pytest.raises(ChangeRefusedError) as caught:
        guard.compared(wanted, before)
    return [str(problem) for problem in caught.value.problems]


def follows(before: dict[str, Any], wanted: config.StackConfig) -> State:
    """The state after an accepted update."""
    state = read_state(guard.compared(wanted, before).previous)
    assert state is not None
    return judge(state, guard.wanted(wanted)).state


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("platform", ["aws", "hetzner"])
def test_created_machines_cannot_become_existing_ones(platform: str, older: bool) -> None:
    before = of(platform)
    (said,) = refusal(left(before, older=older), hosts(before))
    assert said.startswith(
        "platform: given hosts. Another platform means other machines, and Pulumi would delete those that"
    )
    was = "one whose machines Pulumi creates" if older else platform
    assert (
        f"of etcd-1, etcd-2, etcd-3 was {was}. Set it back; for a safe way to move, see docs/operations.md, 'To" in said
    )


def test_a_platform_change_is_refused() -> None:
    cloud = of("hetzner")
    assert "was hosts." in refusal(left(hosts(cloud)), cloud)[0]
    (said,) = refusal(left(of("aws", vpcRange="10.1.0.0/16")), cloud)
    assert said.startswith("platform: given hetzner.")


# The platform, its object before and after, and the beginnings of the refusals.
OTHERS: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    ("hetzner", {}, {"networkId": 4711}, ["hetzner.networkId: given 4711. Another network means other machines"]),
    ("hetzner", {"networkId": 4711}, {}, ["hetzner.networkId: given created by Pulumi."]),
    ("hetzner", {"networkId": 4711}, {"networkId": 4712}, ["hetzner.networkId: given 4712."]),
    ("hetzner", {}, {"networkRange": "10.0.0.0/8"}, ["hetzner.networkRange: given 10.0.0.0/8."]),
    ("hetzner", {}, {"subnetRange": "10.1.1.0/25"}, ["hetzner.subnetRange: given 10.1.1.0/25."]),
    ("hetzner", {}, {"subnetRange": "10.1.2.0/24"}, ["hetzner.subnetRange: given 10.1.2.0/24."]),
    ("hetzner", {}, {"location": "hil"}, ["hetzner.location: given us-west."]),
    (
        "hetzner",
        VOLUME,
        {**VOLUME, "slots": [*SLOTS[:2], {"name": "etcd-3", "generation": 2, "location": "hel1"}]},
        ["hetzner.slots[2].location: given hel1. A volume cannot follow its machine"],
    ),
    ("hetzner", VOLUME, {"volume": {"size": 10}}, ["hetzner.volume.size: given 10. A volume can only grow"]),
    (
        "hetzner",
        VOLUME,
        {"slots": [*SLOTS[:2], {"name": "etcd-4"}]},
        ["hetzner.slots: given data on the disks of their machines."],
    ),
    (
        "aws",
        {},
        {"vpcRange": "10.2.0.0/17"},
        ["aws.vpcRange: given 10.2.0.0/17.", "aws.subnets: given 10.2.0.128/25, 10.2.1.0/25, 10.2.1.128/25."],
    ),
    ("aws", {}, EXISTING, ["aws.vpcId: given vpc-0123456789abcdef0.", "aws.subnets: given subnet-"]),
    ("aws", EXISTING, {**EXISTING, "vpcId": "vpc-0fedcba9876543210"}, ["aws.vpcId: given vpc-0fedcba9876543210."]),
    (
        "aws",
        EXISTING,
        {
            **EXISTING,
            "subnets": [*EXISTING["subnets"][:2], {**EXISTING["subnets"][2], "id": "subnet-0fedcba9876543210"}],
        },
        ["aws.subnets: given subnet-0fedcba9876543210. Another subnet means another machine"],
    ),
    (
        "aws",
        {"zones": None, "subnets": SUBNETS},
        {"zones": None, "subnets": [*SUBNETS[:2], {"zone": ZONES[2], "range": "10.2.3.0/25"}]},
        ["aws.subnets: given 10.2.3.0/25. Another subnet means another machine; in the last update, the"],
    ),
    (
        "aws",
        {},
        {"zones": [zone.replace("central", "west") for zone in ZONES]},
        ["aws.slots[0].zone: given eu-west-1a, eu-west-1b, eu-west-1c."],
    ),
    (
        "aws",
        {},
        {"zones": ["eu-central-1b", "eu-central-1a", "eu-central-1c"]},
        ["aws.slots[0].zone: given eu-central-1b, eu-central-1a.", "aws.subnets: given 10.2.2.0/24, 10.2.1.0/24."],
    ),
    (
        "aws",
        {},
        {"slots": [{"name": "etcd-1", "address": "10.2.1.99"}, *SLOTS[1:]]},
        ["aws.slots[0].address: given '10.2.1.99'. A member must keep its address"],
    ),
]


@pytest.mark.parametrize(("platform", "had", "has", "says"), OTHERS)
def test_a_machine_or_network_replacement_is_refused_by_its_key(
    platform: str, had: dict[str, Any], has: dict[str, Any], says: list[str]
) -> None:
    said = refusal(left(of(platform, **had)), of(platform, **has))
    assert len(said) == len(says), said
    for problem, begins in zip(said, says, strict=True):
        assert problem.startswith(begins), problem


# Changes in place, changes that wait for the next generation, and changes that do not concern a machine.
FINE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("hetzner", {}, {"location": "fsn1", "serverType": "cpx21", "image": "ubuntu-24.04", "publicIpv6": True}),
    ("hetzner", {}, {"slots": [*SLOTS[:2], {"name": "etcd-3", "generation": 2, "location": "hel1"}]}),
    ("hetzner", VOLUME, {"volume": {"size": 30, "protect": False}, "location": "fsn1"}),
    ("hetzner", {"networkId": 4711}, {"networkId": 4711, "networkRange": "10.0.0.0/8"}),
    ("hetzner", {}, {"labels": {"a": "b"}, "operators": ["203.0.113.9/32"]}),
    ("aws", {}, {"zones": None, "subnets": SUBNETS}),
    ("aws", {}, {"instanceType": "m7i.large", "rootSize": 30, "volume": None, "clients": ["10.9.0.0/16"]}),
    ("aws", VOLUME, {"volume": {"size": 30, "type": "io2", "iops": 5000}}),
    # A new name may be anywhere: in a new zone, or in the place of a member that leaves.
    ("hetzner", {}, {"slots": [*SLOTS[:2], {"name": "etcd-4", "location": "hel1"}]}),
    (
        "aws",
        {"zones": ZONES[:2], "slots": [{**slot, "zone": ZONES[n % 2]} for n, slot in enumerate(SLOTS)]},
        {
            "slots": [
                *({**slot, "zone": ZONES[n]} for n, slot in enumerate(SLOTS[:2])),
                {"name": "etcd-4", "zone": ZONES[2]},
            ]
        },
    ),
]


@pytest.mark.parametrize(("platform", "had", "has"), FINE)
def test_changes_that_keep_every_machine_are_accepted(platform: str, had: dict[str, Any], has: dict[str, Any]) -> None:
    before, wanted = of(platform, **had), of(platform, **has)
    for older in (False, True):
        after = follows(left(before, older=older), wanted)
        assert set(after.origins) == set(guard.wanted(wanted).members)
        assert all(origin["platform"] == platform for origin in after.origins.values())


@pytest.mark.parametrize("platform", ["aws", "hetzner"])
def test_a_program_upgrade_alone_is_not_a_change(platform: str) -> None:
    before = of(platform)
    last = left(before, older=True)
    assert "origins" not in last["applied"]
    state = read_state(last["applied"])
    assert state is not None
    verdict = judge(state, guard.wanted(before))
    assert (verdict.problems, verdict.steps, verdict.state.serial) == ((), (), 1)
    noted = {"applied": verdict.state.data()}
    assert refusal(noted, of(platform, **({"vpcRange": "10.3.0.0/16"} if platform == "aws" else {"networkId": 4711})))


def test_a_machine_keeps_its_generations_first_location() -> None:
    """A raised generation is compared with the location of the volume."""
    there = follows(left(of("hetzner", location="fsn1", **VOLUME)), of("hetzner", location="nbg1", **VOLUME))
    assert {origin["location"] for origin in there.origins.values()} == {"fsn1"}
    raised = of("hetzner", location="nbg1", slots=[*SLOTS[:2], {"name": "etcd-3", "generation": 2}], **VOLUME)
    (said,) = refusal({"applied": there.data()}, raised)
    assert said.startswith(
        "hetzner.slots[2].location: given nbg1. A volume cannot follow its machine to another location"
    )
