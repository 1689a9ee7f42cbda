"""Benchmarks. Each compares alternatives within one run on one machine; the tests run them on a small scale only."""

from trainer.inference.resources import prepare_torch

prepare_torch()  # before a benchmark imports torch; the processes that it starts inherit it
