/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two structs of the Arrow C data interface (arrow.apache.org, "The Arrow C data interface"), whose layout is fixed
 * for good. Any library that has Arrow arrays exports them like this; whoever includes a header of such a library
 * besides has them once, by the guard that all agree on.
 */
#ifndef POMAI_ARROW_H
#define POMAI_ARROW_H

#include <stdint.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE           2
#define ARROW_FLAG_MAP_KEYS_SORTED    4

#ifdef __cplusplus
extern "C" {
#endif

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *schema);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *array);
    void *private_data;
};

#ifdef __cplusplus
}
#endif

#endif

#endif
