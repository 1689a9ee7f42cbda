"""A worker process: taking work items, training them, storing the results."""
