"""The guard for a whole stack: what it refuses before the platform code runs, and what it leaves to the platform."""

from typing import Any

import pytest

from components import ChangeRefusedError
from components.plan.guard.state import digest, read_state
from stacks import config, guard
from tests.support.configurations import changed, example, load


def stack(generations: tuple[int, int, int] = (1, 1, 1), **top: Any) -> config.StackConfig:
    raised = {f"slots.{number}.generation": generation for number, generation in enumerate(generations)}
    return load(changed("hetzner", raised, **top), stack="hetzner")


def left(before: config.StackConfig, **changes: Any) -> dict[str, Any]:
    """The outputs of an update with that configuration; by default one CA serves all."""
    applied = {**guard.wanted(before).data(), "serial": 1, **changes}
    return {"applied": applied, "generations": before.machines.generations}


def refusal(wanted: config.StackConfig, last: dict[str, Any]) -> str:
    with pytest.raises(ChangeRefusedError) as caught:
        guard.compared(wanted, last)
    return str(caught.value)


def test_a_refusal_names_configuration_keys() -> None:
    said = refusal(stack((2, 2, 1)), left(stack()))
    assert "hetzner.slots.etcd-2.generation: given etcd-1 from 1 to 2, etcd-2 from 1 to 2." in said
    assert "1. hetzner.slots.etcd-1.generation: 2\n" in said
    assert "To proceed anyway, set external-etcd:override to allow-" in said
    said = refusal(stack(issuer="2", authorities=[{"name": "2"}], electionTimeoutMs=500), left(stack()))
    assert "\n  authorities: given trusted 2, issuer 2." in said
    assert "\n  issuer: given '2'." in said


def test_the_one_data_directory_of_created_machines_is_refused_once() -> None:
    said = refusal(stack(dataDirectory="/srv/etcd"), left(stack()))
    assert said.count("/srv/etcd") == 1
    assert "\n  dataDirectory: given '/srv/etcd'. A member must keep its data directory; in the last update, " in said


def test_a_phase_of_a_ca_rotation_cannot_be_skipped() -> None:
    said = refusal(stack(authorities=[{"name": "2"}]), left(stack()))
    for text in (
        "issuer: given '2'. A CA may issue certificates only after all members and clients have trusted it",
        "authorities: given trusted 2, issuer 2. A CA can be removed only when none of its certificates is in use",
        "1. authorities: 1, 2\n",
        "2. issuer: 2\n",
        "3. authorities: 2\n",
    ):
        assert text in said


def test_an_override_for_another_change_is_reported() -> None:
    before = stack(version="3.5.35")
    said = refusal(stack(version="3.7.3"), left(before))
    token = said[said.index("allow-") :].partition(";")[0]
    guard.compared(stack(version="3.7.3", override=token), left(before))
    other = refusal(stack(version="3.7.3", authorities=[{"name": "2"}], override=token), left(before))
    # The change was made and undone, and is requested again: another update needs another override.
    again = refusal(stack(version="3.7.3", override=token), left(before, serial=6))
    for text in (other, again):
        assert f"external-etcd:override is '{token}', which was for another change." in text


def test_data_in_a_newly_refused_directory_may_stay() -> None:
    opt = stack(dataDirectory="/opt/etcd/data")
    assert guard.compared(opt, left(opt)).machines.data_directory == "/opt/etcd/data"
    for last in ({}, left(stack())):
        with pytest.raises(config.ConfigError, match=r"dataDirectory: given '/opt/etcd/data'\. .*`pulumi destroy`"):
            guard.compared(opt, last)
    # Who has data there is not known, and a running cluster must remain manageable.
    assert guard.compared(opt, left(stack(), format=99)).machines.data_directory == "/opt/etcd/data"


def test_an_accepted_change_is_passed_on_with_its_comparison() -> None:
    last = left(stack())
    assert guard.compared(stack((2, 1, 1)), last).previous == last["applied"]
    assert guard.compared(stack(), {}).previous is None


def test_a_machine_can_be_replaced_while_other_timers_are_due() -> None:
    links = {f"etcd-{number}": 80.0 for number in (1, 2, 3)}
    measured = {name: {"round_trips_ms": links, "round_trips_ms_at": 1} for name in links}
    last = left(stack(), measured=measured)
    auto: dict[str, Any] = {"heartbeatIntervalMs": "auto"}
    assert guard.wanted(guard.compared(stack(**auto), last)).election_ms == 1200
    assert guard.wanted(guard.compared(stack((1, 2, 1), **auto), last)).election_ms == 1000
    refusal(stack((1, 2, 1), electionTimeoutMs=1200), last)


def test_an_override_also_applies_to_the_platform() -> None:
    last = left(stack())
    said = refusal(stack((2, 2, 1)), last)
    token = said[said.index("allow-") :].partition(";")[0]
    wanted = guard.compared(stack((2, 2, 1), override=token), last)
    assert guard.before(wanted, last) == {}


@pytest.mark.parametrize("changes", [{"format": 99}, {"order": None}, {"generations": {"etcd-1": "one"}}])
def test_an_unreadable_state_leaves_generations_to_the_platform(changes: dict[str, Any]) -> None:
    last = left(stack(), **changes)
    wanted = guard.compared(stack((2, 2, 1)), last)
    with pytest.raises(config.ConfigError, match="One update can replace only one machine of a cluster"):
        guard.before(wanted, last)


def test_without_a_last_update_the_platform_compares_its_own_record() -> None:
    last = {"generations": stack().machines.generations}
    assert guard.before(guard.compared(stack(), last), last) == last["generations"]


def test_a_stack_records_data_location_and_own_certificates(own_authority: dict[str, str]) -> None:
    volumes = {**example("hetzner")["hetzner"], "volume": {"size": 20}}
    assert guard.wanted(stack(hetzner=volumes)).on_volumes
    assert "hetzner.slots: given data on volumes of their own." in refusal(stack(hetzner=volumes), left(stack()))
    ours = {"name": "ours", "certificate": own_authority["certificate"], "privateKey": own_authority["private_key"]}
    assert guard.wanted(stack(authorities=[ours])).trusted == {"ours": digest(own_authority["certificate"])}


def test_the_recorded_state_survives_a_round_trip() -> None:
    before = read_state(left(stack())["applied"])
    assert before is not None
    assert before.same(guard.wanted(stack()))


PEERS = [{"name": "peer-1"}]


def test_a_new_cluster_gets_and_keeps_a_peer_ca() -> None:
    new = guard.compared(stack(), {})
    assert new.arguments["peer_authorities"] == PEERS
    assert (guard.wanted(new).trusted, guard.wanted(new).peer_trusted) == ({"1": "made"}, {"peer-1": "made"})
    later = guard.compared(stack(authorities=[{"name": "1"}, {"name": "2"}], issuer="1"), left(new))
    assert later.arguments["peer_authorities"] == PEERS
    assert guard.compared(stack(peerAuthorities=PEERS), left(new)).arguments["peer_authorities"] == PEERS


def test_an_existing_cluster_keeps_one_ca_for_all() -> None:
    last = left(stack())
    earlier = {key: value for key, value in last["applied"].items() if not key.startswith("peer_")}
    assert len(earlier) == len(last["applied"]) - 2
    for applied in (last["applied"], earlier):
        same = guard.compared(stack(), {**last, "applied": applied})
        assert same.plan.peer_authorities is None
        before = read_state(applied)
        assert before is not None
        assert before.same(guard.wanted(same))
        # It is replaced for both, as before.
        assert guard.compared(stack(authorities=[{"name": "1"}, {"name": "2"}]), last).plan.peer_authorities is None


def test_a_users_own_ca_is_also_the_peer_ca_by_default(own_authority: dict[str, str]) -> None:
    """Otherwise the cluster could not be adopted when the state is lost."""
    ours = {"name": "ours", "certificate": own_authority["certificate"], "privateKey": own_authority["private_key"]}
    assert guard.compared(stack(authorities=[ours]), {}).plan.peer_authorities is None
    both = guard.wanted(stack(authorities=[{"name": "1"}], peerAuthorities=[ours]))
    assert both.peer_trusted == {"ours": digest(own_authority["certificate"])}


def test_peers_move_to_their_own_ca_in_three_updates() -> None:
    said = refusal(stack(peerAuthorities=PEERS), left(stack()))
    for text in (
        "peerIssuer: given 'peer-1'. A CA may issue certificates only after all members",
        "peerAuthorities: given trusted peer-1, issuer peer-1. A CA can be removed only when none of",
        "1. peerAuthorities: 1, peer-1\n",
        "2. peerIssuer: peer-1\n",
        "3. peerAuthorities: peer-1\n",
    ):
        assert text in said
    both = [{"name": "1"}, *PEERS]
    steps = ({"peerAuthorities": both}, {"peerAuthorities": both, "peerIssuer": "peer-1"}, {"peerAuthorities": PEERS})
    last = left(stack())
    for step in steps:
        guard.compared(stack(**step), last)
        last = left(stack(**step))
    # A new cluster has the same, without any configuration.
    assert guard.compared(stack(), last).arguments["peer_authorities"] == PEERS
