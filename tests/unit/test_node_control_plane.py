"""The verbs on a control plane: what they check first, what they change, and that a repetition changes nothing."""

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.node.control_plane import api_server, manifest, places, plan
from components.node.control_plane.api_server import Answer, UnreachableError
from components.node.machine import network
from components.node.protocol import etcd
from components.node.shared.errors import NodeError
from components.node.verbs import authority, back, inspect, leave, reach, switch
from tests.support.authority import OwnAuthority

from .test_node_configuration import V1BETA4
from .test_node_manifest import MANIFEST

NODES = "/api/v1/nodes?labelSelector=node-role.kubernetes.io/control-plane"
CONFIG = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
PEM = "-----BEGIN X-----\n{}\n-----END X-----\n"
GIVEN = {name: PEM.format(f"new {name}") for name in plan.FILES}
PLAN: dict[str, Any] = {
    "format": 1,
    "cluster": "test",
    "plane": "control-1",
    "planes": {"control-1": "10.1.2.11", "control-2": "10.1.2.12"},
    "members": {"etcd-1": "10.1.1.11", "etcd-2": "10.1.1.12", "etcd-3": "10.1.1.13"},
    "client_port": 2379,
    "peer_port": 2380,
    "phase": "",
    "flags": {},
    "program": "0123456789ab",
}
URLS = "https://10.1.1.11:2379,https://10.1.1.12:2379,https://10.1.1.13:2379"


def a_plan(**changes: Any) -> plan.Plan:
    return plan.parse(json.dumps({**PLAN, **changes}))


@dataclass
class Plane:
    """A control plane whose kubelet restarts the API server at once."""

    root: Path
    broken: bool = False
    """Its API server does not start with other flags."""
    others: dict[str, str] = field(default_factory=dict)
    """Address of another API server -> what is wrong with it."""
    silent: dict[str, str] = field(default_factory=dict)
    """Address of a member -> why it does not answer."""
    listed: list[str] = field(default_factory=lambda: ["etcd-1", "etcd-2", "etcd-3"])
    nodes: list[str] = field(default_factory=lambda: list(PLAN["planes"]))
    """Those with the label of a control plane."""
    annotations: dict[str, str] = field(default_factory=dict)
    configuration: str = V1BETA4
    conflicts: int = 0
    ahead: float = 0.0
    running: str = ""
    """The manifest with which its API server runs. Default: the present one."""
    started: list[str] = field(default_factory=list)
    """The servers with which the API server was started, one after another."""

    @property
    def manifest(self) -> Path:
        return self.root / "manifests/kube-apiserver.yaml"

    def everything(self) -> dict[str, str]:
        """Path -> content and mode of all files."""
        return {
            str(path.relative_to(self.root)): f"{path.stat().st_mode:o} {path.read_text()}"
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def commands(self, program: str) -> list[list[str]]:
        if program != "kube-apiserver":
            return [["etcd", "--name=control-1"]] if (self.root / "manifests/etcd.yaml").exists() else []
        if not self.manifest.exists():
            return []
        now = manifest.read(self.running or self.manifest.read_text())
        if not self.started or self.started[-1] != now["--etcd-servers"]:
            self.started.append(now["--etcd-servers"])
        return [["/usr/local/bin/kube-apiserver", *(f"{flag}={value}" for flag, value in now.items())]]

    def ask(self, address: str, path: str, method: str = "GET", content: Mapping[str, Any] | None = None) -> Answer:
        def said(status: int, value: object) -> Answer:
            return Answer(status, json.dumps(value).encode(), time.time() - self.ahead)

        if path.startswith("/readyz"):
            trouble = self.others.get(address, "")
            if self.broken and "127.0.0.1" not in self.manifest.read_text():
                trouble = "[-]etcd failed"
            return Answer(500 if trouble else 200, f"[+]ping ok\n{trouble}".encode(), time.time() - self.ahead)
        if path == CONFIG and method == "PUT" and content is not None:
            if self.conflicts:
                self.conflicts -= 1
                return said(409, {})
            self.configuration = content["data"]["ClusterConfiguration"]
            return said(200, content)
        objects: dict[str, object] = {
            CONFIG: {"metadata": {"resourceVersion": "7"}, "data": {"ClusterConfiguration": self.configuration}},
            f"/api/v1/nodes/{PLAN['plane']}": {"metadata": {"annotations": self.annotations}},
            NODES: {"items": [{"metadata": {"name": name}} for name in self.nodes]},
        }
        return said(200 if path in objects else 404, objects.get(path, {}))

    def ready(self, _: object, address: str, *__: object, **___: object) -> etcd.Ready:
        if address in self.silent:
            raise etcd.SilentError(self.silent[address])
        return etcd.Ready(True, "", "")

    def peer_view(self, _: object, address: str, *__: object, **___: object) -> etcd.Membership:
        """The peer port of our members may be closed to control planes when the stacked ones have left."""
        if address in PLAN["members"].values():
            raise etcd.SilentError(etcd.UNREACHED)
        return self.listing(address)

    def listing(self, address: str) -> etcd.Membership:
        if address in self.silent:
            raise etcd.SilentError(self.silent[address])
        addresses = {**PLAN["planes"], **PLAN["members"], "control-3": "10.1.2.13"}
        members = [
            etcd.Member(n, name, (f"https://{addresses[name]}:2380",), ("x",), learner=False)
            for n, name in enumerate(self.listed, 1)
        ]
        return etcd.Membership(77, tuple(members))


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plane:
    for name in (
        "API_SERVER",
        "AWAY",
        "ETCD",
        "MANIFESTS",
        "ADMIN",
        "PKI",
        "CA_FILE",
        "CA_KEY",
        "CERTIFICATE_FILE",
        "KEY_FILE",
    ):
        path = getattr(places, name)
        monkeypatch.setattr(places, name, tmp_path / path.relative_to(places.KUBERNETES))
    monkeypatch.setattr(places, "KEPT", tmp_path / "external-etcd")
    found = Plane(tmp_path)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "pki/etcd").mkdir(parents=True)
    text = MANIFEST.replace("/etc/kubernetes/", f"{tmp_path}/")
    found.manifest.write_text(text)
    (tmp_path / "manifests/etcd.yaml").write_text("kind: Pod\n")
    for name in (
        "pki/etcd/ca.crt",
        "pki/etcd/ca.key",
        "pki/apiserver-etcd-client.crt",
        "pki/apiserver-etcd-client.key",
    ):
        (tmp_path / name).write_text(PEM.format(f"old {name}"))
        (tmp_path / name).chmod(0o600 if name.endswith("key") else 0o644)
    monkeypatch.setattr(api_server, "ask", found.ask)
    monkeypatch.setattr(api_server, "commands", found.commands)
    monkeypatch.setattr(api_server, "pods", lambda _: [])
    monkeypatch.setattr(api_server, "_RESTART_SECONDS", 0.0)
    monkeypatch.setattr(api_server, "_LINGER_SECONDS", 0.0)
    monkeypatch.setattr(leave, "_CONFLICT_SECONDS", 3.0)
    monkeypatch.setattr(api_server, "refuse_abandoned", lambda: None)
    monkeypatch.setattr(switch, "refuse_abandoned", lambda: None)
    monkeypatch.setattr(etcd, "ready", found.ready)
    monkeypatch.setattr(etcd, "peer_view", found.peer_view)
    monkeypatch.setattr(etcd, "member_list", lambda _, addresses: found.listing(addresses[0]))
    monkeypatch.setattr("components.node.shared.files.os.fchown", lambda *_: None)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    return found


def switched(found: Plane) -> None:
    switch.switch(a_plan(), GIVEN)
    assert found.started[-1] == URLS


# -- inspect -----------------------------------------------------------------------------------------------------------


def test_an_inspection_changes_nothing(plane: Plane) -> None:
    before = plane.everything()
    inspect.inspect(a_plan())
    assert plane.everything() == before
    switched(plane)
    inspect.inspect(a_plan(phase="leave"))
    leave.leave(a_plan())
    inspect.inspect(a_plan(phase="leave"))


def test_what_is_wrong_blocks_neither_the_way_back_nor_a_repeated_switch(plane: Plane) -> None:
    plane.others["10.1.2.11"] = "[-]etcd failed"
    plane.configuration, plane.ahead = "", 40
    inspect.inspect(a_plan(phase="back"))
    inspect.inspect(a_plan(phase="join"))
    ours, plane.listed = plane.listed, ["control-1", "control-2"]
    with pytest.raises(NodeError, match="its API server is not ready"):
        inspect.inspect(a_plan(phase="join"))
    plane.silent = dict.fromkeys(PLAN["planes"].values(), "connection refused")
    with pytest.raises(NodeError, match="its API server is not ready"):
        inspect.inspect(a_plan(phase="join"))
    plane.listed = ours
    plane.manifest.write_text(plane.manifest.read_text().replace("https://127.0.0.1:2379", URLS))
    for phase in ("join", "back", "switch"):
        inspect.inspect(a_plan(phase=phase))
    with pytest.raises(NodeError, match="its API server is not ready"):
        inspect.inspect(a_plan(phase="leave"))


def test_a_control_plane_that_cannot_be_migrated_is_refused_with_nothing_changed(plane: Plane) -> None:
    def refused(text: str, **changes: Any) -> None:
        before = plane.everything()
        with pytest.raises(NodeError, match=r"nothing was changed|it was not changed") as error:
            inspect.inspect(a_plan(**changes))
        assert text in str(error.value)
        assert plane.everything() == before

    plane.annotations["cluster.x-k8s.io/owner-kind"] = "KubeadmControlPlane"
    refused("Cluster API manages this machine")
    plane.annotations.clear()
    plane.configuration = V1BETA4.replace("  local:", "  remote:")
    refused("is not in the form that kubeadm writes")
    plane.configuration = V1BETA4
    plane.ahead = 40
    refused("its clock is 40 s ahead of that of control-2")
    plane.ahead = -40
    refused("its clock is 40 s behind that of control-2")
    plane.ahead = 0
    plane.others["10.1.2.11"] = "[-]etcd failed"
    refused("its API server is not ready: [-]etcd failed")
    plane.others.clear()
    refused("so its stacked member must not leave", phase="leave")
    text = plane.manifest.read_text()
    plane.running = text.replace("https://127.0.0.1:2379", "https://10.1.2.12:2379")
    refused("does not run with the flags of etcd in its manifest")
    plane.running = ""
    plane.manifest.rename(plane.root / "mine.yaml")
    plane.manifest.symlink_to(plane.root / "mine.yaml")
    refused("kube-apiserver.yaml is a symbolic link")
    plane.manifest.unlink()
    (plane.root / "mine.yaml").rename(plane.manifest)
    plane.manifest.write_text(text.replace("https://127.0.0.1:2379", "https://10.9.9.9:2379"))
    refused("its API server uses https://10.9.9.9:2379, which is no stacked member")
    plane.manifest.write_text(text.replace("    - --etcd-servers", "    - --etcd-servers=x\n    - --etcd-servers"))
    refused("has --etcd-servers twice")
    plane.manifest.unlink()
    refused("is not a control plane that kubeadm has set up")


@pytest.mark.parametrize(
    ("stacked", "flags", "said"),
    [
        ("--heartbeat-interval=200", {}, "--heartbeat-interval=200, and the members of this stack with 100"),
        ("--election-timeout=5000", {"--election-timeout": "1000"}, "Set `electionTimeoutMs` to 5000"),
        ("", {"--election-timeout": "5000"}, "--election-timeout=1000, and the members of this stack with 5000"),
        ("--max-request-bytes=10485760", {}, "Set `flags.max-request-bytes` to 10485760"),
        ("'--max-txn-ops=1024'", {"--max-txn-ops": "512"}, "they must allow as much"),
        ("--max-txn-ops=1024", {"--max-txn-ops": "2048"}, ""),
        ("--quota-backend-bytes=1", {}, ""),
    ],
)
def test_members_with_other_timers_or_lower_limits_are_refused(
    plane: Plane, stacked: str, flags: dict[str, str], said: str
) -> None:
    text = f"kind: Pod\nspec:\n  containers:\n  - command:\n    - etcd\n    - {stacked or '--name=control-1'}\n"
    (plane.root / "manifests/etcd.yaml").write_text(text)
    if not said:
        inspect.inspect(a_plan(flags=flags))
        return
    with pytest.raises(NodeError, match="nothing was changed") as error:
        inspect.inspect(a_plan(flags=flags))
    assert said in str(error.value)


def test_a_control_plane_that_is_not_listed_is_found_in_every_phase_before_anything_changes(plane: Plane) -> None:
    switched(plane)
    plane.nodes.append("control-3")
    for phase in ("switch", "leave"):
        with pytest.raises(NodeError, match=r"control-3: a control plane .* not in `migration.controlPlanes`; nothing"):
            inspect.inspect(a_plan(phase=phase))
    plane.nodes.remove("control-3")
    plane.listed.append("control-3")
    inspect.inspect(a_plan(phase="switch"))
    with pytest.raises(NodeError, match=r"neither in .*: control-3 \(ID 4\); nothing was changed"):
        inspect.inspect(a_plan(phase="leave"))


def test_a_node_of_another_name_is_refused(plane: Plane) -> None:
    del plane
    with pytest.raises(NodeError, match="knows no node control-2"):
        inspect.inspect(a_plan(plane="control-2"))


@pytest.mark.parametrize("silent", [f"/api/v1/nodes/{PLAN['plane']}", CONFIG])
def test_an_api_server_that_stops_answering_during_an_inspection_is_not_ready(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    """It answers /readyz for a moment after its etcd has stopped, so what is asked next fails."""

    def ask(address: str, path: str, *rest: Any) -> Answer:
        if path == silent:
            raise UnreachableError("no answer in time")
        return plane.ask(address, path, *rest)

    monkeypatch.setattr(api_server, "ask", ask)
    with pytest.raises(NodeError, match="its API server is not ready: no answer in time; nothing was changed"):
        inspect.inspect(a_plan())


def test_the_authority_is_printed_with_its_key(plane: Plane) -> None:
    found = json.loads(authority.authority(a_plan()))
    assert found == {
        "certificate": PEM.format("old pki/etcd/ca.crt"),
        "private_key": PEM.format("old pki/etcd/ca.key"),
    }
    (plane.root / "pki/etcd/ca.key").unlink()
    with pytest.raises(NodeError, match=r"ca.key missing"):
        authority.authority(a_plan())


def test_no_member_joins_that_a_control_plane_cannot_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = ["etcd-1:2379 (rejected: a firewall on etcd-1?)"]
    monkeypatch.setattr(network, "unreachable", lambda members, ports: closed if members and ports else [])
    with pytest.raises(NodeError, match=r"control-1 cannot reach etcd-1:2379 \(rejected.*; no member has joined"):
        reach.reach(a_plan())
    closed.clear()
    reach.reach(a_plan())


# -- switch ------------------------------------------------------------------------------------------------------------


def test_a_switch_changes_the_flags_and_the_client_certificate_and_keeps_the_old_ones(plane: Plane) -> None:
    before = plane.everything()
    switched(plane)
    text = before["manifests/kube-apiserver.yaml"]
    assert plane.everything()["manifests/kube-apiserver.yaml"] == text.replace("https://127.0.0.1:2379", URLS)
    assert (plane.root / "pki/apiserver-etcd-client.key").read_text() == GIVEN["client.key"]
    assert (plane.root / "pki/etcd/ca.crt").read_text() == GIVEN["ca.crt"]
    kept = {name: content for name, content in plane.everything().items() if name.startswith("external-etcd/")}
    assert len(kept) == 4
    assert all(content.startswith("100600") for content in kept.values())
    # The kubelet runs every file in this directory.
    assert sorted(path.name for path in (plane.root / "manifests").iterdir()) == ["etcd.yaml", "kube-apiserver.yaml"]
    again = plane.everything()
    switched(plane)
    assert plane.everything() == again
    assert plane.started == [URLS]


def test_the_way_back_restores_every_byte_and_mode(plane: Plane) -> None:
    names = ("pki/etcd/ca.crt", "pki/apiserver-etcd-client.crt", "pki/apiserver-etcd-client.key")
    for name in names:
        (plane.root / name).chmod(0o640)
    before = plane.everything()
    switched(plane)
    # An API server that does not run as root must read them.
    assert {(plane.root / name).stat().st_mode for name in names} == {0o100640}
    switch.switch_back(a_plan())
    assert plane.everything() == before
    assert plane.started == [URLS, "https://127.0.0.1:2379"]
    switch.switch_back(a_plan())
    assert plane.everything() == before


def test_the_way_back_leaves_nothing_that_a_killed_write_has_left(plane: Plane) -> None:
    before = plane.everything()
    switched(plane)
    written = (places.API_SERVER, places.AWAY, places.KEY_FILE, places.kept(places.API_SERVER))
    for path in written:
        path.with_name(f".{path.name}.new").write_text("half")
    switch.switch_back(a_plan())
    assert plane.everything() == before


@pytest.mark.parametrize("again", [False, True])
def test_the_way_back_is_exact_even_if_somebody_has_changed_the_endpoints(plane: Plane, again: bool) -> None:
    before = plane.everything()
    switched(plane)
    plane.manifest.write_text(plane.manifest.read_text().replace(URLS, URLS.rpartition(",")[0]))
    if again:
        switched(plane)
    switch.switch_back(a_plan())
    assert plane.everything() == before


def test_no_api_server_goes_back_to_unknown_flags(plane: Plane) -> None:
    switched(plane)
    kept = plane.root / "external-etcd/kube-apiserver.yaml"
    kept.write_text(plane.manifest.read_text())
    before = plane.everything()
    with pytest.raises(NodeError, match=r"is missing or has external members.*nothing was changed"):
        switch.switch_back(a_plan())
    assert plane.everything() == before
    kept.unlink()
    with pytest.raises(NodeError, match=r"is missing or has external members.*nothing was changed"):
        switch.switch_back(a_plan())


def test_api_servers_that_have_lost_the_members_go_back_without_waiting_for_each_other(plane: Plane) -> None:
    before = plane.everything()
    switched(plane)
    plane.broken = True
    plane.others["10.1.2.12"] = "[-]etcd failed"
    switch.switch_back(a_plan())
    assert plane.everything() == before


def test_an_edit_made_after_the_switch_survives_the_way_back(plane: Plane) -> None:
    text = plane.manifest.read_text()
    switched(plane)
    edit = ("--allow-privileged=true", "--allow-privileged=false")
    plane.manifest.write_text(plane.manifest.read_text().replace(*edit))
    switch.switch_back(a_plan())
    assert plane.manifest.read_text() == text.replace(*edit)


def test_an_api_server_that_does_not_become_ready_gets_its_manifest_back(plane: Plane) -> None:
    before = plane.everything()
    plane.broken = True
    with pytest.raises(NodeError, match="the manifest is as it was before"):
        switch.switch(a_plan(), GIVEN)
    assert plane.everything() == before
    plane.broken = False
    switched(plane)
    # As after a kill: it was switched, and is not ready when the next run finds it.
    plane.broken = True
    # When the stacked member has left, it cannot go back to it.
    plane.silent["10.1.2.11"] = "connection refused"
    after = plane.everything()
    with pytest.raises(NodeError, match="the manifest is as it was before"):
        switch.switch(a_plan(), GIVEN)
    assert plane.everything() == after
    plane.silent.clear()
    with pytest.raises(NodeError, match="the manifest is as it was before"):
        switch.switch(a_plan(), GIVEN)
    assert plane.everything() == before


def test_an_edit_made_during_a_failing_switch_survives(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    text, edit = plane.manifest.read_text(), ("--allow-privileged=true", "--allow-privileged=false")

    def edited(program: str) -> list[list[str]]:
        if plane.manifest.exists():
            plane.manifest.write_text(plane.manifest.read_text().replace(*edit))
        return plane.commands(program)

    monkeypatch.setattr(api_server, "commands", edited)
    plane.broken = True
    with pytest.raises(NodeError, match="the manifest is as it was before"):
        switch.switch(a_plan(), GIVEN)
    assert plane.manifest.read_text() == text.replace(*edit)


@pytest.mark.parametrize("writes", range(9))
def test_a_switch_that_is_interrupted_anywhere_is_completed_or_undone(
    plane: Plane, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plane.everything()
    rename = Path.rename
    left = [writes]

    def interrupted(path: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return rename(path, target)

    for _ in range(2):
        left[0] = writes
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "rename", interrupted)
            switch.switch(a_plan(), GIVEN)
            raise KeyboardInterrupt
        switch.switch_back(a_plan())
        assert plane.everything() == before
        left[0] = writes
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "rename", interrupted)
            switch.switch(a_plan(), GIVEN)
            raise KeyboardInterrupt
        switched(plane)
        switch.switch_back(a_plan())
        assert plane.everything() == before


def test_the_new_manifest_comes_when_the_old_api_server_has_ended(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet runs every file there but those with a dot."""
    away = plane.manifest.with_name(".kube-apiserver.yaml.away")
    ends = [[["kube-apiserver"]], [["kube-apiserver"]], []]

    def ending(program: str) -> list[list[str]]:
        if plane.manifest.exists() or program != "kube-apiserver":
            return plane.commands(program)
        assert "--etcd-servers=https://10.1.1.11:2379," in away.read_text()
        return ends.pop(0)

    monkeypatch.setattr(api_server, "commands", ending)
    switch.switch(a_plan(), GIVEN)
    assert not ends
    assert not away.exists()


@pytest.mark.parametrize("inspected", [False, True])
def test_a_manifest_that_a_killed_run_has_taken_away_is_put_back_by_the_next_run_and_on_the_way_back(
    plane: Plane, inspected: bool
) -> None:
    def away(phase: str) -> None:
        """The kubelet has ended the API server, and starts it some seconds after the manifest is there again."""
        plane.manifest.rename(plane.manifest.with_name(".kube-apiserver.yaml.away"))
        if inspected:
            plane.others["10.1.2.11"] = "Connection refused"
            inspect.inspect(a_plan(phase=phase))
            plane.others.clear()

    before = plane.everything()
    switched(plane)
    after = plane.everything()
    away("switch")
    switched(plane)
    assert plane.everything() == after
    away("join")
    switch.switch_back(a_plan())
    assert plane.everything() == before
    switched(plane)
    # It was on the way back.
    plane.manifest.write_text(plane.manifest.read_text().replace(URLS, "https://127.0.0.1:2379"))
    away("join")
    switch.switch_back(a_plan())
    assert plane.everything() == before


def test_the_control_groups_of_a_pod_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process, pod = tmp_path / "7", "kubepods/burstable/pod1"
    process.mkdir()
    (process / "cgroup").write_text(f"9:memory:/{pod}/c1\n1:name=systemd:/{pod}/c1\n0::/init.scope\n")
    (tmp_path / "memory" / pod / "c1").mkdir(parents=True)
    monkeypatch.setattr(api_server, "_CGROUPS", tmp_path)
    monkeypatch.setattr(api_server, "_processes", lambda _: {process: ["kube-apiserver"], tmp_path / "8": []})
    assert api_server.pods("kube-apiserver") == [tmp_path / "memory" / pod]


def test_no_api_server_is_switched_while_another_one_or_a_member_is_away(plane: Plane) -> None:
    before = plane.everything()
    plane.others["10.1.2.12"] = "[-]etcd failed"
    with pytest.raises(
        NodeError, match=r"not all other API servers are ready \(control-2: .*this one was not restarted"
    ):
        switch.switch(a_plan(), GIVEN)
    plane.others.clear()
    plane.silent["10.1.1.12"] = "connection refused"
    with pytest.raises(NodeError, match=r"\(etcd-2: connection refused\); its API server was not switched"):
        switch.switch(a_plan(), GIVEN)
    assert plane.everything() == before


def test_no_api_server_goes_back_to_a_stacked_member_that_is_not_ready(plane: Plane) -> None:
    switched(plane)
    before = plane.everything()
    plane.silent["10.1.2.11"] = "connection refused"
    with pytest.raises(NodeError, match="the API server was not switched back"):
        switch.switch_back(a_plan())
    assert plane.everything() == before


# -- leave -------------------------------------------------------------------------------------------------------------


def test_a_control_plane_gives_up_its_etcd_only_when_nothing_uses_it(plane: Plane) -> None:
    before = plane.everything()
    with pytest.raises(NodeError, match="not only the external members; nothing was changed") as error:
        leave.leave(a_plan())
    # The phase `switch` may not be possible any more.
    assert all(f"{flag}=" in error.value.remedy for flag in manifest.FLAGS)
    assert "migration.phase" not in error.value.remedy
    assert plane.everything() == before
    switched(plane)
    plane.listed.append("control-1")
    before = plane.everything()
    with pytest.raises(NodeError, match="its etcd is still a member"):
        leave.leave(a_plan())
    assert plane.everything() == before
    plane.listed.remove("control-1")
    leave.leave(a_plan())
    assert not (plane.root / "manifests/etcd.yaml").exists()
    assert (plane.root / "external-etcd/etcd.yaml").read_text() == "kind: Pod\n"
    before = plane.everything()
    leave.leave(a_plan())
    assert plane.everything() == before


def test_kubeadm_knows_the_external_etcd_even_if_somebody_else_writes_meanwhile(plane: Plane) -> None:
    plane.conflicts = 2
    leave.configure(a_plan())
    assert "  external:\n" in plane.configuration
    assert all(f"    - {url}\n" in plane.configuration for url in URLS.split(","))
    assert (plane.root / "external-etcd/ClusterConfiguration.yaml").read_text() == V1BETA4
    after = plane.configuration
    leave.configure(a_plan())
    assert plane.configuration == after
    assert (plane.root / "external-etcd/ClusterConfiguration.yaml").read_text() == V1BETA4


# -- back --------------------------------------------------------------------------------------------------------------


def test_the_members_stay_while_an_api_server_uses_them(plane: Plane) -> None:
    switched(plane)
    with pytest.raises(NodeError, match="no member was removed"):
        back.back(a_plan())


def test_no_machine_goes_while_the_stacked_members_need_it(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    back.stand_alone(a_plan())  # only ours: the stacked ones have left
    plane.listed += ["control-1", "control-2"]
    with pytest.raises(NodeError, match=r"etcd-1, etcd-2, etcd-3 are members of the stacked cluster.*phase` to back"):
        back.stand_alone(a_plan())
    (plane.root / "manifests/etcd.yaml").rename(plane.root / "aside.yaml")
    with pytest.raises(NodeError, match="are members of the stacked cluster"):
        back.stand_alone(a_plan())
    (plane.root / "aside.yaml").rename(plane.root / "manifests/etcd.yaml")
    plane.listed = ["control-1", "control-2"]
    back.stand_alone(a_plan())
    plane.silent = dict.fromkeys([*PLAN["planes"].values(), *PLAN["members"].values()], "connection refused")
    with pytest.raises(NodeError, match="it is unknown whether it needs the external members; nothing was removed"):
        back.stand_alone(a_plan())

    def without_certificates(*_: object) -> None:
        raise NodeError("the certificates cannot be used", "")

    monkeypatch.setattr(etcd, "peer_view", without_certificates)
    with pytest.raises(NodeError, match="it is unknown whether it needs the external members; nothing was removed"):
        back.stand_alone(a_plan())
    (plane.root / "manifests/etcd.yaml").unlink()
    back.stand_alone(a_plan())
    monkeypatch.setattr(etcd, "peer_view", plane.peer_view)
    back.stand_alone(a_plan())


# -- its arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"plane": "control-9"},
        {"planes": {}},
        {"members": {"etcd-1": "nowhere"}},
        {"more": 1},
        {"planes": 1},
    ],
)
def test_a_plan_of_another_program_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NodeError, match="is not understood"):
        a_plan(**changes)


def test_an_error_about_the_certificates_never_shows_them() -> None:
    secret = json.dumps({"files": {**GIVEN, "client.key": "SECRET"}})
    with pytest.raises(NodeError, match="does not hold the client certificate") as error:
        plan.parse_files(secret)
    assert "SECRET" not in str(error.value)
    assert plan.parse_files(json.dumps({"files": GIVEN, "change": "1"})) == GIVEN


def test_an_administrator_without_a_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = tmp_path / "admin.conf"
    monkeypatch.setattr(places, "ADMIN", admin)
    monkeypatch.setattr(places, "API_SERVER", tmp_path / "kube-apiserver.yaml")
    (tmp_path / "kube-apiserver.yaml").write_text(MANIFEST)
    certificate = base64.b64encode(b"not a certificate").decode()
    for text in ("", f"certificate-authority-data: {certificate}\nclient-certificate-data: {certificate}\n"):
        admin.write_text(text)
        with pytest.raises(NodeError, match="does not hold the administrator's certificate and key"):
            api_server.ask("127.0.0.1", "/readyz")


def test_a_ca_of_an_old_kubeadm_is_trusted_by_every_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default context of Python 3.13 and later would not: such a CA has no key identifiers."""
    own = OwnAuthority()
    texts = (own.certificate, *own.issue("kubernetes-admin"))
    names = ("certificate-authority-data", "client-certificate-data", "client-key-data")
    admin = tmp_path / "admin.conf"
    lines = [f"{name}: {base64.b64encode(text.encode()).decode()}\n" for name, text in zip(names, texts, strict=True)]
    admin.write_text("".join(lines))
    monkeypatch.setattr(places, "ADMIN", admin)
    default = ssl.create_default_context

    def strict(**given: Any) -> ssl.SSLContext:
        context = default(**given)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    context = api_server._context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_an_api_server_that_is_away_has_a_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> Answer:
        raise UnreachableError("Connection refused")

    monkeypatch.setattr(api_server, "ask", away)
    assert api_server.trouble("10.1.2.11") == "Connection refused"
    assert api_server.clock_difference({"control-2": "10.1.2.12"}) == {}
