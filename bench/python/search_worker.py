#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One engine of bench_compare.py in a process of its own, told what to do by lines of JSON on stdin.

    search_worker.py ENGINE DATA INDEX

DATA is a directory that datasets.py made, INDEX the engine's own. A line {"do": NAME, ...} is answered by one line on
stdout. What engines print goes to stderr. The process ends with its stdin, and with the process that started it.
"""
from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engines
import numpy as np
from figures import percentile

ALL = os.sched_getaffinity(0)


def pin(threads: int) -> None:
    """One processor for everything in this process, whatever threads an engine has, or all of them."""
    cores = {max(ALL)} if threads == 1 else ALL
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), cores)


def resident() -> int:
    """Bytes in memory: private ones, and pages of mapped files."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise OSError("no Rss in /proc/self/smaps_rollup")


def recall(found: np.ndarray, truth: np.ndarray, distances: np.ndarray) -> tuple[float, int]:
    """Mean share of the k nearest that was found, and how many queries have all of them.

    found: (n, k) row numbers, negative where there is none. Rows as far away as the k-th are as good as it.
    """
    k = found.shape[1]
    hits = np.empty(len(found), np.int64)
    for i, ids in enumerate(found):
        good = truth[i][distances[i] <= distances[i][k - 1]]
        hits[i] = min(k, len(np.intersect1d(ids, good)))
    return float(hits.sum() / (k * len(found))), int(np.count_nonzero(hits == k))


def as_rows(lists: list[Any], k: int) -> np.ndarray:
    """Row numbers as (n, k); -1 where an engine found fewer."""
    result = np.full((len(lists), k), -1, np.int64)
    for row, ids in zip(result, lists):
        ids = np.asarray(ids).astype(np.int64)[:k]
        row[: len(ids)] = ids
    return result


def rates(times: list[float]) -> dict[str, Any]:
    """What single queries took."""
    times.sort()
    return {
        "qps": len(times) / sum(times), "queries": len(times),
        "p50_ms": percentile(times, 50) * 1e3, "p99_ms": percentile(times, 99) * 1e3,
    }  # fmt: skip


class Worker:
    def __init__(self, name: str, data: Path, index: Path) -> None:
        self.data, self.index = data, index
        meta = json.loads((data / "meta.json").read_text())
        self.engine = engines.kind(name)(meta["metric"], meta["rows"], meta["dim"])
        self.queries = np.load(data / "queries.npy")
        self.truth, self.distances = np.load(data / "truth.npy"), np.load(data / "truth_distances.npy")
        self.effort: Any = None
        self.threads = 0

    def build(self, threads: int) -> dict[str, Any]:
        base = np.load(self.data / "base.npy")
        if threads == 1:
            pin(1)
        start = time.perf_counter()
        self.engine.build(base, self.index, threads)
        built = time.perf_counter()
        self.engine.save(self.index)
        self.engine.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        stored = self.engine.stored_at
        return {
            "seconds": built - start, "since_put": None if stored is None else built - stored,
            "save_seconds": time.perf_counter() - built, "peak_bytes": peak,
        }  # fmt: skip

    def load(self, k: int) -> dict[str, Any]:
        self.k = k
        if self.engine.module:
            importlib.import_module(self.engine.module)
        before = resident()
        start = time.perf_counter()
        self.engine.load(self.index, self.data / "base.npy")
        seconds = time.perf_counter() - start
        self.engine.set_effort(self.engine.efforts[-1])
        for query in self.queries[:20]:
            self.engine.search(query, k)
        return {
            "version": self.engine.version(), "parameters": self.engine.parameters, "efforts": self.engine.efforts,
            "seconds": seconds, "bytes": resident() - before,
        }  # fmt: skip

    def prepare(self, effort: Any, threads: int) -> bool:
        """False: the engine cannot be told how many threads to use."""
        if threads != self.threads:
            pin(threads)
            self.threads = threads
            if not self.engine.set_threads(threads):
                self.threads = 0
                return False
            pin(threads)  # threads that it has made now
            self.effort = None
        if effort != self.effort:
            self.engine.set_effort(effort)
            self.effort = effort
            for query in self.queries[:3]:
                self.engine.search(query, self.k)
        return True

    def judge(self, effort: Any, queries: int, seconds: float) -> dict[str, Any]:
        """Recall of one effort over the queries, or over as many as can be asked in the seconds."""
        self.prepare(effort, 1)
        found = []
        end = time.perf_counter() + seconds
        for query in self.queries[:queries]:
            found.append(self.engine.search(query, self.k))
            if time.perf_counter() > end:
                break
        n = len(found)
        value, same = recall(as_rows(found, self.k), self.truth[:n], self.distances[:n])
        return {"recall": value, "same": same, "queries": n}

    def single(self, effort: Any, queries: int, seconds: float, threads: int) -> dict[str, Any]:
        """Single queries: whole rounds over all of them until the seconds have gone; a longer one is cut."""
        if not self.prepare(effort, threads):
            return {"qps": None}
        times: list[float] = []
        search, k = self.engine.search, self.k
        start = now = time.perf_counter()
        while not times or now - start < seconds:
            for query in self.queries[:queries]:
                search(query, k)
                after = time.perf_counter()
                times.append(after - now)
                now = after
                if now - start > 2 * seconds and len(times) >= 20:
                    break
        # The time between two answers is the query's: it has the loop in it, which is the same for all.
        return rates(times)

    def batch(self, effort: Any, size: int, seconds: float, threads: int) -> dict[str, Any]:
        """Whole batches until the seconds have gone."""
        if not self.prepare(effort, threads):
            return {"qps": None}
        queries = np.ascontiguousarray(np.resize(self.queries, (size, self.queries.shape[1])))
        done, start = 0, time.perf_counter()
        now = start
        while not done or now - start < seconds:
            try:
                found = self.engine.search_batch(queries, self.k)
            except NotImplementedError:
                return {"qps": None}
            done += 1
            now = time.perf_counter()
        n = min(size, len(self.truth))
        value, same = recall(as_rows(list(found[:n]), self.k), self.truth[:n], self.distances[:n])
        return {"qps": done * size / (now - start), "recall": value, "same": same, "queries": n}


def main(make: Callable[[str, Path, Path], Any], orders: tuple[str, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one says when to stop
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() == 1:
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = make(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    for line in sys.stdin:
        asked = json.loads(line)
        order = asked.pop("do")
        assert order in orders
        answers.write(json.dumps(getattr(worker, order)(**asked)) + "\n")
        answers.flush()
    worker.engine.close()


if __name__ == "__main__":
    main(Worker, ("build", "load", "judge", "single", "batch"))
