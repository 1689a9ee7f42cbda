"""The steps that read a table of labels: find it, divide it into parts, read the labels of its rows."""
