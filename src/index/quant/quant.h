/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantised flat search: codes of a segment's rows, which say cheaply which rows can be among the k nearest. Whoever
 * scans offers those rows to the exact search (flat.h), which ranks them on the vectors themselves.
 *
 * Codes are a pure function of the rows, the metric and the seed: the same bytes at every level of the kernels. They
 * are derived: they may be deleted at any time, and are built again from the rows.
 *
 * docs/format/codes.md has the sections and the formulas. Candidates are numbers of rows of the whole pm_quant. Which
 * rows are candidates depends on no level of the kernels.
 *
 * Nothing here opens a file, locks or calls the system. Only build and calibrate allocate. A query is used by one
 * thread at a time. The default floating-point environment is set while they run (simd.h: pm_simd_fp_enter).
 */
#ifndef PM_QUANT_H
#define PM_QUANT_H

#include "index/source.h"
#include "simd/simd.h"

#define PM_QUANT_SECTIONS 4

/* Codes in memory or mapped; each section 64-byte aligned, its length what pm_quant_lengths says. */
typedef struct pm_quant {
    uint64_t rows;
    uint32_t dim;
    pomai_metric metric;
    const uint8_t *section[PM_QUANT_SECTIONS];
} pm_quant;

/* The bytes of each section; they follow from rows, dim and metric alone. false: codes would not pay, or overflow. */
bool pm_quant_lengths(uint64_t rows, uint32_t dim, pomai_metric metric, uint64_t length[PM_QUANT_SECTIONS]);

/* Writes sections 0 to 2. Only read and append are asked whether to go on, both in the calling thread. work may be
 * NULL. POMAI_EDEADLINE: stopped by one of them; POMAI_ENOMEM. */
pomai_status pm_quant_build(const pm_index_source *source, const pm_simd *simd, const pm_index_work *work,
                            const pm_index_sink *sink);

/*
 * Measures the recall of sections 0 to 2 on rows of the source (each left out of its own answer) and writes section 3,
 * the table: which effort reaches which recall, for k of 1, 10 and 100. `quant->section[3]` is not read.
 */
pomai_status pm_quant_calibrate(const pm_quant *quant, const pm_index_source *source, const pm_simd *simd,
                                const pm_index_sink *sink);

/* Whether what the sections say can be used without reading or writing out of bounds; their checksums were right. */
bool pm_quant_is_sound(const pm_quant *quant);

/* The highest target of the table: pm_quant_query_init looks no effort up for more. */
#define PM_QUANT_MOST_RECALL 0.999f

/* The recall that the highest effort below an exact scan reached in calibration, for this k. */
float pm_quant_best_recall(const pm_quant *quant, uint32_t k);

/* One query over one pm_quant. */
typedef struct pm_quant_query pm_quant_query;
size_t pm_quant_query_size(const pm_quant *quant, uint32_t k); /* a multiple of 64; 0: overflow */
/*
 * In memory of pm_quant_query_size bytes, 64-byte aligned; nothing to release. `recall` is the target, under 1; NULL if
 * the table has no effort that meets it: scan exactly. *expected becomes the recall that calibration saw.
 */
pm_quant_query *pm_quant_query_init(void *memory, const pm_quant *quant, const pm_simd *simd, const float *vector,
                                    uint32_t k, float recall, float *expected);

/*
 * From now on with as much effort as calibration looks at. It found out what is enough where queries lie among the rows
 * that count; those that a filter lets pass may lie far from the query, and codes then tell them apart less well.
 */
void pm_quant_widen(pm_quant_query *query);

/*
 * The same, but no row is ever left out that may be among the k nearest: what bytes are wrong by at most is allowed
 * for, so an exact search need not read the vectors of other rows. A quarter of their bytes is read, or the rows
 * themselves where they are bytes. Never NULL.
 */
pm_quant_query *pm_quant_query_init_sure(void *memory, const pm_quant *quant, const pm_simd *simd, const float *vector,
                                         uint32_t k);

/*
 * Looks at rows first .. first + n - 1 (first a multiple of 64, n at most PM_QUANT_STEP) and writes those that may be
 * among the k nearest into `candidates` (room for n), ascending; returns their number. `bound` is the canonical
 * distance of the k-th nearest found so far over everything searched, INFINITY while there are fewer than k: rows that
 * are estimated to be farther by more than the effort's margin are left out.
 */
#define PM_QUANT_STEP 4096
size_t pm_quant_scan(pm_quant_query *query, uint64_t first, uint32_t n, double bound, uint32_t *candidates);

/*
 * The same, for rows that count alone: bit i % 64 of among[i / 64] says whether row first + i does. Rows that have
 * ended or that a filter leaves out must not count, as the query keeps a bound of its own from the rows it has seen.
 */
size_t pm_quant_scan_some(pm_quant_query *query, uint64_t first, uint32_t n, const uint64_t *among, double bound,
                          uint32_t *candidates);

/* The same of a query for sure, for n rows that lie anywhere, each once, in any order; candidates in that order. */
size_t pm_quant_scan_listed(pm_quant_query *query, const uint32_t *rows, uint32_t n, double bound,
                            uint32_t *candidates);

/* Lines of 64 bytes that this reads of a row of so many dimensions, and asking for them. */
uint32_t pm_quant_lines(uint32_t dim);
void pm_quant_ask_for(const pm_quant *quant, uint32_t row);

#endif
