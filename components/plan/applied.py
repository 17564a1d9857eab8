"""What the output `applied` has besides the guard's state (`plan.guard.state`)."""

CLIENTS = "clients"
"""The client certificates, from `plan.client_certificates`."""
CHECKED = "checked"
"""When the last health check found all members healthy, RFC 3339; absent if an earlier program made it."""
MEASURED = "measured"
"""Member -> what its machine has measured: `fdatasync_average_ms` (not in older programs) and `fdatasync_p99_ms` of its
disk, `round_trips_ms`, other member -> ms, and `round_trips_ms_at`, in seconds since 1970; as far as they are known."""
EARLY_RENEWAL = "early_renewal_hours"
"""The next update renews a certificate with less than this many hours left."""
DRIFT = "drift"
"""Member -> what others had changed on its machine at the last look, one line each; absent if they were not
asked."""
