"""All flags of etcd by minor version, with the kind of their value. Data only.

Sources: `etcd --help` of 3.5.35, 3.6.16 and 3.7.3, and the binaries: 3.7.3 refuses `discovery` and `discovery-proxy`,
which its help still lists. A test compares this file with the binaries.
"""

# Minor versions -> kind of value -> names without dashes.
_TABLE = {
    "3.5 3.6 3.7": {
        "boolean": """
            auto-tls client-cert-auth enable-grpc-gateway enable-log-rotation enable-pprof force-new-cluster
            initial-election-tick-advance peer-auto-tls peer-client-cert-auth pre-vote socket-reuse-address
            socket-reuse-port strict-reconfig-check unsafe-no-fsync
        """,
        "integer": """
            auth-token-ttl backend-batch-limit bcrypt-cost election-timeout heartbeat-interval
            max-concurrent-streams max-request-bytes max-snapshots max-txn-ops max-wals quota-backend-bytes
            self-signed-cert-validity snapshot-count
        """,
        "duration": """
            backend-batch-interval grpc-keepalive-interval grpc-keepalive-min-time grpc-keepalive-timeout
            raft-read-timeout raft-write-timeout
        """,
        "text": """
            advertise-client-urls auth-token auto-compaction-mode auto-compaction-retention
            backend-bbolt-freelist-type cert-file cipher-suites client-cert-allowed-hostname client-cert-file
            client-crl-file client-key-file cors data-dir discovery-fallback discovery-srv discovery-srv-name
            host-whitelist initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token
            key-file listen-client-http-urls listen-client-urls listen-metrics-urls listen-peer-urls log-level
            log-outputs log-rotation-config-json logger metrics name peer-cert-allowed-cn peer-cert-allowed-hostname
            peer-cert-file peer-client-cert-file peer-client-key-file peer-crl-file peer-key-file
            peer-trusted-ca-file tls-max-version tls-min-version trusted-ca-file v2-deprecation wal-dir
        """,
    },
    "3.6 3.7": {
        "boolean": """
            discovery-insecure-skip-tls-verify discovery-insecure-transport enable-distributed-tracing memory-mlock
            peer-skip-client-san-verification
        """,
        "integer": """
            bootstrap-defrag-threshold-megabytes compaction-batch-limit distributed-tracing-sampling-rate
            max-learners snapshot-catchup-entries
        """,
        "duration": """
            compact-hash-check-time compaction-sleep-interval corrupt-check-time discovery-dial-timeout
            discovery-keepalive-time discovery-keepalive-timeout discovery-request-timeout downgrade-check-time
            warning-apply-duration warning-unary-request-duration watch-progress-notify-interval
        """,
        "text": """
            discovery-cacert discovery-cert discovery-endpoints discovery-key discovery-password discovery-token
            discovery-user distributed-tracing-address distributed-tracing-instance-id
            distributed-tracing-service-name feature-gates log-format
        """,
    },
    "3.5 3.6": {
        "boolean": """
            experimental-compact-hash-check-enabled experimental-enable-distributed-tracing
            experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist
            experimental-initial-corrupt-check experimental-memory-mlock
            experimental-peer-skip-client-san-verification experimental-stop-grpc-service-on-defrag
            experimental-txn-mode-write-with-shared-buffer
        """,
        "integer": """
            experimental-bootstrap-defrag-threshold-megabytes experimental-compaction-batch-limit
            experimental-distributed-tracing-sampling-rate
        """,
        "duration": """
            experimental-compact-hash-check-time experimental-compaction-sleep-interval
            experimental-corrupt-check-time experimental-downgrade-check-time experimental-warning-apply-duration
            experimental-watch-progress-notify-interval
        """,
        "text": """
            discovery discovery-proxy experimental-distributed-tracing-address
            experimental-distributed-tracing-instance-id experimental-distributed-tracing-service-name
        """,
    },
    "3.5": {
        "boolean": "enable-v2",
        "integer": """
            proxy-dial-timeout proxy-failure-wait proxy-read-timeout proxy-refresh-interval proxy-write-timeout
        """,
        "text": "experimental-enable-v2v3 proxy",
    },
    "3.6": {
        "integer": "experimental-snapshot-catchup-entries",
        "duration": "experimental-warning-unary-request-duration",
    },
}

FLAGS: dict[str, dict[str, str]] = {
    series: {
        name: kind
        for minors, kinds in _TABLE.items()
        if series in minors.split()
        for kind, names in kinds.items()
        for name in names.split()
    }
    for series in ("3.5", "3.6", "3.7")
}
"""Minor version -> flag without dashes -> `boolean`, `integer`, `duration` or `text`."""

_GATES_FROM_3_6 = """
    AllAlpha AllBeta CompactHashCheck InitialCorruptCheck LeaseCheckpoint LeaseCheckpointPersist
    SetMemberLocalAddr StopGRPCServiceOnDefrag TxnModeWriteWithSharedBuffer
"""
_GATES_FROM_3_7 = "FastLeaseKeepAlive PriorityRequest"

GATES: dict[str, frozenset[str]] = {
    "3.5": frozenset(),
    "3.6": frozenset(_GATES_FROM_3_6.split()),
    "3.7": frozenset(f"{_GATES_FROM_3_6} {_GATES_FROM_3_7}".split()),
}
"""Minor version -> its feature gates."""

BECAME_GATES: dict[str, str] = {
    "experimental-compact-hash-check-enabled": "CompactHashCheck",
    "experimental-enable-lease-checkpoint": "LeaseCheckpoint",
    "experimental-enable-lease-checkpoint-persist": "LeaseCheckpointPersist",
    "experimental-initial-corrupt-check": "InitialCorruptCheck",
    "experimental-stop-grpc-service-on-defrag": "StopGRPCServiceOnDefrag",
    "experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
}
"""Flags of 3.5 -> feature gates from 3.6 on; 3.6 still accepts the flags."""

DEPRECATED: dict[str, dict[str, str]] = {
    "3.5": {"enable-v2": "3.6", "experimental-enable-v2v3": "3.6"},
    "3.6": {"max-snapshots": "3.8", "v2-deprecation": "3.8"},
    "3.7": {"max-snapshots": "3.8", "v2-deprecation": "3.8"},
}
"""Minor version -> deprecated flag without successor -> the minor version that removed it."""
