"""Candidates for the members of a final model: which studies may take part together, and which of their recipes."""
