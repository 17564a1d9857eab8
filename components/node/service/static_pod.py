"""The static pod: the same flags, certificates and permission as in the unit, in the frame that the kubelet reads.

The kubelet starts what is in its directory again and again, so the two dangers that `unit` describes are here too. The
guard is a volume of the pod: a link on the machine that leads to etcd's log. A kubelet starts no pod whose volume is
missing, and a container runtime no container. So etcd does not start without a log, whether after a reboot, after a
crash or with a lost disk. While `etcd-node` permits one start without data, the link leads elsewhere (`kubelet`).

The flags of that start stay in the manifest until the next start that this program makes: without them the kubelet
would replace the pod. They have no meaning for a member that has a log, and without a log it does not start.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..machine import pod_process
from ..machine.account import Account
from ..shared import paths
from ..shared.spec import Spec
from . import unit

NAME, NAMESPACE = "etcd", "kube-system"
_STARTED = "external-etcd/started"
_PLAIN = re.compile(r"(?![-?:] )[A-Za-z/-][A-Za-z0-9_./@=,+-]*(:[A-Za-z0-9_./@=,+-]+)*")
_WORDS = re.compile(r"true|false|null|yes|no|on|off|y|n", re.IGNORECASE)
# Not below the data directory: the volume must not hide it.
_GUARD = "/run/etcd-log"


def render(spec: Spec, image: str, user: Account, trusted: str = "") -> str:
    """The pod's text, without the time of a start and its permission: `published` adds them.

    Args:
        image: name of the image on this machine.
        user: as whom etcd runs.
        trusted: digest of the CAs that etcd will find in their file.
    """
    words = [paths.IMAGE_ETCD, *unit.command(spec)[1:], unit.BASE_FLAG]
    metrics = spec.metrics_url.rsplit(":", 1)[-1]
    variables = {unit.TRUSTED: trusted, pod_process.RELEASE: spec.release.version, pod_process.IMAGE: spec.image}
    data = spec.data_directory
    mounts = volumes = ""
    for number, directory in enumerate(_directories(spec)):
        mounts += f"    - name: files-{number}\n      mountPath: {_scalar(directory)}\n      readOnly: true\n"
        place = _scalar(os.path.realpath(directory))
        volumes += f"  - name: files-{number}\n    hostPath:\n      path: {place}\n      type: Directory\n"
    return f"""{unit.MARK}; changes here are overwritten.
apiVersion: v1
kind: Pod
metadata:
  name: {NAME}
  namespace: {NAMESPACE}
  labels:
    component: etcd
    tier: control-plane
  annotations:
    kubeadm.kubernetes.io/etcd.advertise-client-urls: {_scalar(spec.client_url(spec.address))}
    external-etcd/cluster: {_scalar(spec.cluster)}
    {_STARTED}: ""
spec:
  hostNetwork: true
  priority: 2000001000
  priorityClassName: system-node-critical
  terminationGracePeriodSeconds: 30
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: {user.uid}
    runAsGroup: {user.gid}
    seccompProfile:
      type: RuntimeDefault
  containers:
  - name: etcd
    image: {_scalar(image)}
    imagePullPolicy: Never
    command:
{_list(words)}
    env:
{_variables(variables)}
    resources:
      requests:
        cpu: 100m
        memory: 100Mi
{_probe("livenessProbe", "/livez", metrics)}
{_probe("readinessProbe", "/readyz", metrics)}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
    - name: data
      mountPath: {_scalar(data)}
    - name: certificates
      mountPath: {paths.KUBERNETES_PKI}
      readOnly: true
    # Only so that etcd does not start without its log.
    - name: log
      mountPath: {_GUARD}
      readOnly: true
{mounts}\
  volumes:
  - name: data
    hostPath:
      path: {_scalar(os.path.realpath(data))}
      type: Directory
  - name: certificates
    hostPath:
      path: {paths.KUBERNETES_PKI}
      type: Directory
  - name: log
    hostPath:
      path: {paths.POD_START}
      type: Directory
{volumes}\
"""


def published(text: str, flags: Sequence[str], now: str) -> str:
    """The manifest of one start.

    Args:
        text: from `render`.
        flags: of the permission; empty if there is none.
        now: a text that no other start has: the kubelet replaces a pod only if its manifest differs.
    """
    base = _list([unit.BASE_FLAG])
    text = text.replace(base, _list([unit.BASE_FLAG, *flags]), 1)
    return text.replace(f'{_STARTED}: ""', f"{_STARTED}: {_scalar(now)}", 1)


def _directories(spec: Spec) -> list[str]:
    """Where files of others are that flags name. Not the files: a renewed one is another file with the same name."""
    found = [path for value in spec.flags.values() for path in re.findall(r"(?:^|-key=)(/[^,=]+)", value)]
    ours = {Path(spec.data_directory), paths.KUBERNETES_PKI}
    return sorted({str(path.parent) for path in map(Path, found) if not ours & {path, *path.parents}})


def _list(words: Sequence[str]) -> str:
    return "\n".join(f"    - {_scalar(_unexpanded(word))}" for word in words)


def _variables(values: Mapping[str, str]) -> str:
    return "\n".join(
        f"    - name: {name}\n      value: {_scalar(_unexpanded(value))}" for name, value in values.items()
    )


def _probe(kind: str, path: str, port: str) -> str:
    # No startup probe: without a quorum a member is not ready, and ending it would not bring the quorum nearer.
    return f"""\
    {kind}:
      httpGet:
        host: 127.0.0.1
        path: {path}
        port: {port}
        scheme: HTTP
      failureThreshold: {8 if kind == "livenessProbe" else 3}
      initialDelaySeconds: {10 if kind == "livenessProbe" else 0}
      periodSeconds: {10 if kind == "livenessProbe" else 1}
      timeoutSeconds: 15"""


def _unexpanded(word: str) -> str:
    """The kubelet replaces $(NAME), and reads $$ as a dollar sign."""
    return word.replace("$", "$$")


def _scalar(text: str) -> str:
    """A string of YAML: as it is where that has no other meaning, else as in JSON, which YAML reads too."""
    return text if _PLAIN.fullmatch(text) and not _WORDS.fullmatch(text) else json.dumps(text)
