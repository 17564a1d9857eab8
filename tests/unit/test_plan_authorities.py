"""Which CAs a cluster may trust, and which of them may issue."""

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.plan import AuthorityPlan, check_authority
from components.plan.authorities import bundle, check_authorities, check_peer_authorities, peers_have_their_own
from components.plan.ca_certificate import check_different
from tests.support.authority import OwnAuthority

A, B, TWIN_OF_A = OwnAuthority("a"), OwnAuthority("b"), OwnAuthority("a")
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
PLANS = st.builds(AuthorityPlan, st.one_of(NAMES, st.text(max_size=4)), st.booleans(), st.booleans())


@given(st.lists(NAMES, min_size=1, unique=True), st.data())
def test_created_authorities_need_only_distinct_names(names: list[str], data: st.DataObject) -> None:
    issuer = data.draw(st.sampled_from(names))
    assert check_authorities([AuthorityPlan(name) for name in names], issuer) == []


@given(st.lists(PLANS, max_size=4), st.one_of(NAMES, st.text(max_size=4)), st.data())
def test_accepted_authorities_are_distinct_with_one_issuer(
    plans: list[AuthorityPlan], other: str, data: st.DataObject
) -> None:
    issuer = data.draw(st.sampled_from([*(plan.name for plan in plans), other]))
    problems = check_authorities(plans, issuer)
    names = [plan.name for plan in plans]
    issuers = [plan for plan in plans if plan.name == issuer]
    sound = len(issuers) == 1 and issuers[0].certificate == issuers[0].private_key and len(set(names)) == len(names)
    assert sound or problems
    assert all(problem.key.startswith(("authorities", "issuer")) for problem in problems)


@given(st.lists(PLANS, max_size=4), st.lists(PLANS, min_size=1, max_size=3), st.data())
def test_accepted_peer_authorities_are_distinct_with_one_issuer(
    plans: list[AuthorityPlan], others: list[AuthorityPlan], data: st.DataObject
) -> None:
    issuer = data.draw(st.sampled_from([*(plan.name for plan in [*plans, *others]), "-"]))
    named = {plan.name: plan for plan in others}
    peers = [
        AuthorityPlan(plan.name) if plan.name in named and data.draw(st.booleans()) else plan
        for plan in [*plans, *data.draw(st.lists(st.sampled_from(others), max_size=2))]
    ]
    problems = check_peer_authorities(peers, issuer, others)
    resolved = [named.get(plan.name, plan) for plan in peers]
    issuers = [plan for plan in resolved if plan.name == issuer]
    sound = len(issuers) == 1 and issuers[0].certificate == issuers[0].private_key
    sound = sound and not any(plan.name in named and (plan.certificate or plan.private_key) for plan in peers)
    assert sound or problems
    assert all(problem.key.startswith("peer_") for problem in problems)


HISTORIES = st.fixed_dictionaries(
    {"trusted": st.dictionaries(NAMES, st.just("made"), min_size=1, max_size=2), "issuer": NAMES},
    optional={"peer_trusted": st.dictionaries(NAMES, st.just("made"), min_size=1, max_size=2), "peer_issuer": NAMES},
)


@given(HISTORIES, st.lists(PLANS, max_size=3))
def test_existing_certificates_do_not_depend_on_given_authorities(
    before: dict[str, Any], plans: list[AuthorityPlan]
) -> None:
    differs = any(before.get(f"peer_{key}", before[key]) != before[key] for key in ("trusted", "issuer"))
    assert peers_have_their_own(before, plans) == differs


@given(st.permutations([A, B]))
def test_the_bundle_has_every_certificate_once_in_the_given_order(order: list[OwnAuthority]) -> None:
    text = bundle([authority.certificate.strip() for authority in order])
    assert text == "".join(authority.certificate for authority in order)


def test_duplicate_and_indistinguishable_certificates_are_refused() -> None:
    assert check_different({"x": A.certificate, "y": B.certificate}) == []
    [same] = check_different({"x": A.certificate, "y": A.certificate.replace("\n", "\r\n")})
    assert (same.key, "one of x" in same.rule) == ("y", True)
    [twin] = check_different({"x": A.certificate, "y": TWIN_OF_A.certificate})
    assert (twin.key, twin.value) == ("y", "commonName=a")


def test_the_lifetime_of_a_trusted_only_authority_is_ignored() -> None:
    in_eleven_years = 11 * 365 * 86400 + time.time()
    assert check_authority(A.certificate, None, 8760, now=in_eleven_years, issues=False) == []
    assert check_authority(A.certificate, A.private_key, 8760, now=in_eleven_years)
