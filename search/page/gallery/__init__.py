"""The pictures of the report: drawn once by the export, which has the networks, and kept in the home folder."""
