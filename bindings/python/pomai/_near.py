# SPDX-License-Identifier: Apache-2.0
"""What was meant by a name that is none."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from ._errors import InvalidTypeError

_P = ParamSpec("_P")
_T = TypeVar("_T")


def near(word: str, known: Iterable[str]) -> str | None:
    """The one of these that is most like it; None: none is."""
    from difflib import get_close_matches  # which takes a while to load, and is for messages only

    plain = {name.lower().replace("_", ""): name for name in known}
    found = get_close_matches(word.lower().replace("_", ""), plain, n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def near_argument(word: str, known: Iterable[str]) -> str:
    name = near(word, known)
    return "" if name is None else f"; there is {name}="


def named(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Has a function say what was meant by an argument that it has not, as those of the extension do."""
    known = inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for word in kwargs:
            if word not in known:
                raise InvalidTypeError(f"{function.__name__}() has no argument {word!r}{near_argument(word, known)}")
        return function(*args, **kwargs)

    return call
