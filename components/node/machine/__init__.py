"""The machine around etcd: account, network, firewall, ports, metadata."""
