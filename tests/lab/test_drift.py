"""What others change on a machine is found, named, and put right by the next update; nothing else restarts."""

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, command_line, process_ids
from tests.support.stacks import Stack

NOTHING = "Nothing differs from what was installed."
# What is done to the second member's machine -> what `etcd-node drift` says of it. Etcd goes on.
DONE = {
    "echo '# x' >> /etc/systemd/system/etcd.service": "/etc/systemd/system/etcd.service has other content",
    "true": "systemd has not read etcd.service since it was changed (`systemctl daemon-reload`)",
    "rm /etc/systemd/system/multi-user.target.wants/etcd.service": (
        "/etc/systemd/system/multi-user.target.wants/etcd.service is missing"
    ),
    "chmod 644 /etc/etcd/pki/server.key": "/etc/etcd/pki/server.key has mode 0644, not 0600",
    "rm /etc/etcd/pki/peer.crt": "/etc/etcd/pki/peer.crt is missing",
    "cp /etc/etcd/pki/server.crt /etc/etcd/pki/healthcheck-client.crt": (
        "/etc/etcd/pki/healthcheck-client.crt has other content"
    ),
    "chmod 755 /var/lib/etcd": "/var/lib/etcd has mode 0755, not 0700",
    "rm /usr/local/bin/etcdctl": "/usr/local/bin/etcdctl is missing",
    # A program of their own stays.
    "ln -sfn /bin/true /usr/local/bin/etcdutl": "",
    "echo x >> /opt/etcd/v3.6.16/etcdutl": "/opt/etcd/v3.6.16/etcdutl is not what its archive had",
    "systemctl stop etcd-maintenance.timer": "etcd-maintenance.timer is inactive",
    "systemctl stop etcd-firewall-watch.service": "etcd-firewall-watch.service is inactive",
    "nft delete table inet external_etcd": "the firewall's table external_etcd is not in the kernel",
}


def drift(machine: Machine) -> list[str]:
    return machine.run("etcd-node drift", root=True).stdout.splitlines()


def looked(stack: Stack, text: str) -> dict[str, list[str]]:
    stack.config["driftCheck"] = text
    stack.up()
    found: dict[str, list[str]] = stack.outputs()["drift"]
    return found


def test_what_others_change_is_found_and_put_right(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    everybody = [f"{machine.address}/32" for machine in found]
    stack.config["firewall"] = {"clients": everybody}
    stack.config["maintenance"] = {"defragment": True}
    before = process_ids(found)
    assert looked(stack, "first") == {machine.name: [] for machine in found}
    assert [drift(machine) for machine in found] == [[NOTHING]] * 3
    assert process_ids(found) == before

    # Nobody looks unless asked: the next run has nothing to do.
    for done in DONE:
        found[1].run(done, root=True)
    lines = [said for said in DONE.values() if said]
    assert sorted(drift(found[1])) == sorted(lines)
    stack.preview("--expect-no-changes")
    seen = looked(stack, "second")
    assert [len(seen[machine.name]) for machine in found] == [0, len(lines), 0]
    assert process_ids(found) == before

    # The next preview, without a connection to any machine, says what the update puts right.
    assert "etcd-2 does not restart, and is put right: " in stack.preview().text
    text = stack.up().text
    assert all(f"etcd-2: not as it was installed: {line}" in text for line in lines if line.startswith("/etc"))
    assert stack.outputs()["drift"] == {machine.name: [] for machine in found}
    assert process_ids(found) == before
    stack.preview("--expect-no-changes")
    assert drift(found[1]) == [NOTHING]
    for removed in [done.removeprefix("rm ") for done in DONE if done.startswith("rm ")]:
        found[1].run(f"test -e {removed}", root=True)

    # Another flag: only this member restarts.
    found[2].run(
        "sed -i s/--quota-backend-bytes=2/--quota-backend-bytes=1/ /etc/systemd/system/etcd.service", root=True
    )
    found[2].run("systemctl daemon-reload; systemctl restart etcd", root=True)
    seen = looked(stack, "third")
    assert any("--quota-backend-bytes" in line for line in seen["etcd-3"]), seen
    before = process_ids(found)
    text = stack.up().text
    assert "etcd-3 restarts, and is put right: " in text
    after = process_ids(found)
    assert [before[machine.name] == after[machine.name] for machine in found] == [True, True, False]
    assert stack.outputs()["drift"] == {machine.name: [] for machine in found}
    assert "--quota-backend-bytes=2147483648" in command_line(found[2])
    assert_serves_all_members(found)
