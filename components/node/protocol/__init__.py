"""How etcd speaks and writes: its API, certificates, log and versions."""
