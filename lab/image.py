"""The base trees: Debian, built once, cached, and used as the read-only lower layer of every machine's disk.

There are three variants: `plain` for the lab's own machines, `cloud` for servers of the emulated clouds, which
cloud-init configures at boot and which have no user before that, and `kubernetes` for control planes.
"""

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.base import cache

from . import disk, host
from .errors import LabError

_SUITE = "bookworm"
_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "libpam-systemd",
    "dbus",
    "udev",
    "openssh-server",
    "sudo",
    "ca-certificates",
    "iproute2",
    "nftables",
    "procps",
    "python3",
    "openssl",  # tests check which certificate a server presents
)
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "console-getty.service",
    "getty.target",
    "systemd-logind.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-journal-flush.service",
    "systemd-pstore.service",
    "sys-kernel-config.mount",
)
_CLOUD_PACKAGES = (
    "cloud-init",
    "e2fsprogs",
    "xfsprogs",  # servers format their volumes
    "iputils-ping",
    "netcat-openbsd",
)
# Runs inside the new tree. The password '*' matches nothing, but unlike '!' it does not lock the account for sshd.
# UsePAM no: no logind session per command, which would take most of the time of a short ssh command.
_CUSTOMISE = f"""\
useradd --create-home --gid operator --shell /bin/bash --password '*' operator
install -d -m 0700 -o operator -g operator /home/operator/.ssh
echo 'operator ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/operator
chmod 0440 /etc/sudoers.d/operator
rm -f /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname
: >/etc/machine-id
cat >/etc/ssh/sshd_config.d/lab.conf <<'END'
HostKey /etc/ssh/ssh_host_ed25519_key
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
PrintMotd no
PrintLastLog no
X11Forwarding no
MaxSessions 100
MaxStartups 200:30:400
END
systemctl enable systemd-networkd.service ssh.service
systemctl mask {" ".join(_MASKED)}
"""


# A server has only root until its user data creates users. Users with a locked password can log in by key only if PAM
# decides about accounts; its systemd module would wait for logind, which the lab does not run.
_CUSTOMISE_CLOUD = f"""\
rm -f /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname
: >/etc/machine-id
pam-auth-update --remove systemd
cat >/etc/ssh/sshd_config.d/lab.conf <<'END'
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
MaxSessions 100
MaxStartups 200:30:400
END
cat >/etc/cloud/cloud.cfg.d/90-lab.cfg <<'END'
datasource_list: [NoCloud]
network: {{config: disabled}}
ssh_genkeytypes: [ed25519]
disable_root: false
locale: C.UTF-8
users: []
apt: {{preserve_sources_list: true}}
END
install -d /usr/local/lib/lab
cat >/usr/local/lib/lab/volumes <<'END'
#!/bin/sh
# Makes the block devices of /etc/lab-volumes (lines: device, major, minor, link) and removes those that left.
mkdir -p /dev/disk/by-id
for link in /dev/disk/by-id/scsi-0HC_Volume_* /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_*; do
    [ -L "$link" ] || continue
    grep -qs " $link\\$" /etc/lab-volumes || rm -f "$(readlink -f "$link")" "$link"
done
[ -e /etc/lab-volumes ] || exit 0
while read -r device major minor link; do
    [ -b "$device" ] || mknod -m 0660 "$device" b "$major" "$minor"
    ln -sfn "$device" "$link"
done </etc/lab-volumes
END
chmod 0755 /usr/local/lib/lab/volumes
cat >/etc/systemd/system/lab-volumes.service <<'END'
[Unit]
Description=Block devices of attached volumes
DefaultDependencies=no
Before=local-fs-pre.target cloud-init-local.service
Wants=local-fs-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/lib/lab/volumes

[Install]
WantedBy=sysinit.target
END
systemctl enable systemd-networkd.service ssh.service lab-volumes.service
systemctl mask {" ".join(_MASKED)} systemd-networkd-wait-online.service cloud-init-hotplugd.socket
"""


KUBERNETES_PROGRAMS = "/opt/kubernetes"
"""Where a control plane's machine has the programs and images of the cache, read-only."""
_KUBERNETES_PACKAGES = ("containerd", "runc", "iptables", "conntrack", "ethtool", "mount")
# A kubelet changes cgroups, which a container with cgroups v1 has read-only. It sets three sysctls, which are the whole
# computer's: it gets files of its own. The unit is the one of the Debian packages of Kubernetes.
_CUSTOMISE_KUBERNETES = f"""\
for program in kubeadm kubectl kubelet; do
    ln -s {KUBERNETES_PROGRAMS}/$program /usr/local/bin/
done
install -d /usr/local/lib/lab
cat >/usr/local/lib/lab/kubelet-host <<'END'
#!/bin/sh -e
for hierarchy in /sys/fs/cgroup/*/; do
    if mountpoint -q "$hierarchy"; then
        mount -o remount,bind,rw,nosuid,nodev,noexec "$hierarchy"
    fi
done
own=/run/kubelet-host
mkdir -p $own
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    name=${{setting%=*}} file=$own/${{setting##*/}}
    file=${{file%=*}}
    echo "${{setting#*=}}" >$file
    mount --bind $file /proc/sys/$name
done
[ -e /dev/kmsg ] || ln -s /dev/console /dev/kmsg
echo 1 >/proc/sys/net/ipv4/ip_forward
END
chmod 0755 /usr/local/lib/lab/kubelet-host
cat >/etc/systemd/system/kubelet-host.service <<'END'
[Unit]
Description=What the kubelet needs of its computer
DefaultDependencies=no
After=local-fs.target
Before=containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/lib/lab/kubelet-host

[Install]
WantedBy=multi-user.target
END
cat >/etc/systemd/system/kubelet.service <<'END'
[Unit]
Description=kubelet
After=containerd.service
ConditionPathExists=/var/lib/kubelet/config.yaml

[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf \\
    --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
END
systemctl disable containerd.service
systemctl enable kubelet-host.service kubelet.service
"""


@dataclass(frozen=True)
class Variant:
    """What goes into one variant of the base tree."""

    name: str
    packages: tuple[str, ...]
    customise: str


PLAIN = Variant("base", _PACKAGES, _CUSTOMISE)
CLOUD = Variant("cloud", _PACKAGES + _CLOUD_PACKAGES, _CUSTOMISE_CLOUD)
KUBERNETES = Variant("kubernetes", _PACKAGES + _KUBERNETES_PACKAGES, _CUSTOMISE + _CUSTOMISE_KUBERNETES)
VARIANTS = {variant.name: variant for variant in (PLAIN, CLOUD, KUBERNETES)}


def recipe_hash(variant: Variant = PLAIN) -> str:
    """Twelve hex digits that change with everything in the tree except package versions."""
    recipe = "\n".join((_SUITE, platform.machine(), *variant.packages, variant.customise))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def path(variant: Variant = PLAIN) -> Path:
    """The cache directory of this recipe's tree."""
    return cache() / "lab" / f"{variant.name}-{recipe_hash(variant)}"


def ensure(say: Callable[[str], None], variant: Variant = PLAIN) -> Path:
    """The base tree's path; builds the tree first if it is not cached, which takes about 25 s.

    Raises:
        LabError: mmdebstrap failed.
    """
    base = path(variant)
    if base.is_dir():
        return base
    base.parent.mkdir(parents=True, exist_ok=True)
    with host.locked(base.parent / "base.lock", timeout_hint="another lab, which makes the base tree,"):
        if not base.is_dir():
            say(f"building the machines' {variant.name} tree (Debian {_SUITE}, once, 300 to 400 MB in {base.parent})")
            _build(base, variant)
    return base


def _build(base: Path, variant: Variant) -> None:
    for left in base.parent.glob("*-*.new"):  # an interrupted build; only the holder of the lock builds
        disk.unmount_below(left)
        shutil.rmtree(left, ignore_errors=True)
    new = base.with_name(
        f"{base.name}.{os.getpid()}.new"
    )  # a process left by an interrupted build may still write to its own directory
    with tempfile.TemporaryDirectory(prefix="lab-base-") as directory:
        hook = Path(directory) / "customise"
        hook.write_text(f"#!/bin/sh\nexec chroot \"$1\" /bin/sh -eu <<'CUSTOMISE'\n{variant.customise}CUSTOMISE\n")
        hook.chmod(0o755)
        argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(variant.packages)}"]
        argv += [f"--customize-hook={hook}", _SUITE, str(new)]
        if mirror := os.environ.get("LAB_DEBIAN_MIRROR"):
            argv.append(mirror)
        done = host.call(*argv, timeout=900, check=False)
    if done.returncode:
        shutil.rmtree(new, ignore_errors=True)
        words = "\n  ".join(done.stderr.strip().splitlines()[-8:])
        raise LabError(
            "mmdebstrap could not build the base tree. Check that a Debian archive is reachable (LAB_DEBIAN_MIRROR) "
            f"and that debian-archive-keyring is installed. Its last lines:\n  {words}"
        )
    new.rename(base)
