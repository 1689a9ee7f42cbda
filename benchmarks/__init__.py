"""Benchmarks. Each compares alternatives within one run on one machine; the tests run them on a small scale only."""
