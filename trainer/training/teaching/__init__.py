"""What a training learns beside its labels: pseudo-labelled rows, and soft targets by teachers."""
