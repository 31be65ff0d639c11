/* SPDX-License-Identifier: Apache-2.0 */
#ifndef POMAI_BENCH_INGEST_LONG_H
#define POMAI_BENCH_INGEST_LONG_H

/* ./dev bench ingest --sustained SECONDS and --existing N: long.c says what they do. */
int ingest_sustained(int argc, char **argv);
int ingest_existing(int argc, char **argv);

#endif
