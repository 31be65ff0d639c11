#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One piece of bench_peers.py in a process of its own: adds rows with one engine, or counts them.

The last line on stdout is one JSON object; engines may print what they like before it.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import peers

if TYPE_CHECKING:
    import numpy as np

SEED = 20260101
BEGIN, END = "call-begins", "call-ends"  # files that are not there: asking for them marks a place in a trace


def rows(first: int, count: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows first, first + 1, ... of the data: the same ones for every engine and every round."""
    import numpy as np

    vectors = np.random.default_rng([SEED, first]).standard_normal((count, dim), dtype=np.float32)
    return np.arange(first, first + count, dtype=np.int64), vectors


def add(peer: peers.Peer, args: argparse.Namespace) -> dict[str, object]:
    size = min(args.batch, peer.max_batch or args.batch)
    calls = args.calls * args.batch // size
    batches = [rows(1 + i * size, size, args.dim) for i in range(calls + 1)]
    times: list[float] = []
    done = 0
    for ids, vectors in batches:
        if args.mark:
            time.sleep(0.02)  # so that what a thread does later is not taken for a part of the call
            os.access(BEGIN, os.F_OK)
        start = time.perf_counter()
        peer.add(ids, vectors)
        if args.flush:
            peer.flush()
        times.append(time.perf_counter() - start)
        if args.mark:
            os.access(END, os.F_OK)
        done += 1
        if args.limit and sum(times[1:]) > args.limit:
            break
    # The first call does not count: it may make files.
    timed = sum(times[1:])
    result: dict[str, object] = {
        "version": peer.version(), "batch": size, "calls": done, "rows": done * size,
        "cut": done <= calls, "seconds": timed, "rate": (done - 1) * size / timed if done > 1 else None,
    }  # fmt: skip
    if args.kill:
        print(json.dumps(result), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    start = time.perf_counter()
    peer.close()
    return result | {"close_seconds": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("add", "count"))
    parser.add_argument("peer", choices=peers.NAMES)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--calls", type=int, default=1, help="timed ones; one more comes before them")
    parser.add_argument("--limit", type=float, default=0, help="seconds after which no further call is made")
    parser.add_argument("--flush", action="store_true", help="flush after each call, as a part of it")
    parser.add_argument("--kill", action="store_true", help="SIGKILL to itself after the last call")
    parser.add_argument("--mark", action="store_true", help="mark each call for strace")
    args = parser.parse_args()
    peer = peers.load(args.peer)
    peer.open(args.directory, args.dim)
    if args.what == "add":
        result = add(peer, args)
    else:
        result = {"rows": peer.count()}
        peer.close()
    print(json.dumps(result), flush=True)


main()
