"""The permissions in docs/aws.md exist in AWS, and cover everything that the provider's stand-in calls."""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import botocore.session

REPO = Path(__file__).resolve().parents[2]
CALL = re.compile(
    r"\b((?:add|allocate|associate|attach|authorize|create|delete|describe|detach|disassociate|get|modify|put|release"
    r"|remove|replace|revoke|run|stop|tag|terminate|untag|update)_[a-z0-9_]+)\b"
)
OPERATIONS = {
    name: f"{service}:{name}"
    for service in ("iam", "ec2")
    for name in botocore.session.get_session().get_service_model(service).operation_names
}
# For resources that the program does not create, and for changes that it never makes in place.
UNUSED = ("ec2:DeleteKeyPair",)
# No operation of the API, but needed to give a role to machines.
PERMISSION_ONLY = "iam:PassRole"


def statements() -> list[dict[str, Any]]:
    """Those of the policies in the documentation."""
    blocks = re.findall(r"```json\n(.*?)```", (REPO / "docs" / "aws.md").read_text(), re.DOTALL)
    return [each for block in blocks for each in json.loads(block)["Statement"]]


def allowed() -> list[str]:
    """Their actions."""
    return [action for each in statements() for action in each["Action"]]


def test_no_policy_allows_to_change_or_give_away_any_role() -> None:
    """Who can write the permissions of any role, and give it to a machine, has all permissions of the account."""
    found = [each for each in statements() if any(action.startswith("iam:") for action in each["Action"])]
    assert found
    for each in found:
        assert all(re.fullmatch(r"arn:aws:iam::\*:[a-z-]+/CLUSTER-backup-\*", arn) for arn in each["Resource"])


def test_policy_actions_exist_and_are_listed_once() -> None:
    actions = allowed()
    assert len(set(actions)) == len(actions)
    # The names of S3's permissions are not those of its operations.
    for action in (each for each in actions if not each.startswith("s3:")):
        assert action == PERMISSION_ONLY or any(fnmatchcase(known, action) for known in OPERATIONS.values()), action


def test_the_policy_allows_every_call_that_the_stand_in_makes() -> None:
    called = {
        OPERATIONS[name.title().replace("_", "")]
        for file in (REPO / "lab" / "plugins" / "aws").glob("*.py")
        for name in CALL.findall(file.read_text())
        if name.title().replace("_", "") in OPERATIONS
    }
    assert len(called) > 45
    denied = {call for call in called if not any(fnmatchcase(call, action) for action in allowed())}
    assert denied <= set(UNUSED), denied
