/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated machine with a database on it, clients that write to it, and a dumb model of what must be there. Rows are
 * tagged (gen.h), so that every row that comes back says which operation wrote it.
 *
 * A client owns its keys: nobody else writes them, so that the order of its own operations is the order of every row's
 * versions. An operation that is not sure to last (not acknowledged yet, of unknown outcome, or acknowledged below
 * `sync`) is open. After a crash some of the open ones are there: in each shard a prefix of them, and an operation over
 * several shards only if all its parts are. The model tries every such outcome; if none explains what is there, the
 * engine is wrong.
 */
#ifndef T_WORLD_H
#define T_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "os/sim/os_sim.h"
#include "pomai/pomai.h"
#include "support/rng.h"

enum {
    W_CLIENTS = 5,
    W_KEYS = 64, /* of a client in a collection; a bit each */
    W_OPS = 6000,
    W_OPEN = 14, /* operations of one client that may be open at once */
    W_SHARDS = 8,
    W_FEW_SHARDS = 4, /* with many open operations: every length of every log is tried */
    W_TEMPS = 40,
    W_DERIVED = 8, /* one world in so many */
    W_DERIVED_ROWS = 24,
    W_DIM_USUAL = 64,
    W_DIM_MOST = 320, /* a batch may need a log file larger than the others */
};

enum { W_DEFAULT, W_STRINGS, W_ASSIGNED, W_COLLS };

typedef enum w_state {
    W_NONE,
    W_IN_FLIGHT, /* under way, or of unknown outcome */
    W_ACKED,     /* acknowledged below `sync`: survives kill -9 */
    W_SURE,
    W_DEAD, /* refused, or found missing after a crash: never to be seen (again) */
} w_state;

/* When the rows of an operation expire. */
enum { W_STAYS, W_FAR /* not in these centuries */, W_NEAR /* may have, or not yet */, W_PAST /* before they came */ };

struct w_op {
    uint8_t client, coll, state, level;
    uint8_t expiry; /* W_STAYS and so on, of all its rows */
    bool is_delete;
    bool gone;      /* its rows were found expired, in this opening */
    bool shown;     /* a reader saw a row of it */
    bool refusable; /* calls may fail meanwhile: the shard may have refused it, and nobody has asked yet */
    bool refused;   /* in the outcome that is being tried */
    bool guessed;   /* a crash may have lost it, and what was found tells only that it may be there */
    uint8_t rows;   /* of W_ASSIGNED */
    uint8_t shards; /* a bit each: where its parts go; of W_ASSIGNED once the ids are known */
    uint64_t keys;  /* a bit each */
    uint64_t first_id;
    uint64_t expiry_ns;
    uint64_t acked_at;
    bool id_known;
};

struct w_client {
    uint32_t sure[2][W_KEYS]; /* the operation that wrote the version that is sure; 0: none */
    uint64_t undead[2];       /* a bit a key: of none, but one that had expired may not have been deleted */
    uint32_t open[W_OPEN];    /* operations in order */
    uint32_t open_count;
};

/* Collections that come and go; a name is used once. */
enum { W_TEMP_ABSENT, W_TEMP_MAKING, W_TEMP_THERE, W_TEMP_DROPPING, W_TEMP_GONE };

/* What the engine must have; plain data, so that it can be kept and brought back. */
struct w_model {
    struct w_client client[W_CLIENTS];
    uint32_t ops;
    uint8_t made[W_COLLS]; /* W_TEMP_ state of the fixed collections */
    uint8_t temp[W_TEMPS];
    uint32_t temps;
    uint32_t anchors;
    struct w_op op[W_OPS]; /* op 0 is none; last, so that only what is used need be copied */
};

struct w_config {
    uint32_t clients, shards, ops; /* ops: of each client in a generation */
    uint32_t preempt;              /* pm_sim_set_preemption */
    uint32_t cores;
    uint32_t mailbox;
    uint32_t group_ms;
    bool strict_mark;
    bool low_levels;   /* use group and os */
    bool async;        /* several puts of a client under way */
    bool temps;        /* make and drop collections */
    bool uniform;      /* one row a write, no documents: records of one size, which fit each other's place */
    bool paced;        /* writes follow each other so that no log falls idle, on a machine that is never late */
    bool no_allocate;  /* files cannot be allocated ahead */
    bool mistakes;     /* send what must be refused */
    uint32_t maintain; /* in a hundred steps: those that flush, compact, freeze or read what they left */
    uint64_t flush_bytes, log_bytes, freeze_rows, segment_bytes, compact_rate, wal_file_bytes; /* 0: as it is usual */
    uint32_t expiry; /* rows with one: 0: none, 1: W_FAR and W_PAST, 2: W_NEAR, too */
    uint32_t dim[W_COLLS];
    pomai_dtype dtype[W_COLLS]; /* 0: float32 */
    uint32_t cluster;           /* a bit for each that is clustered by "n" */
    uint32_t index;             /* two bits for each: its pomai_index_kind */
    uint64_t capacity;          /* of the disk; 0: endless */
};

struct w_slot { /* a batch under way, with its memory */
    float *vectors;
    uint64_t ids[W_KEYS], expiry[W_KEYS];
    pomai_bytes string_ids[W_KEYS], documents[W_KEYS];
    char names[W_KEYS][16];
    uint8_t *document_bytes;
    pomai_ticket *ticket;
    uint32_t op;
};

enum { W_SLOTS = 3 };

/* A snapshot that a client has open, and what it must go on showing. */
enum { W_UNREAD = UINT32_MAX };
struct w_pin {
    pomai_snapshot *snapshot;
    pomai_scan *scan;                    /* NULL: none is open; */
    int scanned;                         /* its collection */
    struct w_client own;                 /* as it was then */
    uint32_t ops;                        /* begun before */
    uint32_t seen[2][W_CLIENTS][W_KEYS]; /* W_UNREAD, or the operation that was found */
    uint64_t digest[2];
    bool has_digest;
};

enum { W_CLOSE_DRAWN, W_CLOSE_FLUSHES, W_CLOSE_KEEPS /* the log */ };

struct world {
    pm_sim *sim;
    uint64_t seed;
    struct t_rng rng;
    struct w_config config;
    struct w_model *model;
    struct w_slot slot[W_CLIENTS][W_SLOTS];
    struct w_pin pin[W_CLIENTS];
    uint32_t bounded[W_CLIENTS][2][W_KEYS]; /* the newest own version that a bounded read found, in this opening */
    uint64_t digest[2];                     /* when it was closed, */
    bool has_digest;                        /* and nothing was lost since */
    bool clock_kept;                        /* the last close wrote down how late it was */
    /* the generation */
    pomai_db *db;
    pomai_collection *coll[W_COLLS];
    bool faults;         /* calls may fail in this generation */
    bool no_more_faults; /* than the one that was set */
    bool stopped;        /* the database said that it stopped */
    bool decided;        /* everything was read after this opening, and the model knows what is there */
    bool may_lose;       /* since the last good open: what was not synced may be gone */
    bool close;          /* at the end; else the process just ends */
    int close_how;       /* W_CLOSE_ */
    bool flush_at_close;
    bool tidy; /* everything was compacted before the close */
    bool look; /* first open read-only: it must find what the writer finds, and change nothing */
    /* Let this much time pass before the end, so that the logs fall idle. */
    uint64_t rest_ns;
    pomai_status opened, closed;
    uint64_t acked, refused; /* operations, for the counts of a run */
    /* the first thing found wrong */
    bool failed;
    char what[600];
};

/* A configuration drawn from the seed. */
struct w_config w_draw_config(uint64_t seed);
pomai_dtype w_draw_dtype(struct t_rng *rng);
pomai_dtype w_dtype(const struct world *w, int coll);
struct world *w_make(uint64_t seed, const struct w_config *config);
void w_free(struct world *w);
void w_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One generation: opens, checks everything, lets the clients run (if `clients`), checks again, closes (if w->close).
 * False: it did not end by itself (the machine was stopped, as pm_sim_crash_in said). A failure is in w->failed. */
bool w_run(struct world *w, bool clients);
/* After a generation that was cut off, or whose process just ended: the process is gone, and so is the power or not. */
void w_process_gone(struct world *w);
void w_power_gone(struct world *w, pm_choices *choices, bool tear);
/* A generation that only opens, checks, closes; on an image that was put into the machine. */
bool w_check(struct world *w);

struct w_model *w_model_copy(const struct w_model *model);
void w_model_restore(struct w_model *model, const struct w_model *copy);

/* ---- the disk as it was before each of its changes ---- */

struct w_snap {
    pm_disk *disk;
    struct w_model *model;
};

struct w_snaps {
    struct world *w;
    struct w_snap *snap;
    uint32_t count, room;
    uint64_t changes; /* seen; of more than `most` a random choice is kept */
    uint32_t most;
    struct t_rng rng;
};

/* From now on, until w_snaps_stop. */
void w_snaps_start(struct w_snaps *s, struct world *w, uint32_t most);
void w_snaps_stop(struct w_snaps *s);
void w_snaps_free(struct w_snaps *s);
/* Puts a disk (taken over) into the machine, with the model of a snapshot; what was not synced may be gone. */
void w_put_back(struct world *w, pm_disk *disk, const struct w_model *model);

/* ---- between the files of the world ---- */

const char *w_coll_name(int coll);
uint64_t w_id(uint32_t client, uint32_t key);
void w_string_id(uint32_t client, uint32_t key, char text[16]);
/* Which shards a set of keys is in. */
uint8_t w_shards_of(const struct world *w, int coll, uint32_t client, uint64_t keys);
uint8_t w_shards_of_range(const struct world *w, uint64_t first_id, uint32_t rows);
/* Registers an operation before it is sent. */
uint32_t w_begin_op(struct world *w, uint32_t client, int coll, bool is_delete, uint64_t keys, uint32_t rows,
                    pomai_durability level);
void w_end_op(struct world *w, uint32_t op, pomai_status status, const pomai_ack *ack, const pomai_error *err);
/* What was acknowledged at level `group` long enough ago is sure; before the power goes. */
void w_group_due(struct world *w);
/* Long and short names, so that a catalogue may get smaller as well as larger. */
enum { W_TEMP_NAME = 64 };
void w_temp_name(uint32_t temp, char name[W_TEMP_NAME]);
/* How many of the client's keys a delete must find, at least and at most. */
void w_rows_there(const struct world *w, uint32_t op, uint64_t *least, uint64_t *most);
/* pomai_sync returned: what the client had acknowledged before is sure. */
void w_synced(struct world *w, uint32_t client, uint32_t acked_before);
/* The same of one operation. */
void w_op_sure(struct world *w, uint32_t client, uint32_t op);
/* A row that a reader saw; false if it cannot be there. */
bool w_row_possible(struct world *w, int coll, uint64_t id, pomai_bytes string_id, const float *vector, uint32_t dim,
                    pomai_bytes document, uint32_t *op, uint32_t *key);
/* Everything, exactly; no client runs. first: after an open, when open operations are decided by what is there. False:
 * a fault that was asked for kept it from reading all. */
bool w_check_all(struct world *w, bool first);
/* Puts an id near the end of a block, so that assigned ids, and committed blocks, soon go on in another shard. */
void w_anchor(struct world *w);
/* A disk that others use, too: its room changes. */
void w_draw_room(struct world *w, struct t_rng *rng);
void w_client_run(struct world *w, uint32_t client);
/* What a client may see of its own key now, or when its operations were these. */
bool w_may_see(const struct world *w, const struct w_client *c, int coll, uint32_t key, uint32_t op);
/* A row that is not a snapshot's; false if it had expired. */
bool w_row_fresh(struct world *w, uint32_t op);
/* The client's own key was not found: rows that may have expired have. */
void w_row_absent(struct world *w, uint32_t client, int coll, uint32_t key);
/* One step of maintenance, or of reading what it left. No operation of the client is under way. */
void w_maintain(struct world *w, uint32_t client, struct t_rng *rng);
/* What an opening recovered counts as frozen. */
void w_recovered(struct world *w);
/* Where faults are allowed: one that meets the catalogue. */
void w_aim_fault(struct world *w, struct t_rng *rng, uint64_t within);
void w_unpin(struct world *w, uint32_t client);
bool w_may_fail(const struct world *w);
/* After a clean close: nothing is left over, and not too much is there. */
void w_check_disk(struct world *w);
/* The catalogue that CURRENT names, if it is whole, has its copy: at any moment, and after any power loss. */
void w_check_copy(struct world *w);
/* Checks every file, as a tool would. What opens must be found good. */
pomai_status w_verify(struct world *w, pomai_error *err);

#endif
