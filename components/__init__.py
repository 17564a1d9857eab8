"""Pulumi components of a highly available external etcd cluster for Kubernetes."""

from .backup import Backup, Keep, ObjectLock, S3Store, SshStore
from .cluster import Certificates, EtcdCluster, EtcdClusterArgs, Maintenance, User
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
    "PkiMember",
    "S3Store",
    "Ssh",
    "SshStore",
    "User",
    "previous_update",
]
