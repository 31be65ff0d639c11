# SPDX-License-Identifier: Apache-2.0
"""What bench_filter.py says of its rows: figures, tables, a page."""
from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filter_engines
from common import ROOT, commit, machine, print_table, processor
from compare_report import CORES, LEVELS, Row
from figures import Spread, between, markdown, ratios, short

PAGE = ROOT / "docs" / "comparison-filter.md"
OURS = filter_engines.OURS
Case = dict[str, Any]


def stem(case: Case) -> str:
    """A case's part of a figure's name: s and the percent of rows that match for ranges, else its name."""
    return str(case["name"]).replace("number-", "s")


class Report:
    def __init__(self, args: Any, data: dict[str, Any], cases: list[Case], rows: list[Row]) -> None:
        self.args, self.data, self.cases, self.rows = args, data, cases, rows
        self.measured = [row for row in rows if not row.reason and any(one.single for one in row.cases.values())]
        self.context = {
            "data": data["data"], "n": data["rows"], "dim": data["dim"], "metric": data["metric"], "k": args.k,
            "threads": 1, "crowded": data.get("crowded", 0), "machine": machine(Path(data["directory"])),
            "commit": commit(),
        }  # fmt: skip

    def best(self, case: Case, level: float, stores: bool) -> Row | None:
        """Of the peers, by median; stores: only of those that judge a filter themselves."""
        rates = []
        for row in self.measured:
            rate = Spread.of(row.cases[case["name"]].at(level).values())
            if row.name != OURS and rate and (filter_engines.kind(row.name).carries or not stores):
                rates.append((rate.median, row))
        return max(rates, key=lambda pair: pair[0])[1] if rates else None

    def share(self, case: Case, level: float, stores: bool) -> tuple[Spread | None, Row | None]:
        """Ours over the best peer's."""
        peer = self.best(case, level, stores)
        ours = next((row for row in self.measured if row.name == OURS), None)
        if not peer or not ours:
            return None, peer
        name = case["name"]
        return ratios(ours.cases[name].at(level), peer.cases[name].at(level)), peer

    def figures(self) -> Iterator[dict[str, Any]]:
        """One for each number, by its stable name, with what it needs to be understood."""
        for case in self.cases:
            name = f"filter.{self.data['data']}.{stem(case)}"
            context = {**self.context, "case": case["name"], "share": case["share"]}
            for row in self.measured:
                for figure in self.figures_of(row, row.cases[case["name"]], name):
                    yield {**figure, "engine": row.name, "version": row.loaded["version"], **context}
            for level in LEVELS:
                for end, stores in (("vs_best", False), ("vs_best_store", True)):
                    spread, peer = self.share(case, level, stores)
                    if spread and peer:
                        # At 0.95 under the plain name.
                        more = "" if level == 0.95 else f".r{level * 100:.0f}"
                        yield {
                            "figure": f"{name}.{end}{more}", "value": spread.median, "unit": "ratio",
                            "least": spread.least, "most": spread.most, "peer": peer.name, "recall": level, **context,
                        }  # fmt: skip

    def figures_of(self, row: Row, one: Row, name: str) -> Iterator[dict[str, Any]]:
        mine = name if row.name == OURS else f"{name}.{row.name}"
        for level in LEVELS:
            rate = Spread.of(one.at(level).values())
            if rate:
                yield {
                    "figure": f"{mine}.r{level * 100:.0f}.qps", "value": rate.median, "unit": "queries/s",
                    "least": rate.least, "most": rate.most, "recall": level,
                }  # fmt: skip
        if row.name == OURS and 0.95 in one.judged:
            judged = one.judged[0.95]
            yield {"figure": f"{name}.recall", "value": judged["recall"], "unit": "share", "queries": judged["queries"]}
        for effort, judged in one.judged.items():
            rounds = one.single.get((effort, 1), {}).values()
            rate = Spread.of(found["qps"] for found in rounds)
            measured = {} if not rate else {
                "value": rate.median, "least": rate.least, "most": rate.most,
                **{key: statistics.median(found[key] for found in rounds) for key in ("p50_ms", "p99_ms")},
            }  # fmt: skip
            yield {"figure": f"{name}.{row.name}.effort", "unit": "queries/s", "effort": effort, **measured, **judged}

    def cell(self, one: Row, level: float) -> str:
        """The rate at a recall; else the recall that was reached. A star: an answer had too few rows."""
        rate = Spread.of(one.at(level).values())
        if rate:
            return short(rate.median) + ("*" if one.judged[one.at_least(level)]["short"] else "")
        best = max(one.judged.values(), key=lambda judged: judged["recall"], default=None)
        if not best:
            return "-"
        return f"({best['recall']:.2f})" + ("*" if best["short"] else "")

    def lines(self, head: list[str], cell: Any) -> list[list[str]]:
        """A line a case, a column an engine."""
        table = [["filter", "rows that match", *(row.label for row in self.measured), *head]]
        for case in self.cases:
            line = [case["name"], f"{short(100 * case['share'])}%"]
            table.append([*line, *(cell(row.cases[case["name"]]) for row in self.measured)])
        return table

    def rates(self, level: float) -> list[list[str]]:
        table = self.lines(["of the best", "of the best store"], lambda one: self.cell(one, level))
        for case, line in zip(self.cases, table[1:]):
            for stores in (False, True):
                spread, peer = self.share(case, level, stores)
                text = f"{short(spread.median)} ({short(spread.least)} to {short(spread.most)})" if spread else "-"
                line.append(text + (f" {peer.label}" if spread and peer else ""))
        return table

    def times(self) -> list[list[str]]:
        def cell(one: Row) -> str:
            rounds = one.single.get((one.at_least(0.95), 1), {}).values()
            values = [Spread.of(found[key] for found in rounds) for key in ("p50_ms", "p99_ms")]
            return ", ".join(short(value.median) for value in values if value) or "-"

        return self.lines([], cell)

    def reached(self) -> list[list[str]]:
        """What ours found for each recall that was asked for."""
        ours = next((row for row in self.measured if row.name == OURS), None)
        if not ours:
            return []
        efforts = ours.loaded["efforts"]
        table = [["filter", "rows that match", *(f"recall={e}" if e != "exact" else "exact" for e in efforts)]]
        for case in self.cases:
            judged = ours.cases[case["name"]].judged
            found = [f"{judged[effort]['recall']:.3f}" if effort in judged else "-" for effort in efforts]
            table.append([case["name"], f"{short(100 * case['share'])}%", *found])
        return table

    def parameters(self) -> list[list[str]]:
        head = ["engine", "built with", "its filter", "made before, ms", "efforts", f"build s {CORES}t", "memory MiB"]
        table = [head]
        for row in self.measured:
            made = [judged["given_ms"] for one in row.cases.values() for judged in one.judged.values()]
            table.append([
                f"{row.label} {row.loaded['version']}", row.loaded["parameters"], row.loaded["given"],
                short(statistics.median(made)), ", ".join(map(str, row.loaded["efforts"])),
                short(row.built.get(str(CORES), {}).get("seconds")),
                short(row.loaded["bytes"] / 2**20),
            ])  # fmt: skip
        return table

    def amiss(self) -> list[str]:
        """Answers with too few rows, and with rows that they should not have, at each engine's greatest effort."""
        found = []
        for row in self.measured:
            parts = []
            for case in self.cases:
                effort, judged = list(row.cases[case["name"]].judged.items())[-1]
                if judged["short"]:
                    parts.append(f"{case['name']} {judged['short']} of {judged['queries']} short (effort {effort})")
                wrong = sum(one["wrong"] for one in row.cases[case["name"]].judged.values())
                if wrong:
                    parts.append(f"{case['name']} {wrong} rows that do not match")
            if parts:
                found.append(f"{row.label}: {', '.join(parts)}")
        return found

    def missing(self) -> list[str]:
        there = [f"{row.label}: {row.reason}" for row in self.rows if row.reason]
        return there + [f"{name}: {reason}" for name, reason in filter_engines.CANNOT.items()]

    def about(self) -> str:
        data, args = self.data, self.args
        crowded = data.get("crowded", 0)
        passes = args.rounds * len(self.cases)
        beside = f" {crowded} of {passes} passes were beside other work: read the ratios." if crowded else ""
        return (
            f"{data['rows']:,} rows x {data['dim']} dimensions, {data['metric']}; {args.queries:,} queries, one at a "
            f"time, one thread, k = {args.k}, {args.rounds} rounds; {processor()}, {CORES} cores; "
            f"commit {commit()}.{beside}"
        )

    def tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        yield "Queries a second at recall 0.95", self.rates(0.95)
        yield "Queries a second at recall 0.99", self.rates(0.99)
        yield "p50, p99 in ms, of the least effort that reaches 0.95", self.times()
        if self.reached():
            yield "What PomaiDB found for the recall that was asked for", self.reached()
        yield "Engines", self.parameters()

    def print(self) -> None:
        print(self.about() + "\n")
        for title, table in self.tables():
            print(f"{title}:")
            print_table(table)
        for line in (*self.amiss(), *self.missing()):
            print(line)

    def write(self) -> None:
        """The page's part about this data."""
        part = f"\n## {self.data['data']}\n\n{self.about()}\n"
        for title, table in self.tables():
            part += f"\n{title}:\n\n{markdown(table)}"
        if self.amiss():
            part += "\nAnswers amiss at the greatest effort:\n\n" + "".join(f"- {line}\n" for line in self.amiss())
        part += "\nNot measured:\n\n" + "".join(f"- {line}\n" for line in self.missing())
        text = PAGE.read_text() if PAGE.exists() else ""
        PAGE.write_text(between(text, f"filter {self.data['data']}", part + "\n"))
