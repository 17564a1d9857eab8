"""What a released version leaves behind: its stacks' resources as a file, and a state that has them.

`tests/snapshots/releases/VERSION/NAME.json` lists what the program of that version registers with the engine:
names, parents, and every input for which a provider could replace something. It is made with mocks, so it has no keys.
`state` makes of it a state that the engine can import.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from components.guard import OUTPUT
from components.node.cluster import claim, disruption, one_restart, roster
from components.node.shared import paths
from stacks import guard
from stacks.platform import BASTION

from .configurations import load
from .outputs import resolved
from .recording import SECRET_KEY, SECRET_SIGNATURE, Recorder, Registration, record
from .snapshot import DIRECTORY

MACHINES = "machines"
"""Name of the file about what `etcd-node` keeps on machines and in etcd."""
RELEASES = DIRECTORY / "releases"
PROJECT = "external-etcd"
_STACK = "pulumi:pulumi:Stack"
_STASH = "pulumi:index:Stash"
_COMMANDS = "command:remote:"
# Their provider makes up a name for them. Type -> further defaults that it adds.
_AUTONAMED = {
    "aws:ec2/securityGroup:SecurityGroup": {},
    "aws:iam/role:Role": {"path": "/"},
    "aws:iam/rolePolicy:RolePolicy": {},
    "aws:iam/instanceProfile:InstanceProfile": {"path": "/"},
}
_SECRET = "(secret)"
_PUBLIC_KEY = re.compile(r"ssh-ed25519 (?!AAAA)([\w-]+)")
# What an update may replace or delete: default providers, and the record of what a change is about.
_MEANT = re.compile(r" pulumi:providers:|EtcdCluster\$pulumi:index:Stash::\S+-(change|machines)$")
# The mocks' keys and certificates, in words that nobody takes for real ones.
_WORDS = {"-----BEGIN PRIVATE KEY-----": "(private key)", "-----BEGIN CERTIFICATE-----": "(certificate)"}


def versions() -> list[str]:
    """The versions that have files."""
    return sorted(path.name for path in RELEASES.iterdir())


def read(version: str, name: str) -> dict[str, Any]:
    """The content of a version's file."""
    return dict(json.loads((RELEASES / version / f"{name}.json").read_text()))


def write(version: str, name: str, content: Mapping[str, Any]) -> None:
    """Write a version's file, with one resource per line; UPDATE_SNAPSHOTS=1 does it."""
    path = RELEASES / version / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(f"{json.dumps(urn)}: {json.dumps(each)}" for urn, each in content["resources"].items())
    head = [f"{json.dumps(key)}: {json.dumps(each)},\n" for key, each in content.items() if key != "resources"]
    path.write_text("{\n" + "".join(head) + f'"resources": {{\n{rows}\n}}\n}}\n')


def on_machines() -> dict[str, Any]:
    """Paths and units, and keys in etcd, where a new `etcd-node` finds what an old one has left."""
    found: dict[str, str] = {}
    for module in (paths, claim, disruption, one_restart, roster):
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, (str, Path)) and (module is paths or name in ("KEY", "PREFIX")):
                found[str(value)] = "machine" if module is paths else "etcd"
    return {"resources": dict(sorted(found.items()))}


def recorded(configuration: Mapping[str, Any], private_key: str) -> dict[str, Any]:
    """What the present program registers in a first update with this configuration, as the files have it.

    Args:
        configuration: of the stack, without an ssh key. Keys without a colon are the program's own.
        private_key: for `sshPrivateKey`; it is not in the result.
    """
    own = {key: value for key, value in configuration.items() if ":" not in key}
    key = {"sshPrivateKey": private_key} if own["platform"] == "hosts" else {}
    stack = guard.compared(load({**own, **key}, stack="released", region=configuration.get("aws:region", "")), {})

    def build() -> dict[str, Any]:
        return stack.platform.build(stack, {})

    values, _ = resolved(build)
    names = (OUTPUT, "generations", BASTION, *stack.machines.compared_with)
    return {
        "config": dict(configuration),
        "outputs": {name: values[name] for name in names if name in values},
        "resources": _resources(record(build, preview=False)),
    }


def _resources(recorder: Recorder) -> dict[str, Any]:
    """Types and name -> the rest, parents first. Types: of all components above it, and its own, as in its URN."""
    urns: dict[str, str] = {}
    found = {}
    for each in recorder.registrations:
        parent = urns.get(each.request.parent, "")
        urn = f"{parent.partition('::')[0]}$".lstrip("$") + f"{each.type}::{each.name}"
        urns[each.response.urn] = urn
        found[urn] = {**({"parent": parent} if parent else {}), **_properties(each)}
    return dict(sorted(found.items(), key=lambda each: (each[0].count("$"), each[0])))


def _properties(each: Registration) -> dict[str, Any]:
    if not each.request.custom:
        return {}
    inputs = each.inputs
    outputs = json_format.MessageToDict(each.response.object)
    if each.type.startswith(_COMMANDS):
        # Everything else may differ between two versions: it is an update, as the program on the machines is.
        inputs = {name: value for name, value in inputs.items() if name == "triggers"}
        outputs = {"stdout": outputs["stdout"]} if "create" in each.request.ignoreChanges else {}
    if each.type == _STASH:
        inputs, outputs = {"input": _the_same(outputs["output"])}, {"output": _the_same(outputs["output"])}
    new = {name: value for name, value in outputs.items() if inputs.get(name) != value}
    found: dict[str, Any] = {"id": each.response.id}
    if each.request.HasField("replacement_trigger"):
        found["trigger"] = json_format.MessageToDict(each.request.replacement_trigger)
    return found | {name: _to_file(values) for name, values in (("inputs", inputs), ("outputs", new)) if values}


def _the_same(kept: Any) -> Any:
    """What a Stash keeps, without what differs in every run or with every change of `etcd-node`."""
    if isinstance(kept, dict) and "token" in kept:
        return {**kept, "token": "0" * len(kept["token"])}
    return re.sub(r"[0-9a-f]", "0", kept) if isinstance(kept, str) and re.fullmatch(r"[0-9a-f]{12}", kept) else kept


def _to_file(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(SECRET_KEY) == SECRET_SIGNATURE:
            return {_SECRET: _to_file(value["value"])}
        return {name: _to_file(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [_to_file(each) for each in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, str):
        for real, word in _WORDS.items():
            value = value.replace(real, word)
    return value


def _to_state(value: Any) -> Any:
    if isinstance(value, dict):
        if _SECRET in value:
            return {SECRET_KEY: SECRET_SIGNATURE, "plaintext": json.dumps(_to_state(value[_SECRET]))}
        return {name: _to_state(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_to_state(each) for each in value]
    if isinstance(value, str):
        for real, word in _WORDS.items():
            value = value.replace(word, real)
        value = _PUBLIC_KEY.sub(_public_key, value)
    return value


def _public_key(found: re.Match[str]) -> str:
    """The stand-ins accept only what looks like a key."""
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    return f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{digest[:43]}"


def state(
    released: Mapping[str, Any], empty: Mapping[str, Any], stack: str, configuration: Mapping[str, Any]
) -> dict[str, Any]:
    """The state of a stack with these resources, for `pulumi stack import`.

    Args:
        released: the content of a file.
        empty: the exported state of the stack, without resources.
        stack: its name.
        configuration: of the stack; its providers get theirs.
    """
    prefix = f"urn:pulumi:{stack}::{PROJECT}::"
    root = f"{prefix}{_STACK}::{PROJECT}-{stack}"
    resources = released["resources"]
    packages = {_type(urn).partition(":")[0] for urn, each in resources.items() if "id" in each}
    found = [
        {"urn": root, "custom": False, "type": _STACK, "outputs": _to_state(released["outputs"])},
        *(_provider(prefix, root, package, configuration) for package in sorted(packages)),
    ]
    for urn, each in resources.items():
        entry = {"urn": prefix + urn, "custom": "id" in each, "type": _type(urn), "parent": root}
        if "parent" in each:
            entry["parent"] = prefix + each["parent"]
        if "id" in each:
            package = _type(urn).partition(":")[0]
            inputs = {**_not_in_the_file(urn, each), **_to_state(each.get("inputs", {}))}
            entry |= {
                "id": each["id"],
                "inputs": inputs,
                "outputs": {**inputs, **_to_state(each.get("outputs", {}))},
                "provider": f"{prefix}pulumi:providers:{package}::default::{package}",
                **({"replacementTrigger": each["trigger"]} if "trigger" in each else {}),
            }
        found.append(entry)
    return {**empty, "deployment": {**empty["deployment"], "resources": found}}


def _provider(prefix: str, root: str, package: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    type_ = f"pulumi:providers:{package}"
    given = {
        key.removeprefix(f"{package}:"): each for key, each in configuration.items() if key.startswith(f"{package}:")
    }
    entry = {"urn": f"{prefix}{type_}::default", "custom": True, "id": package, "type": type_, "parent": root}
    return {**entry, "inputs": given, "outputs": given}


def _not_in_the_file(urn: str, each: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs of every resource of a type, that providers add or that never replace it."""
    type_ = _type(urn)
    if type_ in _AUTONAMED:
        name = each.get("outputs", {}).get("name", f"{urn.partition('::')[2]}-0000000")
        return {"name": name, **_AUTONAMED[type_], "__defaults": ["name"]}
    if not type_.startswith(_COMMANDS):
        return {}
    connection = {"host": "192.0.2.1", "user": "root", "hostKey": "ssh-ed25519 machine", "privateKey": "(private key)"}
    common = {"connection": _to_state({_SECRET: connection})}
    if type_.endswith("CopyToRemote"):
        asset = {SECRET_KEY: "c44067f5952c0a294b673a41bacd8c17", "hash": "0" * 64, "path": "program"}
        return {**common, "source": asset, "remotePath": "program"}
    return {**common, "create": "true", "addPreviousOutputInEnv": False}


def _type(urn: str) -> str:
    return urn.partition("::")[0].rpartition("$")[2]


def replaced(steps: Iterable[Mapping[str, Any]]) -> list[str]:
    """What happens in a preview's steps to resources that were there before, other than staying or being updated."""
    kept = {"same", "update", "refresh", "read", "create"}
    found = [
        f"{each['op']} {each['urn'].partition('::')[2].partition('::')[2]}" for each in steps if each["op"] not in kept
    ]
    return sorted(each for each in found if not _MEANT.search(each))
