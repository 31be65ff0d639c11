/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, dates and times as JSON strings, with their quotes. */
#ifndef PM_ARROW_TEXT_H
#define PM_ARROW_TEXT_H

#include <stddef.h>
#include <stdint.h>

enum { PM_STRING_SLACK = 10, PM_TIME_ROOM = 64 };

/* Bytes that pm_write_string may touch for this string; SIZE_MAX: more than there can be. */
size_t pm_string_room(const char *data, size_t size);
/* The place behind the text, or NULL: it is not UTF-8, or has no longer what `room` was measured of: nothing is written
 * beyond that, whatever other threads do to the string meanwhile. */
char *pm_write_string(char *at, size_t room, const char *data, size_t size);

/* As Python's isoformat() writes them, in quotes, within PM_TIME_ROOM bytes. */
char *pm_write_date(char *at, int64_t days);                 /* since 1970, up to 10^12 either way */
char *pm_write_clock(char *at, int64_t ticks, int64_t unit); /* within a day, of `unit` a second */
/* NULL: the time is out of range. `date`: a time that is midnight is a date. `zoned`: it is in UTC. */
char *pm_write_time(char *at, int64_t ticks, int64_t unit, int date, int zoned);

#endif
