"""What runs etcd on a machine: systemd, or the machine's kubelet with a static pod."""

import re
from collections.abc import Callable, Mapping

from .errors import Problem, did_you_mean, shown
from .flag_values import files_read

SYSTEMD, KUBELET = "systemd", "kubelet"
KUBERNETES_PKI = "/etc/kubernetes/pki/etcd"
"""kubeadm's directory for etcd's certificates."""
_ARCHIVE = re.compile(r"https?://[^\s@#'\"\\?]+#sha256=[0-9a-f]{64}", re.ASCII)
# A first part without a dot and a port would be a name on Docker Hub.
_HOST = r"(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:)|\[[0-9A-Fa-f:]+\])(:\d{1,5})?"
_NAME = r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
_BY_DIGEST = re.compile(rf"{_HOST}{_NAME}@sha256:[0-9a-f]{{64}}", re.ASCII)
_BY_TAG = re.compile(r"([A-Za-z0-9.-]+(:\d{1,5})?/)*[a-z0-9._-]+(:[A-Za-z0-9_.-]+)?", re.ASCII)
_VISIBLE = re.compile(r"/etc/(?!kubernetes/)[^/]+/")
_CREDENTIALS = re.compile(r"[!-9;-~]+:[ -~]+", re.ASCII)
_LONGEST = 4000
"""A terminal, by which the password reaches the program that pulls, has lines of 4095 characters."""


def check_service_manager(
    manager: object, image: object, flags: Mapping[str, str], *, unproved: str, spelled: Callable[[str], str]
) -> list[Problem]:
    """Why etcd cannot be run so; empty when it can.

    Args:
        image: etcd's image, by digest or as an archive; None: none.
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
    problems += _image_problems(image, at, spelled("etcd_image_credentials"))
    if read := [path for path in files_read(flags) if not _VISIBLE.match(path)]:
        rule = "Under the kubelet, etcd's pod gets the directories of such files, which must be below /etc"
        remedy = "Put each into a directory of your own, like /etc/etcd-files/crl.pem; not into /etc/kubernetes"
        problems.append(Problem(spelled("flags"), ", ".join(read), rule, remedy))
    if unproved:
        rule = f"{unproved} needs systemd as service manager"
        problems.append(Problem(key, shown(manager), rule, f"Set it to {SYSTEMD}"))
    return problems


def _image_problems(image: object, key: str, credentials: str) -> list[Problem]:
    text = image if isinstance(image, str) else ""
    if _ARCHIVE.fullmatch(text) or _BY_DIGEST.fullmatch(text):
        return []
    rule = "Under the kubelet, etcd needs its image by digest, with its registry, or an archive of it with its SHA-256"
    remedy = (
        "Write it like registry.example.com/etcd@sha256:<64 hex digits>, or like "
        "https://mirror.example.com/etcd-3.6.16.tar#sha256=<64 hex digits>"
    )
    if re.search(r"@(?!sha256:)", text):
        rule = f"Credentials must not be in it, but in {credentials}"
        return [Problem(key, "a value with credentials", rule, remedy)]
    if _BY_TAG.fullmatch(text):
        rule = "A tag can name another image tomorrow, so the image needs its digest"
        remedy = f"`docker buildx imagetools inspect {text}` prints it. {remedy}"
    return [Problem(key, shown(image), rule, remedy)]


def check_image_credentials(credentials: object, image: object, spelled: Callable[[str], str] = str) -> list[Problem]:
    """Why these cannot be credentials for etcd's image; empty when they can, or are unknown. They are never shown.

    Args:
        credentials: None: none.
        image: etcd's image, as in `check_service_manager`.
        spelled: as there.
    """
    key, at = spelled("etcd_image_credentials"), spelled("etcd_image")
    if credentials is None:
        return []
    if not isinstance(image, str) or "#" in image:
        rule = "Credentials are for the registry of an image by digest"
        return [Problem(key, "a value (not shown)", rule, f"Remove them, or set {at} to such an image")]
    if not isinstance(credentials, str) or (_CREDENTIALS.fullmatch(credentials) and len(credentials) <= _LONGEST):
        return []
    rule = f"Credentials must be USER:PASSWORD, one line of ASCII with at most {_LONGEST} characters"
    return [Problem(key, "a value (not shown)", rule, "Check for a line break at its end")]
