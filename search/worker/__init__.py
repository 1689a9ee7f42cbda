"""A worker process: takes work items from the database, trains them and stores the results."""
