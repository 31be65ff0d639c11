# SPDX-License-Identifier: Apache-2.0
"""What bench_compare.py says of its rows: figures, tables, a plot, a page."""
from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engines
from common import ROOT, commit, machine, print_table, processor
from figures import Spread, at_recall, between, markdown, ratios, short, svg

PAGE = ROOT / "docs" / "comparison.md"
LEVELS = (0.90, 0.95, 0.99)
CORES = len(os.sched_getaffinity(0))


@dataclass
class Row:
    """An engine and what was measured of it."""

    name: str
    kind: type[engines.Engine]
    python: Path | None
    reason: str = ""
    index: Path = Path()
    built: dict[str, Any] = field(default_factory=dict)
    fresh_build: bool = False
    loaded: dict[str, Any] = field(default_factory=dict)
    judged: dict[Any, dict[str, Any]] = field(default_factory=dict)  # by effort
    single: dict[tuple[Any, int], dict[int, dict[str, Any]]] = field(default_factory=dict)  # (effort, threads): round
    batch: dict[tuple[Any, int], dict[int, dict[str, Any]]] = field(default_factory=dict)
    disk: int = 0
    process: Any = None  # a worker, while one runs
    cases: dict[str, Row] = field(default_factory=dict)  # of bench_filter.py: what was measured under each filter

    @property
    def label(self) -> str:
        return self.kind.name

    def efforts(self) -> list[Any]:
        return list(self.judged)

    def qps(self, effort: Any, threads: int = 1, batch: bool = False) -> dict[int, float]:
        """By round."""
        found = (self.batch if batch else self.single).get((effort, threads), {})
        return {round_: one["qps"] for round_, one in found.items() if one["qps"]}

    def points(self, round_: int, threads: int = 1, batch: bool = False) -> list[tuple[float, float]]:
        rates = [(self.judged[e]["recall"], self.qps(e, threads, batch).get(round_)) for e in self.judged]
        return [(recall, qps) for recall, qps in rates if qps]

    def at(self, level: float, threads: int = 1, batch: bool = False) -> dict[int, float]:
        """Queries a second at a recall, by round."""
        rounds = {r for (_, t), found in (self.batch if batch else self.single).items() if t == threads for r in found}
        rates = {r: at_recall(self.points(r, threads, batch), level) for r in sorted(rounds)}
        return {r: qps for r, qps in rates.items() if qps}

    def curve(self) -> list[tuple[float, float]]:
        """Recall and the median rate of each effort."""
        rates = {effort: Spread.of(self.qps(effort).values()) for effort in self.judged}
        return [(self.judged[e]["recall"], rate.median) for e, rate in rates.items() if rate]

    def at_least(self, level: float) -> Any:
        """The least effort that reaches a recall; None if none does."""
        return next((effort for effort, judged in self.judged.items() if judged["recall"] >= level), None)


class Report:
    """What a comparison says: figures, a table, a plot."""

    def __init__(self, args: Any, data: dict[str, Any], rows: list[Row]) -> None:
        self.args, self.data, self.rows = args, data, rows
        self.measured = [row for row in self.rows if not row.reason and row.single]
        self.raw = self.data["rows"] * self.data["dim"] * 4
        self.context = {
            "data": self.data["data"], "n": self.data["rows"], "dim": self.data["dim"], "metric": self.data["metric"],
            "machine": machine(Path(data["directory"])), "commit": commit(),
        }  # fmt: skip

    def row(self, name: str) -> Row | None:
        return next((row for row in self.measured if row.name == name), None)

    def best(self, level: float) -> Row | None:
        """Of the peers, by median."""
        rates = [(Spread.of(row.at(level).values()), row) for row in self.measured if row.name != engines.OURS]
        return max(((rate.median, row) for rate, row in rates if rate), key=lambda pair: pair[0], default=(0, None))[1]

    def figures(self) -> Iterator[dict[str, Any]]:
        """One for each number, by its stable name, with what it needs to be understood."""
        data, k = self.data["data"], self.args.k

        def figure(name: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
            return {"figure": name, "value": value, "unit": unit, "k": k, **more, **self.context}

        def ratio(name: str, spread: Spread | None, **more: Any) -> Iterator[dict[str, Any]]:
            if spread:
                yield figure(name, spread.median, "ratio", least=spread.least, most=spread.most, **more)

        ours = self.row(engines.OURS)
        for level in LEVELS:
            stem, best = f"search.{data}.r{level * 100:.0f}", self.best(level)
            for row in self.measured:
                rate = Spread.of(row.at(level).values())
                if not rate:
                    continue
                name = f"{stem}.qps" if row is ours else f"{stem}.{row.name}.qps"
                yield figure(
                    name, rate.median, "queries/s", least=rate.least, most=rate.most, engine=row.name, recall=level,
                    version=row.loaded["version"], threads=1,
                )  # fmt: skip
            if not ours:
                continue
            for name, peer in (("best", best), *((name, self.row(name)) for name in ("hnswlib", "faiss_flat"))):
                if peer:
                    yield from ratio(
                        f"{stem}.vs_{name}", ratios(ours.at(level), peer.at(level)), peer=peer.name, recall=level,
                        threads=1,
                    )  # fmt: skip
            if level in ours.judged:
                yield figure(
                    f"recall.{data}.r{level * 100:.0f}.measured", ours.judged[level]["recall"], "share", threads=1,
                    queries=ours.judged[level]["queries"],
                )  # fmt: skip
        for row in self.measured:
            yield from self.figures_of(row, figure)
        if ours:
            yield from self.figures_of_builds(ours, figure)
            yield from self.figures_of_exact(ours, ratio)

    def figures_of(self, row: Row, figure: Any) -> Iterator[dict[str, Any]]:
        """Every effort, and what the index costs."""
        data = self.data["data"]
        for effort, judged in row.judged.items():
            for name, found in (("single", row.single), ("batch", row.batch)):
                for threads in dict.fromkeys((1, CORES)):
                    rounds = found.get((effort, threads), {}).values()
                    rate = Spread.of(one["qps"] for one in rounds if one["qps"])
                    if not rate:
                        continue
                    more: dict[str, Any] = {"size": 1000}
                    if name == "single":
                        more = {key: statistics.median(one[key] for one in rounds) for key in ("p50_ms", "p99_ms")}
                    yield figure(
                        f"compare.{data}.{row.name}.{name}", rate.median, "queries/s", least=rate.least,
                        most=rate.most, engine=row.name, effort=effort, recall=judged["recall"],
                        queries=judged["queries"], threads=threads, **more,
                    )  # fmt: skip
        yield figure(
            f"compare.{data}.{row.name}.memory", row.loaded["bytes"], "bytes", engine=row.name,
            beyond_raw=row.loaded["bytes"] - self.raw,
        )  # fmt: skip
        yield figure(f"compare.{data}.{row.name}.disk", self.disk(row), "bytes", engine=row.name)
        for threads in dict.fromkeys((1, CORES)):
            if str(threads) in row.built:
                yield figure(
                    f"compare.{data}.{row.name}.build", row.built[str(threads)]["seconds"], "s", engine=row.name,
                    threads=threads, in_this_run=row.fresh_build, parameters=row.loaded["parameters"],
                    peak_bytes=row.built[str(threads)]["peak_bytes"],
                    since_put=row.built[str(threads)].get("since_put"),
                )  # fmt: skip

    def figures_of_builds(self, ours: Row, figure: Any) -> Iterator[dict[str, Any]]:
        peer = self.row("hnswlib")
        if not peer:
            return
        for threads in dict.fromkeys((CORES, 1)):
            both = [row.built.get(str(threads)) for row in (peer, ours)]
            if both[0] and both[1]:
                name = f"build.{self.data['data']}.vs_hnswlib" + (".t1" if threads == 1 < CORES else "")
                same = ours.fresh_build and peer.fresh_build
                yield figure(name, both[0]["seconds"] / both[1]["seconds"], "ratio", threads=threads, in_one_run=same)
                since = both[1].get("since_put")
                if since:
                    yield figure(
                        f"{name}.since_put", both[0]["seconds"] / since, "ratio", threads=threads, in_one_run=same
                    )

    def figures_of_exact(self, ours: Row, ratio: Any) -> Iterator[dict[str, Any]]:
        end = f"{self.data['metric']}.d{self.data['dim']}"
        for name in ("faiss_flat", "usearch_exact", "numpy_exact"):
            peer, short_name = self.row(name), name.split("_")[0]
            if not peer or "exact" not in ours.judged:
                continue
            for batch, stem in ((False, "exact.f32"), (True, "exact.batch")):
                for threads in dict.fromkeys((1, CORES)):
                    spread = ratios(ours.qps("exact", threads, batch), peer.qps("exact", threads, batch))
                    more = "" if threads == 1 else f".t{threads}"
                    yield from ratio(f"{stem}.{end}.vs_{short_name}{more}", spread, peer=name, threads=threads)

    def disk(self, row: Row) -> int:
        return row.disk + (0 if row.kind.keeps_rows else self.raw)

    def table(self) -> list[list[str]]:
        """Fastest at 0.95 first; those that do not reach it at the end."""
        ours = self.row(engines.OURS)
        best = self.best(0.95)

        def order(row: Row) -> float:
            rate = Spread.of(row.at(0.95).values())
            return -rate.median if rate else 0.0

        head = ["engine", "version", *(f"QPS at {level:.2f}" for level in LEVELS), "of ours", "p50, p99 ms"]
        head += ["batch 1t", f"batch {CORES}t", f"build s {CORES}t (since the last put)", "1t", "memory MiB", "beyond raw", "disk MiB"]
        lines = [head]
        for row in sorted(self.measured, key=order):
            rates = [Spread.of(row.at(level).values()) for level in LEVELS]
            line = [row.label + (" (best)" if row is best else ""), row.loaded["version"]]
            line += [short(rate.median if rate else None) for rate in rates]
            share = ratios(row.at(0.95), ours.at(0.95)) if ours else None
            line.append(f"{short(share.median)} ({short(share.least)} to {short(share.most)})" if share else "-")
            effort = row.at_least(0.95)
            ones = list(row.single.get((effort, 1), {}).values())
            times = [Spread.of(one[key] for one in ones) for key in ("p50_ms", "p99_ms")]
            line.append(", ".join(short(one.median) for one in times if one) or "-")
            for threads in (1, CORES):
                rate = Spread.of(row.qps(effort, threads, batch=True).values())
                line.append(short(rate.median if rate else None))
            for threads in (CORES, 1):
                built = row.built.get(str(threads), {})
                since = built.get("since_put")
                line.append(short(built.get("seconds")) + (f" ({short(since)})" if since else ""))
            line += [short(b / 2**20) for b in (row.loaded["bytes"], row.loaded["bytes"] - self.raw, self.disk(row))]
            lines.append(line)
        return lines

    def exact_table(self) -> list[list[str]]:
        head = ["engine", "queries/s 1t", "of ours", f"{CORES}t", "of ours", "batch 1t", "of ours", f"batch {CORES}t"]
        lines = [[*head, "of ours", "same ids"]]
        ours = self.row(engines.OURS)
        for row in self.measured:
            if "exact" not in row.judged:
                continue
            line = [row.label]
            for batch in (False, True):
                for threads in (1, CORES):
                    rates = row.qps("exact", threads, batch)
                    rate = Spread.of(rates.values())
                    share = ratios(rates, ours.qps("exact", threads, batch)) if ours else None
                    line += [short(rate.median if rate else None), short(share.median if share else None)]
            judged = row.judged["exact"]
            lines.append([*line, f"{judged['same']:,} of {judged['queries']:,}"])
        return lines

    def parameters(self) -> list[list[str]]:
        lines = [["engine", "built with", "efforts measured (recall)"]]
        for row in self.measured:
            efforts = ", ".join(f"{effort} ({judged['recall']:.3f})" for effort, judged in row.judged.items())
            lines.append([row.label, row.loaded["parameters"], efforts])
        return lines

    def missing(self) -> list[str]:
        return [f"{row.label}: {row.reason}" for row in self.rows if row.reason]

    def plot(self) -> str:
        data = self.data
        title = f"{data['data']}: {data['rows']:,} x {data['dim']}, {data['metric']}, k = {self.args.k}, one thread"
        title += f", commit {commit()}"
        curves = [(row.label, row.curve()) for row in self.measured]
        ours = engines.kind(engines.OURS).name
        return svg(title, sorted(curves, key=lambda curve: curve[0] != ours), ours)

    def about(self) -> str:
        data, args = self.data, self.args
        queries = min(args.queries, data["queries"])
        return (
            f"{data['rows']:,} rows x {data['dim']} dimensions, {data['metric']}; {queries:,} queries, k = {args.k}, "
            f"{args.rounds} rounds; {processor()}, {CORES} cores; commit {commit()}."
        )

    def print(self) -> None:
        print(self.about() + "\n")
        print_table(self.table())
        if any("exact" in row.judged for row in self.measured):
            print_table(self.exact_table())
        print_table(self.parameters())
        for line in self.missing():
            print(line)

    def write(self) -> None:
        """The page's part about this data, and its plot."""
        name = f"comparison-{self.data['data']}.svg"
        (PAGE.parent / name).write_text(self.plot())
        part = f"\n## {self.data['data']}\n\n{self.about()}\n\n![Recall against queries a second]({name})\n\n"
        part += markdown(self.table()) + "\nExact:\n\n" + markdown(self.exact_table())
        part += "\nIndexes:\n\n" + markdown(self.parameters())
        if self.missing():
            part += "\nNot measured:\n\n" + "".join(f"- {line}\n" for line in self.missing())
        text = PAGE.read_text() if PAGE.exists() else ""
        PAGE.write_text(between(text, f"compare {self.data['data']}", part + "\n"))
