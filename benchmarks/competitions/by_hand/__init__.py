"""Scripts as people write them by hand, with which `benchmarks.competitions.pretrained` compares Retable."""
