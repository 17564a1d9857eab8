"""What every machine that a cloud makes begins with: the user data are for root alone, a bastion's as a member's."""

from .node.machine import metadata
from .node.shared import paths
from .plan import cloud_init

FOR_ROOT = {paths.METADATA_UNIT: metadata.unit_text(cloud_init.METADATA)}
"""Units of the first boot. Members of earlier generations get the same one by `etcd-node prepare`."""
