"""What shortens, delays or ends a training: the deadline of its study, and GPU memory that other programs hold."""
