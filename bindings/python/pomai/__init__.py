# SPDX-License-Identifier: Apache-2.0
"""PomaiDB: an in-process vector engine.

>>> import pomai, tempfile
>>> directory = tempfile.TemporaryDirectory()
>>> db = pomai.open(directory.name + "/my.db")
>>> _ = db.add([[1.0, 0.0], [0.0, 1.0]], ids=[1, 2], metadata=[{"name": "apple"}, {"name": "pear"}])
>>> for hit in db.search([0.9, 0.1], k=1, include=["metadata"]):
...     print(hit.id, round(hit.distance, 3), hit.metadata["name"])
1 0.02 apple
>>> db.get(2).metadata
{'name': 'pear'}
>>> db.delete([2])
1
>>> db.close()
>>> directory.cleanup()

Vectors go in as float32 of shape (n, dim): NumPy arrays, buffers and DLPack tensors are borrowed, anything else is
converted once. Ids and distances come out as arrays over the engine's own memory. Errors are exceptions of one
family, pomai.Error, with `status` and `hint`.
"""

from ._core import (
    Block, Collection, Database, Hit, Result, Results, Row, Rows, Scan, Snapshot, __version__, simd_level,
)
from ._database import open, salvage, verify
from ._errors import (
    AccessError, BusyError, ClosedError, CorruptError, DeadlineError, DimensionError, DuplicateIdError, Error,
    ExistsError, ForeignError, ForkError, FormatError, IdError, InternalError, InvalidError, InvalidTypeError, IoError,
    LockedError, NoMemoryError, NoSpaceError, NotDatabaseError, NotFiniteError, NotFoundError, ReadOnlyError,
    StoppedError, TooBigError, UnknownOutcomeError, UnsupportedError, ZeroVectorError,
)
from ._filter import Filter, FilterOp
from ._helpers import Info, Verdict

__all__ = [
    "AccessError", "Block", "BusyError", "ClosedError", "Collection", "CorruptError", "Database", "DeadlineError",
    "DimensionError", "DuplicateIdError", "Error", "ExistsError", "Filter", "FilterOp", "ForeignError", "ForkError",
    "FormatError", "Hit",
    "IdError", "Info", "InternalError", "InvalidError", "InvalidTypeError", "IoError", "LockedError", "NoMemoryError",
    "NoSpaceError", "NotDatabaseError", "NotFiniteError", "NotFoundError", "ReadOnlyError", "Result", "Results", "Row",
    "Rows", "Scan", "Snapshot", "StoppedError", "TooBigError", "UnknownOutcomeError", "UnsupportedError", "Verdict",
    "ZeroVectorError", "__version__", "open", "salvage", "simd_level", "verify",
]
