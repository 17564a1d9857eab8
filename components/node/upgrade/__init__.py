"""What another version of etcd needs before, during and after a restart."""
