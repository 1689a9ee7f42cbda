"""Tables in JSON: strict parsing, the forms that are tables, and their cells."""
