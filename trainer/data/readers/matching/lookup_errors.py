"""Why an id leads to no image file."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.common.errors import TrainerError


class ImageLookupError(TrainerError):
    """An id that does not match exactly one image file inside the folder. The message is the cause alone."""


class ImageMissingError(ImageLookupError):
    """An id that matches no image file at all; ``namesakes`` have its file name, in other folders."""

    def __init__(self, message: str, namesakes: Sequence[str] = ()) -> None:
        self.namesakes = namesakes
        super().__init__(message)


class ImageOutsideError(ImageMissingError):
    """An id that is a path out of the data folder."""


class ImageAmbiguousError(ImageLookupError):
    """An id that matches several files, ``paths``."""

    def __init__(self, identifier: str, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        super().__init__(
            f"{identifier!r} could be {' or '.join(paths[:3])}: move one of them out of the folder, or "
            "write the path into the table"
        )
