"""A second study: the best recipe of an export again, trained in another way, exported only if that is better."""
