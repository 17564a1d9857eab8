"""Who may come to machines that a cloud makes, and which way the operator takes: what is the same on every cloud."""

from collections.abc import Callable, Sequence
from typing import Protocol

from . import ranges
from .errors import Problem, did_you_mean, shown

ARCHITECTURES = ("amd64", "arm64")


class Access(Protocol):
    """What a cloud's plan says of it."""

    @property
    def architecture(self) -> str | None:
        """That of the images, where the user says it."""

    @property
    def operators(self) -> Sequence[str]:
        """Ranges from which ssh comes."""

    @property
    def clients(self) -> Sequence[str]:
        """Ranges that may reach port 2379."""

    @property
    def metrics_clients(self) -> Sequence[str]:
        """Ranges that may reach port 2381."""

    @property
    def open_to_the_world(self) -> bool:
        """The user has said that everybody may be among them."""

    @property
    def bastion(self) -> object | None:
        """The bastion that is to be made."""

    @property
    def through_another_bastion(self) -> bool:
        """The machines are reached through one that exists."""


def check_access(plan: Access, spelled: Callable[[str], str], *, public: bool) -> list[Problem]:
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
