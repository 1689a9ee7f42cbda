"""How workers are started and restarted: local processes, or actors on a Ray cluster."""
