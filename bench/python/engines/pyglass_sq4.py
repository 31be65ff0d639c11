# SPDX-License-Identifier: Apache-2.0
"""The same searched in 4 bits, its documentation's rule of thumb."""
from __future__ import annotations

from engines import pyglass


class Adapter(pyglass.Adapter):
    name = "pyglass SQ4U"
    parameters = "HNSW, SQ8U, R 32, L 200; searched in SQ4U, refined in FP32, optimize()"
    codes = "SQ4U"
