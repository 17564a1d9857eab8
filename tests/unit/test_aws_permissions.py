"""The permissions in docs/aws.md exist in AWS, and cover everything that the provider's stand-in calls."""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import botocore.session

REPO = Path(__file__).resolve().parents[2]
CALL = re.compile(
    r"\b((?:allocate|associate|attach|authorize|create|delete|describe|detach|disassociate|modify|release|replace|revoke"
    r"|run|stop|terminate)_[a-z0-9_]+)\b"
)
OPERATIONS = {name: f"ec2:{name}" for name in botocore.session.get_session().get_service_model("ec2").operation_names}
# For resources that the program does not create, and for changes that it never makes in place.
UNUSED = ("ec2:DeleteKeyPair",)


def allowed() -> list[str]:
    """The actions of the policy in the documentation."""
    text = (REPO / "docs" / "aws.md").read_text().partition("```json\n")[2].partition("```")[0]
    (statement,) = json.loads(text)["Statement"]
    return list(statement["Action"])


def test_policy_actions_exist_in_ec2_and_are_listed_once() -> None:
    actions = allowed()
    assert len(set(actions)) == len(actions)
    for action in actions:
        assert any(fnmatchcase(known, action) for known in OPERATIONS.values()), action


def test_the_policy_allows_every_call_that_the_stand_in_makes() -> None:
    called = {
        f"ec2:{name.title().replace('_', '')}"
        for file in (REPO / "lab" / "plugins" / "aws").glob("*.py")
        for name in CALL.findall(file.read_text())
    } & set(OPERATIONS.values())
    assert len(called) > 30
    denied = {call for call in called if not any(fnmatchcase(call, action) for action in allowed())}
    assert denied <= set(UNUSED), denied
