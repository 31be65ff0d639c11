# SPDX-License-Identifier: Apache-2.0
"""Opening, and what works on databases that nobody has open."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Any

from . import _core
from ._core import Database
from ._errors import CorruptError
from ._near import named

_EXISTING, _READ_ONLY, _ACCEPT_DAMAGE, _STRICT_MARK, _NO_FLUSH_AT_CLOSE = 1, 2, 4, 8, 16

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Progress = Callable[[int, int], object]


@named
def open(
    path: Path,
    *,
    shards: int = 0,
    durability: str = "sync",
    group_ms: int = 0,
    read_only: bool = False,
    existing: bool = False,
    accept_damage: bool = False,
    strict_mark: bool = False,
    no_flush_at_close: bool = False,
    search_threads: int | None = None,
    mailbox_slots: int = 0,
    wal_file_bytes: int = 0,
    flush_bytes: int = 0,
    log_bytes: int = 0,
    freeze_rows: int = 0,
    segment_bytes: int = 0,
    compact_rate: int = 0,
    scrub_rate: int = 0,
    watch_share: int = 0,
    build_threads: int = 0,
) -> Database:
    """Opens the database in the directory `path`, making it when there is none.

    existing: raise NotFoundError instead of making one. read_only: change nothing; accept_damage, with it: show what
    lies before the damage. durability: of writes that name none: "sync" survives power loss, "group" after at most
    group_ms (0: 10), "os" only kill -9. shards: of a new database; 0: by the number of cores. search_threads: besides
    the calling one; None: as many as there are other cores. Every other option is as pomai/options.h says, and 0 is
    the engine's choice.

    A Database is also its collection `default`, which the first add makes; close it, or use it in a `with`. Raises
    LockedError if it is open already, CorruptError for damage, NotDatabaseError, AccessError, FormatError. `tmp` is a
    directory:

    >>> with pomai.open(tmp / "my.db") as db:
    ...     db.add([1.0, 0.0])
    0
    """
    flags = (
        _EXISTING * bool(existing)
        | _READ_ONLY * bool(read_only)
        | _ACCEPT_DAMAGE * bool(accept_damage)
        | _STRICT_MARK * bool(strict_mark)
        | _NO_FLUSH_AT_CLOSE * bool(no_flush_at_close)
    )
    helpers = 0 if search_threads is None else search_threads or 2**32 - 1  # the engine's 0: as many as it likes
    return _core.open(
        path, flags, shards, group_ms, helpers, mailbox_slots, wal_file_bytes, flush_bytes, log_bytes, freeze_rows,
        segment_bytes, compact_rate, scrub_rate, watch_share, build_threads, durability,
    )


@named
def verify(path: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Reads and checks every byte of a database that nobody has open for writing, changing nothing.

    Returns the report. Damage raises CorruptError, whose `report` lists every problem. progress: called with bytes
    done and in all, both ints; what it raises stops verify.

    >>> pomai.open(tmp / "my.db").close()
    >>> pomai.verify(tmp / "my.db")["problems"]
    []
    """
    return _core.verify(path, progress)


@named
def salvage(source: Path, target: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Copies what is intact of a damaged database into a new one, which must not be there yet.

    Returns the report, which lists what is lost. progress: as for verify(). Raises ExistsError if target is there.

    >>> with pomai.open(tmp / "my.db") as db:
    ...     _ = db.add([[1.0, 0.0], [0.0, 1.0]])
    >>> report = pomai.salvage(tmp / "my.db", tmp / "new.db")
    >>> len(pomai.open(tmp / "new.db"))
    2
    """
    try:
        return _core.salvage(source, target, progress)
    except CorruptError as error:
        error.hint = "restore the directory manifest, or the file shards/CATALOGUE-*, from a copy"
        raise


atexit.register(_core.close_all)
