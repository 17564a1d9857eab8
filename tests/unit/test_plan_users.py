"""Which users a cluster can have besides the API servers and the program."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.shared import spec as node_spec
from components.node.shared.errors import NodeError
from components.plan.users import OWN_KEYS, UserPlan, check_users

from .node_support import a_spec

GOOD = UserPlan("backup-tool", "/backup/", "read")


def _said(*users: UserPlan, authentication: bool = True) -> list[str]:
    return [str(problem) for problem in check_users(users, ["etcd-1"], authentication=authentication)]


def test_several_users_can_share_a_prefix() -> None:
    assert _said(GOOD, replace(GOOD, name="other", permission="readwrite")) == []


@pytest.mark.parametrize(
    ("user", "says"),
    [
        (replace(GOOD, name="Backup"), "users[1].name"),
        (replace(GOOD, name="root"), "A user cannot have the name"),
        (replace(GOOD, name="kube-apiserver-etcd-client"), "A user cannot have the name"),
        (replace(GOOD, name="kube-etcd-healthcheck-client"), "A user cannot have the name"),
        (replace(GOOD, name="prometheus-etcd-client"), "A user cannot have the name"),
        (replace(GOOD, name="etcd-1"), "A user cannot have the name"),
        (GOOD, "Two users cannot have the same name"),
        (replace(GOOD, name="other", prefix=""), "A prefix must have"),
        (replace(GOOD, name="other", prefix="--from-key"), "not begin with a dash"),
        (replace(GOOD, name="other", prefix="/a b/"), "no spaces"),
        (replace(GOOD, name="other", prefix="ext"), "belong to this program"),
        (replace(GOOD, name="other", prefix="external-etcd/joined/"), "belong to this program"),
        (replace(GOOD, name="other", permission="writeread"), "A permission must be one of read, write, readwrite"),
    ],
)
def test_an_invalid_user_is_refused(user: UserPlan, says: str) -> None:
    said = _said(GOOD, user)
    assert len(said) == 1
    assert says in said[0]


def test_a_prefix_without_authentication_is_refused() -> None:
    (said,) = _said(GOOD, authentication=False)
    assert said == (
        "users: given backup-tool. Without authentication, every certificate of the CA gives full access, "
        "whatever its prefix. Set authentication to true."
    )
    assert _said(authentication=False) == []


@given(st.text(max_size=20), st.sampled_from(["read", "write", "readwrite"]))
def test_accepted_users_never_cover_the_programs_keys(prefix: str, permission: str) -> None:
    given_user = {"prefix": prefix, "permission": permission}
    if check_users([UserPlan("x", prefix, permission)], [], authentication=True):
        if prefix and not (OWN_KEYS.startswith(prefix) or prefix.startswith(OWN_KEYS)):
            with pytest.raises(NodeError, match=r"users.x.prefix"):
                a_spec(users={"x": given_user})
        return
    assert not (OWN_KEYS + "claim").startswith(prefix)
    assert a_spec(users={"x": given_user}).users == {"x": node_spec.User(**given_user)}
