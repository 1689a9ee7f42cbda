"""Choosing the columns of a table of labels: ids, image names, labels, groups, parts."""
