/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows whose content follows from who wrote them and when, so that a test need not keep what it wrote: a row that comes
 * back says which write it is from, and every byte of it can be checked.
 *
 * A tagged vector has at least T_TAG_DIM components; the first ones are small whole numbers that a float holds exactly:
 *   [0] version mod 128   [1] version / 128   [2] writer   [3] row of the batch
 * and the rest are derived from (salt, version, writer, row). The version is never 0, so no tagged vector is zero. Of
 * another type than float32 the rest are what that type has exactly; it must have the first ones, too.
 */
#ifndef T_GEN_H
#define T_GEN_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "rng.h"

#define T_TAG_DIM         4u
#define T_DOC_MAX         6000u /* the longest document t_tagged_document makes */
#define T_TAGGED_DIM_MOST 320u

struct t_tag {
    uint32_t version; /* 1 to 2^24 - 1 */
    uint32_t writer;
    uint32_t row;
};

static inline float t_unit_float(struct t_rng *rng)
{
    return (float)((int32_t)t_below(rng, 1u << 20) - (1 << 19)) / (float)(1 << 19);
}

static inline uint64_t t_tag_key(uint64_t salt, struct t_tag tag)
{
    return t_mix2(salt ^ tag.version, ((uint64_t)tag.writer << 32) | tag.row);
}

static inline void t_tagged_vector(uint64_t salt, struct t_tag tag, uint32_t dim, float *out)
{
    struct t_rng rng = {t_tag_key(salt, tag)};
    out[0] = (float)(tag.version & 127);
    out[1] = (float)(tag.version >> 7);
    out[2] = (float)tag.writer;
    out[3] = (float)tag.row;
    for (uint32_t i = T_TAG_DIM; i < dim; i++)
        out[i] = t_unit_float(&rng);
}

/* `bytes` is the size of an element: 2 is float16, 1 is int8. */
static inline void t_tagged_vector_of(unsigned bytes, uint64_t salt, struct t_tag tag, uint32_t dim, float *out)
{
    t_tagged_vector(salt, tag, dim, out);
    for (uint32_t i = T_TAG_DIM; i < dim && bytes < 4; i++)
        out[i] = bytes == 1 ? floorf(out[i] * 128) : floorf(out[i] * 1024) / 1024;
}

/* Reads the tag back; 0 if the vector has none and so was never written by t_tagged_vector. */
static inline int t_read_tag(const float *vector, struct t_tag *tag)
{
    for (unsigned i = 0; i < T_TAG_DIM; i++) {
        if (!(vector[i] >= 0.0f && vector[i] < 16777216.0f && floorf(vector[i]) == vector[i])) return 0;
    }
    if (vector[0] >= 128.0f || vector[1] >= 131072.0f) return 0;
    tag->version = (uint32_t)vector[0] | (uint32_t)vector[1] << 7;
    tag->writer = (uint32_t)vector[2];
    tag->row = (uint32_t)vector[3];
    return tag->version != 0;
}

/* The size of the document that belongs to a tag; 0 means that the row has none. */
static inline size_t t_tagged_document_size(uint64_t salt, struct t_tag tag)
{
    uint64_t h = t_tag_key(salt + 1, tag);
    switch (h % 64) {
    case 0:
        return T_DOC_MAX - (h >> 8) % 3000;
    case 1:
        return 1;
    default:
        return h % 4 == 3 ? 0 : 1 + (h >> 8) % 80;
    }
}

enum { T_DOC_OBJECT = 14 /* bytes of the least document that is an object: {"n":3,"p":""} */ };

/* Some are objects, which filters tell apart: "n" is a digit. */
static inline void t_tagged_document(uint64_t salt, struct t_tag tag, uint8_t *out)
{
    size_t size = t_tagged_document_size(salt, tag);
    uint64_t key = t_tag_key(salt + 2, tag);
    if (size >= T_DOC_OBJECT && key % 2 == 0) {
        static const char head[] = "{\"n\":0,\"p\":\"", tail[] = "\"}";
        memcpy(out, head, 12);
        out[5] = (uint8_t)('0' + key / 2 % 10);
        for (size_t i = 12; i < size - 2; i++)
            out[i] = (uint8_t)('a' + t_mix(key + i / 8) % 26);
        memcpy(out + size - 2, tail, 2);
        return;
    }
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = t_mix(key + i);
        memcpy(out + i, &word, size - i < 8 ? size - i : 8);
    }
}

/* 1 if a vector and a document are, to the last bit, what the tag in the vector says. */
static inline int t_tagged_row_is_whole_of(unsigned bytes, uint64_t salt, struct t_tag tag, const float *vector,
                                           uint32_t dim, const void *document, size_t document_size)
{
    float expected[T_TAGGED_DIM_MOST];
    uint8_t expected_document[T_DOC_MAX];
    if (dim > T_TAGGED_DIM_MOST) return 0;
    t_tagged_vector_of(bytes, salt, tag, dim, expected);
    if (memcmp(expected, vector, dim * sizeof(float)) != 0) return 0;
    if (document_size != t_tagged_document_size(salt, tag)) return 0;
    t_tagged_document(salt, tag, expected_document);
    return document_size == 0 || memcmp(expected_document, document, document_size) == 0;
}

static inline int t_tagged_row_is_whole(uint64_t salt, struct t_tag tag, const float *vector, uint32_t dim,
                                        const void *document, size_t document_size)
{
    return t_tagged_row_is_whole_of(4, salt, tag, vector, dim, document, document_size);
}

/* ---- untagged vectors, for tests that keep what they wrote ---- */

enum t_style {
    T_STYLE_PLAIN,  /* uniform in [-1, 1] */
    T_STYLE_WHOLE,  /* small whole numbers: many equal distances */
    T_STYLE_SPREAD, /* magnitudes from subnormal to near the largest float, signed zeros */
    T_STYLE_COUNT
};

static inline float t_spread_float(struct t_rng *rng)
{
    static const float odd[] = {0.0f,         -0.0f,         1.0f,    -1.0f,    FLT_MIN,
                                FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MAX, -FLT_MAX, 3e38f};
    if (t_chance(rng, 20)) return odd[t_below(rng, sizeof odd / sizeof odd[0])];
    return ldexpf(t_unit_float(rng), (int)t_below(rng, 240) - 125);
}

static inline void t_styled_vector(struct t_rng *rng, enum t_style style, uint32_t dim, float *out)
{
    for (uint32_t i = 0; i < dim; i++) {
        switch (style) {
        case T_STYLE_WHOLE:
            out[i] = (float)((int)t_below(rng, 5) - 2);
            break;
        case T_STYLE_SPREAD:
            out[i] = t_spread_float(rng);
            break;
        default:
            out[i] = t_unit_float(rng);
            break;
        }
    }
}

static inline int t_is_zero_vector(const float *vector, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++) {
        if (vector[i] != 0.0f) return 0;
    }
    return 1;
}

#endif
