"""kubeadm's configuration and files on a control plane."""

import json
from collections.abc import Mapping, Sequence

from ..plan.kubernetes import kubeadm_api, release
from ..scripts import putting
from . import CA_FILE, CERTIFICATE_FILE, KEY_FILE, external_etcd

MODES = {CA_FILE: "0644", CERTIFICATE_FILE: "0644", KEY_FILE: "0600"}
"""Path -> mode, as kubeadm itself writes certificates and keys. The owner is root."""

_ABOUT = "Puts etcd's CA and the API server's client certificate in place. Run it as root on every control plane."


def cluster_configuration(endpoints: Sequence[str], kubernetes_version: str | None = None) -> str:
    """A ClusterConfiguration that uses the external etcd; YAML, to which other settings can be added.

    Put the files of `files` in place, and run `kubeadm init --config FILE`.

    Args:
        endpoints: client URLs of all members.
        kubernetes_version: `1.Y` or `1.Y.Z`. Below 1.31, the result is v1beta3, else v1beta4. With the patch, it also
            says that release. Default: v1beta4 without a release.

    Raises:
        ValueError: there is no endpoint, or one is not https.
    """
    external = external_etcd(endpoints)
    named = release(kubernetes_version)
    lines = [
        f"apiVersion: {kubeadm_api(kubernetes_version)}",
        "kind: ClusterConfiguration",
        *([f"kubernetesVersion: {named}"] if named else []),
        "etcd:",
        "  external:",
        "    endpoints:",
        *(f"      - {json.dumps(endpoint)}" for endpoint in external.pop("endpoints")),
        *(f"    {name}: {path}" for name, path in external.items()),
    ]
    return "".join(f"{line}\n" for line in lines)


def files(ca_certificate: str, certificate: str, private_key: str) -> dict[str, str]:
    """Path on every control plane -> content of the files in the configuration. The last one is secret.

    Args:
        ca_certificate: etcd's CA certificate, PEM.
        certificate: the API server's client certificate, PEM.
        private_key: its private key, PEM.
    """
    return {CA_FILE: ca_certificate, CERTIFICATE_FILE: certificate, KEY_FILE: private_key}


def cloud_init(contents: Mapping[str, str]) -> str:
    """User data for cloud-init that writes the files. Secret: it contains the private key.

    Args:
        contents: result of `files`.
    """
    written = [
        {"path": path, "owner": "root:root", "permissions": MODES[path], "content": content}
        for path, content in contents.items()
    ]
    return f"#cloud-config\n{json.dumps({'write_files': written}, indent=2)}\n"


def script(contents: Mapping[str, str]) -> str:
    """A shell script that writes the files. Secret: it contains the private key.

    Args:
        contents: result of `files`.

    Raises:
        ValueError: a line of a file would end its here-document.
    """
    return putting(contents, MODES, _ABOUT)
