"""YAML output by hand, so that the library needs no YAML package."""

import json
from collections.abc import Sequence

from . import CA_FILE, CERTIFICATE_FILE, KEY_FILE


def quoted(text: str) -> str:
    """A text as a double-quoted scalar; JSON's notation is valid YAML."""
    return json.dumps(text)


def block(text: str, indent: int) -> str:
    """A PEM text as a literal block scalar, its lines indented by `indent` spaces. It ends with one line break.

    Raises:
        ValueError: the text is not PEM, so its lines might mean something else in YAML.
    """
    lines = text.strip().splitlines()
    if not lines or not lines[0].startswith("-----BEGIN "):
        raise ValueError("The text to embed must be PEM.")
    return "|\n" + "".join(f"{' ' * indent}{line.rstrip()}\n" if line.strip() else "\n" for line in lines)


def external_etcd(endpoints: Sequence[str], indent: int) -> str:
    """`etcd.external` as kubeadm and Cluster API both read it, indented by `indent` spaces.

    Raises:
        ValueError: there is no endpoint, or one is not https.
    """
    if not endpoints or not all(endpoint.startswith("https://") for endpoint in endpoints):
        raise ValueError(f"etcd's endpoints must be https URLs, at least one; given {list(endpoints)}.")
    lines = [
        "etcd:",
        "  external:",
        "    endpoints:",
        *(f"      - {quoted(endpoint)}" for endpoint in endpoints),
        f"    caFile: {CA_FILE}",
        f"    certFile: {CERTIFICATE_FILE}",
        f"    keyFile: {KEY_FILE}",
    ]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)
