"""Many workers on one database: overhead of a trial, and a crash test."""
