#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One engine of bench_filter.py in a process of its own, told what to do by lines of JSON on stdin.

    filter_worker.py ENGINE DATA INDEX

As search_worker.py; DATA is a directory that filter_data.py made, whose module is not imported here: LanceDB
takes a module `datasets` for another one.
"""
from __future__ import annotations

import importlib
import json
import resource
import time
from pathlib import Path
from typing import Any

import filter_engines
import numpy as np
from search_worker import main, pin, rates, resident

WARM = 3  # queries before those that count


def hits(found: Any, wanted: int, truth: np.ndarray, distances: np.ndarray) -> int:
    """How many of the wanted nearest an answer has; rows as far away as the last of these are as good as it."""
    good = truth[(truth >= 0) & (distances <= distances[wanted - 1])]
    return min(wanted, len(np.intersect1d(np.asarray(found, np.int64), good)))


class Worker:
    def __init__(self, name: str, data: Path, index: Path) -> None:
        self.data, self.index = data, index
        meta = json.loads((data / "meta.json").read_text())
        self.base = Path(meta["base"])
        self.engine = filter_engines.kind(name)(meta["metric"], meta["rows"], meta["dim"])
        self.queries = np.load(data / "queries.npy")
        with np.load(data / "columns.npz") as columns:
            self.columns = dict(columns)
        self.cases = {case["name"]: case for case in json.loads((data / "cases.json").read_text())}
        self.case: Any = None
        self.effort: Any = None

    def build(self, threads: int) -> dict[str, Any]:
        base = np.load(self.base)
        if threads == 1:
            pin(1)
        start = time.perf_counter()
        self.engine.build_with(base, self.columns, self.index, threads)
        built = time.perf_counter()
        self.engine.save(self.index)
        self.engine.close()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"seconds": built - start, "save_seconds": time.perf_counter() - built, "peak_bytes": peak}

    def load(self, k: int) -> dict[str, Any]:
        self.k = k
        if self.engine.module:
            importlib.import_module(self.engine.module)
        before = resident()
        self.engine.load(self.index, self.base)
        self.engine.set_threads(1)
        pin(1)
        return {
            "version": self.engine.version(), "parameters": self.engine.parameters, "given": self.engine.given,
            "efforts": self.engine.efforts, "bytes": resident() - before,
        }  # fmt: skip

    def prepare(self, case: str, effort: Any, queries: int) -> None:
        """The case's filters for so many queries, each compiled once, and some answers to warm up."""
        if (case, queries) != self.case:
            self.case = (case, queries)
            one = self.cases[case]
            which = one["which"][:queries]
            start = time.perf_counter()
            ids = {i: filter_engines.matching(self.columns, one["filters"][i]) for i in set(which)}
            found = time.perf_counter()
            compiled = {i: self.engine.compile(one["filters"][i], rows, self.k) for i, rows in ids.items()}
            # A store is not asked to find out by NumPy which rows match.
            seconds = time.perf_counter() - (found if self.engine.carries else start)
            self.given_ms = 1e3 * seconds / len(ids)
            self.given = [compiled[i] for i in which]
            self.rows = [ids[i] for i in which]
        if effort != self.effort:
            self.engine.set_effort(effort)
            pin(1)  # threads that it has made now
            self.effort = effort
        for query, given in zip(self.queries[:WARM], self.given):
            self.engine.search_filtered(query, self.k, given)

    def judge(self, case: str, effort: Any, queries: int, seconds: float) -> dict[str, Any]:
        """Recall of one effort over the queries, or over as many as can be asked in the seconds.

        short: answers with fewer rows than k and than match; wrong: rows that do not match, or are there twice;
        given_ms: what it took to make a filter before it was asked with.
        """
        self.prepare(case, effort, queries)
        found = []
        end = time.perf_counter() + seconds
        for query, given in zip(self.queries[:queries], self.given):
            found.append(self.engine.search_filtered(query, self.k, given))
            if time.perf_counter() > end:
                break
        with np.load(self.data / "truth.npz") as truth:
            ids, far = truth[f"{case}.ids"], truth[f"{case}.far"]
        good = all_wanted = short = wrong = 0
        for answer, rows, nearest, distances in zip(found, self.rows, ids, far):
            answer = np.asarray(answer, np.int64)[: self.k]
            answer = answer[answer >= 0]
            wanted = min(self.k, len(rows))
            right = len(np.intersect1d(answer, rows))
            wrong += len(answer) - right
            short += right < wanted
            good += hits(answer, wanted, nearest, distances)
            all_wanted += wanted
        return {
            "recall": good / all_wanted, "short": short, "wrong": wrong, "queries": len(found),
            "given_ms": self.given_ms,
        }  # fmt: skip

    def single(self, case: str, effort: Any, queries: int, seconds: float) -> dict[str, Any]:
        """Single queries: whole rounds over all of them until the seconds have gone; a longer one is cut."""
        self.prepare(case, effort, queries)
        times: list[float] = []
        search, k = self.engine.search_filtered, self.k
        asked = list(zip(self.queries[:queries], self.given))
        start = now = time.perf_counter()
        while not times or now - start < seconds:
            for query, given in asked:
                search(query, k, given)
                after = time.perf_counter()
                times.append(after - now)
                now = after
                if now - start > 2 * seconds and len(times) >= 3:
                    break
        return rates(times)


if __name__ == "__main__":
    main(Worker, ("build", "load", "judge", "single"))
