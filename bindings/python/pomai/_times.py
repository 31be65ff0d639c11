# SPDX-License-Identifier: Apache-2.0
"""Times and arrays as what JSON has. NumPy itself makes numbers of those times that a datetime cannot hold."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ._errors import InvalidError, InvalidTypeError

_FINER = {"ns": 3, "ps": 6, "fs": 9, "as": 12}  # digits behind those of a microsecond
_DATES = ("Y", "M", "W", "D")


def plain_time(value: Any) -> str | None:
    """A date, a datetime or a time; NaT of pandas, which is a datetime that differs from itself, is null."""
    return value.isoformat() if value == value else None


def plain_value(value: Any, refusal: str) -> Any:
    """Times, scalars and arrays of NumPy; what is none of these is refused."""
    if isinstance(value, (datetime.date, datetime.time)):
        return plain_time(value)
    if hasattr(value, "tolist"):
        return plain_array(value)
    if hasattr(value, "item"):
        return value.item()
    raise InvalidTypeError(f"a value of type {type(value).__name__} {refusal}")


def plain_array(value: Any) -> Any:
    """An array or a scalar of NumPy, or what else has `tolist`: as lists, with times as texts."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return value.tolist()
    if value.dtype.names:
        rows = value if isinstance(value, numpy.generic) or value.ndim > 0 else value[()]
        return list(rows)  # or fields, which are looked at in turn
    if value.dtype.kind == "m":
        raise InvalidTypeError(
            f"{value.dtype} is a span of time, for which JSON has no word; give a number, as of seconds: "
            "value / np.timedelta64(1, 's')"
        )
    if value.dtype.kind == "c":
        raise InvalidTypeError(f"{value.dtype} is no number that JSON has")
    if value.dtype.kind == "f" and value.dtype.itemsize > 8:  # longdouble, which tolist() leaves as it is
        with numpy.errstate(over="ignore"):  # infinity is refused
            value = value.astype("f8")
    if value.dtype.kind != "M":
        return value.tolist()
    if hasattr(value, "filled"):  # of a masked array
        value = value.filled(numpy.datetime64("NaT"))
    return _shaped(iter(_texts(numpy, numpy.asarray(value).reshape(-1))), value.shape)


def is_too_long(error: Exception) -> str:
    """What Python says of an int that it makes no text of, in better words; of other errors nothing."""
    if not isinstance(error, ValueError) or "integer string conversion" not in str(error):
        return ""
    return (f"a whole number of more than {sys.get_int_max_str_digits():,} digits, which Python writes only after "
            "sys.set_int_max_str_digits()")


def shown(value: Any) -> str:
    """repr(), in a message."""
    try:
        text = repr(value)
    except Exception as error:
        return "an int of too many digits to show" if is_too_long(error) else f"of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:80] + "..."


def keys_at_fault(value: Any, encode: Callable[[Any], object], most: int) -> list[Any]:
    """The keys that lead to what has no text, from the outside in, `most` at most: the encoder does not say."""
    keys: list[Any] = []
    inside: Any = value
    while len(keys) < most:
        value, inside = getattr(inside, "_tree", inside), None  # a Filter is what it wraps
        if hasattr(value, "tolist"):
            try:
                value = plain_array(value)
            except (ValueError, TypeError):
                break
        listed = enumerate(value) if isinstance(value, (list, tuple)) else ()
        for key, inner in value.items() if isinstance(value, Mapping) else listed:
            try:
                encode(key)
            except (ValueError, TypeError):
                return [*keys, key]
            try:
                encode(inner)
            except RecursionError:
                return [*keys, key]
            except (ValueError, TypeError):
                keys.append(key)
                inside = inner
                break
        else:
            break
    return keys


def _shaped(values: Iterator[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return next(values)
    return [_shaped(values, shape[1:]) for _ in range(shape[0])]


def _texts(numpy: Any, times: Any) -> list[str | None]:
    """As isoformat() has them, with more digits behind the second where there is more than microseconds."""
    unit, count = numpy.datetime_data(times.dtype)
    if unit == "generic":  # of NaT alone
        return [None] * len(times)
    whole = _converted(numpy, times, f"M8[{unit}]") if count != 1 else times
    if unit not in _FINER:
        whole = _converted(numpy, whole, "M8[D]" if unit in _DATES else "M8[us]")
        return [None if value is None else _iso(value) for value in whole.tolist()]
    digits = _FINER[unit]
    microseconds, finer = numpy.divmod(whole.astype("i8"), 10**digits)
    values = numpy.where(numpy.isnat(whole), numpy.datetime64("NaT"), microseconds.astype("M8[us]")).tolist()
    return [
        None if value is None else _iso(value) if rest == 0 else _iso(value, "microseconds") + _groups(rest, digits)
        for value, rest in zip(values, finer.tolist())
    ]


def _groups(rest: int, digits: int) -> str:
    """Nanoseconds, picoseconds and so on, as far as there are any."""
    while rest % 1000 == 0:
        rest, digits = rest // 1000, digits - 3
    return f"{rest:0{digits}d}"


def _converted(numpy: Any, times: Any, dtype: str) -> Any:
    """Into another unit, which must hold them: NumPy wraps around."""
    try:
        made = times.astype(dtype)
        back = made.astype(times.dtype)
    except OverflowError:
        back = None
    if back is None or not ((back == times) | numpy.isnat(times)).all():
        raise _out_of_range(f"a {times.dtype}")
    return made


def _iso(value: Any, timespec: str | None = None) -> str:
    if not isinstance(value, datetime.date):  # a number
        raise _out_of_range("a datetime64")
    text: str = value.isoformat() if timespec is None else value.isoformat(timespec=timespec)  # type: ignore[call-arg]
    return text


def _out_of_range(what: str) -> InvalidError:
    return InvalidError(f"{what} is not of the years 1 to 9999, which have a text")
