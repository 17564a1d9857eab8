"""The policy pack with the real CLI: on examples, on a program that breaks its rules, on a running stack."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.engine import environment
from tests.support import pretended
from tests.support.cloud_stacks import FILES, example, raise_generation, settings
from tests.support.stacks import REPO, Run, Stack, program_stack

from .test_cloud_previews import AMI, NOBODY, OFFLINE

# A program that changes what the components have declared, and opens their group.
PROGRAM = """
import pulumi
import pulumi_aws as aws
from components.aws import AwsKey, AwsMachines, AwsNetwork
from components.pki import EtcdPki

CHANGED = {
    "aws:ec2/instance:Instance": {
        "metadata_options": {"http_tokens": "optional", "http_put_response_hop_limit": 1},
        "root_block_device": {"encrypted": False},
    },
    "aws:ebs/volume:Volume": {"encrypted": False},
    "tls:index/locallySignedCert:LocallySignedCert": {"validity_period_hours": 87600},
}


def change(args):
    args.opts.protect = False
    return pulumi.ResourceTransformationResult({**args.props, **CHANGED.get(args.type_, {})}, args.opts)


pulumi.runtime.register_stack_transformation(change)
subnets = [{"zone": "eu-central-1a", "range": "10.2.1.0/24"}]
network = AwsNetwork("etcd", {"cluster_name": "etcd", "subnets": subnets, "operators": ["203.0.113.7/32"]})
key = AwsKey("etcd")
slot = {"name": "etcd-1", "address": "10.2.1.10", "zone": "eu-central-1a", "instance_type": "t3.medium", "ami": "AMI"}
AwsMachines(
    "etcd",
    network,
    {
        "cluster_name": "etcd",
        "slots": [slot],
        "private_key": key.private_key,
        "public_key": key.public_key,
        "volume": {"size": 20},
    },
)
EtcdPki("etcd", {"members": [{"name": "etcd-1", "address": "10.2.1.10"}]})
aws.vpc.SecurityGroupIngressRule(
    "everybody",
    security_group_id=network.members_group_id,
    ip_protocol="tcp",
    from_port=2379,
    to_port=2379,
    cidr_ipv4="0.0.0.0/0",
)
""".replace("AMI", AMI)

# The range is known when the network exists.
LATER = """
import pulumi_hcloud as hcloud

network = hcloud.Network("later", ip_range="10.1.0.0/16")
source = network.id.apply(lambda _: "0.0.0.0/0")
rule = {"direction": "in", "protocol": "tcp", "port": "2379", "source_ips": [source]}
hcloud.Firewall("later", rules=[rule])
"""


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy elsewhere, without the repository around it, as after `pulumi install` in its folder."""
    copy = tmp_path_factory.mktemp("pack") / "policy"
    shutil.copytree(REPO / "policy", copy, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
    (copy / ".venv").symlink_to(REPO / ".venv")
    return copy


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {**environment(tmp_path_factory.mktemp("engine")), **NOBODY}


def previewed(stack: Stack, pack: Path) -> Run:
    """A preview with the pack, which Pulumi has loaded."""
    return loaded(stack.preview(f"--policy-pack={pack}", check=False))


def loaded(run: Run) -> Run:
    """The same run, if the pack was loaded in it."""
    assert re.search(r"external-etcd@v\d+\.\d+\.\d+ \(local: ", run.text), run.text
    return run


def violations(run: Run) -> Iterator[tuple[str, str, str]]:
    """Level, policy and resource of every line that Pulumi prints for one."""
    for level, policy, type_, name in re.findall(r"\[(advisory|mandatory)\]  (\S+)  \((\S+): (\S+)\)", run.text):
        yield level, policy, f"{type_.rpartition(':')[2]} {name}"


@pytest.mark.parametrize("kind", ["aws", "hetzner"])
def test_the_example_of_each_cloud_passes(kind: str, pack: Path, environ: dict[str, str], tmp_path: Path) -> None:
    stack = Stack(tmp_path / kind, environ, example(kind) | OFFLINE[kind], FILES, "external-etcd")
    volumes = {"volume": {"size": 20}}
    settings(stack).update({"ami": AMI, **volumes} if kind == "aws" else volumes)
    run = previewed(stack, pack)
    assert run.code == 0, run.text
    # The firewall gets its ID in the update.
    unknown = {"aws": set(), "hetzner": {f"Server hetzner-etcd-{n}" for n in (1, 2, 3)}}[kind]
    assert set(violations(run)) == {("advisory", "public-servers-behind-firewall", name) for name in unknown}


def test_a_program_that_weakens_the_components_is_refused(pack: Path, environ: dict[str, str], tmp_path: Path) -> None:
    config = {"aws:region": "eu-central-1", **OFFLINE["aws"]}
    run = previewed(program_stack("weakened", PROGRAM, tmp_path, environ, config), pack)
    assert run.code != 0
    assert set(violations(run)) == {
        ("mandatory", "named-ranges-only", "SecurityGroupIngressRule everybody"),
        ("mandatory", "volumes-encrypted", "Volume etcd-etcd-1"),
        ("mandatory", "volumes-encrypted", "Instance etcd-etcd-1"),
        ("mandatory", "data-protected", "Volume etcd-etcd-1"),
        ("mandatory", "imdsv2-only", "Instance etcd-etcd-1"),
        *(
            ("mandatory", "certificate-lifetimes", f"LocallySignedCert etcd-{name}")
            for name in ("healthcheck-client", "apiserver-etcd-client", "etcd-1-server", "etcd-1-peer")
        ),
    }
    assert "Only named ranges reach ssh and etcd." in run.text
    assert "Port 2379 is open to 0.0.0.0/0: the internet, or a large part of it. Name the ranges" in run.text


@pytest.fixture(scope="module")
def pretending(environ: dict[str, str]) -> dict[str, str]:
    """The environment in which resources at Hetzner are created without a cloud."""
    return {**environ, "PATH": f"{pretended.PATH}:{environ['PATH']}"}


def test_what_a_preview_cannot_know_is_refused_by_the_update_before_it_exists(
    pack: Path, pretending: dict[str, str], tmp_path: Path
) -> None:
    stack = program_stack("later", LATER, tmp_path, pretending, OFFLINE["hetzner"])
    run = previewed(stack, pack)
    assert run.code == 0, run.text
    assert list(violations(run)) == [("advisory", "named-ranges-only", "Firewall later")]
    assert "value at .rules.0.sourceIps.0 can't be known during preview" in run.text
    run = loaded(stack.up(f"--policy-pack={pack}", check=False))
    assert run.code != 0
    assert list(violations(run)) == [("mandatory", "named-ranges-only", "Firewall later")]
    assert "Port 2379 is open to 0.0.0.0/0" in run.text
    there = [each["type"] for each in stack.export()["deployment"]["resources"]]
    assert "hcloud:index/network:Network" in there
    assert "hcloud:index/firewall:Firewall" not in there


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pretending: dict[str, str]) -> Stack:
    """A stack at Hetzner that was up. The last generations are not recorded, so its own program compares nothing."""
    config = example("hetzner") | OFFLINE["hetzner"]
    stack = Stack(tmp_path_factory.mktemp("stacks") / "running", pretending, config, FILES, "external-etcd")
    stack.up()
    stack.left(generations=None, applied=None)
    return stack


def test_only_one_machine_of_a_running_cluster_is_replaced_per_update(running: Stack, pack: Path) -> None:
    raise_generation(running, "etcd-1")
    run = previewed(running, pack)
    assert run.code == 0, run.text
    assert re.search(r"hcloud:index:Server hetzner-etcd-1 (replace|delete)", run.text)
    assert list(violations(run)) == []
    raise_generation(running, "etcd-3")
    run = previewed(running, pack)
    assert run.code != 0
    assert "hetzner-etcd-1, hetzner-etcd-3 would get new machines in one update; this policy allows 1." in run.text


def test_the_environment_chooses_pack_and_configuration_which_names_ranges_and_sets_levels(
    running: Stack, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the test above, two generations are raised."""
    config = {
        "named-ranges-only": {"ranges": {"22": ["198.51.100.0/24"]}},
        "one-machine-per-update": "advisory",
        "odd-members": {"enforcementLevel": "disabled", "minimum": 5},
    }
    (tmp_path / "policies.json").write_text(json.dumps(config))
    options = {"POLICY_PACK": str(pack), "POLICY_PACK_CONFIG": str(tmp_path / "policies.json")}
    for name, value in options.items():
        monkeypatch.setitem(running.environ, f"PULUMI_OPTION_{name}", value)
    run = loaded(running.preview(check=False))
    assert run.code != 0
    assert set(violations(run)) == {
        ("mandatory", "named-ranges-only", "Firewall hetzner"),
        ("advisory", "one-machine-per-update", "EtcdCluster hetzner"),
    }
    assert "Port 22 is open to 203.0.113.7/32, but this policy allows 198.51.100.0/24." in run.text
    # The state alone: there the machines exist.
    run = running.pulumi("policy", "analyze", check=False)
    assert run.code != 0
    assert set(violations(run)) == {("mandatory", "named-ranges-only", "Firewall hetzner")}


@pytest.mark.parametrize("wrong", [{"minimum": "three"}, {"minimun": 3, "enforcementLevel": "mandatory"}])
def test_a_configuration_that_a_policy_does_not_know_is_refused(
    wrong: dict[str, object], running: Stack, pack: Path, tmp_path: Path
) -> None:
    (tmp_path / "policies.json").write_text(json.dumps({"odd-members": wrong}))
    run = running.preview(f"--policy-pack={pack}", f"--policy-pack-config={tmp_path / 'policies.json'}", check=False)
    assert run.code != 0
    assert next(iter(wrong)) in run.text
