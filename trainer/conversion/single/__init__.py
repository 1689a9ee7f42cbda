"""One network instead of an ensemble: the mean of the weights of networks that began at the same ones."""
