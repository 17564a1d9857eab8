"""Finds the newest image of a distribution."""

import pulumi
import pulumi_aws as aws

from ..plan.aws_types import IMAGES, architecture_of, check_image
from ..plan.errors import refuse

# AWS's names.
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}


class Images:
    """Looks up each image once per run, with the provider of `parent`."""

    def __init__(self, parent: pulumi.Resource) -> None:
        self._parent = parent
        self._found: dict[tuple[str, str], pulumi.Output[str]] = {}

    def id_of(self, image: str, ami: str | None, instance_type: str) -> pulumi.Input[str]:
        """The ID of an image: `ami` if given, otherwise the newest of that name for this instance type.

        Raises:
            PlanError: the name is unknown.
        """
        if ami is not None:
            return ami
        refuse(check_image(image, "image"))
        architecture = architecture_of(instance_type) or "amd64"
        key = (image, architecture)
        if key not in self._found:
            self._found[key] = aws.ec2.get_ami_output(
                most_recent=True,
                owners=[IMAGES[image].owner],
                filters=[
                    {"name": "name", "values": [IMAGES[image].names[architecture]]},
                    {"name": "architecture", "values": [_ARCHITECTURES[architecture]]},
                ],
                opts=pulumi.InvokeOptions(parent=self._parent),
            ).id
        return self._found[key]
