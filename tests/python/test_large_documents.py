# SPDX-License-Identifier: Apache-2.0
"""Documents of 10 MB, of 100,000 keys, deep ones and odd ones, through the whole engine: put, found by filters before
and after they lie in segments, updated, deleted, and returned as they were put."""
from __future__ import annotations

import json
from pathlib import Path

import pomai

KEYS = 100_000
LARGE = 8
TEXT = "0123456789" * 1_000_000
DEEP = '{"a":' * 1_024 + "1" + "}" * 1_024


def documents() -> list[str]:
    """By what is asked below: `n` is 0 in the large ones, and the row's number else."""
    large = [
        json.dumps({"n": 0, "kind": "text", "text": TEXT}),
        json.dumps({"n": 0, "kind": "keys", **{f"k{i}": i for i in range(KEYS)}}),
        json.dumps({"n": 0, "kind": "list", "list": [str(i) for i in range(KEYS)]}),
        '{"n": 0, "kind": "twice", ' + ", ".join('"twice": %d' % i for i in range(KEYS)) + "}",
        DEEP, '{"a":' * 1_025 + "1" + "}" * 1_025, '{"n": 0,', "[0]",
    ]
    assert len(large) == LARGE
    few = KEYS // 1_000
    return large + [json.dumps({"n": i, **{f"x{i * few + j}": j for j in range(few)}}) for i in range(1, 1_001)]


def check(rows: pomai.Database, put: list[str]) -> None:
    def found(where: object) -> list[int]:
        assert rows.count(filters=where) == len(rows.get(filters=where))
        hits = rows.search([0.0, 0.0], 2_000, filters=where)
        assert sorted(h.id for h in hits) == sorted(r.id for r in rows.get(filters=where))
        return sorted(h.id for h in hits)

    assert [rows.get(i).document for i in range(len(put))] == put
    assert found({"n": 0}) == [0, 1, 2, 3]
    assert found({"text": {"$starts_with": "0123456789" * 1_000}}) == [0]
    assert found({"text": TEXT}) == [0]
    assert found({"text": {"$gt": TEXT}}) == []
    assert found({f"k{KEYS - 1}": KEYS - 1}) == [1]
    assert found({f"k{KEYS}": {"$exists": True}}) == []
    assert found({"list": {"$contains": str(KEYS - 1)}}) == [2]
    assert found({"twice": KEYS - 1}) == [3]
    assert found({"twice": 0}) == []
    assert found({".".join(["a"] * 32): {"$exists": True}}) == [4]
    assert found({"$not": {"n": {"$exists": True}}}) == [4, 5, 6, 7]
    assert found({"x12345": 45}) == [LARGE - 1 + 123]
    assert found({"n": {"$gte": 990}, "x99100": {"$exists": True}}) == [LARGE - 1 + 991]
    assert found({"n": {"$gte": 1}}) == list(range(LARGE, len(put)))


def test_large_documents(tmp_path: Path) -> None:
    put = documents()
    with pomai.open(tmp_path / "db") as db:
        for i, text in enumerate(put):
            db.add([[float(i), 0.0]], ids=[i], documents=[text])
        check(db, put)
        db.flush()
        check(db, put)
        db.compact()
        db.build_indexes()
        check(db, put)
    with pomai.open(tmp_path / "db") as db:
        check(db, put)
        assert db.update(filters={"kind": "text"}, metadata={"text": None}) == 1
        put[0] = json.dumps({"n": 0, "kind": "text"})
        assert json.loads(db.get(0).document) == json.loads(put[0])
        assert db.delete(filters={"kind": "keys"}) == 1
        assert sorted(r.id for r in db.get(filters={"n": 0})) == [0, 2, 3]
    assert pomai.verify(tmp_path / "db")
