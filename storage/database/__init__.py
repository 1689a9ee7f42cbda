"""The connection to one SQL database and its tables."""
