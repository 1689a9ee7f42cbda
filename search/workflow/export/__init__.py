"""The end of a search: refits, the export with its pictures, and the submission that stands there before."""
