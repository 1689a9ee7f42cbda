"""Inference with an exported model: reading images, test-time views, blending.

The package imports nothing of Retable. Every model folder holds a copy of it.
"""
