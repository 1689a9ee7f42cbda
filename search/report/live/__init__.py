"""What `search start` prints while a study runs: ended trials, the status line, the plan."""
