"""Until when a client may still have an earlier certificate, and when that is reported."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.node.service.client_certificates import expiring, replaced, rows
from components.plan.client_certificates import remembered
from components.plan.users import PROMETHEUS
from tests.support.manual import kubernetes_manual

NOW = datetime(2027, 1, 1, tzinfo=UTC)
API, USER = "apiserver-etcd-client", "backup-tool-user"
Known = dict[str, list[dict[str, str]]]


def text(after: timedelta, zone: str = "Z") -> str:
    return (NOW + after).strftime(f"%Y-%m-%dT%H:%M:%S{zone}")


def issued(*days: int, issuer: str = "1") -> list[dict[str, str]]:
    return [{"expires": text(timedelta(day)), "issuer": issuer} for day in days]


def test_a_renewal_remembers_the_earlier_certificate_until_it_has_expired() -> None:
    first = remembered({}, {API: text(timedelta(20), "+00:00")}, "1", ["1"], NOW)
    assert first == {API: issued(20)}
    second = remembered(first, {API: text(timedelta(365))}, "1", ["1"], NOW)
    assert second == {API: issued(365, 20)}
    later = NOW + timedelta(21)
    assert remembered(second, {API: text(timedelta(365))}, "1", ["1"], later) == second, "time alone changes nothing"
    assert remembered(second, {API: text(timedelta(700))}, "1", ["1"], later) == {API: issued(700, 365)}


def test_times_are_kept_in_utc() -> None:
    assert remembered({}, {API: "2027-11-29T01:00:00+02:00"}, "1", ["1"], NOW)[API][0]["expires"] == (
        "2027-11-28T23:00:00Z"
    )


def test_certificates_of_a_dropped_ca_are_forgotten() -> None:
    both = remembered({API: issued(20)}, {API: text(timedelta(365))}, "2", ["1", "2"], NOW)
    assert both == {API: issued(365, issuer="2") + issued(20)}
    assert remembered(both, {API: text(timedelta(365))}, "2", ["2"], NOW) == {API: issued(365, issuer="2")}


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 400)), min_size=1))
def test_whatever_a_client_may_have_is_remembered(updates: list[tuple[int, int]]) -> None:
    """Each update issues a certificate for some days, or none, some days after the one before."""
    known: Known = {}
    day, accepted = 0, list[int]()
    for passed, life in updates:
        day += passed
        if life or not accepted:
            accepted.insert(0, day + life)
        before = known
        known = remembered(known, {API: text(timedelta(accepted[0]))}, "1", ["1"], NOW + timedelta(day))
        assert remembered(known, {API: text(timedelta(accepted[0]))}, "1", ["1"], NOW + timedelta(day)) == known
        assert not life or known[API][0] == issued(accepted[0])[0]
        assert {each["expires"] for each in known[API]} >= {text(timedelta(end)) for end in accepted if end > day}
        assert len(known[API]) <= len(before.get(API, [])) + 1


@pytest.mark.parametrize(("days", "reported"), [(29, True), (31, False), (-1, False)])
def test_an_earlier_certificate_is_reported_in_its_last_30_days(days: int, reported: bool) -> None:
    known = {API: issued(365, days), USER: issued(200)}
    assert bool(list(replaced(known, NOW))) == reported
    assert list(expiring(known, NOW)) == []
    assert bool(list(replaced(known, NOW, [API]))) == (days > 0), "the update that renews it always says so"


def test_a_report_names_client_and_time_and_what_to_do() -> None:
    (said,) = replaced({API: issued(365, 10)}, NOW)
    manual = kubernetes_manual("The earlier certificate", 0, "text")
    assert said == " ".join(manual.split()).replace("2027-11-29T10:00:00Z", text(timedelta(10)))
    (said,) = replaced({USER: issued(365, issuer="2") + issued(10)}, NOW)
    assert "A client that still has the earlier one gets no new connection after " in said
    assert f" {text(timedelta(10))}, or when the CA 1 is dropped. " in said
    assert 'docs/operations.md, "Users with limited access' in said
    (said,) = replaced({PROMETHEUS: issued(365, 10)}, NOW)
    assert said.startswith("prometheus-etcd-client was renewed. A client that still has the earlier one ")
    assert "docs/monitoring.md" in said
    (said,) = expiring({API: issued(29)}, NOW)
    assert said.startswith(f"{API} expires {text(timedelta(29))}: run `pulumi up`")


def test_every_certificate_that_is_in_use_or_valid_has_a_row() -> None:
    known = {API: issued(365, 10, -1), USER: issued(-2)}
    days = [(name, (ends - NOW).days) for name, ends in rows(known, NOW)]
    assert days == [(API, 365), (f"{API}, earlier", 10), (USER, -2)]
