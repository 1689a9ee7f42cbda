"""Label corrections: applied when a data folder is read, and made from a review that a person has filled in."""
