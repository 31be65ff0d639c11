# SPDX-License-Identifier: Apache-2.0
"""What the extension leaves to Python: JSON, times, and what is made once a call and not once a row."""

from __future__ import annotations

import datetime
import functools
import importlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ._errors import InvalidError, InvalidTypeError, TooBigError, UnsupportedError
from ._filter import Filter as Filter
from ._filter import encode as encode_filters
from ._near import near
from ._near import near_argument as near_argument
from ._times import is_too_long, keys_at_fault, plain_array, plain_value, shown

loads = json.loads


class Verdict(NamedTuple):
    """What a search says of its own answer."""

    completeness: str  # "exact", "approximate", or "cut" by the deadline
    fewer: str  # why there are fewer than k hits: "no" (there are k), "rows" (no more rows), "deadline"
    expected_recall: float  # 1.0 when exact; 0.0 when cut: unknown
    rows_scanned: int
    rows_visible: int


class Info(NamedTuple):
    """What is fixed about a collection, and how many rows it has."""

    name: str
    dim: int  # 0: `default`, before the first add
    metric: str
    id_kind: str
    ttl: float | None  # seconds
    rows: int
    dtype: str = "float32"  # of the vectors as they are stored
    cluster_by: str | None = None  # the path by which rows are clustered
    index_kind: str = "auto"  # what is built for searches that name a recall


def verdict(values: tuple[str, str, float, int, int]) -> Verdict:
    return Verdict(*values)


def info(values: tuple[str, int, str, str, int, int, str, str, str]) -> Info:
    name, dim, metric, id_kind, ttl_ns, rows, dtype, cluster_by, index = values
    return Info(name, dim, metric, id_kind, ttl_ns / 1e9 if ttl_ns else None, rows, dtype, cluster_by or None, index)


def dtype_name(dtype: Any) -> Any:
    """The word for a dtype, which may be NumPy's class or object for it."""
    if isinstance(dtype, str):
        return dtype
    name = getattr(dtype, "name", None)  # numpy.dtype("float16")
    return name if isinstance(name, str) else getattr(dtype, "__name__", dtype)  # numpy.float16


_SHOWN = 10  # collections in a message


def missing(name: str, names: list[str], wanted: str) -> str:
    """Of a collection that is not there. wanted: what the call lacks to make it ("dim"), "drop", or ""."""
    like = near(name, names)
    if like is not None:
        there = f"did you mean {like!r}?"
    else:
        more = len(names) - _SHOWN
        there = f"there are {', '.join(map(repr, names[:_SHOWN]))}" + (f" and {more} more" if more > 0 else "")
        there = there if names else "there are none"
    if wanted == "drop":
        return f"there is no collection {name!r} to drop; {there}"
    way = f"collection({name!r}, dim=...) makes it" if wanted else ""
    if name == "default":
        return f"there is no collection 'default' yet; the first add makes it{way and f', or {way}'}"
    return f"there is no collection {name!r}; {there}" + (way and f"{'' if there[-1] == '?' else ';'} {way}")


def check_same(
    info: Info, dim: int, metric: str | None, ids: str | None, ttl: Any, dtype: Any, cluster_by: str | None,
    index: str | None,
) -> bool:
    """Refuses to open a collection as something that it is not."""
    wanted = {
        "dim": dim or None, "metric": metric, "ids": ids, "ttl": None if ttl is None else (ttl_ns(ttl) / 1e9 or None),
        "dtype": None if dtype is None else dtype_name(dtype), "cluster_by": cluster_by,
        "index": index,
    }
    has = {"dim": info.dim, "metric": info.metric, "ids": info.id_kind, "ttl": info.ttl, "dtype": info.dtype,
           "cluster_by": info.cluster_by, "index": info.index_kind}
    for key, value in wanted.items():
        if value is not None and value != has[key]:
            raise InvalidError(
                f"the collection {info.name!r} has {key}={has[key]!r}, not {value!r}: open it without {key}=, or "
                "choose another name"
            )
    return True


@functools.cache
def _numpy() -> Any:
    """NumPy, at the first use: it is no requirement, and takes a while to load."""
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


def assigned_ids(runs: Sequence[tuple[int, int]], single: bool) -> Any:
    """Ids of consecutive runs (first, count): an array of uint64, or a range; for one vector an int."""
    if single:
        return runs[0][0]
    merged: list[tuple[int, int]] = [] if runs else [(0, 0)]
    for first, count in runs:
        if merged and sum(merged[-1]) == first:
            merged[-1] = (merged[-1][0], merged[-1][1] + count)
        else:
            merged.append((first, count))
    numpy = _numpy()
    if numpy is None:
        ranges = [range(first, first + count) for first, count in merged]
        return ranges[0] if len(ranges) == 1 else [i for r in ranges for i in r]
    arrays = [numpy.arange(first, first + count, dtype=numpy.uint64) for first, count in merged]
    return arrays[0] if len(arrays) == 1 else numpy.concatenate(arrays)


def _plain(value: Any) -> Any:
    """What JSON has no word for: scalars and arrays of NumPy, times."""
    return plain_value(value, "cannot be stored; expected what JSON has")


def _at_fault(value: Any) -> str:
    return "".join(f"[{key!r}]" for key in keys_at_fault(value, lambda inner: _TEXT(inner).encode(), 9))


def _encode(row: Mapping[str, Any] | None, i: int | None) -> bytes | None:
    """i: which one of a list; None: there is but this one."""
    if row is None:
        return None
    name = "metadata" if i is None else f"metadata[{i}]"
    if not isinstance(row, Mapping):
        raise InvalidTypeError(f"{name} is of type {type(row).__name__}; expected a dict or None")
    for key in row:
        if not isinstance(key, str):
            raise InvalidTypeError(f"{name} has the key {key!r}; expected str")
    try:
        return _TEXT(row if isinstance(row, dict) else dict(row)).encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"{name}{_at_fault(row)} has a string that is not Unicode: {error}") from None
    except TypeError as error:
        raise InvalidTypeError(f"{name}{_at_fault(row)} cannot be stored as JSON: {error}") from None
    except RecursionError:
        raise TooBigError(
            f"{name}{_at_fault(row)} is nested deeper than Python's json writes (some 990 levels, "
            "sys.setrecursionlimit() raises that in some versions): give the row's JSON text by documents= instead of "
            "metadata=; filters read it to 1,024 levels"
        ) from None
    except ValueError as error:
        if is_too_long(error):
            raise InvalidError(
                f"{name}{_at_fault(row)} is {is_too_long(error)}: raise that, or give the row's JSON text by "
                "documents= instead of metadata="
            ) from None
        raise InvalidError(f"{name}{_at_fault(row)} cannot be stored as JSON: {error}") from None


_TEXT = json.JSONEncoder(default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def column_values(key: str, column: Any, rows: int) -> list[Any]:
    """A column of metadata as a list."""
    if isinstance(column, (str, bytes, Mapping)) or not isinstance(column, Iterable):
        raise InvalidTypeError(
            f"metadata[{key!r}] is of type {type(column).__name__}; expected a column of {rows} values"
        )
    if isinstance(column, (set, frozenset)):
        raise InvalidTypeError(f"metadata[{key!r}] is a set, which has no order; expected a list of {rows} values")
    shape: Any = getattr(column, "shape", None)
    if isinstance(shape, tuple) and len(shape) > 0 and shape[0] != rows:  # which may be more than there is memory
        raise InvalidError(f"metadata[{key!r}] has {shape[0]} values; expected a column of {rows} values")
    try:
        values = plain_array(column) if hasattr(column, "tolist") else list(column)
    except (InvalidError, InvalidTypeError) as error:
        raise type(error)(f"metadata[{key!r}] cannot be stored as JSON: {error}") from None
    if not isinstance(values, list):
        raise InvalidTypeError(f"metadata[{key!r}] has no dimension; expected a column of {rows} values")
    return values


def column_texts(key: str, values: list[Any]) -> list[str]:
    """The JSON text of each value."""
    try:
        texts = list(map(_TEXT, values))
        "".join(texts).encode()
        return texts
    except (ValueError, TypeError, RecursionError):
        for i, value in enumerate(values):
            _encode({key: value}, i)  # says what is wrong with which row
        raise


def items_of(metadata: Any) -> list[tuple[Any, Any]] | None:
    """Keys and columns of what is like a dict."""
    return list(metadata.items()) if isinstance(metadata, Mapping) else None


def encode_metadata(metadata: Any, rows: int, single: bool, each: str) -> list[bytes | None]:
    """One JSON object a row, from a dict of columns, a list of dicts, or for one vector its dict."""
    if isinstance(metadata, Mapping):
        if single:
            return [_encode(metadata, None)]
        # Columns of a key with NUL in it: others are written by the engine.
        columns = {key: column_values(key, column, rows) for key, column in metadata.items()}
        for key, values in columns.items():
            if len(values) != rows:
                raise InvalidError(f"metadata[{key!r}] has {len(values)} values for {rows} {each}")
        return [_encode({key: values[i] for key, values in columns.items()}, i) for i in range(rows)]
    if isinstance(metadata, (str, bytes)) or not isinstance(metadata, Iterable):
        raise InvalidTypeError(
            f"metadata is of type {type(metadata).__name__}; expected a list of dicts, or a dict of columns"
        )
    try:
        items = list(metadata)
    except Exception as error:
        raise InvalidTypeError(f"metadata of type {type(metadata).__name__} cannot be read: {error}") from error
    if len(items) != rows:
        raise InvalidError(f"there are {len(items)} dicts of metadata for {rows} {each}")
    return [_encode(row, i) for i, row in enumerate(items)]


class _NoJSON(ValueError):
    pass


def _no_constant(word: str) -> Any:
    raise _NoJSON(word)


_OBJECT = json.JSONDecoder(parse_constant=_no_constant).decode
_SYNTAX = json.JSONDecoder(parse_constant=_no_constant, parse_int=len).decode


def decode_metadata(document: str | bytes | None) -> dict[str, Any] | None:
    """The document as a dict if it is a JSON object to filters, too: in UTF-8, without NaN and Infinity. What Python
    alone does not read is not passed off as none: who writes it back would lose it."""
    if not isinstance(document, str) or document.lstrip(" \t\n\r")[:1] != "{":
        return None
    try:
        value: dict[str, Any] = _OBJECT(document)
        return value
    except (json.JSONDecodeError, _NoJSON):
        return None
    except RecursionError:
        raise TooBigError(
            "the document is nested deeper than Python's json reads (some 990 levels, sys.setrecursionlimit() raises "
            "that in some versions); .document has its text"
        ) from None
    except ValueError as error:
        try:
            _SYNTAX(document)
        except (json.JSONDecodeError, _NoJSON):
            return None
        raise TooBigError(
            f"the document has a whole number of more digits than Python reads ({error}); .document has its text"
        ) from None


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _is_arrow(value: Any) -> bool:
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")


def _is_time64(value: Any) -> bool:
    return getattr(getattr(value, "dtype", None), "kind", "") == "M"


def _refuse_nat(at: int) -> InvalidError:
    return InvalidError(f"expiry[{at}] is NaT; expected ns since 1970, datetimes, or None for rows that stay")


def _no_time(at: int, value: Any) -> InvalidError:
    return InvalidError(
        f"expiry[{at}] is {value}; expected a time from 1970 to 2554-07-21, which 64 bits of ns since 1970 hold"
    )


_ATTOSECONDS = {"W": 604800 * 10**18, "D": 86400 * 10**18, "h": 3600 * 10**18, "m": 60 * 10**18, "s": 10**18,
                "ms": 10**15, "us": 10**12, "ns": 10**9, "ps": 10**6, "fs": 1000, "as": 1}


def _exact_ns(numpy: Any, time: Any, at: int) -> int:
    """Of one datetime64, by Python's whole numbers: NumPy's wrap around."""
    unit, count = numpy.datetime_data(time.dtype)
    ticks = int(time.astype("int64")) * count
    if unit in ("Y", "M"):
        year, month = divmod(ticks * (12 if unit == "Y" else 1), 12)
        if not 0 <= year < 600:
            raise _no_time(at, time)
        ns = (datetime.date(1970 + year, 1 + month, 1) - _EPOCH.date()).days * 86400 * 10**9
    elif unit in _ATTOSECONDS:
        ns = ticks * _ATTOSECONDS[unit] // 10**9
    else:
        raise InvalidTypeError(f"expiry[{at}] is a datetime64 without a unit; expected one, as datetime64[ns]")
    if not 0 <= ns < 2**64:
        raise _no_time(at, time)
    return ns


def _times64_ns(values: Any) -> Any:
    """Of an array of datetime64, or what makes one of itself; NaT, and no other, is not equal to itself."""
    numpy = importlib.import_module("numpy")
    if not isinstance(values, numpy.ndarray):
        values = numpy.asarray(values)
        if values.dtype.kind != "M":  # a Series with a zone gives Timestamps
            return [_expiry_ns(value, i) for i, value in enumerate(values.tolist())]
    if values.ndim != 1:
        raise InvalidError(f"expiry has {values.ndim} dimensions; expected one")
    if (values != values).any():
        raise _refuse_nat(int((values != values).argmax()))
    if values.dtype.str[1:] == "M8[ns]":
        if (values.view("int64" if values.dtype.isnative else values.dtype.str[0] + "i8") >= 0).all():
            return values.astype("int64")
    elif numpy.datetime_data(values.dtype)[0] in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us"):
        last = numpy.datetime64(2**63 - 1, "ns").astype(values.dtype)
        if ((values >= numpy.datetime64(0, "ns").astype(values.dtype)) & (values <= last)).all():
            return values.astype("datetime64[ns]").astype("int64")
    return [_exact_ns(numpy, value, i) for i, value in enumerate(values)]


def _no_expiry(what: str, given: str, value: Any = None, way: str = "") -> InvalidTypeError:
    if isinstance(value, str):
        way = ": datetime.fromisoformat() reads a text"
    elif isinstance(value, datetime.timedelta):
        way = ": a moment, as datetime.now() + timedelta(days=1)"
    elif isinstance(value, float):
        way = ": int(seconds * 10**9)"
    return InvalidTypeError(f"{what} is {given}; expected ns since 1970 (ints from 0 to 2**64 - 1, or an integer array), "
                            f"datetimes, dates or None{way}")


def _of_type(value: Any) -> str:
    text, kind = shown(value), f"of type {type(value).__name__}"
    return text if text == kind else f"{text}, {kind}"


def _expiry_ns(value: Any, at: int | None = 0) -> Any:
    """at: in a list; None: of all rows."""
    what = "expiry" if at is None else f"expiry[{at}]"
    at = at or 0
    if type(value) is int:
        return value
    if value is None:
        return 0
    if _is_time64(value) and getattr(value, "shape", None) == ():
        if value != value:
            raise _refuse_nat(at)
        return _exact_ns(importlib.import_module("numpy"), value, at)
    if hasattr(value, "to_pydatetime"):  # the Timestamp of pandas refuses what a datetime does
        value = value.to_pydatetime()
    if isinstance(value, datetime.datetime) and value != value:  # of pandas
        raise _refuse_nat(at)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):  # as in columns of dates
        value = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.timezone.utc)
    if isinstance(value, datetime.datetime):  # without a zone: local time, as everywhere in Python
        try:
            since = value.astimezone(datetime.timezone.utc) - _EPOCH
        except (OverflowError, ValueError) as error:
            raise InvalidError(f"expiry[{at}] is {value!r}, which is out of range: {error}") from None
        ns = (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
        if not 0 <= ns < 2**64:
            raise _no_time(at, value)
        return ns
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise _no_expiry(what, _of_type(value), value)
    return value


def encode_expiry(expiry: Any, rows: int) -> Any:
    """One time in ns since 1970 a row; what has no times of NumPy or Python goes back as it is."""
    if isinstance(expiry, (int, float, str, datetime.date, datetime.time, datetime.timedelta)):
        return [_expiry_ns(expiry, None)] * rows
    if isinstance(expiry, (set, frozenset, Mapping)):
        raise InvalidTypeError(f"expiry is a {type(expiry).__name__}, which has no order of rows; expected a list or an array")
    kind = getattr(getattr(expiry, "dtype", None), "kind", "")
    if getattr(expiry, "shape", None) == () and kind in ("i", "u"):
        return [int(expiry)] * rows
    if kind in ("f", "c", "b", "S", "U", "T", "V"):
        way = {"f": ": astype('int64') of nanoseconds", "U": ": astype('datetime64[ns]') reads texts"}.get(kind, "")
        raise _no_expiry("expiry", f"an array of {expiry.dtype}", way=way)
    if isinstance(expiry, Iterator):
        times = list(itertools.islice(expiry, rows + 1))
        if len(times) > rows:
            raise InvalidError(f"expiry gives more than {rows} times, for {rows} vectors")
        expiry = times
    if _is_time64(expiry):
        return [_expiry_ns(expiry)] * rows if expiry.shape == () else _times64_ns(expiry)
    if getattr(getattr(expiry, "dtype", None), "kind", "") == "O" and getattr(expiry, "ndim", 0) == 1:
        expiry = list(expiry)  # of dates, for one
    if isinstance(expiry, (list, tuple)):
        return [_expiry_ns(value, i) for i, value in enumerate(expiry)]
    if not hasattr(expiry, "dtype") and hasattr(expiry, "__array__") and not _is_arrow(expiry):
        array = expiry.__array__()
        return _times64_ns(array) if _is_time64(array) else array
    return expiry


def ttl_ns(ttl: Any) -> int:
    """A time to live, in seconds or as a timedelta, as ns."""
    if isinstance(ttl, datetime.timedelta):
        ns = (ttl.days * 86400 + ttl.seconds) * 10**9 + ttl.microseconds * 1000
    elif isinstance(ttl, (int, float)) and not isinstance(ttl, bool) and abs(ttl) < 1e10:
        ns = round(ttl * 10**9)
    else:
        raise InvalidTypeError(f"ttl is {shown(ttl)}; expected seconds, or a timedelta")
    if ns < 0:
        raise InvalidError(f"ttl is {ttl!r}; expected 0 (never) or more")
    return ns


class _Pair:
    """An Arrow array as its two capsules."""

    def __init__(self, capsules: tuple[object, object]) -> None:
        self.capsules = capsules

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        return self.capsules


def _with_columns(pyarrow: Any, table: Any, columns: Any) -> Any:
    """The table with columns where its documents are."""
    core = importlib.import_module("pomai._core")
    at = table.schema.get_field_index("document")
    batch = pyarrow.record_batch(_Pair(core.document_columns(table.column(at), columns)))
    table = table.remove_column(at)
    for i, field in enumerate(batch.schema):
        if field.name in table.schema.names:
            raise InvalidError(
                f"the documents have {field.name!r}, which is a column already: name the others with columns="
            )
        table = table.add_column(at + i, field, batch.column(i))
    return table


def _let_signals_in() -> None:
    """Nothing; but where a function begins the interpreter raises what a signal handler did in a stream."""


def to_arrow(stream: Any, as_columns: bool, columns: Any) -> Any:
    """A pyarrow.Table of what gives an Arrow stream."""
    try:
        pyarrow = importlib.import_module("pyarrow")
    except ImportError:
        raise UnsupportedError(
            "to_arrow() needs pyarrow: pip install pyarrow, or the extra pomai[arrow]. Without it, what reads Arrow "
            "streams takes the collection or its scan() as they are: polars.DataFrame(collection)"
        ) from None
    with stream:
        try:
            table = pyarrow.RecordBatchReader.from_stream(stream).read_all()
        except OSError:
            _let_signals_in()
            raise
    return _with_columns(pyarrow, table, columns) if as_columns else table
