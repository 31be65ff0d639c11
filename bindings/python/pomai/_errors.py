# SPDX-License-Identifier: Apache-2.0
"""The exceptions: one family, each with the engine's status."""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """Anything that PomaiDB refuses or fails at.

    status: the engine's number, as docs/errors.md lists it; name: its name, as "POMAI_EDIM"; message: the sentence;
    hint: the way out; os_errno: the operating system's errno, or 0; rows_stored: of a batch that was split, how many of
    its first rows are stored; of an update, or a delete by filter, how many rows are done.
    """

    status: int = 24
    name: str = "POMAI_EINTERNAL"
    hint: str = ""
    os_errno: int = 0
    rows_stored: int = 0
    report: dict[str, Any] | None = None

    @property
    def message(self) -> str:
        return str(self)


class InvalidError(Error, ValueError):
    """An argument makes no sense."""

    status, name = 1, "POMAI_EINVAL"
    hint = "the message says what was given and what is expected"


class InvalidTypeError(InvalidError, TypeError):
    """An argument is of a type that does not fit."""


class UnsupportedError(InvalidError, NotImplementedError):
    """This version cannot do that yet."""

    hint = "a later version may"


class ClosedError(InvalidError):
    """The database, collection or snapshot is closed."""

    hint = "open it again"


class ForkError(InvalidError):
    """A handle was used in a process forked from the one that opened it."""

    hint = "open the database in one process only; with multiprocessing, use the start method 'spawn'"


class NotFoundError(Error, LookupError):
    """No such database, directory or collection."""

    status, name, hint = 2, "POMAI_ENOTFOUND", "create it, or check the name"


class ExistsError(Error):
    """It is there already."""

    status, name, hint = 3, "POMAI_EEXISTS", "open it, or choose another name"


class DimensionError(InvalidError):
    """Vectors of another dimension than the collection's."""

    status, name, hint = 4, "POMAI_EDIM", "vectors of the collection's dimension"


class NotFiniteError(InvalidError):
    """NaN or infinity in a vector."""

    status, name, hint = 5, "POMAI_ENOTFINITE", "clean the data"


class ZeroVectorError(InvalidError):
    """A zero vector under the cosine metric."""

    status, name, hint = 6, "POMAI_EZEROVEC", "leave it out, or use another metric"


class IdError(InvalidError):
    """An id of the wrong kind, range or length."""

    status, name, hint = 7, "POMAI_EID", "ids of the collection's kind"


class DuplicateIdError(InvalidError):
    """An id twice in one batch."""

    status, name, hint = 8, "POMAI_EDUPID", "put each once; a later batch may replace it"


class TooBigError(InvalidError):
    """Over a size limit."""

    status, name = 9, "POMAI_ETOOBIG"
    hint = "the message names the limit; rows, ids and queries that are too many go in several calls"


class BusyError(Error):
    """Nothing was done, because something else is in the way."""

    status, name, hint = 10, "POMAI_EBUSY", "try again, or give a longer deadline_ms"


class DeadlineError(Error, TimeoutError):
    """The deadline passed; nothing was done."""

    status, name, hint = 11, "POMAI_EDEADLINE", "try again, or give a longer deadline_ms"


class UnknownOutcomeError(Error):
    """The log failed while a write was under way: it may or may not be there."""

    status, name, hint = 12, "POMAI_EUNKNOWN", "close, reopen, look"


class ReadOnlyError(Error):
    """A write to a database that is open read-only."""

    status, name, hint = 13, "POMAI_EREADONLY", "open it without read_only=True"


class LockedError(Error):
    """Somebody else has the database open for writing."""

    status, name, hint = 14, "POMAI_ELOCKED", "close it there"


class IoError(Error, OSError):
    """The operating system failed to read or write."""

    status, name, hint = 15, "POMAI_EIO", "look at the disk and the system's log; then reopen"


class NoSpaceError(IoError):
    """The disk is full."""

    status, name, hint = 16, "POMAI_ENOSPC", "make room; no reopen is needed"


class NoMemoryError(Error, MemoryError):
    """No memory; the call was refused."""

    status, name, hint = 17, "POMAI_ENOMEM", "smaller batches, less data, more memory"


class CorruptError(Error):
    """Stored data are damaged. After verify(), report lists every problem."""

    status, name, hint = 18, "POMAI_ECORRUPT", "restore from a copy; without one, pomai.salvage()"


class FormatError(Error):
    """Written by another version."""

    status, name, hint = 19, "POMAI_EFORMAT", "use that version"


class ForeignError(Error):
    """A file belongs to another database."""

    status, name, hint = 20, "POMAI_EFOREIGN", "move it away, put the right one back"


class NotDatabaseError(Error):
    """The path is no PomaiDB database."""

    status, name, hint = 21, "POMAI_ENOTDB", "give another path"


class AccessError(Error, PermissionError):
    """The operating system does not permit it."""

    status, name, hint = 22, "POMAI_EACCESS", "permissions; a read-only directory can be opened with read_only=True"


class StoppedError(Error):
    """Writing stopped after an input/output error."""

    status, name, hint = 23, "POMAI_ESTOPPED", "close and reopen, after mending the cause"


class InternalError(Error):
    """A broken invariant: a bug in PomaiDB."""

    hint = "please report it, with the message"


_CLASSES: tuple[type[Error], ...] = (
    InvalidError, NotFoundError, ExistsError, DimensionError, NotFiniteError, ZeroVectorError, IdError,
    DuplicateIdError, TooBigError, BusyError, DeadlineError, UnknownOutcomeError, ReadOnlyError, LockedError, IoError,
    NoSpaceError, NoMemoryError, CorruptError, FormatError, ForeignError, NotDatabaseError, AccessError, StoppedError,
    InternalError,
)
BY_STATUS: dict[int | str, type[Error]] = {c.status: c for c in _CLASSES}
BY_STATUS.update({c.name.removeprefix("POMAI_"): c for c in _CLASSES})

for _class in (Error, InvalidTypeError, UnsupportedError, ClosedError, ForkError, *_CLASSES):
    _class.__module__ = "pomai"  # the name by which they are caught, in tracebacks too
