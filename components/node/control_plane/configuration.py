"""Etcd in kubeadm's ClusterConfiguration, edited as text: every other byte stays as it is.

The text comes from the ConfigMap `kubeadm-config`. kubeadm's marshaller has written it: one document, keys sorted, in
block style. A YAML library is not part of Python.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..shared.errors import NodeError
from . import manifest

APIS = ("kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4")
LOCAL, EXTERNAL = "local", "external"
_API = re.compile(r"apiVersion: *[\"']?([\w./]+)[\"']? *")
_PATH = re.compile(r"/[A-Za-z0-9_./-]+")
_URL = re.compile(r"https://[A-Za-z0-9.:\[\]-]+")
_NAMES = "|".join(flag[2:] for flag in (*manifest.FLAGS, f"{manifest.SERVERS}-overrides"))
# As a key (v1beta3) or as a name (v1beta4).
_FLAG = re.compile(rf"(?<![\w./-])({_NAMES})[\"']? *(?=[:,}}]|$)", re.MULTILINE)


def kind(text: str) -> str:
    """LOCAL or EXTERNAL.

    Raises:
        NodeError: it cannot be understood, or sets flags of the API server for etcd, so it must not be edited.
    """
    before, block, after = _parts(text)
    if found := _FLAG.findall(_block("apiServer", [*before, *after])):
        raise NodeError(
            f"the ConfigMap kubeadm-config sets {', '.join(sorted(set(found)))} in apiServer.extraArgs, with which the "
            "next `kubeadm upgrade` would undo the switch; it was not changed",
            "Remove it there first (`kubectl -n kube-system edit configmap kubeadm-config`), then run again.",
        )
    keys = [line.strip().partition(":")[0] for line in block[1:] if len(line) - len(line.lstrip(" ")) == _indent(block)]
    if keys not in ([LOCAL], [EXTERNAL]):
        raise _unclear(f"etcd has {' and '.join(keys) or 'nothing'}, not exactly one of local and external")
    return keys[0]


def with_external(text: str, endpoints: Sequence[str], ca: str, certificate: str, key: str) -> str:
    """The configuration with this external etcd in place of a stacked or another external one.

    Args:
        text: the present ClusterConfiguration.
        endpoints: client URLs of all members.
        ca: path of etcd's CA certificate on the control planes.
        certificate: path of the API server's client certificate.
        key: path of its key.

    Raises:
        NodeError: it cannot be understood, or a value cannot be written.
    """
    kind(text)
    before, _, after = _parts(text)
    for value, rule in [*((url, _URL) for url in endpoints), *((path, _PATH) for path in (ca, certificate, key))]:
        if not rule.fullmatch(value):
            raise NodeError(
                f"kubeadm-config cannot have the value {value[:200]!r}; nothing was changed",
                "This is a mistake of external-etcd: report it.",
            )
    lines = [
        "etcd:",
        "  external:",
        f"    caFile: {ca}",
        f"    certFile: {certificate}",
        "    endpoints:",
        *(f"    - {url}" for url in endpoints),
        f"    keyFile: {key}",
    ]
    return "".join([*before, *(f"{line}\n" for line in lines), *after])


def _parts(text: str) -> tuple[list[str], list[str], list[str]]:
    """The lines before the block `etcd:`, of it, and after it."""
    lines = text.splitlines(keepends=True)
    top = [number for number, line in enumerate(lines) if re.match(r"[A-Za-z]", line)]
    keys = [lines[number].partition(":")[0] for number in top]
    apis = [found[1] for line in lines if (found := _API.fullmatch(line.rstrip("\r\n")))]
    if len(apis) != 1 or apis[0] not in APIS:
        raise _unclear(f"its apiVersion is {', '.join(apis) or 'missing'}, not one of {', '.join(APIS)}")
    if any(re.match(r"[^A-Za-z \r\n]", line) and not line.startswith("- ") for line in lines):
        raise _unclear("a line begins with something else than a key")
    if keys.count("etcd") != 1:
        raise _unclear("there is no key `etcd`" if "etcd" not in keys else "the key `etcd` is there twice")
    begin = top[keys.index("etcd")]
    end = next((number for number in top if number > begin), len(lines))
    block = lines[begin:end]
    if block[0].rstrip() != "etcd:" or len(block) < 2:
        raise _unclear("the value of `etcd` is not on the lines below it")
    if any("\t" in line for line in block):
        raise _unclear("there is a tab in `etcd`")
    return lines[:begin], block, lines[end:]


def _block(key: str, lines: Sequence[str]) -> str:
    """The text of a key and its value; empty without it."""
    found = re.search(rf"^{key}:.*\n(?:[ -].*\n?|\n)*", "".join(lines), re.MULTILINE)
    return found[0] if found else ""


def _indent(block: Sequence[str]) -> int:
    return len(block[1]) - len(block[1].lstrip(" "))


def _unclear(what: str) -> NodeError:
    return NodeError(
        f"the ClusterConfiguration in the ConfigMap kubeadm-config is not in the form that kubeadm writes: {what}; it "
        "was not changed",
        "Compare it with `kubeadm config print init-defaults` (`kubectl -n kube-system edit configmap "
        "kubeadm-config`), then run again.",
    )
