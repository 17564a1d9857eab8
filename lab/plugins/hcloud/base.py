"""What all resources of the Hetzner Cloud have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..rest_resource import RestResource, Values
from ..schema import Failure
from ..server import Call
from ..wire import plain
from .rules import label_failures

PACKAGE: Final = "pulumi_hcloud"
REPLACES: Final[Mapping[str, Any]] = {"replaces": True}
OFF: Final[Mapping[str, Any]] = {"default": False}
# What is still in use is let go by other resources of the same destroy, a moment later.
BUSY: Final = ("resource_in_use", "service_error")


class Hcloud(RestResource):
    """What is alike in all of them."""

    package = PACKAGE

    def check(self, inputs: Mapping[str, Any]) -> list[Failure]:
        """Also that labels are as they should be."""
        return [*super().check(inputs), *label_failures(plain(inputs.get("labels")))]

    def remove(self, call: Call, identity: str, state: Values) -> None:  # noqa: ARG002 (for overriding)
        """One DELETE, and the wait for its action."""
        self.api.settle(call, self.api.call(call, "DELETE", f"{self.path}/{identity}", later=BUSY))
