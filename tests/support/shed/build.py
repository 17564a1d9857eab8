"""Creates the simulated machines of the shed, and the cluster on them."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.cloud_cluster import Parts, machines_args, operator_args
from components.slots import CloudMachines, CloudMachinesArgs, CloudSlot
from components.ssh_key import CloudKey
from stacks.clouds.build import component_args, outputs
from stacks.config import StackConfig

from . import ShedConfig


class ShedMachines(CloudMachines):
    """One machine per slot."""

    def __init__(self, name: str, args: CloudMachinesArgs, slots: list[CloudSlot]) -> None:
        super().__init__("ShedMachines", name, args, slots, None)
        self._check([], public=True)
        for slot in slots:
            self._host_key(slot)
            made, _ = self._kept(slot, {"address": slot["address"]})
            server = pulumi.Stash(self._child(slot), input=made, opts=pulumi.ResourceOptions(parent=self))
            self._fill(slot, server, slot["address"], {"platform": "shed"})
        self._close([])


def build(stack: StackConfig, config: ShedConfig, before: Mapping[str, int]) -> dict[str, Any]:
    """Create machines and cluster; returns the stack's outputs by name."""
    name, addresses = stack.cluster_name, config.plan.addresses
    args = component_args(config)
    operator = operator_args(args["ssh"], lambda: CloudKey("ShedKey", name, None))
    slots: list[CloudSlot] = [
        {"name": slot.name, "address": addresses[slot.name], "generation": slot.generation}
        for slot in config.plan.slots
    ]
    machines = ShedMachines(name, machines_args(args, config.plan, operator, None, before), slots)
    return outputs(stack, config, Parts(machines, operator, None))
