"""The error of this package. Importing it does not load torch."""

from __future__ import annotations

from trainer.common.errors import TrainerError


class NoMap(TrainerError):
    """No class-activation map can be drawn for this network. The message is the reason, without the network."""
