# SPDX-License-Identifier: Apache-2.0
"""mypy --strict on the package, on a program that uses it, and on one with a mistake in every line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bindings/python"

PROGRAM = """
import asyncio
import datetime
from typing import Any

import pomai
import pomai.aio


def use(path: str) -> None:
    with pomai.open(path, shards=1, durability="group", read_only=False, search_threads=None) as db:
        c: pomai.Collection = db.collection("c", 2, metric="cosine", ids="u64", ttl=datetime.timedelta(days=1))
        ids = c.add([[1.0, 2.0]], ids=[1], metadata=[{"a": 1}], expiry=None, durability="sync", deadline_ms=1.5)
        c.upsert([1.0, 2.0], 7, documents="one")
        c.add_batch([[1.0, 2.0]])
        with db.snapshot() as shot:
            result: pomai.Result = c.search([1.0, 2.0], k=3, include=["metadata"], snapshot=shot, mode="bounded")
            digest: str = shot.digest()
        for hit in result:
            distance: float = hit.distance
            print(hit.id, distance, hit.metadata, hit.document, hit.vector)
        verdict: pomai.Verdict = result.verdict
        print(verdict.completeness, verdict.rows_scanned, len(result), result[0], result.ids, digest)
        results: pomai.Results = c.search([[1.0, 2.0]])
        print(results.ids, results.distances, len(results), [r.documents for r in results])
        rows: pomai.Rows = c.get([1, 2], vectors=False)
        for row in rows:
            if row is not None:
                stamp: int = row.stamp
                print(row.id, stamp, row.expiry, row.metadata)
        with c.reserve(2, 2) as block:
            block.vectors[:] = 1
        deleted: int = c.delete(ids)
        info: pomai.Info = c.info
        print(deleted, info.dim, c.name, c.dim, c.closed, len(c), c.count(), block.ids)
        c.freeze()
        c.flush()
        c.compact()
        db.sync()
        stats: dict[str, Any] = db.stats()
        names: list[str] = db.collections()
        db.drop(names[0])
        c.close()
        print(stats, db.digest(), db.path)
    report: dict[str, Any] = pomai.verify(path, lambda done, total: print(done, total))
    try:
        pomai.salvage(path, path + "2")
    except pomai.CorruptError as error:
        print(error.status, error.hint, error.message, error.report, error.os_errno, error.rows_stored, report)


async def use_async(path: str) -> None:
    async with await pomai.aio.open(path) as db:
        c = await db.collection("c", 2)
        await c.add([[1.0, 2.0]])
        result: pomai.Result = await c.search([1.0, 2.0], k=1)
        print(result.ids, await db.count(), (await c.info()).rows)


asyncio.run(use_async("x"))
print(pomai.__version__, pomai.simd_level())
"""
WRONG = """
import pomai
db = pomai.open("x", shards="2")
db.add([[1.0]], durability="never")
db.search([1.0], mode="eventual")
db.collection("a", metric="l1")
db.serach([1.0])
"""


def mypy(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"MYPYPATH": str(PACKAGE)}, cwd=cache
    )


def test_mypy(tmp_path: Path) -> None:
    good, wrong = tmp_path / "good.py", tmp_path / "wrong.py"
    good.write_text(PROGRAM)
    wrong.write_text(WRONG)
    done = mypy(tmp_path, str(PACKAGE / "pomai"), str(good))
    assert done.returncode == 0, done.stdout + done.stderr
    done = mypy(tmp_path, str(wrong))
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == {3, 4, 5, 6, 7}, done.stdout
