"""etcd as a service of this machine: release, unit, certificates, start and stop."""
