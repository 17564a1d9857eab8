"""What a preview means for people who review it."""

from collections import Counter
from dataclasses import dataclass

from .announced import ALL_STOP, API_RESTART, JOIN, NO_RETURN, REMOVE
from .announced import REPLACE as NEW_MACHINE
from .consequences import Consequence, consequences, is_renewal, named, of_a_cloud, removed_clusters, unannounced
from .preview import Preview, Resource

REFUSED, RESTART, IRREVERSIBLE, REPLACE = "refused", "restart", "irreversible", "replace"
POLICIES = (REFUSED, RESTART, IRREVERSIBLE, REPLACE)
"""What `--fail-on` accepts."""
NOTHING, CHANGES, FAILED = "nothing", "changes", "failed"


@dataclass(frozen=True)
class Moment:
    """One announced step."""

    cluster: str
    text: str
    """Empty: in a form that this program does not know."""
    voters: int
    serving: int
    """How many of the voters run."""
    tolerates: int
    """How many more may fail; below 0: there is no quorum."""


@dataclass(frozen=True)
class Review:
    """A review. `external-etcd review --format json` prints these fields."""

    stack: str
    clusters: tuple[str, ...]
    verdict: str
    """`nothing`, `changes`, `refused` or `failed`."""
    consequences: tuple[Consequence, ...]
    steps: tuple[Moment, ...]
    restarts: tuple[str, ...]
    """Members that restart, in order."""
    known: bool
    """Whether all steps are known, also those for a machine that is deleted or replaced. If not, any of them may be a
    restart that cannot be undone."""
    all_stop: bool
    """Whether all members of a cluster are stopped at the same time."""
    api_servers: tuple[str, ...]
    """Control planes whose API server restarts, in order."""
    machines: tuple[str, ...]
    """Members whose machine is replaced."""
    removed: tuple[str, ...]
    """Clusters that are removed."""
    joins: tuple[str, ...]
    """New members."""
    leaves: tuple[str, ...]
    """Members that are removed."""
    renews: tuple[str, ...]
    """Certificates that are renewed, without a restart for them."""
    slow: tuple[str, ...]
    """Slow disks and links: which are accepted of new members, and which members have them, with what was measured."""
    resources: tuple[Resource, ...]
    counts: dict[str, int]
    """Operation -> number of resources."""
    problems: tuple[str, ...]
    overridden: tuple[str, ...]
    override: bool
    """Whether a refusal has an override."""
    updates: tuple[str, ...]
    refused_keys: tuple[str, ...]
    other_errors: int
    warnings: tuple[str, ...]
    other_warnings: int
    policies: tuple[str, ...]
    """Those of `POLICIES` that apply."""

    @property
    def worst(self) -> Moment | None:
        """The step with the fewest further failures tolerated; None without steps."""
        return min(self.steps, key=lambda step: (step.tolerates, step.serving - step.voters), default=None)


def review(preview: Preview, stack: str = "") -> Review:
    """The review of a preview.

    Args:
        stack: name of the stack. Default: as in the preview.
    """
    steps = tuple(
        Moment(each.cluster, each.step.text, each.step.voters, each.step.serving, each.step.spare)
        for each in preview.steps
    )
    found = consequences(preview)
    known = preview.known and not unannounced(preview)
    restarts = tuple(dict.fromkeys(name for each in preview.steps for name in each.restarts))
    removed = tuple(removed_clusters(preview))
    stopped = any(each.kind == ALL_STOP or (each.step.serving == 0 and each.step.voters > 1) for each in preview.steps)
    all_stop = stopped or bool(removed)
    resources = tuple(sorted(preview.resources, key=lambda each: (each.op, each.name, each.type)))
    replaces = any(each.op in ("replace", "delete") for each in preview.resources if of_a_cloud(each))
    api_servers = named(preview, API_RESTART)
    stops = bool(restarts or api_servers) or all_stop or any(step.serving < step.voters for step in steps)
    applies = {
        REFUSED: preview.refused,
        RESTART: stops or not known,
        IRREVERSIBLE: any(each.final for each in found) or not known,
        REPLACE: replaces,
    }
    verdict = CHANGES if preview.resources or steps else NOTHING
    return Review(
        stack=stack or preview.stack,
        clusters=preview.clusters,
        verdict=REFUSED if preview.refused else FAILED if preview.failed else verdict,
        consequences=tuple(found),
        steps=steps,
        restarts=restarts,
        known=known,
        all_stop=all_stop,
        api_servers=api_servers,
        machines=named(preview, NEW_MACHINE),
        removed=removed,
        joins=named(preview, JOIN),
        leaves=named(preview, REMOVE, NO_RETURN),
        renews=tuple(each.name for each in resources if is_renewal(each)),
        slow=preview.slow,
        resources=resources,
        counts=dict(sorted(Counter(each.op for each in resources).items())),
        problems=preview.problems,
        overridden=preview.overridden,
        override=preview.override,
        updates=preview.updates,
        refused_keys=preview.keys,
        other_errors=preview.errors,
        warnings=preview.warnings,
        other_warnings=preview.other_warnings,
        policies=tuple(name for name in POLICIES if applies[name]),
    )
