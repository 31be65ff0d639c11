# SPDX-License-Identifier: Apache-2.0
"""Walking over all rows of a collection."""

import gc
import os
import threading

import pomai
import pytest


@pytest.fixture
def db(tmp_path):
    with pomai.open(tmp_path / "db", durability="os") as opened:
        yield opened


def fill(collection, count, dim=4):
    return collection.add([[float(i)] * dim for i in range(count)], documents=[str(i) for i in range(count)])


def test_rows_one_by_one(db):
    fill(db, 100)
    seen = {row.id: (list(row.vector), row.document) for row in db}
    assert seen == {i: ([float(i)] * 4, str(i)) for i in range(100)}


def test_batches_show_each_row_once(db):
    fill(db, 100)
    batches = list(db.scan(batch_rows=7))
    assert [len(b) for b in batches[:-1]] == [7] * (len(batches) - 1)
    assert sorted(i for b in batches for i in b.ids) == list(range(100))
    assert all(all(b.found) for b in batches)
    assert batches[0].vectors.shape == (7, 4)


def test_string_ids(db):
    names = db.collection("names", 2, ids="string")
    names.add([[1, 2], [3, 4]], ids=["é", "b"])
    assert {row.id for row in names} == {"é", "b"}


def test_options_leave_things_out(db):
    fill(db, 3)
    rows = next(db.scan(vectors=False, documents=False))
    assert rows.vectors is None and rows[0].vector is None and rows[0].document is None


def test_default_before_it_is_made_and_empty_collections(db):
    assert list(db) == []
    assert list(db.scan()) == []
    assert list(db.collection("empty", 3)) == []


def test_writes_change_nothing_about_a_scan(db):
    fill(db, 50)
    scan = db.scan(batch_rows=10)
    first = next(scan).ids
    db.add([[9.0] * 4], ids=[1000])
    db.delete(list(range(50)))
    rest = [i for rows in scan for i in rows.ids]
    assert sorted(first + rest) == list(range(50))


def test_snapshot(db):
    fill(db, 5)
    with db.snapshot() as snapshot:
        db.delete([0, 1])
        scan = db.scan(snapshot=snapshot)
    assert sorted(i for rows in scan for i in rows.ids) == list(range(5))


def test_bounded(db):
    fill(db, 5)
    db.freeze()
    assert sum(len(rows) for rows in db.scan(mode="bounded")) == 5


def test_the_end_stays_the_end(db):
    fill(db, 1)
    scan = db.scan()
    assert len(list(scan)) == 1
    with pytest.raises(StopIteration):
        next(scan)


def test_closed_by_itself_and_by_the_database(tmp_path):
    db = pomai.open(tmp_path / "db", durability="os")
    fill(db, 10)
    scan, other, rows = db.scan(batch_rows=2), db.scan(batch_rows=2), iter(db)
    batch, row = next(other), next(rows)
    with scan:
        next(scan)
    with pytest.raises(pomai.ClosedError):
        next(scan)
    db.close()
    for handle in (other, rows):
        with pytest.raises(pomai.ClosedError):
            next(handle)
    other.close()
    assert len(batch) == 2 and len(row.vector) == 4  # what was read stays


def test_dropped_without_being_closed(tmp_path):
    with pomai.open(tmp_path / "db", durability="os") as db:
        fill(db, 10)
        for _ in range(100):
            next(db.scan(batch_rows=1))
        scan = db.scan()
        del scan
        gc.collect()


def test_outlives_the_collections_handle(db):
    c = db.collection("c", 4)
    fill(c, 10)
    scan = c.scan(batch_rows=3)
    c.close()
    assert sum(len(rows) for rows in scan) == 10


def test_dropped_collection(db):
    c = db.collection("c", 4)
    fill(c, 10)
    scan = c.scan(batch_rows=3)
    next(scan)
    db.drop("c")
    with pytest.raises(pomai.NotFoundError):
        for _ in scan:
            pass
    with pytest.raises(pomai.NotFoundError):
        c.scan()


@pytest.mark.parametrize("options, error", [
    ({"batch_rows": 0}, pomai.InvalidError),
    ({"batch_rows": 2**20 + 1}, pomai.InvalidError),
    ({"batch_rows": -1}, pomai.InvalidError),
    ({"batch_rows": "9"}, pomai.InvalidTypeError),
    ({"mode": "newest"}, pomai.InvalidError),
    ({"snapshot": 3}, pomai.InvalidTypeError),
    ({"colour": 3}, TypeError),
])
def test_wrong_options(db, options, error):
    with pytest.raises(error):
        db.scan(**options)


def test_forked_child(tmp_path):
    with pomai.open(tmp_path / "db", durability="os") as db:
        fill(db, 10)
        scan = db.scan(batch_rows=2)
        next(scan)
        child = os.fork()
        if child == 0:
            try:
                next(scan)
            except pomai.ForkError:
                del scan
                os._exit(7)
            os._exit(8)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert sum(len(rows) for rows in scan) == 8


def test_scans_side_by_side_while_others_write(db):
    fill(db, 500)
    failures = []

    def walk():
        try:
            for _ in range(10):
                ids = [i for rows in db.scan(batch_rows=50) for i in rows.ids]
                assert len(ids) == len(set(ids)) >= 500
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            failures.append(error)

    threads = [threading.Thread(target=walk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(50):
        db.add([[1.0] * 4] * 10)
    for thread in threads:
        thread.join()
    assert failures == []


def test_one_scan_in_many_threads_gives_each_row_once(db):
    fill(db, 2000)
    scan, seen, lock = db.scan(batch_rows=5), [], threading.Lock()

    def walk():
        while True:
            try:
                ids = next(scan).ids
            except StopIteration:
                return
            except pomai.BusyError:
                continue
            with lock:
                seen.extend(ids)

    threads = [threading.Thread(target=walk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(2000))


def test_asyncio(tmp_path):
    import asyncio

    import pomai.aio

    async def walk():
        async with await pomai.aio.open(tmp_path / "db", durability="os") as db:
            fill(db.sync, 20)
            return sorted([i async for rows in db.scan(batch_rows=3) for i in rows.ids])

    assert asyncio.run(walk()) == list(range(20))


def test_not_made_or_pickled(db):
    import pickle

    with pytest.raises(TypeError):
        type(db.scan())()
    with pytest.raises(TypeError):
        pickle.dumps(db.scan())
