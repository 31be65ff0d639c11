#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes src/arrow/powers.h, the powers of ten that printing a float wants; --check: holds the file against it.

Also proves the three shifts that src/arrow/number.c takes logarithms by, over every exponent that a float64 has.
"""
import sys
from fractions import Fraction
from pathlib import Path

LEAST, MOST = -292, 324
HEAD = """/* SPDX-License-Identifier: Apache-2.0 */
/* By tools/powers_of_ten.py: 10^e, rounded up, as 128 bits of which the first is set; the upper 64 bits, the lower. */
#ifndef PM_ARROW_POWERS_H
#define PM_ARROW_POWERS_H

#include <stdint.h>

enum { PM_POWERS_LEAST = %d, PM_POWERS_MOST = %d };

/* clang-format off */
static const uint64_t pm_powers[PM_POWERS_MOST - PM_POWERS_LEAST + 1][2] = {
"""
TAIL = "};\n/* clang-format on */\n\n#endif\n"


def floor_log2(value: Fraction) -> int:
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if Fraction(2) ** guess <= value else guess - 1


def floor_log10(value: Fraction) -> int:
    guess = len(str(value.numerator)) - len(str(value.denominator))
    return guess if Fraction(10) ** guess <= value else guess - 1


def table() -> str:
    lines = []
    for e in range(LEAST, MOST + 1):
        power = Fraction(10) ** e
        scaled = power * Fraction(2) ** (127 - floor_log2(power))
        bits = -(-scaled.numerator // scaled.denominator)
        assert 1 << 127 <= bits < 1 << 128
        lines.append(f"    {{0x{bits >> 64:016x}u, 0x{bits & (1 << 64) - 1:016x}u}}, /* {e} */\n")
    return HEAD % (LEAST, MOST) + "".join(lines) + TAIL


def check_shifts() -> None:
    for q in range(-1074, 972):
        power = Fraction(2) ** q
        assert q * 1262611 >> 22 == floor_log10(power), q
        assert q * 1262611 - 524031 >> 22 == floor_log10(power * 3 / 4), q
    for e in range(LEAST, MOST + 1):
        assert e * 1741647 >> 19 == floor_log2(Fraction(10) ** e), e


def main() -> int:
    path = Path(__file__).resolve().parent.parent / "src" / "arrow" / "powers.h"
    check_shifts()
    if "--check" not in sys.argv:
        path.write_text(table())
    elif path.read_text() != table():
        print(f"{path}: not what {Path(__file__).name} writes")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
