"""A data directory that is a link: what it points to is what counts, also while that is not there."""

from tests.support.etcd import assert_serves_all_members, command_line, member_list
from tests.support.founded import Founded

# A disk in memory, held by a second mount while it is "not there".
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


def test_a_member_whose_disk_is_not_mounted_keeps_its_membership_and_its_data(founded: Founded) -> None:
    found, stack = founded()
    last = found[2]
    last.run(TO_A_DISK, root=True)
    stack.config["flags"] = {"max-txn-ops": "256"}
    stack.up()  # and notes where the data are by now
    assert_serves_all_members(found)
    assert "RequiresMountsFor=/var/lib/etcd /mnt/disk/etcd" in last.run("systemctl cat etcd", root=True).stdout
    members = member_list(found[0])

    last.run(AWAY, root=True)
    stack.config["machines"][2]["identity"] = "again"
    run = stack.up(check=False)
    assert run.code != 0
    assert "the data of etcd-3 are on the file system at /mnt/disk, which is not mounted now. Mount it" in run.text
    assert member_list(found[0]) == members, "nobody was taken out, and nobody has joined"

    last.run(BACK, root=True)
    stack.up()
    assert_serves_all_members(found)
    assert member_list(found[0]) == members
    assert "--max-txn-ops=256" in command_line(last)
