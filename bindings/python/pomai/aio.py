# SPDX-License-Identifier: Apache-2.0
"""PomaiDB for asyncio: the same methods, awaited.

Each call runs in a thread; the engine works without the GIL, so calls run side by side. A call that is cancelled goes
on in its thread, and its answer is dropped.

>>> import asyncio, pomai.aio
>>> async def main(path):
...     async with await pomai.aio.open(path) as db:
...         await db.add([[1.0, 0.0], [0.0, 1.0]])
...         first, second = await asyncio.gather(db.search([1.0, 0.0], k=1), db.search([0.0, 1.0], k=1))
...         return first[0], second[0]
>>> asyncio.run(main(tmp / "my.db"))  # tmp: a directory
(Hit(id=0, distance=0.0), Hit(id=1, distance=0.0))

Arguments, what is returned and what is raised are as of the methods of pomai.Collection and pomai.Database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from . import _core, _database
from ._core import Result, Results, Row, Rows, Snapshot
from ._helpers import Info

if TYPE_CHECKING:
    from ._core import Id, IdsLike, TableLike, VectorsLike
    from ._filter import FiltersLike

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def _run(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    return await asyncio.to_thread(call, *args, **kwargs)


class Collection:
    """A collection; `sync` is the same one without asyncio."""

    def __init__(self, sync: _core.Collection) -> None:
        self.sync = sync

    async def add(self, vectors: TableLike, ids: Id | IdsLike | None = None, **options: Any) -> Any:
        """Stores rows: Collection.add(), awaited. If it is cancelled, they may be stored all the same."""
        return await _run(self.sync.add, vectors, ids, **options)

    add_batch = add
    upsert = add

    @overload
    async def get(self, ids: Id, **options: Any) -> Row | None: ...
    @overload
    async def get(self, ids: IdsLike, **options: Any) -> Rows: ...
    @overload
    async def get(self, ids: None = None, *, filters: FiltersLike, **options: Any) -> Rows: ...
    async def get(self, ids: Any = None, **options: Any) -> Any:
        """Rows by id, or by what their documents say: Collection.get(), awaited."""
        return await _run(lambda: self.sync.get(ids, **options))

    async def update(self, ids: Id | IdsLike | None = None, **options: Any) -> int:
        """Changes documents, and says of how many rows: Collection.update(), awaited."""
        return await _run(lambda: self.sync.update(cast("Any", ids), **options))

    async def delete(self, ids: Id | IdsLike | None = None, **options: Any) -> int:
        """Deletes rows, and says how many there were: Collection.delete(), awaited."""
        return await _run(lambda: self.sync.delete(cast("Any", ids), **options))

    async def search(self, vectors: VectorsLike, k: int = 10, **options: Any) -> Any:
        """The k nearest rows, a Result or Results: Collection.search(), awaited."""
        return await _run(lambda: self.sync.search(vectors, k, **options))

    async def scan(self, **options: Any) -> AsyncIterator[Rows]:
        """All rows, or those that match, a Rows at a time: `async for rows in collection.scan():`."""
        with await _run(self.sync.scan, **options) as scan:
            while (rows := await _run(next, scan, None)) is not None:
                yield rows

    async def to_arrow(self, **options: Any) -> Any:
        """All rows as a pyarrow.Table: Collection.to_arrow(), awaited."""
        return await _run(self.sync.to_arrow, **options)

    async def count(self, **options: Any) -> int:
        """How many rows there are, or match: Collection.count(), awaited."""
        return await _run(self.sync.count, **options)

    async def info(self) -> Info:
        """Name, dim, metric, kind of id, ttl, rows and dtype."""
        return await _run(lambda: self.sync.info)

    async def freeze(self) -> None:
        """Makes what was acknowledged visible to mode='bounded'."""
        await _run(self.sync.freeze)

    async def flush(self) -> None:
        """Returns once everything acknowledged is in segments."""
        await _run(self.sync.flush)

    async def compact(self) -> None:
        """Takes back the space of rows that nobody can see any more."""
        await _run(self.sync.compact)

    async def build_indexes(self) -> None:
        """Returns once every segment that should has the codes and the graph that search(recall=) uses."""
        await _run(self.sync.build_indexes)

    async def close(self) -> None:
        """Closes it, after the calls under way."""
        await _run(self.sync.close)

    async def __aenter__(self: _C) -> _C:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


_C = TypeVar("_C", bound=Collection)


class Database(Collection):
    """A database, which is also its collection `default`."""

    def __init__(self, sync: _core.Database) -> None:
        super().__init__(sync)
        self._db = sync

    async def collection(self, name: str, dim: int | None = None, **options: Any) -> Collection:
        """Opens or makes a collection: Database.collection(), awaited."""
        return Collection(await _run(self._db.collection, name, dim, **options))

    async def collections(self) -> list[str]:
        """The names of the collections, sorted."""
        return await _run(self._db.collections)

    async def drop(self, name: str) -> None:
        """Removes a collection and its rows for good."""
        await _run(self._db.drop, name)

    async def snapshot(self) -> Snapshot:
        """What every collection shows now, for reads that name it. Close it: `with await db.snapshot() as s:`."""
        return await _run(self._db.snapshot)

    async def sync_log(self) -> None:
        """Database.sync() of the plain interface."""
        await _run(self._db.sync)

    async def stats(self) -> dict[str, Any]:
        """Counters and sizes, as docs/stats.md names them."""
        return await _run(self._db.stats)

    async def digest(self, snapshot: Snapshot | None = None) -> str:
        """32 hex digits that say the state of all collections."""
        return await _run(self._db.digest, snapshot)


async def open(path: _database.Path, **options: Any) -> Database:
    """pomai.open(), awaited."""
    return Database(await _run(_database.open, path, **options))


__all__ = ["Collection", "Database", "Result", "Results", "open"]
