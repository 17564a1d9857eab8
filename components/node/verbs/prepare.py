"""prepare: checks the machine and installs what a member needs; running members are not affected.

If the machine has a firewall, the desired rules take effect here. An address that is removed from a list is blocked at
once, unless it is that of a member that has not left the cluster yet (see `firewall`).
"""

from __future__ import annotations

import stat
import time
from dataclasses import replace
from pathlib import Path

from ..backup import settings as backup
from ..data import directory, disk, identity
from ..data.identity import Identity
from ..machine import account, fitness, measured, metadata, network, nftables
from ..protocol import wal
from ..service import certificates, conflicts, image, kubelet_host, manager, metrics_timer, release
from ..service.rehearsal import rehearse
from ..shared import files, paths, written
from ..shared.errors import NodeError
from ..shared.say import phase, say, warned
from ..shared.spec import KUBELET, Spec
from ..steps import drift
from ..upgrade import preflight


def prepare(spec: Spec) -> str:
    """Runs all checks, then creates user, directories and release; returns the time, so that the next step differs.

    Raises:
        NodeError: the machine is not fit; nothing existing was changed.
    """
    phase("check the machine")
    fitness.check_systemd()
    fitness.wait_for_first_boot()
    phase("check the machine")
    known = identity.load()
    identity.refuse_another(known, spec)
    drift.report()
    fitness.check_address(spec)
    fitness.check_memory(spec)
    _check_conflicts(spec)
    account.check_readable(spec.reads)
    if spec.data_device:
        known = disk.attach(spec, known)
        # A disk can contain the identity that the machine lacks.
        identity.refuse_another(known, spec)
    elif known is None or known.bare:
        known = _known_by_its_data(spec) or known
    if known is not None:
        directory.check_mount(spec, known.data_mount, begun=not known.bare)
    directory.refuse_unknown_data(spec, known)
    if known is None:
        certificates.refuse_foreign()
    # Converge checks again, also with the other members. Here it is reported before any machine changes.
    preflight.refuse(spec, {})
    directory.check_disk(spec)
    directory.check_place(spec)
    # A machine with a member has its etcd on these ports, and its disk must not be disturbed.
    begins = not wal.exists(spec.data_directory) and not manager.show().runs
    speed = measured.check_disk(spec) if begins else None
    # From here on `retire` has something to undo.
    _record(spec, known)
    if speed is not None:
        measured.keep_disk(spec.data_directory, speed)
    metrics_timer.close_unwanted(spec)
    if spec.firewall is not None:
        nftables.install(spec)
    elif nftables.leaves_ssh_alone():
        nftables.remove()
    if spec.root_only:
        metadata.close(spec.root_only)
    if begins:
        network.listen(spec)
    try:
        release.ensure(spec)
        _make_places(spec)
        backup.prepare(spec)
        _make_ready(spec)
        if begins:
            network.wait_until_it_listens(spec)
    except NodeError:
        # A machine that will not be a member yet does not block these ports.
        if begins:
            network.end()
        raise
    return _end()


def _end() -> str:
    written.forget_missing()
    say("prepared")
    return "\n".join([*warned(), time.strftime("prepared at %Y-%m-%dT%H:%M:%SZ", time.gmtime())])


def _check_conflicts(spec: Spec) -> None:
    conflicts.check_unit()
    conflicts.check_ports(spec)
    conflicts.check_settings()
    if spec.service_manager == KUBELET:
        kubelet_host.check()
        kubelet_host.check_files(spec.reads)


def _make_ready(spec: Spec) -> None:
    """Proves that the service manager can run etcd here, as far as that is possible without starting it."""
    if spec.service_manager == KUBELET:
        image.ensure(spec)
        kubelet_host.set_up()
    else:
        rehearse(spec)


def _known_by_its_data(spec: Spec) -> Identity | None:
    """The identity in this member's data: the system was reinstalled, and its data disk was kept."""
    there = identity.brought(Path(spec.data_directory)) if wal.exists(spec.data_directory) else None
    if there is None or (there.cluster, there.member) != (spec.cluster, spec.member):
        return None
    say(f"{spec.data_directory} holds this member's data, from before this system was installed")
    return there


def _record(spec: Spec, known: Identity | None) -> None:
    """Records what will be created, so that `retire` can undo it wherever this run is interrupted."""
    data = Path(spec.data_directory)
    now = directory.mount_of(data)
    if known is None or known.bare:
        before = known or Identity(spec.cluster, spec.member, spec.data_directory)
        known = replace(before, cluster=spec.cluster, member=spec.member, data_directory=spec.data_directory)
        if data.exists() and str(data) not in known.directories_created:
            found = data.stat()
            known = replace(
                known,
                data_directory_before=known.data_directory_before
                or (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid),
            )
    places = [paths.RELEASES, paths.LINKS, paths.PKI, paths.UNIT_WANTED.parent, data]
    if spec.service_manager == KUBELET:
        places += [each.parent for each in kubelet_host.PLACES]
    missing = [str(path) for place in places for path in files.missing_directories(place)]
    new = [path for path in dict.fromkeys(missing) if path not in known.directories_created]
    identity.save(
        replace(
            known,
            user_created=known.user_created or account.find() is None,
            group_before=known.group_before or (account.find() is None and account.group() is not None),
            directories_created=(*known.directories_created, *new),
            data_mount=now if known.bare or wal.exists(spec.data_directory) else known.data_mount or now,
            data_device=spec.data_device or known.data_device,
        )
    )


def _make_places(spec: Spec) -> None:
    phase("make user and directories")
    if account.find() is None:
        account.create()
    user = account.get()
    files.directory(paths.LINKS)
    files.directory(paths.PKI, 0o750, 0, user.gid)
    files.directory(Path(spec.data_directory), 0o700, user.uid, user.gid)
    disk.own(Path(spec.data_directory), user.uid, user.gid)
