"""The configuration of snapshots that are kept elsewhere."""

import asyncio
import re
from pathlib import Path
from typing import Any

import yaml

from components.plan import member_specs
from stacks.arguments import with_secrets
from tests.support.configurations import REPO, load

from .test_config_stack import directory, refusal, sound

__all__ = ["directory"]

KEYS = {"accessKeyId": "AKIA", "secretAccessKey": "geheim"}


def examples(document: str) -> list[dict[str, Any]]:
    """The examples of `backup` in a document of the manual."""
    found = re.findall(r"```yaml\n(config:\n.*?)```", (REPO / "docs" / document).read_text(), re.DOTALL)
    blocks = [yaml.safe_load(text)["config"] for text in found]
    return [block["external-etcd:backup"] for block in blocks if "external-etcd:backup" in block]


def documented(document: str = "backups.md") -> dict[str, Any]:
    """The first example in a document of the manual, with an access key."""
    backup = examples(document)[0]
    return {**backup, "s3": {**backup["s3"], **KEYS}}


def test_the_manuals_example_reaches_the_members_without_its_access_key(directory: Path) -> None:
    stack = load(sound(backup=documented()), directory)
    assert stack.plan.backup is not None
    [spec, *_] = member_specs(stack.plan).values()
    assert spec["backup"]["keep"] == {"hourly": 24, "daily": 7, "weekly": 4}
    assert spec["backup"]["s3"]["bucket"] == "etcd-backups"
    assert "geheim" not in str(spec) and "AKIA" not in str(spec)


def test_the_example_for_hetzner_goes_to_its_object_storage(directory: Path) -> None:
    stack = load(sound(backup=documented("hetzner.md")), directory)
    assert stack.plan.backup is not None
    [spec, *_] = member_specs(stack.plan).values()
    assert spec["backup"]["s3"]["endpoint"] == "https://nbg1.your-objectstorage.com"


def test_the_example_with_another_machine_keeps_the_login_secret(directory: Path) -> None:
    [ssh] = [each["ssh"] for each in examples("backups.md") if "ssh" in each]
    given = sound(backup={**documented(), "s3": None, "ssh": {**ssh, "privateKey": "geheim"}})
    del given["backup"]["s3"]
    stack = load(given, directory)
    [spec, *_] = member_specs(stack.plan).values()
    place = {"host": "backup.example.org", "port": "22", "user": "etcd-backup", "directory": "/srv/etcd/production"}
    assert spec["backup"]["ssh"] == {**place, "host_keys": ssh["hostKey"]}
    assert "geheim" not in str(spec)

    async def secret() -> bool:
        closed: Any = with_secrets(stack.arguments, stack.table)["backup"]["ssh"]
        return bool(await closed["private_key"].is_secret())

    assert asyncio.run(secret())


def test_without_it_members_get_nothing_of_it(directory: Path) -> None:
    stack = load(sound(), directory)
    assert stack.plan.backup is None
    assert all("backup" not in spec for spec in member_specs(stack.plan).values())


def test_the_access_key_is_a_secret(directory: Path) -> None:
    stack = load(sound(backup=documented()), directory)

    async def secret() -> list[bool]:
        s3: Any = with_secrets(stack.arguments, stack.table)["backup"]["s3"]
        assert s3["bucket"] == "etcd-backups"
        return [await s3[name].is_secret() for name in ("access_key_id", "secret_access_key")]

    assert asyncio.run(secret()) == [True, True]


def test_all_mistakes_are_told_at_once_by_their_keys(directory: Path) -> None:
    wrong = {"s3": {"bucket": "B", "accessKeyId": "AKIA", "acl": "x"}, "keep": {"hourly": "many"}, "when": "daily"}
    text = str(refusal(sound(backup=wrong), directory))
    for key in (
        "backup.recipients: given nothing",
        "backup.s3.bucket: given 'B'",
        "backup.s3.region: given nothing",
        "backup.s3.secretAccessKey: given nothing",
        "backup.s3.acl: given",
        "backup.keep.hourly: given",
        "backup.when: given",
    ):
        assert key in text, text
    assert "AKIA" not in text
