"""The members of a cluster: their number, and that an update replaces the machine of only one."""

from collections.abc import Iterator

from pulumi_policy import PolicyResource, ReportViolation, StackValidationArgs

from .rule import COMPONENTS, Schemas, Settings, is_known, stack_policy

_CLUSTER, _MEMBER = f"{COMPONENTS}EtcdCluster", f"{COMPONENTS}EtcdMember"

_COUNTS: Schemas = {
    "minimum": {
        "type": "integer",
        "minimum": 1,
        "default": 1,
        "description": "The smallest number of members. 3 tolerate the loss of one.",
    },
    "maximum": {"type": "integer", "minimum": 1, "default": 7, "description": "The largest number of members."},
}
_MACHINES: Schemas = {
    "machines": {
        "type": "integer",
        "minimum": 1,
        "default": 1,
        "description": "How many members of a cluster get a new machine in one update.",
    }
}


def _clusters(args: StackValidationArgs) -> dict[str, list[PolicyResource]]:
    """URN of a cluster -> its members. A cluster that goes back from a migration has none."""
    found: dict[str, list[PolicyResource]] = {}
    for each in args.resources:
        if each.resource_type == _MEMBER and each.parent is not None and each.parent.resource_type == _CLUSTER:
            found.setdefault(each.parent.urn, []).append(each)
    return found


def _odd(args: StackValidationArgs, settings: Settings, report: ReportViolation) -> None:
    least, most = int(settings["minimum"]), int(settings["maximum"])
    for urn, members in _clusters(args).items():
        count = len(members)
        if count % 2 == 0:
            report(
                f"The cluster has {count} members. That tolerates no more failures than {count - 1}, and one more "
                "machine can fail. Use 3, 5 or 7.",
                urn,
            )
        if not least <= count <= most:
            report(f"The cluster has {count} members; this policy requires {least} to {most}.", urn)


def _one_by_one(args: StackValidationArgs, settings: Settings, report: ReportViolation) -> None:
    most = int(settings["machines"])
    for urn, members in _clusters(args).items():
        fresh = sorted(member.name for member in members if _gets_a_new_machine(member, args.resources))
        if len(fresh) > most:
            report(
                f"{', '.join(fresh)} would get new machines in one update; this policy allows {most}. Raise the "
                "generation of one slot, run pulumi up, then raise the next one. If these machines are lost already: "
                "set `machines` of this policy for this update.",
                urn,
            )


def _gets_a_new_machine(member: PolicyResource, resources: list[PolicyResource]) -> bool:
    """Whether a member of a running cluster gets a machine that does not exist yet.

    A policy does not see the last state. But at preview the ID of a machine that exists is known, and so is the answer
    of the command that once permitted this member to begin. Before that there is nothing to lose.
    """
    children = {each.name.removeprefix(member.name): each for each in resources if each.parent is member}
    permitted, prepared = children.get("-bootstrap"), children.get("-prepare")
    if permitted is None or prepared is None or not is_known(permitted.props, "stdout"):
        return False
    return any(not is_known(machine.props, "id") for machine in _machines(prepared))


def _machines(prepared: PolicyResource) -> Iterator[PolicyResource]:
    """The created machine for which a command prepares, without its bastion. Existing machines are no resources."""
    for each in prepared.dependencies:
        made_in = each.parent.resource_type if each.parent else ""
        server = each.resource_type.rpartition(":")[2] in ("Server", "Instance")
        if server and made_in.startswith(COMPONENTS) and made_in.endswith("Machines"):
            yield each


ODD = stack_policy("odd-members", "A cluster has an odd number of members.", _odd, _COUNTS)
ONE_BY_ONE = stack_policy(
    "one-machine-per-update", "An update replaces the machine of at most one member.", _one_by_one, _MACHINES
)
