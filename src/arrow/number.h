/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as JSON has them. Each writes at most PM_NUMBER_ROOM bytes at `at` and returns the place behind the text. */
#ifndef PM_ARROW_NUMBER_H
#define PM_ARROW_NUMBER_H

#include <stdint.h>

enum { PM_NUMBER_ROOM = 40 };

char *pm_write_u64(char *at, uint64_t value);
char *pm_write_i64(char *at, int64_t value);
/* `digits` digits, the first of them perhaps 0; at most 9. */
char *pm_write_digits(char *at, uint32_t value, int digits);

/* The fewest digits that read back as the same float of this size, and of those the nearest; finite. As Python's repr
 * writes them: with a point or an exponent always, so that a float stays one. */
char *pm_write_f64(char *at, double value);
/* With an exponent from 1e6 on (1e4 if it was half as wide) unless more digits are needed, as printf's %g has it. */
char *pm_write_f32(char *at, float value, int digits);

#endif
