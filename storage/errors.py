"""What can go wrong with the database, one name per fact. No message ever holds a password."""

from __future__ import annotations


class StorageError(Exception):
    """The database, or what was asked of it, is not right. Base of every error that this package raises."""


class StorageUnavailableError(StorageError):
    """The database does not answer now: not reachable, restarting, locked, out of connections, or its disk is full.

    The same call may succeed later. Nothing of the failed call was written, or all of it: a connection can break after
    the commit, which is why every writing call of `storage.queue.work_queue` may be repeated.
    """


class SchemaError(StorageError):
    """The tables are missing, or were made by another version of Retable or Optuna."""


class NotSetUpError(SchemaError):
    """The database holds no Retable tables yet."""


class UnknownStudyError(StorageError):
    """No study of that name is stored."""


class StudyExistsError(StorageError):
    """A study of that name is stored already."""
