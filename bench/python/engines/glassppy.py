# SPDX-License-Identifier: Apache-2.0
"""The original package of pyglass: the same interface."""
from __future__ import annotations

from engines import pyglass


class Adapter(pyglass.Adapter):
    name = "glassppy"
    packages = ("glassppy",)
    distribution = "glassppy"
