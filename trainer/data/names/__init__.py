"""What the names of files and folders mean, before any of them is opened."""
