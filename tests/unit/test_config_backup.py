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


def documented() -> dict[str, Any]:
    """The example of the manual, with an access key."""
    found = re.search(r"```yaml\n(.*?)```", (REPO / "docs" / "backups.md").read_text(), re.DOTALL)
    assert found is not None
    backup: dict[str, Any] = yaml.safe_load(found[1])["config"]["external-etcd:backup"]
    return {**backup, "s3": {**backup["s3"], **KEYS}}


def test_the_manuals_example_reaches_the_members_without_its_access_key(directory: Path) -> None:
    stack = load(sound(backup=documented()), directory)
    assert stack.plan.backup is not None
    [spec, *_] = member_specs(stack.plan).values()
    assert spec["backup"]["keep"] == {"hourly": 24, "daily": 7, "weekly": 4}
    assert spec["backup"]["s3"]["bucket"] == "etcd-backups"
    assert "geheim" not in str(spec) and "AKIA" not in str(spec)


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
