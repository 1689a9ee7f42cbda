"""Everything that is kept: one SQL database and files beside it."""
