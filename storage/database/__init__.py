"""The SQL database: its URL, engine, connection, outages, clock and tables."""
