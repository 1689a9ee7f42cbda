"""File formats: delimited tables, labels, submissions, tables of class probabilities."""
