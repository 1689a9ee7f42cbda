"""What `--json` prints: a study, and the comparison of its finalists, as documents for scripts."""
