"""The work queue: leases, stored results, and the recovery from dead workers."""
