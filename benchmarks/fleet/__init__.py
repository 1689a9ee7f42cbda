"""Many workers on one database: overhead, and trials that survive killed processes."""
