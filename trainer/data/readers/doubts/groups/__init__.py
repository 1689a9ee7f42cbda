"""Images that may belong together, such as those of a patient, by columns of tables and by the names of files."""
