"""Commands that only read, and everything that the service prints."""
