/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named boundaries: the instants between two steps of a protocol at which a crash is most telling. Compiled in only
 * with POMAI_TEST_HOOKS (the test build), where a test sets pm_point_hook and may kill the process in it. The table is
 * append-only; the crash test iterates over it.
 */
#ifndef PM_BASE_POINT_H
#define PM_BASE_POINT_H

#define PM_POINT_TABLE(X)                                                                                              \
    X(WAL_CREATE_BEGIN)   /* before the temporary file of a new log file is made */                                    \
    X(WAL_CREATE_WRITTEN) /* its header is written, not synced */                                                      \
    X(WAL_CREATE_SYNCED)  /* header synced, not renamed */                                                             \
    X(WAL_CREATE_RENAMED) /* renamed, directory not synced */                                                          \
    X(WAL_CREATE_DONE)    /* directory synced */                                                                       \
    X(WAL_SEALED)         /* the old file is closed after its successor exists */                                      \
    X(COMMIT_WRITE_BEGIN) /* a group commit is about to be written */                                                  \
    X(COMMIT_WRITTEN)     /* written, not synced */                                                                    \
    X(COMMIT_SYNCED)      /* synced, nobody told */                                                                    \
    X(PART_SENT)          /* it is in its shard's mailbox */                                                           \
    X(PART_ENCODED)       /* a part is in the slab, not handed to the log writer */                                    \
    X(BATCH_DECIDED)      /* the last part of a batch is durable */                                                    \
    X(ROWS_APPLIED)       /* ends stored, not yet visible */                                                           \
    X(ROWS_COUNTED)       /* tallied, not yet visible */                                                               \
    X(ROWS_SHOWN)         /* visible LSN raised */                                                                     \
    X(BATCH_ACKED)        /* the waiter has been told */                                                               \
    X(MARK_WRITTEN)       /* WATERMARK slot written, not synced */                                                     \
    X(MARK_SYNCED)        /* WATERMARK slot synced */                                                                  \
    X(RECOVERY_SCANNED)   /* all logs read, nothing changed */                                                         \
    X(QUARANTINE_COPIED)  /* torn tail copied and synced */                                                            \
    X(ABORTS_WRITTEN)     /* ABORT records of a recovery durable */                                                    \
    X(RECOVERY_DONE)      /* recovered, not yet open for commands */                                                   \
    X(MANIFEST_WRITTEN)   /* MANIFEST-<n> written under a temporary name, not synced */                                \
    X(MANIFEST_SYNCED)    /* synced, not renamed */                                                                    \
    X(MANIFEST_RENAMED)   /* renamed, CURRENT still names the old one */                                               \
    X(CURRENT_RENAMED)    /* CURRENT names the new one, directory not synced */                                        \
    X(MANIFEST_DONE)      /* directory synced */                                                                       \
    X(INIT_DIRS)          /* directories of a new database made, no manifest yet */                                    \
    X(WAL_RETIRED)        /* a log file below the first that the manifest names is removed */                          \
    X(TABLE_ROTATED)      /* a memtable was frozen, nothing of it is written yet */                                    \
    X(SEGMENT_WRITTEN)    /* a segment is durable, nothing refers to it */                                             \
    X(SEGMENT_NAMED)      /* the manifest names it, views do not have it */                                            \
    X(ENDS_CARRIED)       /* ends that were stored meanwhile are in it, too */                                         \
    X(SEGMENT_SHOWN)      /* views have it, what it replaces is still there */                                         \
    X(VIEW_LOADED)        /* a reader has the view, and not yet the LSNs up to which it sees */                        \
    X(VIEW_TO_END_IN)     /* an actor has the view in which it ends rows, and none is ended yet */                     \
    X(DERIVED_BUILT)      /* codes or a graph are written, but not measured, and have no name yet */                   \
    X(CHANGE_READ)        /* rows were read for an update, or a delete by filter, and nothing is sent yet */

enum pm_point {
#define PM_POINT_X(name) PM_POINT_##name,
    PM_POINT_TABLE(PM_POINT_X)
#undef PM_POINT_X
        PM_POINT_COUNT
};

#ifdef POMAI_TEST_HOOKS
extern void (*pm_point_hook)(enum pm_point point); /* NULL: no hook; set before the database is opened */
/* A function: its branch is not one of the code that it is called from (./dev coverage). */
static inline void pm_point_reached(enum pm_point point)
{
    if (pm_point_hook != 0) pm_point_hook(point);
}
#define PM_POINT(name) pm_point_reached(PM_POINT_##name)
#else
#define PM_POINT(name) ((void)0)
#endif

#endif
