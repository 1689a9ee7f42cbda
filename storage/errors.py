"""The errors of this package. No message contains a password."""

from __future__ import annotations


class StorageError(Exception):
    """A request to the database failed or was wrong. Base of all errors that this package raises."""


class StorageUnavailableError(StorageError):
    """The database does not answer now: unreachable, restarting, locked, out of connections, or its disk is full.

    The same call may succeed later. The failed call wrote either nothing or everything, because the connection may
    break between the commit and the answer. `storage.database.outages.repeatable` marks the methods that are safe to
    repeat in spite of that.
    """


class SchemaError(StorageError):
    """The tables are missing, or another version of Retable or Optuna made them."""


class NotSetUpError(SchemaError):
    """The database has no Retable tables yet."""


class DamagedRowError(StorageError):
    """A row of the database holds a value that no release writes. Nothing is done with the row."""


class UnknownStudyError(StorageError):
    """No study has that name or id."""


class StudyExistsError(StorageError):
    """Another study has that name."""
