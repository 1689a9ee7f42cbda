"""`search compare`: the finalists on fresh splits, as a table and a picture."""
