"""What can be searched: study files and the space that they describe."""
