"""What runs etcd on a machine: systemd, or the machine's kubelet with a static pod."""

import re
from collections.abc import Callable, Mapping

from .errors import Problem, did_you_mean, shown
from .flag_values import files_read

SYSTEMD, KUBELET = "systemd", "kubelet"
KUBERNETES_PKI = "/etc/kubernetes/pki/etcd"
"""kubeadm's directory for etcd's certificates."""
_IMAGE = re.compile(r"https?://[^\s@#'\"\\?]+#sha256=[0-9a-f]{64}", re.ASCII)


def check_service_manager(
    manager: object, image: object, flags: Mapping[str, str], *, unproved: str, spelled: Callable[[str], str]
) -> list[Problem]:
    """Why etcd cannot be run so; empty when it can.

    Args:
        image: archive of etcd's image; None: none.
        flags: the user's flags.
        unproved: what the configuration also asks for, and was not tried under the kubelet; empty: nothing.
        spelled: the user's spelling of an argument.
    """
    key, at = spelled("service_manager"), spelled("etcd_image")
    if manager not in (SYSTEMD, KUBELET):
        rule = f"The service manager must be {SYSTEMD} or {KUBELET}"
        return [Problem(key, shown(manager), rule, did_you_mean(str(manager), (SYSTEMD, KUBELET)) or "Remove it")]
    if manager == SYSTEMD:
        if image is None:
            return []
        rule = "Under systemd, etcd runs from its release and not from an image"
        return [Problem(at, shown(image), rule, f"Remove it, or set {key} to {KUBELET}")]
    problems = []
    if not isinstance(image, str) or not _IMAGE.fullmatch(image):
        rule = "Under the kubelet, etcd needs the archive of its image: a URL without credentials, and its SHA-256"
        remedy = "Write it like https://mirror.example.com/etcd-3.6.16.tar#sha256=<64 hex digits>"
        problems.append(Problem(at, "a URL with credentials" if "@" in str(image) else shown(image), rule, remedy))
    if read := files_read(flags):
        rule = f"Under the kubelet, etcd's pod has no other files than data and certificates; these are {read}"
        problems.append(Problem(spelled("flags"), ", ".join(read), rule, f"Remove them, or set {key} to {SYSTEMD}"))
    if unproved:
        rule = f"{unproved} needs systemd as service manager"
        problems.append(Problem(key, shown(manager), rule, f"Set it to {SYSTEMD}"))
    return problems
