"""The data of one cluster in another one, where no living cluster can be moved to."""

from tests.support.etcd import PKI, assert_serves_all_members, etcdctl
from tests.support.founded import Founded
from tests.support.manual import manual
from tests.support.stacks import Stacks, machine_config


def test_a_new_cluster_of_one_slot_takes_the_data_of_another_one_as_the_manual_says_and_then_grows(
    stacks: Stacks, founded: Founded
) -> None:
    found, stack = founded(6)
    old, new = found[:3], found[3:]
    # Users come along in the snapshot, and the new cluster's own certificates have the names of theirs.
    reader = {"name": "reader", "prefix": "/x/", "permission": "read"}
    stack.config |= {"authentication": True, "users": [reader]}
    stack.up()
    etcdctl(old[0], "put", "kept", "yes")
    options = f"--cacert={PKI}/ca.crt --cert={PKI}/healthcheck-client.crt --key={PKI}/healthcheck-client.key"
    old[1].run(
        f"etcdctl {options} --endpoints=https://{old[1].address}:2379 snapshot save /var/lib/snapshot.db", root=True
    )
    taken = old[1].run("base64 /var/lib/snapshot.db", root=True).stdout

    first = stacks.new(new[:1], clusterName="elsewhere", authentication=True, users=[reader])
    first.up()
    new[0].run("base64 --decode > /var/lib/snapshot.db", input=taken, root=True)
    lines = manual("A majority was lost", new[:1]).splitlines()
    new[0].run("\n".join(line for line in lines if " snapshot save " not in line), root=True)
    first.config["machines"] += [machine_config(machine) for machine in new[1:]]
    first.up()

    assert_serves_all_members(new)
    assert etcdctl(new[0], "user", "get", "reader").split() == ["User:", "reader", "Roles:", "external-etcd/reader"]
    for machine in new:
        assert etcdctl(machine, "get", "kept", "--print-value-only").strip() == "yes"
    assert etcdctl(old[0], "get", "kept", "--print-value-only").strip() == "yes"
    assert_serves_all_members(old)
