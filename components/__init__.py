"""Pulumi components of a highly available external etcd cluster for Kubernetes."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backup import Backup, Keep, ObjectLock, S3Store, SshStore
    from .cloud_cluster import OperatorSsh
    from .cluster import Certificates, EtcdCluster, EtcdClusterArgs, Maintenance, User, check_cluster
    from .guard import ChangeRefusedError, previous_update
    from .machine import Bastion, Machine, Ssh
    from .member import EtcdMember, EtcdMemberArgs
    from .migration import ControlPlane, EtcdMigration, EtcdMigrationArgs, Migration
    from .pki import Authority, ClientCertificate, EtcdPki, EtcdPkiArgs, PkiMember

__all__ = [
    "Authority",
    "Backup",
    "Bastion",
    "Certificates",
    "ChangeRefusedError",
    "ClientCertificate",
    "ControlPlane",
    "EtcdCluster",
    "EtcdClusterArgs",
    "EtcdMember",
    "EtcdMemberArgs",
    "EtcdMigration",
    "EtcdMigrationArgs",
    "EtcdPki",
    "EtcdPkiArgs",
    "Keep",
    "Machine",
    "Maintenance",
    "Migration",
    "ObjectLock",
    "OperatorSsh",
    "PkiMember",
    "S3Store",
    "Ssh",
    "SshStore",
    "User",
    "check_cluster",
    "previous_update",
]

# They are imported when they are used: the Pulumi SDK takes half a second, and `external-etcd review` needs none of it.
_MODULES = {
    "backup": ("Backup", "Keep", "ObjectLock", "S3Store", "SshStore"),
    "cloud_cluster": ("OperatorSsh",),
    "cluster": ("Certificates", "EtcdCluster", "EtcdClusterArgs", "Maintenance", "User", "check_cluster"),
    "guard": ("ChangeRefusedError", "previous_update"),
    "machine": ("Bastion", "Machine", "Ssh"),
    "member": ("EtcdMember", "EtcdMemberArgs"),
    "migration": ("ControlPlane", "EtcdMigration", "EtcdMigrationArgs", "Migration"),
    "pki": ("Authority", "ClientCertificate", "EtcdPki", "EtcdPkiArgs", "PkiMember"),
}

if not TYPE_CHECKING:

    def __getattr__(name):
        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f".{module}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
