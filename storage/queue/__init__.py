"""Work items: handing them out under leases, storing results, recovering from dead workers."""
