"""A data directory that is a link: its target counts, also while the target is missing."""

from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, command_line, member_list

# A disk in memory, kept by a second mount while it is "missing".
TO_A_DISK = """
systemctl stop etcd
mkdir /mnt/disk /mnt/held
mount -t tmpfs -o size=1g,mode=0755 disk /mnt/disk
mount --bind /mnt/disk /mnt/held
mv /var/lib/etcd /mnt/disk/etcd
ln -s /mnt/disk/etcd /var/lib/etcd
systemctl start etcd
"""
AWAY = "systemctl stop etcd; umount /mnt/disk; mkdir /mnt/disk/etcd"
BACK = "mount --bind /mnt/held /mnt/disk"


def test_a_member_with_an_unmounted_disk_keeps_membership_and_data(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    last = found[2]
    last.run(TO_A_DISK, root=True)
    stack.config["flags"] = {"max-txn-ops": "256"}
    stack.up()  # records the new location of the data
    assert_serves_all_members(found)
    assert "RequiresMountsFor=/var/lib/etcd /mnt/disk/etcd" in last.run("systemctl cat etcd", root=True).stdout
    members = member_list(found[0])

    last.run(AWAY, root=True)
    stack.config["machines"][2]["identity"] = "again"
    run = stack.up(check=False)
    assert run.code != 0
    assert "the data of etcd-3 are on the file system at /mnt/disk, which is not mounted now. Mount it" in run.text
    assert member_list(found[0]) == members, "no member was removed or added"

    last.run(BACK, root=True)
    stack.up()
    assert_serves_all_members(found)
    assert member_list(found[0]) == members
    assert "--max-txn-ops=256" in command_line(last)
