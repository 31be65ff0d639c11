# SPDX-License-Identifier: Apache-2.0
"""Filters: put together in Python, given to the engine as JSON. docs/filter.md has the language."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ._errors import InvalidError, InvalidTypeError, TooBigError
from ._near import near
from ._times import is_too_long, keys_at_fault, plain_array, plain_value, shown

if TYPE_CHECKING:
    import numpy as np

Scalar: TypeAlias = str | int | float | bool | datetime.date | datetime.time | None  # times: as metadata has them
Ordered: TypeAlias = float | str | datetime.date | datetime.time


class Filter:
    """A filter that FilterOp made, for search(filters=); `&`, `|` and `~` put filters together.

    >>> from pomai import FilterOp as F
    >>> F.eq("category", "shoes") & ~F.lt("price", 20)
    Filter({"$and": [{"category": {"$eq": "shoes"}}, {"$not": {"price": {"$lt": 20}}}]})
    """

    __slots__ = ("_tree",)

    def __init__(self, tree: Part) -> None:
        self._tree: Any = _tree(tree)

    def __and__(self, other: Part) -> Filter:
        return Filter({"$and": _parts(self, "$and") + _parts(other, "$and")})

    def __or__(self, other: Part) -> Filter:
        return Filter({"$or": _parts(self, "$or") + _parts(other, "$or")})

    def __rand__(self, other: Part) -> Filter:
        return Filter({"$and": _parts(other, "$and") + _parts(self, "$and")})

    def __ror__(self, other: Part) -> Filter:
        return Filter({"$or": _parts(other, "$or") + _parts(self, "$or")})

    def __bool__(self) -> bool:
        """`a and b` would be b alone."""
        raise InvalidTypeError("a filter is neither true nor false; put filters together by &, | and ~, not and, or, not")

    def __invert__(self) -> Filter:
        return FilterOp.NOT(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return json.dumps(self._tree, default=_plain, ensure_ascii=False)

    def __repr__(self) -> str:
        try:
            return f"Filter({self})"
        except ValueError as error:
            return f"<pomai.Filter with {is_too_long(error) or error}>"


Part: TypeAlias = Filter | Mapping[str, Any]
FiltersLike: TypeAlias = Part | str  # the text goes to the engine as it is, and its numbers with it


def _tree(filters: Any, what: str = "a filter", wanted: str = "a dict") -> Any:
    if isinstance(filters, Filter):
        return filters._tree
    if isinstance(filters, Mapping):
        return filters
    way = ""
    if isinstance(filters, (list, tuple)):
        way = ": FilterOp.AND(*filters) has all of them match, FilterOp.OR(*filters) one"
    elif isinstance(filters, (bytes, bytearray)):
        way = ": decode() makes its bytes a str" if "str" in wanted else ""
    raise InvalidTypeError(f"{what} is {_given(filters)}; expected {wanted} or what FilterOp makes{way}")


def _given(value: Any) -> str:
    text, kind = shown(value), f"of type {type(value).__name__}"
    return text if text == kind else f"{text}, {kind}"


def _parts(filters: Any, operator: str) -> list[Any]:
    """So that a chain of `&` is one list, not lists in lists."""
    tree = _tree(filters)
    return list(tree[operator]) if isinstance(filters, Filter) and list(tree) == [operator] else [tree]


def _where(path: str, operator: str, value: Any) -> Filter:
    if not isinstance(path, str):
        raise InvalidTypeError(f"the path of a filter is {path!r}; expected str")
    return Filter({path: {operator: value}})


_MOST_VALUES = 1 << 18  # of all terms of a filter


def _values(values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        one = "; one value goes into eq()" if isinstance(values, str) else ""
        raise InvalidTypeError(f"the values of a filter are {_given(values)}; expected a list of them{one}")
    if isinstance(values, range) and len(values[:_MOST_VALUES]) == _MOST_VALUES:
        raise TooBigError(f"{values!r} has more values than a filter, which has fewer than {_MOST_VALUES:,}")
    return plain_array(values) if hasattr(values, "tolist") else list(values)


class _Operators(type):
    """What FilterOp has not says what was meant."""

    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> Any:
            if name.startswith("_"):  # what looks at classes asks for much
                raise AttributeError(name)
            known = [word for word in vars(cls) if not word.startswith("_")]
            meant = _OTHER_WORDS.get(name.lower().strip("_")) or near(name.rstrip("_"), known)
            there = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}"
            raise AttributeError(f"FilterOp has no {name!r}; {there}")

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            raise InvalidTypeError('FilterOp is not called, only what it has is: FilterOp.lt("price", 50)')


_OTHER_WORDS = {"equals": "eq", "equal": "eq", "in": "in_", "isin": "in_", "notin": "nin", "not_in": "nin", "ge": "gte",
                "le": "lte", "neq": "ne"}


class FilterOp(metaclass=_Operators):
    """What filters are made of, for search(filters=). A path is a key of the document; "a.b" is one inside another.

    >>> from pomai import FilterOp as F
    >>> _ = db.add([[1, 0], [2, 0]], ids=[1, 2], metadata=[{"category": "product", "price": 9}, {"category": "note"}])
    >>> db.search([0, 0], filters=F.AND(F.eq("category", "product"), F.gte("price", 5))).ids.tolist()
    [1]
    >>> db.search([0, 0], filters=F.NOT(F.exists("price"))).ids.tolist()
    [2]
    """

    @staticmethod
    def AND(*filters: Part) -> Filter:
        """All of them match."""
        return Filter({"$and": [_tree(one) for one in filters]})

    @staticmethod
    def OR(*filters: Part) -> Filter:
        """At least one of them matches."""
        return Filter({"$or": [_tree(one) for one in filters]})

    @staticmethod
    def NOT(filter: Part) -> Filter:
        """It does not match."""
        return Filter({"$not": _tree(filter)})

    @staticmethod
    def eq(path: str, value: Scalar | np.datetime64) -> Filter:
        """The value is of the same type, and equal."""
        return _where(path, "$eq", value)

    @staticmethod
    def ne(path: str, value: Scalar | np.datetime64) -> Filter:
        """Exactly what eq does not match: rows without the key, too."""
        return _where(path, "$ne", value)

    @staticmethod
    def gt(path: str, value: Ordered | np.datetime64) -> Filter:
        """A number, or a string, that is greater."""
        return _where(path, "$gt", value)

    @staticmethod
    def gte(path: str, value: Ordered | np.datetime64) -> Filter:
        """A number, or a string, that is greater or equal."""
        return _where(path, "$gte", value)

    @staticmethod
    def lt(path: str, value: Ordered | np.datetime64) -> Filter:
        """A number, or a string, that is less."""
        return _where(path, "$lt", value)

    @staticmethod
    def lte(path: str, value: Ordered | np.datetime64) -> Filter:
        """A number, or a string, that is less or equal."""
        return _where(path, "$lte", value)

    @staticmethod
    def in_(path: str, values: Iterable[Scalar | np.datetime64]) -> Filter:
        """The value is equal to one of these."""
        return _where(path, "$in", _values(values))

    @staticmethod
    def nin(path: str, values: Iterable[Scalar | np.datetime64]) -> Filter:
        """Exactly what in_ does not match: rows without the key, too."""
        return _where(path, "$nin", _values(values))

    @staticmethod
    def exists(path: str, there: bool = True) -> Filter:
        """The key is there, whatever its value; or it is not."""
        return _where(path, "$exists", there)

    @staticmethod
    def contains(path: str, value: Scalar | np.datetime64) -> Filter:
        """An array with an element that is equal; or a string with this one inside."""
        return _where(path, "$contains", value)

    @staticmethod
    def starts_with(path: str, value: str) -> Filter:
        """A string that begins with this one."""
        return _where(path, "$starts_with", value)


# ---- for the extension ----


def _plain(value: Any) -> Any:
    """What JSON has no word for: filters in dicts, times, scalars and arrays of NumPy."""
    if isinstance(value, Filter):
        return value._tree
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (range, set, frozenset)):
        return _values(value)
    return plain_value(value, "is none of JSON's")


_DEEPEST = 100  # more than any filter has: 32 operators, each of which may have a list


def _too_deep(at: Any) -> TooBigError:
    path, most = "", 40  # of a dict that has itself in it, all is alike
    while at is not None and len(path) < most:
        at, key = at
        path = (f"[{key}]" if isinstance(key, int) else key if at is None else f".{key}") + path
    cut = "..." if at is not None or len(path) > most else ""
    return TooBigError(f"filters: {cut}{path[-most:]}: more than {_DEEPEST} dicts and lists in each other; a filter has at "
                       "most 32 of $and, $or, $not in each other")


def _check_keys(tree: Any, depth: int = 0, at: Any = None) -> None:
    """JSON would make strings of numbers. at: the outer path and the last key of it, or None."""
    if depth > _DEEPEST:
        raise _too_deep(at)
    if isinstance(tree, Filter):
        tree = tree._tree
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if not isinstance(key, str):
                raise InvalidTypeError(f"filters has the key {key!r}; expected str")
            if isinstance(value, (Filter, Mapping, list, tuple)):
                _check_keys(value, depth + 1, (at, key))
    elif isinstance(tree, (list, tuple)):
        for i, value in enumerate(tree):
            if isinstance(value, (Filter, Mapping, list, tuple)):
                _check_keys(value, depth + 1, (at, i))


def _text(tree: Any) -> str:
    return json.dumps(tree, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _fault(tree: Any) -> str:
    path = ""
    for key in keys_at_fault(tree, lambda value: _text(value).encode(), _DEEPEST):
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else str(key)
    return path and f": {path.encode(errors='backslashreplace').decode()}"


def encode(filters: Any) -> bytes:
    """The text of a filter. Numbers are as they are written: whole ones of any size, others by repr()."""
    tree = filters if isinstance(filters, str) else _tree(filters, "filters", "a dict, its JSON text (str),")
    _check_keys(tree)
    try:
        if isinstance(tree, str):
            return tree.encode()
        return _text(tree if isinstance(tree, dict) else dict(tree)).encode()
    except UnicodeEncodeError as error:
        where = "" if isinstance(tree, str) else _fault(tree)
        raise InvalidError(f"filters{where} has a string that is not Unicode: {error}") from None
    except InvalidError as error:
        raise type(error)(f"filters{_fault(tree)}: {error}") from None
    except (ValueError, RecursionError) as error:
        if is_too_long(error):
            raise InvalidError(
                f"filters{_fault(tree)} is {is_too_long(error)}: raise that, or give the filter as JSON text, a str"
            ) from None
        raise InvalidError(
            f"filters{_fault(tree)} cannot be written as JSON; there is no NaN, no Infinity: {error}"
        ) from None
    except TypeError as error:
        raise InvalidTypeError(f"filters cannot be written as JSON: {error}") from None
