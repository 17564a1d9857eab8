"""Migrations from stacked etcd that are killed at any moment, and to more members."""

import json
import random
from collections.abc import Iterator

import pytest

from lab import kubernetes
from tests.support.etcd import assert_serves_all_members, running_versions
from tests.support.machines import Machines
from tests.support.stacked import Cluster, everything, kubectl, refusal, restarted
from tests.support.stacks import Stacks
from tests.support.waiting import every
from tools.kubernetes import IMAGES, ensure_etcd_image, etcd_tag

# The flags that etcd 3.6 has under other names, in the order in which kubeadm sorts them.
FLAGS_OF_3_5 = [
    {"op": "replace", "path": f"/spec/containers/0/command/{index}", "value": value}
    for index, value in (
        (5, "--experimental-initial-corrupt-check=true"),
        (-1, "--experimental-watch-progress-notify-interval=5s"),
    )
]
KILLS = 10
LONGEST = 20.0
"""Seconds until a run is killed, at most: many end before."""


def _lose(cluster: Cluster, machines: Machines) -> str:
    """The last control plane is lost for good; returns its name."""
    lost = cluster.planes.pop()
    machines.lab.kill(lost.name)
    kubectl(cluster.planes[0], "delete", "node", lost.name)
    return lost.name


def _give_up(cluster: Cluster, lost: str, phase: str) -> None:
    """As docs/migration.md says: the phase with a shorter list, and what only the lost machine could have removed."""
    said = refusal(cluster, phase)
    assert f"the control plane {lost} is given up: its node and its machine must be gone for good" in said
    there = _urns(cluster)
    for name in ("joined", "inspect"):
        (urn,) = [each for each in there if each.endswith(f"::test-migration-{lost}-{name}")]
        cluster.stack.pulumi("state", "delete", urn, "--yes")
    with cluster.used():
        cluster.phase(phase)
        cluster.stack.up("--expect-no-changes")
    assert not any(f"::test-migration-{lost}-" in each for each in _urns(cluster))


def _urns(cluster: Cluster) -> list[str]:
    return [resource["urn"] for resource in cluster.stack.export()["deployment"]["resources"]]


def _replace_ca(cluster: Cluster) -> None:
    """kubeadm's CA is replaced in three updates, as docs/operations.md says, with the API server's files between."""
    plane, config = cluster.planes[0], cluster.stack.config

    def api_server(*names: str) -> None:
        """It gets these files as they are now; kube-apiserver reads a CA only when it starts."""
        files = {
            path.rpartition("/")[2]: (path, text) for path, text in cluster.stack.outputs()["kubeadm_files"].items()
        }
        for name in names:
            kubernetes.write(plane, *files[name])

    config.update(authorities=[{"name": "kubeadm"}, {"name": "2"}], issuer="kubeadm")
    with cluster.used():
        cluster.phase("done")
    api_server("ca.crt")
    plane.run("pkill -x kube-apiserver; sleep 1; until pgrep -x kube-apiserver; do sleep 0.1; done", root=True)
    for _ in every(0.5, seconds=120):
        if (
            plane.run(f"kubectl --kubeconfig={kubernetes.ADMIN} get --raw=/readyz", root=True, check=False).returncode
            == 0
        ):
            break
    config["issuer"] = "2"
    with cluster.used():
        cluster.phase("done")
        api_server("apiserver-etcd-client.crt", "apiserver-etcd-client.key")
    config["authorities"] = [{"name": "2"}]
    with cluster.used(moves=2):
        cluster.phase("done")
    del config["migration"]
    with cluster.used():
        cluster.stack.up()
        cluster.stack.up("--expect-no-changes")
    assert "kubeadm" not in json.dumps(cluster.stack.outputs()["applied"])


def _move(cluster: Cluster) -> None:
    """Every phase, each in one update, while a client uses every API server."""
    with cluster.used():
        cluster.phase("join")
    restarted(cluster, "switch")
    with cluster.used(moves=1):
        cluster.phase("leave")
        cluster.phase("done")


@pytest.mark.soak
def test_a_migration_that_is_killed_ten_times_ends_with_a_working_cluster(
    machines: Machines, stacks: Stacks, seed: str
) -> None:
    """Each killed run is repeated, or killed again. The only API server serves whenever a phase is complete."""
    chance = random.Random(f"{seed} migrations")  # noqa: S311 - the same walk again is the point
    found = machines.fresh(3)
    kills = 0

    def phases() -> Iterator[str]:
        while kills < KILLS:
            yield from ("join", "switch", "join", "back")
        yield from ("join", "switch", "leave", "done")

    try:
        planes = kubernetes.up_stacked(machines.lab, ["control-1"])
        cluster = Cluster(found, planes, stacks.new(found))
        before = everything(planes[0])
        for phase in phases():
            cluster.configure(phase)
            for _ in range(chance.randrange(1, 4)):
                seconds = chance.uniform(0.5, LONGEST)
                ended = cluster.stack.up_killed_after(seconds)
                print(f"{phase}: killed after {seconds:.1f} s" if ended is None else f"{phase}: ended with {ended}")
                kills += ended is None
                if ended == 0:
                    break
            cluster.phase(phase)
            with cluster.used():
                cluster.stack.up("--expect-no-changes")
            if phase in ("join", "back"):
                assert everything(planes[0]) == before
        assert_serves_all_members(found)
        assert cluster.names() == {machine.name for machine in found}
    finally:
        kubernetes.down(machines.lab)


@pytest.mark.soak
def test_a_stacked_member_of_etcd_3_5_moves_to_three(
    machines: Machines, stacks: Stacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes 1.30 to 1.33 have it. kubeadm and the API server are of today, so etcd's flags are patched.

    In the end, kubeadm's CA is replaced.
    """
    version, place = "3.5.35", "/etc/kubernetes/patches"
    documents = kubernetes._DOCUMENTS.replace("localAPI", f"patches: {{{{directory: {place}}}}}\nlocalAPI")
    monkeypatch.setattr(kubernetes, "_DOCUMENTS", documents)
    script = f"mkdir -p {place} && echo '{json.dumps(FLAGS_OF_3_5)}' > {place}/etcd+json.json"
    archives = (IMAGES, ensure_etcd_image(version).name)
    found = machines.fresh(3)
    try:
        configuration = kubernetes._STACKED.format(tag=etcd_tag(version))
        planes = kubernetes.up(machines.lab, configuration, script, ["control-1"], archives=archives)
        cluster = Cluster(found, planes, stacks.new(found, version=version))
        _move(cluster)
        assert running_versions(found) == [version] * 3
        assert cluster.names() == {machine.name for machine in found}
        _replace_ca(cluster)
    finally:
        kubernetes.down(machines.lab)


@pytest.mark.soak
def test_three_stacked_members_move_to_five(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(5)
    try:
        there = kubernetes.up_stacked(machines.lab, [f"control-{number}" for number in (1, 2, 3)])
        # Only members, stacked ones among them, and control planes reach etcd.
        firewall = {"clients": [plane.address for plane in there]}
        cluster = Cluster(found, there, stacks.new(found, firewall=firewall))
        _move(cluster)
        assert_serves_all_members(found)
    finally:
        kubernetes.down(machines.lab)


@pytest.mark.soak
def test_control_planes_that_are_lost_for_good_are_given_up(machines: Machines, stacks: Stacks) -> None:
    """One in `join`, and one in `switch`, which leaves a single one."""
    found = machines.fresh(3)
    try:
        planes = kubernetes.up_stacked(machines.lab, [f"control-{number}" for number in (1, 2, 3)])
        cluster = Cluster(found, planes, stacks.new(found))
        cluster.phase("join")
        lost = _lose(cluster, machines)
        _give_up(cluster, lost, "join")
        assert cluster.names() == {each.name for each in (*found, *cluster.planes)}
        cluster.phase("switch")
        lost = _lose(cluster, machines)
        _give_up(cluster, lost, "switch")
        with cluster.used(moves=1):
            cluster.phase("leave")
            cluster.phase("done")
        assert_serves_all_members(found)
    finally:
        kubernetes.down(machines.lab)
