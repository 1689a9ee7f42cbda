"""The final model, its expected score, and the files of an export."""
