"""The sections of the report: each turns stored values into a view, which a template writes as HTML."""
