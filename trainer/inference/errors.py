"""Errors of exported models."""

from __future__ import annotations


class InferenceError(Exception):
    """Base class of the errors that this package raises.

    It derives from no error of Retable, because this package imports nothing of Retable.
    """


class ImageError(InferenceError):
    """One image cannot be used. The message is the cause alone, without the name of the image."""


class ModelError(InferenceError):
    """A model folder, or its input, cannot be used. The message gives the cause."""
