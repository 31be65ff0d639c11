# SPDX-License-Identifier: Apache-2.0
"""PomaiDB for asyncio: the same methods, awaited.

Each call runs in a thread; the engine works without the GIL, so calls run side by side. A call that is cancelled goes
on in its thread, and its answer is dropped.

    async with await pomai.aio.open("my.db") as db:
        await db.add([[1.0, 0.0]])
        result = await db.search([1.0, 0.0], k=1)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from . import _core, _database
from ._core import Result, Results, Row, Rows, Snapshot
from ._helpers import Info

if TYPE_CHECKING:
    from ._core import Id, IdsLike, VectorsLike

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def _run(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    return await asyncio.to_thread(call, *args, **kwargs)


class Collection:
    """A collection; `sync` is the same one without asyncio."""

    def __init__(self, sync: _core.Collection) -> None:
        self.sync = sync

    async def add(self, vectors: VectorsLike, ids: Id | IdsLike | None = None, **options: Any) -> Any:
        return await _run(self.sync.add, vectors, ids, **options)

    add_batch = add
    upsert = add

    @overload
    async def get(self, ids: Id, **options: Any) -> Row | None: ...
    @overload
    async def get(self, ids: IdsLike, **options: Any) -> Rows: ...
    async def get(self, ids: Any, **options: Any) -> Any:
        return await _run(lambda: self.sync.get(ids, **options))

    async def delete(self, ids: Id | IdsLike, **options: Any) -> int:
        return await _run(self.sync.delete, ids, **options)

    async def search(self, vectors: VectorsLike, k: int = 10, **options: Any) -> Any:
        return await _run(lambda: self.sync.search(vectors, k, **options))

    async def count(self) -> int:
        return await _run(self.sync.count)

    async def info(self) -> Info:
        return await _run(lambda: self.sync.info)

    async def freeze(self) -> None:
        await _run(self.sync.freeze)

    async def flush(self) -> None:
        await _run(self.sync.flush)

    async def compact(self) -> None:
        await _run(self.sync.compact)

    async def close(self) -> None:
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
        return Collection(await _run(self._db.collection, name, dim, **options))

    async def collections(self) -> list[str]:
        return await _run(self._db.collections)

    async def drop(self, name: str) -> None:
        await _run(self._db.drop, name)

    async def snapshot(self) -> Snapshot:
        return await _run(self._db.snapshot)

    async def sync_log(self) -> None:
        """Database.sync() of the plain interface."""
        await _run(self._db.sync)

    async def stats(self) -> dict[str, Any]:
        return await _run(self._db.stats)

    async def digest(self, snapshot: Snapshot | None = None) -> str:
        return await _run(self._db.digest, snapshot)


async def open(path: _database.Path, **options: Any) -> Database:
    """pomai.open(), awaited."""
    return Database(await _run(_database.open, path, **options))


__all__ = ["Collection", "Database", "Result", "Results", "open"]
