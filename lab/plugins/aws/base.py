"""The base class of all AWS resources: one subclass per type, mostly a table."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from ..rest import RefusedError
from ..rest_resource import Account, Difference, RestResource, Values, dig
from ..schema import Failure
from ..server import Call, ProviderError
from ..wire import UNKNOWN, plain
from .cloud import PACKAGE, Cloud, patiently

REPLACES: Final[Mapping[str, Any]] = {"replaces": True}
BUSY: Final = ("DependencyViolation", "InvalidParameterValue.InUse", "VolumeInUse", "IncorrectState")


class AwsResource(RestResource):
    """One type of EC2 resource.

    Attributes:
        title: The API's name, `Vpc`: calls and ids contain it. `plural` if that is not title + s.
        prefix: Of the ids.
        marks: Its name in `TagSpecifications`; empty: it has no tags.
        in_place: Properties that the subclass's `change` handles; a change of another one, except tags, is refused.
        sent, where: As in RestResource; the API's names are those of the properties, capitalised.
    """

    package = PACKAGE
    title: ClassVar[str] = ""
    plural: ClassVar[str] = ""
    marks: ClassVar[str] = ""
    in_place: ClassVar[tuple[str, ...]] = ()

    def __init__(self, token: str, cloud: Cloud) -> None:
        super().__init__(token, Account())
        self.cloud = cloud

    def ec2(self, operation: str, **given: Any) -> dict[str, Any]:
        """One request to EC2. Raises what `Cloud.ask` raises."""
        return self.cloud.ask("ec2", operation, **given)

    def found(self, operation: str, **given: Any) -> list[dict[str, Any]]:
        """What a request describes: the only list in the answer, empty if the API knows no such resource."""
        try:
            answer = self.ec2(operation, **given)
        except RefusedError as error:
            if error.code != "not_found":
                raise
            return []
        return next((rows for rows in answer.values() if isinstance(rows, list)), [])

    # -- inputs ------------------------------------------------------------------------------------------------------

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Also checks that the region is the provider's."""
        failures = super().check(inputs)
        region = plain(inputs.get("region"))
        if region not in (None, UNKNOWN, self.cloud.region):
            failures.append(Failure("region", "this stand-in serves only the provider's region"))
        return failures

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def make(self, call: Call, given: Values) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002 - for overriding
        """One call, with the properties in `sent` and the tags."""
        answer = self.ec2(f"create_{self._snake}", **self.body(given), **self.tagged(given))
        thing = answer.get(self.title, answer)
        return str(thing[f"{self.title}Id"]), thing

    def body(self, given: Values) -> Values:
        """The body of the creation request."""
        return {self.where.get(name, pascal(name)): given[name] for name in self.sent if given.get(name) is not None}

    def tagged(self, given: Values) -> Values:
        """The part of a request that sets a new resource's tags."""
        tags = [{"Key": key, "Value": value} for key, value in (given.get("tags") or {}).items()]
        return {"TagSpecifications": [{"ResourceType": self.marks, "Tags": tags}]} if tags else {}

    def ready(self, call: Call, identity: str, answer: Mapping[str, Any], given: Values) -> None:  # noqa: ARG002
        """As in RestResource; EC2 has no actions to wait for."""
        self.finish(call, identity, given)

    def look(self, call: Call, identity: str) -> Values | None:  # noqa: ARG002 - for overriding
        """Its description by the API."""
        ids = {f"{self.title}Ids": [identity]}
        found = self.found(f"describe_{snake(self.plural or f'{self.title}s')}", **ids)
        return dict(found[0]) if found else None

    def seen(self, thing: Mapping[str, Any], given: Values) -> Values:  # noqa: ARG002 - for overriding
        """The properties that the API returns, and those that follow from them."""
        found = {}
        for name in self.outputs:
            value = dig(thing, self.where.get(name, pascal(name)))
            if value is not None and not isinstance(value, Mapping):
                found[name] = value
        found["region"] = self.cloud.region
        if self.marks:
            found["tags"] = found["tagsAll"] = tags_of(thing)
        return found

    def change(self, call: Call, change: Difference) -> None:  # noqa: ARG002 - for overriding
        """Update its tags."""
        for name in self.fields:
            if name not in ("tags", *self.in_place) and change.at(name):
                raise ProviderError(f"{name}: this stand-in cannot change it; install the official plugin")
        if change.at("tags"):
            self.retag(change.identity, change.old.get("tags") or {}, change.new.get("tags") or {})

    def retag(self, identity: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Replace its tags."""
        if gone := [{"Key": key} for key in old if key not in new]:
            self.ec2("delete_tags", Resources=[identity], Tags=gone)
        if changed := [{"Key": key, "Value": value} for key, value in new.items() if old.get(key) != value]:
            self.ec2("create_tags", Resources=[identity], Tags=changed)

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002 - for overriding
        """One call, repeated while other resources depend on it."""
        names = {f"{self.title}Id": identity}
        patiently(call, BUSY, lambda: self.ec2(f"delete_{self._snake}", **names))

    @property
    def _snake(self) -> str:
        return snake(self.title)


def tags_of(thing: Mapping[str, Any]) -> dict[str, str]:
    """The tags in a description, without AWS's own."""
    rows = thing.get("Tags") or thing.get("TagSet") or []
    return {row["Key"]: row["Value"] for row in rows if not row["Key"].startswith("aws:")}


def pascal(name: str) -> str:
    """`cidrBlock` as `CidrBlock`."""
    return name[:1].upper() + name[1:]


def snake(title: str) -> str:
    """`RouteTable` as `route_table`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in title).lstrip("_")


def checksum(text: str) -> int:
    """A number for the id of a resource that has none in the API, as in the official plugin."""
    return zlib.crc32(text.encode())
