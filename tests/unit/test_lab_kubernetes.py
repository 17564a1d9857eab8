"""The lab's control planes: what is added to the exported configuration, and what is refused before they begin."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from components.kubernetes import kubeadm
from lab import LabError, cli, control_planes, image, kubernetes
from lab.kubernetes import whole_configuration

EXPORTED = kubeadm.cluster_configuration(["https://10.0.0.11:2379", "https://10.0.0.12:2379"])


def test_the_exported_configuration_stays_and_gets_the_control_planes_settings() -> None:
    cluster, init, kubelet = yaml.safe_load_all(whole_configuration(EXPORTED, "10.0.0.21"))
    assert yaml.safe_load(EXPORTED).items() <= cluster.items()
    assert cluster["controlPlaneEndpoint"] == "10.0.0.21:6443"
    assert cluster["dns"] == cluster["proxy"] == {"disabled": True}
    assert init["localAPIEndpoint"] == {"advertiseAddress": "10.0.0.21"}
    assert kubelet["failCgroupV1"] is False


def test_a_setting_of_the_exported_configuration_is_not_replaced() -> None:
    exported = f"{EXPORTED}kubernetesVersion: v1.34.2\n"
    cluster = next(yaml.safe_load_all(whole_configuration(exported, "10.0.0.21")))
    assert cluster["kubernetesVersion"] == "v1.34.2"
    assert whole_configuration(exported, "10.0.0.21").count("kubernetesVersion") == 1


class Member:
    """A machine whose commands print what is given; a control plane with `stacked` has etcd's static pod."""

    def __init__(self, name: str, stdout: str = "", code: int = 0, *, on: bool = True, stacked: bool = False) -> None:
        self.name, self.job = name, SimpleNamespace(alive=lambda: on)
        self._stacked = stacked
        self.commands: list[str] = []
        self._answer = SimpleNamespace(returncode=code, stdout=stdout, stderr="refused")

    def run(self, command: str | list[str], **_: object) -> SimpleNamespace:
        self.commands.append(command if isinstance(command, str) else " ".join(command))
        if self.commands[-1] == "test -e /etc/kubernetes/manifests/etcd.yaml":
            return SimpleNamespace(returncode=int(not self._stacked))
        return self._answer


OUTPUTS = {
    "kubeadm": EXPORTED,
    "kubeadm_script": "",
    "members": [{"name": "etcd-1"}],
    "etcdctl": "etcdctl --endpoints=https://10.0.0.11:2379 endpoint status --write-out=table",
}


def require_room(*found: Member, n: int = 2, outputs: dict[str, Any] | None = OUTPUTS) -> None:
    """Check for `n` control planes in a lab with these machines."""
    there = {machine.name: machine for machine in found}
    lab: Any = SimpleNamespace(
        machines=there,
        machine=there.__getitem__,
        variant=lambda name: image.KUBERNETES if name.startswith("control-") else image.PLAIN,
    )
    control_planes.require_room(lab, outputs, [f"control-{number}" for number in range(1, n + 1)])


def test_control_planes_begin_on_an_empty_etcd_and_those_that_are_complete_stay() -> None:
    empty, used = Member("etcd-1"), Member("etcd-1", "/registry/minions/control-1\n")
    require_room(empty)
    require_room(used, Member("control-1"))
    assert empty.commands == [
        "etcdctl --endpoints=https://10.0.0.11:2379 get /registry/ --prefix --keys-only --limit=1"
    ]
    assert used.commands == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([Member("etcd-1", "/registry/a\n")], r"sudo etcdctl --endpoints=\S+ del /registry/ --prefix"),
        ([Member("etcd-1", code=1)], "etcd does not answer on etcd-1: refused\nRun `make up`"),
        ([Member("control-1"), Member("control-2", code=1)], "control-2 is incomplete.*after `lab kubernetes down`"),
        ([Member("control-1", on=False)], "control-1 must run. Start it with `lab start control-1`"),
    ],
    ids=["leftovers", "no answer", "incomplete", "stopped"],
)
def test_what_an_earlier_run_left_is_refused_with_the_remedy(found: list[Member], said: str) -> None:
    with pytest.raises(LabError, match=said):
        require_room(*found)


def test_one_lab_has_one_kind_of_control_planes() -> None:
    remedy = "Begin again after `lab kubernetes down`"
    require_room(Member("control-1", stacked=True), outputs=None)
    with pytest.raises(LabError, match=f"control-1 has a stacked etcd, so no .* with an external etcd .*{remedy}"):
        require_room(Member("etcd-1"), Member("control-1", stacked=True))
    with pytest.raises(LabError, match=f"control-1 has an external etcd, so no .* with a stacked etcd .*{remedy}"):
        require_room(Member("control-1"), outputs=None)


def test_more_control_planes_than_memory_holds_are_refused() -> None:
    with pytest.raises(LabError, match=r"need 5000000 MiB; \d+ MiB are free\. Give a smaller number"):
        require_room(Member("etcd-1"), n=10_000)


def test_a_stack_without_outputs_is_refused() -> None:
    with pytest.raises(LabError, match=r"no output kubeadm, kubeadm_script, members, etcdctl, .* Run `make up` again"):
        require_room(outputs={})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["up"], "Give `lab kubernetes up --external`"),
        (["up", "--external", "-n", "0"], "a number of 1 or more"),
        (["up", "--stacked", "0"], "a number of 1 or more"),
        (["up", "--stacked", "4"], "at most 3 with --stacked"),
        (["up", "--stacked", "2", "-n", "3"], "Leave out -n"),
        (["up", "--external"], "Create a cluster with `make up`"),
    ],
)
def test_the_command_names_what_is_missing(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--dir", str(tmp_path / "lab"), "kubernetes", *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "lab").exists()


def test_the_command_says_why_the_outputs_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "env").write_text("echo permission denied >&2; exit 1\n")
    assert cli.main(["--dir", str(tmp_path), "kubernetes", "up", "--external"]) == 1
    said = capsys.readouterr().err
    assert "cannot be read: permission denied\nRun this as the user who ran `make up`" in said


def test_a_join_that_fails_does_not_print_its_keys() -> None:
    machine: Any = Member("control-2", "[preflight] Running checks", code=1)
    with pytest.raises(LabError, match=r"control-2: kubeadm join exited with 1: \[preflight\]") as failed:
        kubernetes._kubeadm(machine, "kubeadm join 10.0.0.21:6443 --certificate-key=0123")
    assert "0123" not in str(failed.value)
    assert "after `lab kubernetes down`" in str(failed.value)
