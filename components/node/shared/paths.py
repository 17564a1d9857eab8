"""Where things are on a machine."""

from __future__ import annotations

from pathlib import Path

UNIT = "etcd.service"
USER = "etcd"

PKI = Path("/etc/etcd/pki")
RELEASES = Path("/opt/etcd")
LINKS = Path("/usr/local/bin")
"""`etcdctl` and `etcdutl` here point to the release in use."""
UNIT_FILE = Path("/etc/systemd/system") / UNIT
UNIT_WANTED = Path("/etc/systemd/system/multi-user.target.wants") / UNIT
UNIT_DIRECTORIES = tuple(
    Path(name)
    for name in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
)

STATE = Path("/var/lib/etcd-node")
IDENTITY = STATE / "identity.json"
CLIENTS = STATE / "clients.json"
"""When the certificates of clients expire; see `client_certificates`."""
INSTALLED = STATE / "installed.json"
PERMISSION = STATE / "permission.json"
"""The permission to begin as an initial member; see `permission`."""
RESTORED = STATE / "restored.json"
"""The last restore of this member's data; see `restored`."""
BEFORE = STATE / "before.json"
"""The member's settings before the restart in progress; see `rollback`."""
WRITTEN = STATE / "written.json"
"""What this program has written on the machine; see `written`."""
MEASURED = STATE / "measured.json"
"""How fast the disk and the links to other members are; see `measured`."""
RUN = Path("/run/etcd-node")
BOOTSTRAP = RUN / "bootstrap.env"
"""Permission for one start of etcd with an empty data directory; see `unit`."""
LOCK = Path("/run/etcd-node.lock")

FIREWALL_UNIT = "etcd-firewall.service"
FIREWALL = Path("/etc/etcd/firewall.nft")
FIREWALL_RULES = Path("/etc/etcd/firewall.json")
"""The desired rules, and their members; see `firewall`."""
FIREWALL_KEPT = Path("/etc/etcd/firewall.kept.json")
"""Members that are also allowed until they have left the cluster; absent: none."""
NARROW_UNIT = "etcd-firewall-narrow.service"
NARROW_UNIT_FILE = Path("/etc/systemd/system") / NARROW_UNIT
NARROW_WANTED = Path("/etc/systemd/system/multi-user.target.wants") / NARROW_UNIT
FIREWALL_UNIT_FILE = Path("/etc/systemd/system") / FIREWALL_UNIT
FIREWALL_WANTED = Path("/etc/systemd/system/sysinit.target.wants") / FIREWALL_UNIT
FIREWALL_DROP_IN = Path("/etc/systemd/system") / f"{UNIT}.d" / "firewall.conf"
FIREWALL_WATCH_UNIT = "etcd-firewall-watch.service"
FIREWALL_WATCH_UNIT_FILE = Path("/etc/systemd/system") / FIREWALL_WATCH_UNIT
FIREWALL_WATCH_WANTED = Path("/etc/systemd/system/multi-user.target.wants") / FIREWALL_WATCH_UNIT

NETWORK_UNIT = "etcd-network-rehearsal.service"
"""Transient: answers on etcd's ports until etcd is started; see `network`."""

MAINTENANCE_TIMER = "etcd-maintenance.timer"
MAINTENANCE_TIMER_FILE = Path("/etc/systemd/system") / MAINTENANCE_TIMER
MAINTENANCE_TIMER_WANTED = Path("/etc/systemd/system/timers.target.wants") / MAINTENANCE_TIMER
MAINTENANCE_UNIT = "etcd-maintenance.service"
MAINTENANCE_UNIT_FILE = Path("/etc/systemd/system") / MAINTENANCE_UNIT

METRICS = Path("/run/etcd-node-metrics")
"""The metrics of the operator's side. In memory: they are written every minute, and etcd's disk has better to do."""
METRICS_FILE = "etcd-node.prom"
METRICS_TIMER = "etcd-metrics.timer"
METRICS_TIMER_FILE = Path("/etc/systemd/system") / METRICS_TIMER
METRICS_TIMER_WANTED = Path("/etc/systemd/system/timers.target.wants") / METRICS_TIMER
METRICS_UNIT = "etcd-metrics.service"
METRICS_UNIT_FILE = Path("/etc/systemd/system") / METRICS_UNIT
METRICS_SOCKET = "etcd-metrics.socket"
METRICS_SOCKET_FILE = Path("/etc/systemd/system") / METRICS_SOCKET
METRICS_SOCKET_WANTED = Path("/etc/systemd/system/sockets.target.wants") / METRICS_SOCKET
METRICS_ANSWER_FILE = Path("/etc/systemd/system/etcd-metrics@.service")
"""What answers a connection of METRICS_SOCKET."""
CONVERGED = STATE / "converged"
"""Its time is that of the last update in which the member reached its desired state; only with metrics."""
DRIFT = STATE / "drift.json"
"""The last comparison with what was installed, for metrics: `at`, seconds since 1970, and `differences`, a list."""

METADATA_UNIT = "etcd-metadata.service"
METADATA_UNIT_FILE = Path("/etc/systemd/system") / METADATA_UNIT
METADATA_WANTED = Path("/etc/systemd/system/sysinit.target.wants") / METADATA_UNIT

BACKUP_PROGRAMS = RELEASES / "backup"
"""rclone and age."""
BACKUP_STORE = STATE / "rclone.conf"
"""The destination with its credentials, for root alone."""
BACKUP_RESULT = STATE / "backup.json"
"""How this machine's last attempt at a snapshot ended."""
BACKUP_LOCK = Path("/run/etcd-node-snapshot.lock")
BACKUP_UNIT = "etcd-snapshot.service"
BACKUP_UNIT_FILE = Path("/etc/systemd/system") / BACKUP_UNIT
BACKUP_TIMER = "etcd-snapshot.timer"
BACKUP_TIMER_FILE = Path("/etc/systemd/system") / BACKUP_TIMER
BACKUP_TIMER_WANTED = Path("/etc/systemd/system/timers.target.wants") / BACKUP_TIMER
DRILL_KEY = Path("/run/etcd-node-drill-key.json")
"""The private key for the snapshot that this machine has stored, in memory and for root alone; see `drill_key`."""
DRILL_RUN = Path("/run/etcd-drill")
"""Sockets of the scratch etcd; there only while the unit of the drill runs."""
DRILL_RESULT = STATE / "drill.json"
"""How this machine's last drill ended."""
DRILL_UNIT = "etcd-drill.service"
DRILL_UNIT_FILE = Path("/etc/systemd/system") / DRILL_UNIT
DRILL_LIMITS = Path("/run/systemd/system.control") / f"{DRILL_UNIT}.d"
"""Where systemd keeps the limits of the last drill."""
DRILL_TIMER = "etcd-drill.timer"
DRILL_TIMER_FILE = Path("/etc/systemd/system") / DRILL_TIMER
DRILL_TIMER_WANTED = Path("/etc/systemd/system/timers.target.wants") / DRILL_TIMER
MANIFEST = Path("/etc/kubernetes/manifests/etcd.yaml")
"""The static pod that the kubelet runs; see `static_pod`. Absent: etcd is stopped, or runs under systemd."""
POD = STATE / "etcd.yaml"
"""The static pod that the next start publishes as MANIFEST. It marks that the kubelet runs etcd here."""
POD_LOG = STATE / "log"
"""A link to the directory of etcd's log."""
POD_START = STATE / "start"
"""A link to POD_LOG, or to RUN while etcd may start without data; the pod starts only if it leads somewhere."""
KUBERNETES_PKI = Path("/etc/kubernetes/pki/etcd")
"""kubeadm's directory for etcd's certificates. Under the kubelet it is a link to PKI."""
KUBELET_UNIT = "kubelet.service"
KUBELET_DROP_IN = Path("/etc/systemd/system/kubelet.service.d/20-etcd-service-manager.conf")
KUBELET_CONFIGURATION = Path("/var/lib/kubelet/config.yaml")
KUBELET_WANTED = Path("/etc/systemd/system/multi-user.target.wants") / KUBELET_UNIT
KUBELET_ENABLED = STATE / "kubelet-enabled"
"""This program has enabled the kubelet, and disables it again."""
IMAGE_ETCD = "/usr/local/bin/etcd"
"""etcd's program in its image."""

PROGRAM = Path("/usr/local/lib/etcd-node")
WRAPPER = Path("/usr/local/sbin/etcd-node")

MAY_BEGIN = "may begin"
"""Answer of `bootstrap` if it has given the permission."""
ANSWERED = 93
"""Exit status of a successful verb with `--answer`; nothing else exits with it."""
