"""Lists and JSON files that divide the images into parts for training, validation and testing."""
