"""Files that people exchange: delimited tables, labels, submissions, probabilities."""
