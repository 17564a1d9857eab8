"""The plan of machines in a cloud, and the checks that are the same for all clouds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from . import ranges
from .errors import Problem, did_you_mean, shown
from .origin import Origin

DEFAULT_USER = "etcd-operator"
"""The operator's login, created at first boot."""
ARCHITECTURES = ("amd64", "arm64")
BASTION = "bastion"


@dataclass(frozen=True, kw_only=True)
class CloudSlot:
    """One slot and its desired machine."""

    name: str
    address: str | None = None
    """None: from the number in the name."""
    generation: int = 1
    extra_names: Sequence[str] = ()
    """Names in its certificates besides its own; `check_plan` checks them."""


@dataclass(frozen=True, kw_only=True)
class CloudPlan(ABC):
    """Network and machines of one cluster."""

    cluster: str
    """Name of the cluster."""
    slots: Sequence[CloudSlot]
    architecture: str | None = None
    """Architecture of the images; None: not set."""
    operators: Sequence[str] = ()
    """Ranges with access to ssh."""
    clients: Sequence[str] = ()
    """Ranges with access to port 2379."""
    metrics_clients: Sequence[str] = ()
    """Ranges with access to ports 2381 and 2382."""
    open_to_the_world: bool = False
    """The user allowed the whole internet in these ranges."""
    public_ipv4: bool = True
    bastion: object | None = None
    """The bastion to create."""
    through_another_bastion: bool = False
    """The machines are reached through an existing bastion."""

    @property
    @abstractmethod
    def addresses(self) -> Mapping[str, str]:
        """Slot -> private address, for a plan without problems."""

    @property
    @abstractmethod
    def origins(self) -> Mapping[str, Origin]:
        """Slot -> origin of its machine, for a plan without problems."""

    @property
    @abstractmethod
    def on_volumes(self) -> bool:
        """Whether etcd's data are on volumes."""


@dataclass(frozen=True)
class WantedType:
    """A machine type that the provider must sell in a place."""

    slot: str
    """Empty: the bastion."""
    key: str
    """Its configuration key, or argument."""
    type: str
    """The provider's name of the type."""
    place: str
    """Location or zone."""


def check_slots(plan: CloudPlan, key: str) -> list[Problem]:
    """Why these slots are not valid on any cloud; `key` is the key of their list."""
    problems = []
    for index, slot in enumerate(plan.slots):
        if slot.generation < 1:
            rule = "A generation must be a whole number, at least 1"
            problems.append(Problem(f"{key}[{index}].generation", shown(slot.generation), rule, "Remove it for 1"))
        if plan.bastion is not None and slot.name == BASTION:
            rule = "A slot cannot have the name of the created bastion"
            problems.append(Problem(f"{key}[{index}].name", shown(slot.name), rule, "Choose another name for the slot"))
    return problems


def check_access(plan: CloudPlan, spelled: Callable[[str], str], *, public: bool) -> list[Problem]:
    """Why access to the machines would be impossible or open to everybody; empty otherwise.

    Args:
        spelled: the user's spelling of its fields.
        public: whether machines have a public address.
    """
    problems = []
    if plan.architecture is not None and plan.architecture not in ARCHITECTURES:
        rule = f"An architecture must be {' or '.join(ARCHITECTURES)}"
        remedy = did_you_mean(plan.architecture, ARCHITECTURES) or "Remove it, unless an image is set by its ID"
        problems.append(Problem(spelled("architecture"), shown(plan.architecture), rule, remedy))
    world_key = spelled("open_to_the_world")
    for name, ports, sources in (
        ("operators", "port 22", plan.operators),
        ("clients", "port 2379", plan.clients),
        ("metrics_clients", "ports 2381 and 2382", plan.metrics_clients),
    ):
        problems += ranges.check_sources(
            sources, spelled(name), ports=ports, world=plan.open_to_the_world, world_key=world_key
        )
    if not public and plan.bastion is None and not plan.through_another_bastion:
        rule = "Machines without a public address need a bastion"
        remedy = f"Set {spelled('bastion')} to create one, or ssh.bastion to an existing one"
        problems.append(Problem(spelled("public_ipv4"), "false", rule, remedy))
    if plan.bastion is not None and plan.through_another_bastion:
        rule = "There can be only one bastion, a created or an existing one"
        problems.append(Problem(spelled("bastion"), "a bastion", rule, "Remove it, or remove ssh.bastion"))
    return problems
