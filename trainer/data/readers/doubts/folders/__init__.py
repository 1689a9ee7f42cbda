"""Doubts about the folders of images, and what to do about them."""
