"""Linear probes: features of a frozen backbone, and the linear classifiers that are fitted on them."""
