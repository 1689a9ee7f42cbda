"""Rules for pruning, sampling and selection, replayed on recorded learning curves."""
