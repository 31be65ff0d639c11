# SPDX-License-Identifier: Apache-2.0
"""Filters from Python: what FilterOp makes means what its dict means, numbers stay exact, nonsense is refused."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pomai
import pomai.aio
from pomai import FilterOp as F

BIG = 2**63 + 1
ROWS: list[dict[str, Any] | None] = [
    {"n": 1, "name": "apple", "tags": ["red", 5]}, {"n": 2.5, "name": "Äpfel"}, {"n": BIG, "name": None},
    {"n": BIG + 1}, {"n": "1", "in": {"n": 1}}, {}, None, {"n": 0.1, "ok": True}, {"n": 10**400, "a.b": 1},
]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[pomai.Database]:
    with pomai.open(tmp_path / "db") as opened:
        opened.add([[float(i), 0.0] for i in range(len(ROWS))], ids=range(len(ROWS)), metadata=ROWS)
        yield opened


def test_and_or_not_are_refused(db: pomai.Database) -> None:
    for wrong in (lambda: F.eq("n", 1) and F.eq("n", 2), lambda: F.eq("n", 1) or F.eq("n", 2), lambda: not F.eq("n", 1)):
        with pytest.raises(TypeError, match="neither true nor false"):
            db.delete(filters=wrong())


def test_chains_do_not_nest(db: pomai.Database) -> None:
    any_, all_ = F.eq("n", 0), F.ne("n", -1)
    for n in range(1, 200):
        any_, all_ = any_ | F.eq("n", n), all_ & F.ne("n", n)
    assert found(db, any_) == [0]
    assert found(db, all_) == list(range(1, len(ROWS)))
    assert str({"n": 1} | F.eq("n", 2) | F.eq("n", 3)) == '{"$or": [{"n": 1}, {"n": {"$eq": 2}}, {"n": {"$eq": 3}}]}'
    assert found(db, {"n": {"$gte": 1}} & F.lt("n", 3)) == [0, 1]


def found(db: pomai.Database, filters: Any) -> list[int]:
    return sorted(db.search([0.0, 0.0], k=100, filters=filters).ids.tolist())


CASES: dict[str, tuple[Any, list[int]]] = {
    "eq": (F.eq("n", 1), [0]), "eq none": (F.eq("name", None), [2]), "eq bool": (F.eq("ok", True), [7]),
    "eq fraction": (F.eq("n", 0.1), [7]), "eq str": (F.eq("n", "1"), [4]), "eq umlaut": (F.eq("name", "Äpfel"), [1]),
    "ne": (F.ne("n", 1), [1, 2, 3, 4, 5, 6, 7, 8]), "gt": (F.gt("n", 1), [1, 2, 3, 8]),
    "gte": (F.gte("n", 1), [0, 1, 2, 3, 8]), "lt": (F.lt("n", 1), [7]), "lte": (F.lte("n", 1), [0, 7]),
    "big": (F.eq("n", BIG), [2]), "above big": (F.gt("n", BIG), [3, 8]), "huge": (F.eq("n", 10**400), [8]),
    "in": (F.in_("n", [1, "1", BIG]), [0, 2, 4]), "in nothing": (F.in_("n", []), []),
    "in a set": ({"n": {"$in": {1, "1", BIG}}}, [0, 2, 4]), "nin a set": ({"n": {"$nin": frozenset({1, 2.5})}}, [2, 3, 4, 5, 6, 7, 8]),
    "in a generator": (F.in_("n", (i for i in range(3))), [0]),
    "nin": (F.nin("n", {1, 2.5}), [2, 3, 4, 5, 6, 7, 8]), "exists": (F.exists("n"), [0, 1, 2, 3, 4, 7, 8]),
    "missing": (F.exists("n", False), [5, 6]), "contains": (F.contains("tags", 5), [0]),
    "contains in a string": (F.contains("name", "pp"), [0]), "starts": (F.starts_with("name", "Äp"), [1]),
    "path": (F.eq("in.n", 1), [4]), "escaped": (F.eq("a\\.b", 1), [8]),
    "and": (F.AND(F.gte("n", 1), F.lt("n", 3)), [0, 1]), "or": (F.OR(F.eq("n", 1), {"n": 2.5}), [0, 1]),
    "not": (F.NOT(F.exists("n")), [5, 6]), "operators": (F.gte("n", 1) & F.lt("n", 3) | ~F.exists("n"), [0, 1, 5, 6]),
    "dict": ({"n": {"$gte": 1, "$lt": 3}}, [0, 1]), "text": ('{"n": 1e0}', [0]), "all": ({}, list(range(9))),
    "mixed": ({"$and": [F.gte("n", 1), {"n": {"$lt": 3}}]}, [0, 1]), "none": (None, list(range(9))),
}


@pytest.mark.parametrize("name", CASES)
def test_it_finds(db: pomai.Database, name: str) -> None:
    filters, ids = CASES[name]
    assert found(db, filters) == ids
    if isinstance(filters, pomai.Filter):
        assert found(db, str(filters)) == ids
        assert repr(filters) == f"Filter({filters})"
    db.flush()
    assert found(db, filters) == ids


def test_numpy_goes_in(db: pomai.Database) -> None:
    np = pytest.importorskip("numpy")
    assert found(db, F.eq("n", np.int64(1))) == [0]
    assert found(db, F.in_("n", np.array([1, 2]))) == [0]
    assert found(db, {"n": {"$in": np.array([1.0, 2.5])}}) == [0, 1]
    assert found(db, F.eq("ok", np.bool_(True))) == [7]
    assert found(db, F.eq("n", np.longdouble(2.5))) == found(db, {"n": {"$in": np.array([2.5], "g")}}) == [1]


def test_filters_are_equal_if_they_say_the_same() -> None:
    assert F.eq("a", 1) == pomai.Filter({"a": {"$eq": 1}}) and hash(F.eq("a", 1)) == hash(F.eq("a", 1))
    assert F.eq("a", 1) != F.eq("a", 2) and F.eq("a", 1) != {"a": {"$eq": 1}}


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        made = {"$not": made}
    return made


def round_and_round() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["a"] = made
    return made


BAD: dict[str, tuple[Callable[[], Any], type[pomai.Error], str]] = {
    "a number": (lambda: 5, pomai.InvalidTypeError, "int"), "a list": (lambda: [], pomai.InvalidTypeError, "list"),
    "NaN": (lambda: F.eq("a", float("nan")), pomai.InvalidError, "NaN"),
    "infinity": (lambda: {"a": {"$in": [1, float("inf")]}}, pomai.InvalidError, "Infinity"),
    "bytes": (lambda: {"a": b"x"}, pomai.InvalidTypeError, "bytes"),
    "a key that is a number": (lambda: {"$and": [{1: 2}]}, pomai.InvalidTypeError, "key 1"),
    "a path that is none": (lambda: F.eq(5, 1), pomai.InvalidTypeError, "5"),  # type: ignore[arg-type]
    "text in AND": (lambda: F.AND("{}"), pomai.InvalidTypeError, "str"),  # type: ignore[arg-type]
    "one value": (lambda: F.in_("a", "xy"), pomai.InvalidTypeError, "list"),
    "half a pair": (lambda: {"a": "\ud800"}, pomai.InvalidError, "Unicode"),
    "a long range": (lambda: {"a": {"$in": range(10**30)}}, pomai.TooBigError, "a.$in: range(0, 10"),
    "a long range in IN": (lambda: F.in_("a", range(1 << 40)), pomai.TooBigError, "fewer than 262,144"),
    "not JSON": (lambda: "{", pomai.InvalidError, "filter: not JSON"),
    "no such operator": (lambda: {"a": {"$regex": "x"}}, pomai.InvalidError, "filter: a.$regex: no such operator"),
    "AND of nothing": (lambda: F.AND(), pomai.InvalidError, "filter: $and"),
    "an operand": (lambda: F.gt("a", None), pomai.InvalidError, "filter: a.$gt"),  # type: ignore[arg-type]
    "not Unicode": (lambda: F.eq("a", "\ud800"), pomai.InvalidError, "filters: a.$eq has a string that is not Unicode"),
    "not Unicode in a list": (lambda: {"$or": [{}, {"a": {"$in": ["x", "\ud800"]}}]}, pomai.InvalidError, "$or[1].a.$in[1]"),
    "key not Unicode": (lambda: {"$and": [{"\ud800": 1}]}, pomai.InvalidError, r"$and[0].\ud800 has a string"),
    "NaN in a list": (lambda: {"$and": [{}, {"a": {"$in": [1, float("nan")]}}]}, pomai.InvalidError, "$and[1].a.$in[1]"),
    "2,000 levels": (lambda: nested(2000), pomai.TooBigError, "$not.$not: more than 100 dicts"),
    "itself": (lambda: round_and_round(), pomai.TooBigError, "filters: ....a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a: more"),
    "a set as an operand": (lambda: {"a": {1, 2}}, pomai.InvalidError, "filter: a: an array is no operand"),
    "40 levels": (lambda: nested(40), pomai.TooBigError, "$not.$not: more than 32 of $and, $or, $not in each other"),
    "depth": (lambda: "{\"$not\":" * 40 + "{}" + "}" * 40, pomai.TooBigError, "filter"),
}


def test_ranges_are_lists(db: pomai.Database) -> None:
    for made in (F.in_("a", range(2, 9, 3)), {"a": {"$in": range(2, 9, 3)}}, F.NOT({"a": {"$nin": range(2, 9, 3)}})):
        assert db.count(filters=made) == db.count(filters={"a": {"$in": [2, 5, 8]}})


def itself() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["$not"] = made
    return made


@pytest.mark.parametrize("name", BAD)
def test_it_refuses(db: pomai.Database, name: str) -> None:
    make, kind, part = BAD[name]
    with pytest.raises(kind) as caught:
        db.search([0.0, 0.0], filters=make())
    assert part in str(caught.value), str(caught.value)
    with pytest.raises(pomai.InvalidError):
        db.search([0.0, 0.0], filters=itself())


def test_aio(tmp_path: Path) -> None:
    async def run() -> list[int]:
        async with await pomai.aio.open(tmp_path / "aio.db") as db:
            await db.add([[1.0], [2.0]], ids=[1, 2], metadata=[{"a": 1}, {"a": 2}])
            hits: pomai.Result = await db.search([0.0], filters=F.gt("a", 1))
            return [hit.id for hit in hits]

    assert asyncio.run(run()) == [2]


def test_random_trees_mean_what_python_says(db: pomai.Database) -> None:
    draw = random.Random(3)

    def number(i: int) -> Any:
        value = (ROWS[i] or {}).get("n")
        return None if isinstance(value, str) else value

    def make(depth: int) -> tuple[pomai.Filter, set[int]]:
        every = set(range(len(ROWS)))
        if depth == 0:
            x = draw.choice([0, 0.1, 1, 2.5, BIG, BIG + 1, 10**400])
            there = {i for i in every if number(i) is not None}
            return draw.choice([
                (F.eq("n", x), {i for i in there if number(i) == x}),
                (F.lt("n", x), {i for i in there if number(i) < x}),
                (F.ne("n", x), {i for i in every if number(i) != x}),
                (F.gte("n", x), {i for i in there if number(i) >= x}),
            ])
        parts = [make(depth - 1) for _ in range(draw.randrange(1, 4))]
        filters, sets = [f for f, _ in parts], [s for _, s in parts]
        return draw.choice([
            (F.AND(*filters), set.intersection(*sets)), (F.OR(*filters), set.union(*sets)),
            (~filters[0], every - sets[0]),
        ])

    for _ in range(300):
        filters, ids = make(draw.randrange(4))
        assert found(db, filters) == sorted(ids), str(filters)


def test_plans_say_what_was_done(db: pomai.Database) -> None:
    result = db.search([0, 0], filters={"n": {"$gt": 0}}, include=["plan"])
    assert result.plan["matches"] == result.verdict.rows_visible
    assert [source["judged_by"] for source in result.plan["sources"]] == ["documents"] * len(result.plan["sources"])
    assert db.search([[0, 0], [1, 1]], include="plan").plan["queries"] == 2
    assert db.search([0, 0]).plan is None


def test_columns_answer_as_documents_do(tmp_path: Path) -> None:
    rows = 3000
    with pomai.open(tmp_path / "columns.db") as db:
        metadata: list[Any] = [
            {"n": i, "tags": ["a", f"t{i % 7}"], "name": f"row {i}"} if i % 10 else None for i in range(rows)
        ]
        db.add([[i, 1.0] for i in range(rows)], ids=range(rows), metadata=metadata)
        filters = [F.lt("n", 5), F.contains("tags", "t3"), F.starts_with("name", "row 12"), ~F.exists("n"),
                   F.AND(F.gt("n", 100), F.contains("tags", "t1")), F.in_("n", [1, 10, 2999]), F.ne("n", 7)]
        before = [db.search([7, 1], k=rows, filters=f).ids.tolist() for f in filters]
        db.build_indexes()
        for f, ids in zip(filters, before):
            result = db.search([7, 1], k=rows, filters=f, include=["plan"])
            assert result.ids.tolist() == ids and len(ids) == db.count(filters=f) == len(db.get(filters=f))
            assert result.plan["sources"][0]["judged_by"] == "columns" and result.plan["sources"][0]["terms"]


@pytest.mark.parametrize("columns", [False, True])
def test_a_plan_is_short(tmp_path: Path, columns: bool) -> None:
    """Whatever the filter: cut with a mark, and not within a character."""
    with pomai.open(tmp_path / "plan.db") as db:
        db.add([[i, 1.0] for i in range(2000)], metadata=[{"n": i, "s": "é€😀\x7f\"\\"} for i in range(2000)])
        if columns:
            db.build_indexes()
        many = [F.in_("n", range(100_000)), F.OR(*(F.eq("n", i) for i in range(50_000))),
                F.AND(*(F.OR(F.ne("n", i), F.gt("n", i)) for i in range(2000)))]
        many += [F.in_("s", ["x" * i + "é€😀" * 1000]) for i in range(9)]
        for f in many:
            plan = db.search([0, 0], filters=f, include=["plan"]).plan
            assert 1990 < len(plan["filter"].encode()) <= 2003 and plan["filter"].endswith("...")
            assert len(json.dumps(plan)) < 20_000 and plan["filter"].isprintable()
            terms = plan["sources"][0].get("terms")
            assert (terms is not None) == columns
            if terms and len(terms) > 1:
                assert re.fullmatch(r"\.\.\. and \d+ more", terms[-1]) and sum(map(len, terms)) < 3000
                assert int(terms[-1].split()[2]) + len(terms) - 1 > 2000
        plan = db.search([0, 0], filters=F.eq("s", "é€😀\x7f\"\\"), include=["plan"]).plan
        assert json.loads(plan["filter"]) == {"s": {"$eq": "é€😀\x7f\"\\"}} and plan["matches"] == 2000
        assert not columns or "é€😀" in plan["sources"][0]["terms"][0]


class Told(dict):  # type: ignore[type-arg]
    """Of a class of its own, a dict is left to Python's json."""


def random_tree(random_: random.Random, depth: int = 0) -> Any:
    """Of what filters are made of, and of what they must not be."""
    scalars = [
        0, -1, 2**63 - 1, -(2**63), 2**63, 10**30, True, False, None, 0.0, -0.0, 1.5, 1e22, 1e-7, 123456789.125, "", "a",
        "Äpfel", "x" * 600, 'quote"', "back\\slash", "line\n", "\x7f", "\U0001f600", "tenant", (1, 2), 7,
    ]
    choice = random_.randrange(9)
    if depth > 3 or choice < 4:
        return random_.choice(scalars)
    if choice == 4:
        return [random_tree(random_, depth + 1) for _ in range(random_.randrange(4))]
    if choice == 5:
        return F.eq(random_.choice(["n", "name", "a.b"]), random_.choice(scalars[:-2]))
    keys = ["n", "name", "$eq", "$in", "$gt", "$and", "$or", "$not", "$exists", "tags", "$contains", "a\\.b", "in.n", "é"]
    return {random_.choice(keys): random_tree(random_, depth + 1) for _ in range(random_.randrange(1, 4))}


def answer_of(db: pomai.Database, filters: Any) -> Any:
    try:
        return found(db, filters)
    except pomai.Error as error:
        return type(error), str(error)


def test_plain_filters_are_written_as_json_does(db: pomai.Database) -> None:
    """Small plain trees are written by the extension: each must mean, or be refused, as json writes it."""
    random_ = random.Random(20261122)
    accepted = 0
    for _ in range(3000):
        tree = {random_.choice(["n", "name", "$and", "$not", "$or", "in.n"]): random_tree(random_, 1)}
        got = answer_of(db, tree)
        assert got == answer_of(db, Told(tree)), tree
        accepted += isinstance(got, list)
    assert accepted > 300
    deep: Any = {"n": 1}
    for _ in range(30):
        deep = {"$not": deep}
    for tree in (deep, {"n": float("nan")}, {"n": float("inf")}, {"name": "\ud800"}, {1: 2}, {"n": {2: 3}}, {"n": object()}):
        assert answer_of(db, tree) == answer_of(db, Told(tree))
    for made in (F.eq("n", 1), ~F.eq("n", 1), F.AND({"n": 1}, F.exists("n")), F.in_("n", [1, 2.5, "1"])):
        assert answer_of(db, made) == answer_of(db, str(made)) != []
