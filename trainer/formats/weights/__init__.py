"""Files of weights: how they are described, and what is wrong with one."""
