"""Text files as they are written: encodings, comments, blanks, delimiters."""
