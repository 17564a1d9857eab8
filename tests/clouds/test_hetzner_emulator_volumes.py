"""The Hetzner emulator's volumes: block devices that keep their data, and refusals."""

import pytest
from hcloud import Client
from hcloud.locations import Location
from hcloud.volumes import BoundVolume

from lab.clouds import CloudMachine, HetznerCloud
from tests.support.clouds import FSN, client, cloud, finish, ready, refused, server

__all__ = ["client", "cloud"]


def volume(client: Client, name: str = "data", size: int = 10, **options: object) -> BoundVolume:
    response = client.volumes.create(size, name, **{"location": FSN, **options})  # type: ignore[arg-type]
    finish(response.action, *(response.next_actions or []))
    response.volume.reload()
    return response.volume


def size_of(machine: CloudMachine, device: str | None) -> int:
    return int(machine.run(f"blockdev --getsize64 {device}").stdout)


def test_a_volume_is_a_block_device_that_keeps_its_data_on_another_server(client: Client, cloud: HetznerCloud) -> None:
    disk = volume(client)
    assert disk.linux_device == f"/dev/disk/by-id/scsi-0HC_Volume_{disk.id}"
    first, second = server(client, "first", volumes=[disk]), server(client, "second")
    one, two = ready(cloud, first, second)
    device = disk.linux_device
    assert size_of(one, device) == 10 * 1024**3
    assert one.run(f"blkid {device}", check=False).stdout == "", "it is empty"
    one.run(f"mkfs.ext4 -q {device} && mount {device} /mnt && echo mine >/mnt/file && sync && umount /mnt")
    finish(disk.detach())
    assert one.run(f"ls {device}", check=False).returncode != 0
    finish(disk.attach(second))
    assert two.run(f"mount {device} /mnt && cat /mnt/file").stdout == "mine\n"
    disk.reload()
    assert disk.server
    assert disk.server.id == second.id


def test_a_volume_is_there_after_a_boot(client: Client, cloud: HetznerCloud) -> None:
    made = server(client, "one")
    machine = ready(cloud, made)[0]
    disk = volume(client, location=None, server=made, format="ext4")
    machine.run(f"mount {disk.linux_device} /mnt && echo kept >/mnt/file")
    assert client.servers.get_by_id(made.id or 0).volumes
    finish(made.reset())
    ready(cloud, made)
    assert machine.run(f"mount {disk.linux_device} /mnt && cat /mnt/file").stdout == "kept\n"
    finish(disk.resize(12))
    assert size_of(machine, disk.linux_device) == 12 * 1024**3


def test_a_volume_that_is_pulled_while_it_is_written_fails_there_and_keeps_what_was_synced(
    client: Client, cloud: HetznerCloud
) -> None:
    disk = volume(client, format="ext4")
    first, second = server(client, "first", volumes=[disk]), server(client, "second")
    one, two = ready(cloud, first, second)
    one.run(f"mount {disk.linux_device} /mnt && echo synced >/mnt/file && sync /mnt/file")
    writer = (
        "exec 3>/mnt/log; while echo x >&3 && sync /mnt/log; do sleep 0.05; done; echo failed >/run/writer; sleep 600"
    )
    one.run(["systemd-run", "--quiet", "bash", "-c", writer])
    one.run("until test -s /mnt/log; do sleep 0.05; done")
    finish(disk.detach())
    finish(disk.attach(second))
    one.run("for n in $(seq 50); do test -e /run/writer && exit; sleep 0.1; done; exit 1")
    assert two.run(f"mount {disk.linux_device} /mnt && cat /mnt/file").stdout == "synced\n"


def test_a_volume_outlives_its_server(client: Client, cloud: HetznerCloud) -> None:
    disk = volume(client, format="ext4")
    first = server(client, "first", volumes=[disk])
    ready(cloud, first)[0].run(f"mount {disk.linux_device} /mnt && echo mine >/mnt/file && sync")
    finish(first.delete())
    disk.reload()
    assert disk.server is None
    second = server(client, "second", volumes=[disk])
    assert ready(cloud, second)[0].run(f"mount {disk.linux_device} /mnt && cat /mnt/file").stdout == "mine\n"


def test_a_volume_is_made_changed_and_deleted(client: Client) -> None:
    disk = volume(client, labels={"a": "b"})
    assert (disk.size, disk.status, disk.labels) == (10, "available", {"a": "b"})
    assert disk.update(name="new").name == "new"
    finish(disk.resize(20))
    disk.reload()
    assert disk.size == 20
    assert client.volumes.get_by_name("new")
    disk.delete()
    assert client.volumes.get_all() == []


@pytest.mark.parametrize("size", [9, 10241])
def test_a_volume_that_is_too_small_or_too_large_is_refused(client: Client, size: int) -> None:
    with refused("invalid_input"):
        volume(client, size=size)


def test_a_wrong_volume_is_refused(client: Client) -> None:
    volume(client)
    with refused("uniqueness_error"):
        volume(client)
    with refused("invalid_input"):
        volume(client, "-data")
    with refused("invalid_input"):
        volume(client, "other", format="ntfs")
    with refused("invalid_input"):
        volume(client, "other", location=Location(name="fsn9"))
    with refused("invalid_input"):
        volume(client, "other", automount=True)


def test_a_volume_never_shrinks(client: Client) -> None:
    disk = volume(client, size=12)
    for size in (11, 12):
        with refused("invalid_input"):
            disk.resize(size)


def test_a_protected_or_attached_volume_is_not_deleted(client: Client) -> None:
    disk = volume(client)
    finish(disk.change_protection(delete=True))
    with refused("protected"):
        disk.delete()
    finish(disk.change_protection(delete=False))
    made = server(client, "one", volumes=[disk], start_after_create=False)
    with refused("volume_already_attached"):
        disk.delete()
    with refused("volume_already_attached"):
        disk.attach(made)
    finish(disk.detach())
    with refused("service_error"):
        disk.detach()


def test_a_volume_in_another_location_than_the_server_is_refused(client: Client) -> None:
    disk = volume(client, location=Location(name="hel1"))
    made = server(client, "one", start_after_create=False)
    with refused("invalid_input"):
        disk.attach(made)
    with refused("invalid_input"):
        server(client, "two", volumes=[disk], start_after_create=False)
