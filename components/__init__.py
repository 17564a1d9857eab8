"""Pulumi components for the etcd that a Kubernetes control plane leans on."""

from .change import ChangeRefusedError, previous_update
from .cluster import Certificates, EtcdCluster, EtcdClusterArgs
from .machine import Bastion, Machine, Ssh
from .member import EtcdMember, EtcdMemberArgs
from .pki import ClientCertificate, EtcdPki, EtcdPkiArgs, OwnAuthority, PkiMember

__all__ = [
    "Bastion",
    "Certificates",
    "ChangeRefusedError",
    "ClientCertificate",
    "EtcdCluster",
    "EtcdClusterArgs",
    "EtcdMember",
    "EtcdMemberArgs",
    "EtcdPki",
    "EtcdPkiArgs",
    "Machine",
    "OwnAuthority",
    "PkiMember",
    "Ssh",
    "previous_update",
]
