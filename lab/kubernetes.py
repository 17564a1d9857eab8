"""A real Kubernetes control plane on lab machines: kubeadm, containerd, and a kubelet on each.

With an external etcd it starts from the outputs for kubeadm and nothing else; a stacked one has etcd beside each API
server, as kubeadm sets it up by default. There is no pod network, DNS or kube-proxy, so nodes stay NotReady; static
pods (API server, controller manager, scheduler, stacked etcd) use their machine's network.
"""

import re
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.kubeadm import VERSION
from tools.kubernetes import IMAGES, ensure_etcd_image, ensure_kubernetes, etcd_tag, image_names

from . import host, image
from .errors import LabError
from .lab import Lab
from .machine import Machine

ADMIN = "/etc/kubernetes/admin.conf"
"""The administrator's kubeconfig on every control plane."""
KUBECONFIG = "kubernetes.conf"
"""The administrator's kubeconfig in the lab's directory."""
CONFIGURATION = "/etc/kubernetes/kubeadm.yaml"
"""kubeadm's configuration on the first control plane."""
ETCD = "3.6.16"
"""The version of stacked members."""
_COMPLETE = "/etc/kubernetes/complete"
_STACKED_MEMBER = "/etc/kubernetes/manifests/etcd.yaml"
# The check does not know containers, and refuses cgroups v1.
_IGNORE = "--ignore-preflight-errors=SystemVerification"
_LIMIT = 300.0  # seconds for one command of kubeadm
# The last two: systemd-nspawn allows neither session keyrings nor a lower score than its own.
_CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
      NoNewKeyring = true
"""
# P-256: a loaded computer needs seconds for each RSA key; only a stacked cluster's CA of etcd has one. The grace
# period: else an API server that stops waits for its watches, until the kubelet kills it after 30 s.
_SETTINGS = {
    "kubernetesVersion": f"v{VERSION}",
    "controlPlaneEndpoint": "{address}:6443",
    "encryptionAlgorithm": "ECDSA-P256",
    "apiServer": "{{extraArgs: [{{name: shutdown-watch-termination-grace-period, value: 1s}}]}}",
    "dns": "{{disabled: true}}",
    "proxy": "{{disabled: true}}",
}
_STACKED = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd:
  local:
    imageTag: {tag}
"""
# As kubeadm makes it without `encryptionAlgorithm`: members of a migration get certificates of this CA.
_RSA_CA = f"""\
cat >/run/etcd-ca.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v{VERSION}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: $(hostname -I)}}
END
kubeadm init phase certs etcd-ca --config=/run/etcd-ca.yaml
"""
_DOCUMENTS = """\
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint:
  advertiseAddress: {address}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
"""


def up_stacked(lab: Lab, names: Sequence[str], etcd: str = ETCD, say: Callable[[str], None] = print) -> list[Machine]:
    """Create control planes with an etcd member on each; it needs no other machines. Like `up` in all else.

    Args:
        lab: it need not be up.
        names: of the machines to create.
        etcd: version of its image, which is imported when a machine is created.
        say: called with a line for each step.
    """
    archives = (IMAGES, ensure_etcd_image(etcd).name)
    return up(lab, _STACKED.format(tag=etcd_tag(etcd)), _RSA_CA, names, say, archives=archives)


def up(
    lab: Lab,
    configuration: str,
    script: str,
    names: Sequence[str],
    say: Callable[[str], None] = print,
    *,
    archives: Sequence[str] = (IMAGES,),
) -> list[Machine]:
    """Create the control planes with these names; returns their machines. Those that have joined are left alone.

    Args:
        lab: a lab that is up, with the members of the external etcd.
        configuration: the output `kubeadm`.
        script: the output `kubeadm_script`.
        names: of the machines to create; the first one runs `kubeadm init`, each of the others joins it.
            After a failure of kubeadm, begin again with `down`.
        say: called with a line for each step.
        archives: of images, in the folder of Kubernetes' programs.

    Raises:
        LabError: a machine does not boot, or a command of kubeadm failed.
        ToolError: Kubernetes cannot be got.
    """
    began = time.monotonic()

    def done(what: str) -> None:
        nonlocal began
        say(f"{what}: {time.monotonic() - began:.1f} s")
        began = time.monotonic()

    programs = ensure_kubernetes()
    pause = next(name for name in image_names(programs / "kubeadm") if "/pause:" in name)
    first, *others = machines = lab.up(names, image.KUBERNETES)
    done(f"{len(machines)} machines booted")
    _prepare(lab, machines, pause, archives)
    done("containerd started, images imported")
    if not complete(first):
        first.run("sh", input=script, root=True)
        write(first, CONFIGURATION, whole_configuration(configuration, first.address))
        _kubeadm(first, f"kubeadm init --config={CONFIGURATION} {_IGNORE}")
        first.run(["touch", _COMPLETE], root=True)
        done(f"{first.name}: kubeadm init")
    for machine in others:
        if not complete(machine):
            _kubeadm(machine, join_command(first, machine.address))
            machine.run(["touch", _COMPLETE], root=True)
            done(f"{machine.name}: kubeadm join")
    kubeconfig = lab.dir / KUBECONFIG
    kubeconfig.touch(0o600)
    kubeconfig.write_text(first.run(["cat", ADMIN], root=True).stdout)
    host.give_to_caller([kubeconfig])
    return machines


def up_kubelets(lab: Lab, names: Sequence[str]) -> list[Machine]:
    """Create machines with a container runtime that runs, and a kubelet that has no task yet.

    Raises:
        LabError: a machine does not boot.
        ToolError: Kubernetes cannot be got.
    """
    pause = next(name for name in image_names(ensure_kubernetes() / "kubeadm") if "/pause:" in name)
    machines = lab.up(names, image.KUBERNETES)
    for machine in machines:
        write(machine, "/etc/containerd/config.toml", _CONTAINERD.format(pause=pause))
        write(machine, "/etc/resolv.conf", "")  # the kubelet gives it to every pod
        machine.run("systemctl enable -q --now containerd", root=True, timeout=_LIMIT)
    return machines


def down(lab: Lab) -> list[str]:
    """Remove all control planes of the lab; returns their names. What they stored remains in an external etcd."""
    names = [name for name in lab.machines if lab.variant(name) is image.KUBERNETES]
    lab.remove(*names)
    (lab.dir / KUBECONFIG).unlink(missing_ok=True)
    return names


def write(machine: Machine, path: str, content: str) -> None:
    """Replace a file of root's on the machine; one with a private key is not readable for others."""
    mode = "600" if "PRIVATE KEY" in content else "644"
    place = shlex.quote(path)
    lines = f'mkdir -p "$(dirname {place})" && cat >{place}.new && chmod {mode} {place}.new && mv {place}.new {place}'
    machine.run(lines, input=content, root=True)


def whole_configuration(exported: str, address: str) -> str:
    """The exported ClusterConfiguration with the settings of a first control plane at `address`."""
    settings = {key: text.format(address=address) for key, text in _SETTINGS.items()}
    missing = [key for key in settings if not re.search(rf"^{key}:", exported, re.MULTILINE)]
    added = "".join(f"{key}: {settings[key]}\n" for key in missing)
    return f"{exported.rstrip()}\n{added}{_DOCUMENTS.format(address=address)}"


def join_command(first: Machine, address: str) -> str:
    """The command with which a machine at `address` joins as a control plane; secret, and valid for two hours.

    Without the configuration kubeadm would not upload the files for the external etcd.
    """
    upload = f"kubeadm init phase upload-certs --upload-certs --config={CONFIGURATION} | tail -n 1"
    key = first.run(upload, root=True, timeout=_LIMIT).stdout.strip()
    created = f"kubeadm token create --ttl=2h --print-join-command --certificate-key={key}"
    command = first.run(created, root=True, timeout=_LIMIT).stdout.strip()
    return f"{command} --apiserver-advertise-address={address} {_IGNORE}"


def complete(machine: Machine) -> bool:
    """Whether kubeadm has done all of its work on the machine, which must run."""
    return not machine.run(["test", "-e", _COMPLETE], root=True, check=False).returncode


def stacked(machine: Machine) -> bool:
    """Whether a complete control plane, which must run, has a member of etcd beside its API server."""
    return not machine.run(["test", "-e", _STACKED_MEMBER], root=True, check=False).returncode


def _kubeadm(machine: Machine, command: str) -> None:
    done = machine.run(command, root=True, timeout=_LIMIT, check=False)
    if done.returncode:
        # Without the command: that of a join has the key to the cluster's certificates.
        what = " ".join(command.split()[:2])
        raise LabError(
            f"{machine.name}: {what} exited with {done.returncode}: {done.stdout.strip()}\n{done.stderr.strip()}\n"
            "When the cause is removed, begin again after `lab kubernetes down`."
        )


def _prepare(lab: Lab, machines: Sequence[Machine], pause: str, archives: Sequence[str]) -> None:
    """Start containerd with these images, which only the first new machine of a lab imports: that takes seconds."""
    new = [
        each for each in machines if each.run("systemctl is-active -q containerd", root=True, check=False).returncode
    ]
    saved = lab.dir / "images" / "+".join(archives)
    for machine in new:
        write(machine, "/etc/containerd/config.toml", _CONTAINERD.format(pause=pause))
        write(machine, "/etc/resolv.conf", "")  # the kubelet gives it to every pod
        if not saved.is_dir():
            started = ["systemctl start containerd"]
            imported = [f"ctr -n k8s.io images import {image.KUBERNETES_PROGRAMS}/{name}" for name in archives]
            machine.run(" && ".join([*started, *imported, "systemctl stop containerd"]), root=True, timeout=_LIMIT)
            _link(lab.beside(machine.name), saved)
        else:
            _link(saved, lab.beside(machine.name))
        machine.run("systemctl enable -q --now containerd", root=True, timeout=_LIMIT)


def _link(source: Path, target: Path) -> None:
    """Give another directory what a stopped containerd has: it never changes a file in place, but for its databases."""
    place = target
    if not target.is_dir():
        place = target.with_name(f"{target.name}.new")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    host.call("cp", "-a", "--link", f"{source}/.", str(place), timeout=_LIMIT)
    for database in place.rglob("*.db"):
        own = database.with_suffix(".own")
        shutil.copy2(database, own)
        own.replace(database)
    if place != target:
        place.rename(target)
