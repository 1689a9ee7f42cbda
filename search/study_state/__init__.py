"""The state of a study, read from the database: trials, stages, time left, finalists and their confirmation."""
