"""Machines that a cloud makes: their slots, who may come to them and which way; what is the same on every cloud."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import ranges
from .errors import Problem, did_you_mean, shown
from .origin import Origin

DEFAULT_USER = "etcd-operator"
"""The operator's login, which the first boot makes."""
ARCHITECTURES = ("amd64", "arm64")
BASTION = "bastion"


@dataclass(frozen=True, kw_only=True)
class CloudSlot:
    """One slot and the machine that is wanted in it."""

    name: str
    address: str | None = None
    """None: it follows from the name's number."""
    generation: int = 1
    extra_names: Sequence[str] = ()
    """Names in its certificates beside its own; `check_plan` judges them."""


@dataclass(frozen=True, kw_only=True)
class CloudPlan(ABC):
    """Network and machines of one cluster."""

    cluster: str
    """Its name."""
    slots: Sequence[CloudSlot]
    architecture: str | None = None
    """That of the images, where the user says it."""
    operators: Sequence[str] = ()
    """Ranges from which ssh comes."""
    clients: Sequence[str] = ()
    """Ranges that may reach port 2379."""
    metrics_clients: Sequence[str] = ()
    """Ranges that may reach port 2381."""
    open_to_the_world: bool = False
    """The user has said that everybody may be among them."""
    public_ipv4: bool = True
    bastion: object | None = None
    """The bastion that is to be made."""
    through_another_bastion: bool = False
    """The machines are reached through one that exists."""

    @property
    @abstractmethod
    def addresses(self) -> Mapping[str, str]:
        """Slot -> private address, for a plan without problems."""

    @property
    @abstractmethod
    def origins(self) -> Mapping[str, Origin]:
        """Slot -> where its machine comes from, for a plan without problems."""

    @property
    @abstractmethod
    def on_volumes(self) -> bool:
        """Whether there are volumes for etcd's data."""


def check_slots(plan: CloudPlan, key: str) -> list[Problem]:
    """Why these slots cannot be, whatever the cloud; `key` is that of their list."""
    problems = []
    for index, slot in enumerate(plan.slots):
        if slot.generation < 1:
            rule = "A generation is a whole number from 1 on"
            problems.append(Problem(f"{key}[{index}].generation", shown(slot.generation), rule, "Leave it out for 1"))
        if plan.bastion is not None and slot.name == BASTION:
            rule = "With a bastion that is made here, no slot has its name"
            problems.append(Problem(f"{key}[{index}].name", shown(slot.name), rule, "Choose another name for the slot"))
    return problems


def check_access(plan: CloudPlan, spelled: Callable[[str], str], *, public: bool) -> list[Problem]:
    """Why nobody, or everybody, could come to the machines; empty when those can who should.

    Args:
        plan: the cloud's plan.
        spelled: the user's spelling of its fields.
        public: whether machines have a public address.
    """
    problems = []
    if plan.architecture is not None and plan.architecture not in ARCHITECTURES:
        rule = f"An architecture is {' or '.join(ARCHITECTURES)}"
        remedy = did_you_mean(plan.architecture, ARCHITECTURES) or "Leave it out, unless an image is given by its ID"
        problems.append(Problem(spelled("architecture"), shown(plan.architecture), rule, remedy))
    world_key = spelled("open_to_the_world")
    for name, ports, sources in (
        ("operators", "port 22", plan.operators),
        ("clients", "port 2379", plan.clients),
        ("metrics_clients", "port 2381", plan.metrics_clients),
    ):
        problems += ranges.check_sources(
            sources, spelled(name), ports=ports, world=plan.open_to_the_world, world_key=world_key
        )
    if not public and plan.bastion is None and not plan.through_another_bastion:
        rule = "A machine without a public address is reached through a bastion"
        remedy = f"Set {spelled('bastion')} to have one made, or ssh.bastion to one that exists"
        problems.append(Problem(spelled("public_ipv4"), "false", rule, remedy))
    if plan.bastion is not None and plan.through_another_bastion:
        rule = "There is one way to the machines: a bastion that is made, or one that exists"
        problems.append(Problem(spelled("bastion"), "a bastion", rule, "Remove it, or ssh.bastion"))
    return problems
