"""The policy pack as a program of its own: how it starts, what it says about itself, what it needs."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import jsonschema
import pytest
import yaml
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from packaging.requirements import Requirement
from pulumi.runtime.proto import analyzer_pb2_grpc

from lab.plugins import sdk
from lab.plugins.schema import Field
from tests.support.policies import Pack

REPO = Path(__file__).resolve().parents[2]
FOLDER = REPO / "policy"
# Type -> the inputs that a policy reads; a dot leads into an object or the objects of a list.
READ: dict[str, list[str]] = {
    "aws:ec2/securityGroup:SecurityGroup": [
        f"ingress.{name}"
        for name in ("protocol", "fromPort", "toPort", "cidrBlocks", "ipv6CidrBlocks", "prefixListIds")
    ],
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": ["ingress.protocol", "ingress.cidrBlocks"],
    "aws:ec2/securityGroupRule:SecurityGroupRule": ["type", "protocol", "fromPort", "cidrBlocks", "prefixListIds"],
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ["ipProtocol", "cidrIpv4", "cidrIpv6", "prefixListId"],
    "aws:ec2/instance:Instance": [
        "rootBlockDevice.encrypted",
        "ebsBlockDevices.encrypted",
        "metadataOptions.httpEndpoint",
        "metadataOptions.httpTokens",
        "metadataOptions.httpPutResponseHopLimit",
    ],
    "aws:ebs/volume:Volume": ["encrypted"],
    "aws:s3/bucket:Bucket": [],
    "hcloud:index/firewall:Firewall": [f"rules.{name}" for name in ("direction", "protocol", "port", "sourceIps")],
    "hcloud:index/server:Server": ["publicNets.ipv4Enabled", "publicNets.ipv6Enabled", "firewallIds"],
    "hcloud:index/volume:Volume": ["deleteProtection"],
    "tls:index/locallySignedCert:LocallySignedCert": ["validityPeriodHours", "earlyRenewalHours", "isCaCertificate"],
    "tls:index/selfSignedCert:SelfSignedCert": ["validityPeriodHours", "earlyRenewalHours", "isCaCertificate"],
}


def schemas() -> dict[str, dict[str, Any]]:
    """Policy -> the schemas of its keys."""
    return {
        policy.name: {key: json_format.MessageToDict(each) for key, each in _fields(policy.configSchema.properties)}
        for policy in Pack().info.policies
    }


def _fields(struct: Any) -> list[tuple[str, Any]]:
    return [(key, value.struct_value) for key, value in struct.fields.items()]


def test_the_sdks_have_every_type_and_input_that_a_policy_reads() -> None:
    text = "".join(path.read_text() for path in (FOLDER / "etcd_policies").glob("*.py"))
    assert set(re.findall(r'"((?:aws|hcloud|tls):\S+:\w+)"', text)) == set(READ)
    for token, names in READ.items():
        found = sdk.inputs(f"pulumi_{token.partition(':')[0]}", token)
        for name in names:
            assert _has(found, name), f"{token} has no {name}"
            assert all(f'"{part}"' in text for part in name.split(".")), f"no policy reads {name}"


def _has(fields: Mapping[str, Field], path: str) -> bool:
    name, _, rest = path.partition(".")
    if name not in fields:
        return False
    field = fields[name]
    inner = field.item.fields if field.item is not None else field.fields
    return not rest or _has(inner or {}, rest)


def test_every_default_is_a_valid_value_of_its_key() -> None:
    for policy, keys in schemas().items():
        for key, schema in keys.items():
            jsonschema.Draft7Validator.check_schema(schema)
            jsonschema.validate(schema["default"], schema)
            assert schema["description"].endswith("."), f"{policy}.{key}"


def test_a_wrong_key_is_refused_and_does_not_leave_the_default() -> None:
    volume, group = "aws:ebs/volume:Volume", "aws:ec2/securityGroup:SecurityGroup"
    for policy, type_ in (("named-ranges-only", group), ("certificate-lifetimes", volume)):
        with pytest.raises(ValueError, match=rf"^{policy} has no key 'prots'; its keys are \w+, .*\bscope"):
            Pack({policy: {"prots": [443]}}).said(type_, {"encrypted": True}, protect=True)
    with pytest.raises(ValueError, match=r"^odd-members has no key 'scope'; its keys are maximum, minimum$"):
        Pack({"odd-members": {"scope": "all"}}).said_of_stack([])


def test_the_manual_names_every_policy_and_key() -> None:
    manual = (REPO / "docs" / "policy.md").read_text()
    found = {policy: {key for key in keys if key != "scope"} for policy, keys in schemas().items()}
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", manual, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`:", row)) for name, row in rows} == found


def test_the_pack_has_the_projects_version() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((FOLDER / "PulumiPolicy.yaml").read_text())["version"] == project["version"]


def test_its_requirements_are_those_that_the_tests_run_with() -> None:
    lines = (FOLDER / "requirements.txt").read_text().splitlines()
    needed = [Requirement(line) for line in lines if not line.startswith("#")]
    assert {each.name for each in needed} == {"pulumi", "pulumi-policy"}
    for each in needed:
        assert each.specifier.contains(importlib.metadata.version(each.name))


@pytest.mark.parametrize("way", [["policy"], ["-m", "pulumi.policy", "127.0.0.1:1", "policy"]])
def test_it_starts_as_older_and_newer_language_hosts_start_it(way: list[str]) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "PYTHONPATH"))}
    command = [sys.executable, "-u", *way]
    with subprocess.Popen(command, cwd=REPO, env=environ, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                info = analyzer_pb2_grpc.AnalyzerStub(channel).GetAnalyzerInfo(Empty(), timeout=60)
            assert info.name == "external-etcd"
            assert len(info.policies) == 8
        finally:
            process.kill()
