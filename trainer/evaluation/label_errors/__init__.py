"""Confident learning: labels that held-out predictions contradict, of images with one label and with several."""
