"""A new platform needs only its own folder; all other modules handle it like the existing ones."""

import json
from typing import Any

import pytest

from components import ChangeRefusedError
from stacks import config, guard, machine_types
from stacks.platforms import PLATFORMS
from tests.support.recording import record
from tests.support.shed import SHED

SLOTS = ("etcd-1", "etcd-2", "etcd-3")


def wanted(generations: str = "111", top: dict[str, str] | None = None, **changes: Any) -> config.StackConfig:
    slots = [{"name": name, "generation": int(number)} for name, number in zip(SLOTS, generations, strict=True)]
    shed = {"kind": "old", "operators": ["203.0.113.7/32"], "slots": slots, **changes}
    given = {key: value for key, value in shed.items() if value is not None}
    values = {"platform": "shed", "shed": json.dumps(given), **(top or {})}
    return config.load("third", values, platforms=(*PLATFORMS, SHED))


def refusal(**given: Any) -> str:
    with pytest.raises(config.ConfigError) as refused:
        wanted(**given)
    return str(refused.value)


def test_its_machines_become_members_with_gates_and_outputs() -> None:
    stack = wanted()
    outputs: dict[str, Any] = {}
    recorder = record(lambda: outputs.update(stack.platform.build(stack, guard.before(stack, {}))), preview=False)
    for slot in SLOTS:
        for verb in ("ssh", "prepare", "bootstrap", "converge", "gate"):
            recorder.named(f"third-{slot}-{verb}")
        recorder.named(f"third-{slot}-generation-1-first-boot")
    assert {"endpoints", "kubeadm", "machines_file", "server_ids", "ssh_private_key", "applied"} <= outputs.keys()
    assert outputs["generations"] == dict.fromkeys(SLOTS, 1)
    applied = json.loads(recorder.named("third-health").inputs["stdin"])["changes"]["applied"]
    assert applied["origins"] == guard.wanted(stack).origins == {slot: {"platform": "shed"} for slot in SLOTS}


def test_errors_in_its_keys_are_reported_like_any_others() -> None:
    assert "shed.kind: given nothing. This key is required. Set it: Kind of all machines." in refusal(kind=None)
    assert "shed.knd: given 'knd'. There is no such key. Did you mean 'kind'?" in refusal(knd="old")
    assert "shed.slots[1].generation: given 0. A generation must be a whole number, at least 1" in refusal(
        generations="101"
    )
    assert "shed.operators[0]: given '0.0.0.0/0'" in refusal(operators=["0.0.0.0/0"])
    assert "machines: given a value. This key is for the platform hosts" in refusal(top={"machines": "[]"})
    assert "shed: given a value. This key is for the platform shed" in refusal(top={"platform": "hosts"})
    said = refusal(top={"platform": "sheds"})
    assert "The platform must be one of hosts, aws, hetzner, shed. Did you mean 'shed'?" in said
    with pytest.raises(config.ConfigError, match=r"shed: given nothing\. The platform shed needs a kind and slots"):
        config.load("third", {"platform": "shed"}, platforms=(*PLATFORMS, SHED))


def test_its_provider_is_asked_about_new_machines() -> None:
    there = {"generations": dict.fromkeys(SLOTS, 1)}
    machine_types.check(wanted(), {})
    for stack, said in (
        (
            wanted(kind="new"),
            "shed.slots.etcd-1.kind: given 'new'. The keeper does not sell it in here; it has no such",
        ),
        (
            wanted(top={"quota": "8GiB"}),
            "of type old (etcd-1, etcd-2, etcd-3) has 4GiB. Set quota to 4GiB or less, or ",
        ),
    ):
        with pytest.raises(config.ConfigError) as refused:
            machine_types.check(stack, {})
        assert said in str(refused.value)
    stack = guard.compared(wanted(kind="new"), {"applied": {**guard.wanted(wanted()).data(), "serial": 1}})
    machine_types.check(stack, there)


def test_the_guard_compares_its_generations_with_those_of_the_last_update() -> None:
    last = {"applied": {**guard.wanted(wanted()).data(), "serial": 1}}
    guard.compared(wanted("211"), last)
    with pytest.raises(ChangeRefusedError, match=r"shed\.slots\.etcd-2\.generation: given etcd-1 from 1 to 2"):
        guard.compared(wanted("221"), last)
