"""Pure planning: the specification of each member, and the checks of all input. Imports nothing of Pulumi.

Everything here works on plain data, so that a preview refuses mistakes before any machine is touched.
"""

from .authorities import DEFAULT_AUTHORITY, AuthorityPlan
from .ca_certificate import check_authority
from .errors import PlanError, Problem
from .flags import render_flags
from .quorum import quorum, tolerated
from .releases import DEFAULT_MIRROR
from .spec import (
    ClusterPlan,
    MemberPlan,
    Spec,
    bootstrap_spec,
    check_plan,
    client_urls,
    member_specs,
    spec_text,
    warnings,
    with_restore,
    with_users,
)
from .users import UserPlan
from .versions import DEFAULT_VERSION

__all__ = [
    "DEFAULT_AUTHORITY",
    "DEFAULT_MIRROR",
    "DEFAULT_VERSION",
    "AuthorityPlan",
    "ClusterPlan",
    "MemberPlan",
    "PlanError",
    "Problem",
    "Spec",
    "UserPlan",
    "bootstrap_spec",
    "check_authority",
    "check_plan",
    "client_urls",
    "member_specs",
    "quorum",
    "render_flags",
    "spec_text",
    "tolerated",
    "warnings",
    "with_restore",
    "with_users",
]
