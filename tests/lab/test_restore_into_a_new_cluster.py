"""A new cluster restores another cluster's data from a snapshot, if the members cannot be moved."""

from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import PKI, assert_serves_all_members, etcdctl
from tests.support.manual import manual
from tests.support.stacks import Stacks, machine_config


def test_a_new_cluster_can_restore_a_snapshot_and_grow(stacks: Stacks, bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped(6)
    old, new = found[:3], found[3:]
    # The snapshot includes etcd's users, and the new cluster's certificates have their names.
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
