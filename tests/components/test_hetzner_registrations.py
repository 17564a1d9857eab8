"""The platform hetzner as the engine receives it, in a preview and an update: names, parents, order, secrets."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks import config, hetzner
from tests.support.recording import Recorder, is_secret, plain_text, record

REPO = Path(__file__).resolve().parents[2]
EXAMPLE = {
    name.removeprefix("external-etcd:"): value
    for name, value in yaml.safe_load((REPO / "Pulumi.hetzner.yaml").read_text())["config"].items()
}
SLOTS = ("etcd-1", "etcd-2", "etcd-3")
PRIVATE: dict[str, Any] = {"publicIpv4": False, "bastion": {"serverType": "cx23"}}
VOLUME: dict[str, Any] = {"volume": {"size": 10}}
PREVIEW_AND_UPDATE = pytest.mark.parametrize("preview", [True, False], ids=["preview", "update"])
SERVER, COMMAND = "hcloud:index/server:Server", "command:remote:Command"
FIRST = {"etcd-1": 1, "etcd-2": 1, "etcd-3": 1}


def stack(preview: bool, previous: dict[str, Any] | None = None, generations: str = "111", **changes: Any) -> Recorder:
    values = copy.deepcopy(EXAMPLE)
    values["hetzner"].update(changes)
    for slot, generation in zip(values["hetzner"]["slots"], generations, strict=True):
        slot["generation"] = int(generation)
    raw = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    wanted = config.load("hetzner", raw)
    return record(lambda: hetzner.build(wanted, previous or {}), preview)


def types(recorder: Recorder, type_: str) -> list[str]:
    return sorted(each.name for each in recorder.registrations if each.type.rsplit(":", 1)[-1] == type_)


def stashes(generations: str) -> list[str]:
    kept = [f"hetzner-{slot}-generation-{number}" for slot, number in zip(SLOTS, generations, strict=True)]
    return sorted(
        [*kept, *(f"{name}-first-boot" for name in kept), "hetzner-change", "hetzner-founding", "hetzner-machines"]
    )


@PREVIEW_AND_UPDATE
def test_the_names_of_all_resources_are_an_interface_and_stay_as_they_are(preview: bool) -> None:
    recorder = stack(preview, **VOLUME, **PRIVATE)
    found = [
        (each.type.rsplit(":", 1)[-1], each.name)
        for each in recorder.registrations
        if each.type.startswith(("hcloud:", "external-etcd:index:Hetzner"))
    ]
    cluster = [
        *(("HetznerNetwork", "HetznerKey", "HetznerMachines", "Network", "NetworkSubnet", "Firewall")),
        *(("PlacementGroup", "SshKey")),
    ]
    assert sorted(found) == sorted(
        [
            *((type_, "hetzner") for type_ in cluster),
            *((type_, "hetzner-bastion") for type_ in ("HetznerBastion", "Server", "NetworkRoute")),
            *((type_, f"hetzner-{slot}") for slot in SLOTS for type_ in ("Server", "Volume", "VolumeAttachment")),
        ]
    )
    assert types(recorder, "Stash") == stashes("111")
    reached = [name for name in types(recorder, "Command") if name.endswith("-reached")]
    assert reached == ["hetzner-bastion-reached", *(f"hetzner-{slot}-reached" for slot in SLOTS)]


@PREVIEW_AND_UPDATE
def test_every_resource_hangs_below_the_component_that_makes_it(preview: bool) -> None:
    for each in stack(preview, **VOLUME, **PRIVATE).registrations:
        if each.request.custom and "StackReference" not in each.type:
            assert each.parent in ("hetzner", "hetzner-pki", "hetzner-bastion", *(f"hetzner-{slot}" for slot in SLOTS))


@PREVIEW_AND_UPDATE
def test_everything_that_takes_labels_says_whose_it_is(preview: bool) -> None:
    recorder = stack(preview, **VOLUME, **PRIVATE)
    for each in recorder.registrations:
        if each.type.startswith("hcloud:") and each.type.rsplit(":", 1)[-1] in (
            *("Network", "Firewall", "PlacementGroup", "SshKey", "Server", "Volume"),
        ):
            labels = each.inputs["labels"]
            assert (labels["etcd"], labels["cluster"], labels["environment"]) == ("true", "hetzner", "test"), each.name
    for slot in SLOTS:
        assert recorder.named(f"hetzner-{slot}", SERVER).inputs["labels"]["member"] == slot


@PREVIEW_AND_UPDATE
def test_names_in_the_project_hold_the_clusters_so_that_no_two_clusters_collide(preview: bool) -> None:
    for each in stack(preview, **VOLUME, **PRIVATE).registrations:
        name = each.inputs.get("name")
        if each.type.startswith("hcloud:") and name is not None:
            assert name.startswith("hetzner"), each.name
            assert each.request.deleteBeforeReplace, each.name


@PREVIEW_AND_UPDATE
def test_servers_wait_for_the_subnet_and_not_for_each_other(preview: bool) -> None:
    recorder = stack(preview)
    for slot in SLOTS:
        depends = recorder.named(f"hetzner-{slot}", SERVER).depends_on
        assert not {f"hetzner-{other}" for other in SLOTS} & {name for name in depends if name != f"hetzner-{slot}"}
        assert "hetzner" in depends


@PREVIEW_AND_UPDATE
def test_no_private_key_is_outside_a_secret_envelope(preview: bool) -> None:
    recorder = stack(preview, **VOLUME, **PRIVATE)
    for each in recorder.registrations:
        assert "PRIVATE KEY" not in plain_text(each.inputs), each.name
    for name, outputs in recorder.outputs.items():
        assert "PRIVATE KEY" not in plain_text(outputs), name
    if not preview:
        assert is_secret(recorder.named("hetzner-etcd-1", SERVER).inputs["userData"])


def test_the_first_boot_gives_the_pinned_host_key_and_the_operators_login() -> None:
    recorder = stack(False)
    for slot in SLOTS:
        text = recorder.named(f"hetzner-{slot}", SERVER).inputs["userData"]["value"]
        first, _, rest = text.partition("\n")
        assert first == "#cloud-config"
        values = yaml.safe_load(rest)
        (user,) = values["users"]
        assert user["name"] == "etcd-operator"
        assert user["ssh_authorized_keys"] == ["ssh-ed25519 hetzner"]
        assert values["ssh_keys"]["ed25519_public"] == f"ssh-ed25519 hetzner-{slot}"
        assert f"of hetzner-{slot}" in values["ssh_keys"]["ed25519_private"]
        assert len(text.encode()) < 32 << 10
        connection = recorder.named(f"hetzner-{slot}-prepare").inputs["connection"]["value"]
        assert connection["hostKey"].strip() == values["ssh_keys"]["ed25519_public"]


@PREVIEW_AND_UPDATE
def test_what_is_on_a_machine_goes_with_its_server(preview: bool) -> None:
    recorder = stack(preview, **VOLUME)
    for slot in SLOTS:
        urn = f"{SERVER}::hetzner-{slot}"
        for suffix in ("reached", "prepare", "found", "converge"):
            assert recorder.named(f"hetzner-{slot}-{suffix}").request.deletedWith.endswith(urn)
        attachment = recorder.named(f"hetzner-{slot}", "hcloud:index/volumeAttachment:VolumeAttachment")
        assert attachment.request.deletedWith.endswith(urn)


@PREVIEW_AND_UPDATE
def test_a_volume_comes_off_by_the_deletion_of_its_server_after_the_shutdown(preview: bool) -> None:
    recorder = stack(preview, **VOLUME)
    for slot in SLOTS:
        attachment = recorder.named(f"hetzner-{slot}", "hcloud:index/volumeAttachment:VolumeAttachment")
        assert attachment.request.retainOnDelete
        server = recorder.named(f"hetzner-{slot}", SERVER)
        assert server.inputs["shutdownBeforeDeletion"]
        # The other way round at the end: the server goes before its volume does.
        assert any(urn.endswith(f"Volume::hetzner-{slot}") for urn in server.request.dependencies)


def test_another_server_in_a_slot_is_prepared_and_converged_anew() -> None:
    recorder = stack(False)
    for slot in SLOTS:
        number = recorder.named(f"hetzner-{slot}-reached").inputs["triggers"][0]
        for verb in ("prepare", "converge"):
            assert number in recorder.named(f"hetzner-{slot}-{verb}").inputs["stdin"]["value"]


def test_volumes_are_protected_unless_told_otherwise_and_etcd_is_prepared_on_them() -> None:
    recorder = stack(False, **VOLUME)
    open_ = stack(False, volume={"size": 10, "protect": False})
    for slot in SLOTS:
        assert recorder.named(f"hetzner-{slot}", "hcloud:index/volume:Volume").request.protect
        assert not open_.named(f"hetzner-{slot}", "hcloud:index/volume:Volume").request.protect
        device = recorder.named(f"hetzner-{slot}-prepare").inputs["create"]
        assert '"data_device": "/dev/disk/by-id/volume_' in device
        assert "data_device" not in recorder.named(f"hetzner-{slot}-converge").inputs["create"]


@PREVIEW_AND_UPDATE
def test_without_public_addresses_every_connection_goes_through_the_bastion(preview: bool) -> None:
    recorder = stack(preview, **PRIVATE)
    for slot in SLOTS:
        server = recorder.named(f"hetzner-{slot}", SERVER).inputs
        assert server["publicNets"] == [{"ipv4Enabled": False, "ipv6Enabled": False}]
        if not preview:
            for verb in ("reached", "prepare", "found", "converge"):
                connection = recorder.named(f"hetzner-{slot}-{verb}").inputs["connection"]["value"]
                assert connection["host"].startswith("10.1.1.1")
                assert connection["proxy"]["host"].startswith("198.51.100.")
                assert connection["proxy"]["hostKey"].strip() == "ssh-ed25519 hetzner-bastion"


def test_the_public_side_lets_in_ssh_from_the_operator_and_nothing_else() -> None:
    rules = stack(False).named("hetzner", "hcloud:index/firewall:Firewall").inputs["rules"]
    assert [(rule["protocol"], rule.get("port"), rule["sourceIps"]) for rule in rules] == [
        ("tcp", "22", ["203.0.113.7/32"]),
        ("icmp", None, ["0.0.0.0/0", "::/0"]),
    ]


def test_the_machines_filter_private_traffic_by_the_same_rules() -> None:
    create = stack(False).named("hetzner-etcd-1-prepare").inputs["create"]
    spec = json.loads(create[create.index("{") : create.rindex("}") + 1])
    members = ["10.1.1.11/32", "10.1.1.12/31"]
    assert spec["firewall"] == {
        "22": ["203.0.113.7/32"],
        "2379": [*members, "10.1.2.0/24"],
        "2380": members,
        "2381": members,
    }
    # So that the machine knows who leaves, and lets them in until then.
    assert spec["members"] == {"etcd-1": "10.1.1.11", "etcd-2": "10.1.1.12", "etcd-3": "10.1.1.13"}


@PREVIEW_AND_UPDATE
def test_before_a_server_is_replaced_the_next_slots_member_is_asked_and_nobody_when_everything_goes(
    preview: bool,
) -> None:
    recorder = stack(preview)
    for slot, witness in zip(SLOTS, (*SLOTS[1:], SLOTS[0]), strict=True):
        gate = recorder.named(f"hetzner-{slot}-gate")
        assert [urn.split("::")[-1] for urn in gate.request.replace_with] == [f"hetzner-{slot}"]
        assert gate.request.deleteBeforeReplace
        assert gate.request.deletedWith.endswith(f"tls:index/privateKey:PrivateKey::hetzner-{slot}")
        assert f"etcd-node spare {slot}" in gate.inputs["delete"]
        assert gate.inputs["create"] == "true"
        assert f"hetzner-{witness}-reached" in gate.depends_on
        # Nothing waits for it: else the gates of all slots would be a circle.
        assert not any(gate.name in each.depends_on for each in recorder.registrations)


@PREVIEW_AND_UPDATE
def test_one_generation_is_raised_by_another_stash_of_that_slot_alone(preview: bool) -> None:
    recorder = stack(preview, {"generations": FIRST}, generations="121")
    assert types(recorder, "Stash") == stashes("121")


@PREVIEW_AND_UPDATE
def test_two_generations_raised_at_once_are_refused_before_any_server_is_touched(preview: bool) -> None:
    with pytest.raises(ValueError, match="One update replaces one machine"):
        stack(preview, {"generations": FIRST}, generations="122")


@PREVIEW_AND_UPDATE
def test_what_a_running_machine_is_made_with_comes_from_its_stash_and_not_from_the_configuration(preview: bool) -> None:
    recorder = stack(preview)
    for slot in SLOTS:
        depends = recorder.named(f"hetzner-{slot}", SERVER).depends_on
        assert f"hetzner-{slot}-generation-1" in depends
        stash = recorder.named(f"hetzner-{slot}-generation-1").request
        assert list(stash.ignoreChanges) == ["input"]


def test_outputs_name_the_network_the_servers_and_the_part_for_cluster_api() -> None:
    values = copy.deepcopy(EXAMPLE)
    raw = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    wanted = config.load("hetzner", raw)
    outputs: dict[str, Any] = {}
    record(lambda: outputs.update(hetzner.build(wanted, {})), False)
    assert {"network_id", "subnet", "server_ids", "hosts", "ssh_private_key", "generations"} <= set(outputs)
    fragment = yaml.safe_load(outputs["cluster_api_infrastructure"])
    assert fragment["kind"] == "HetznerCluster"
    assert fragment["spec"]["hcloudNetwork"] == {
        "enabled": True,
        "cidrBlock": "10.1.0.0/16",
        "subnetCidrBlock": "10.1.1.0/24",
        "networkZone": "eu-central",
    }
