"""Several labels of an image in rows, columns and cells, made one cell of labels; rows that deny their label."""
