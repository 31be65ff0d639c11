/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other processes and the system do to a database: locks, paths that are something else, permissions, a full disk.
 * A child process reports by its exit status: 0, or the line of the check that failed. This process forks only while it
 * has no database open, so while it has one thread.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "../support/scenario.h"

/* ---- child processes ---- */

enum { SKIPPED = 77 };

/* In a child: ends it, saying where. */
#define CHILD_CHECK(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true in the child: %s\n", __FILE__, __LINE__, #condition);                     \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

#define CHILD_OK(call)                                                                                                 \
    do {                                                                                                               \
        pomai_status got_ = (call);                                                                                    \
        if (got_ != POMAI_OK) {                                                                                        \
            fprintf(stderr, "%s:%d: in the child: %s: %s: %s\n", __FILE__, __LINE__, #call, pomai_status_name(got_),   \
                    err.message);                                                                                      \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static pid_t fork_child(void)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static int wait_child(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* A process that opens the database, writes a byte into `ready`, and keeps it open until it is killed. */
static pid_t start_holder(const struct box *box, uint32_t flags)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.flags = flags;
        pomai_db *db;
        pomai_error err;
        CHILD_OK(pomai_open(box->db, &options, &db, &err));
        CHILD_CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void kill_holder(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(wait_child(pid), -SIGKILL);
}

static pomai_status try_open(const char *path, uint32_t flags, pomai_error *err)
{
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.flags = flags;
    pomai_db *db = NULL;
    memset(err, 0, sizeof *err);
    pomai_status status = pomai_open(path, &options, &db, err);
    if (status == POMAI_OK) {
        close_db(db);
    } else {
        assert_null(db);
    }
    return status;
}

static void assert_open_refused(const char *path, uint32_t flags, pomai_status wanted, const char *needle)
{
    pomai_error err;
    pomai_status status = try_open(path, flags, &err);
    refused_as(status, wanted, &err, needle, path, __LINE__);
}

static void make_db(const struct box *box)
{
    pomai_db *db = open_db(box, NULL);
    put_rows(pomai_default(db), 1, 10, 4);
    close_db(db);
}

/* ---- locks ---- */

static void test_second_writer_is_told_who_has_it(void **state)
{
    struct box *box = *state;
    pomai_error err;
    make_db(box);
    pid_t holder = start_holder(box, 0);
    char pid[32];
    snprintf(pid, sizeof pid, "%ld", (long)holder);
    assert_open_refused(box->db, 0, POMAI_ELOCKED, pid);
    assert_open_refused(box->db, POMAI_OPEN_READONLY, POMAI_ELOCKED, pid);
    assert_open_refused(box->db, 0, POMAI_ELOCKED, "open for writing in another process");
    kill_holder(holder);
    assert_int_equal(try_open(box->db, 0, &err), POMAI_OK); /* the lock went with its holder */
}

static void test_same_process_twice(void **state)
{
    struct box *box = *state;
    pomai_db *db = open_db(box, NULL);
    assert_open_refused(box->db, 0, POMAI_ELOCKED, NULL);
    put_rows(pomai_default(db), 1, 3, 4); /* the refusal did not drop the first one's lock */
    assert_open_refused(box->db, POMAI_OPEN_READONLY, POMAI_ELOCKED, NULL);
    close_db(db);
}

static void test_many_readers(void **state)
{
    struct box *box = *state;
    pomai_error err;
    make_db(box);
    pid_t a = start_holder(box, POMAI_OPEN_READONLY), b = start_holder(box, POMAI_OPEN_READONLY);
    assert_int_equal(try_open(box->db, POMAI_OPEN_READONLY, &err), POMAI_OK);
    assert_open_refused(box->db, 0, POMAI_ELOCKED,
                        "is open read-only"); /* LOCK has the name of a writer that is gone */
    kill_holder(a);
    assert_open_refused(box->db, 0, POMAI_ELOCKED, "is open read-only");
    kill_holder(b);
    assert_int_equal(try_open(box->db, 0, &err), POMAI_OK);
}

/* A child that was forked while the database was open, and lives on, holds no lock once the database is closed. */
static void test_forked_child_keeps_no_lock(void **state)
{
    struct box *box = *state;
    pid_t pid = fork_child();
    if (pid == 0) {
        pomai_error err;
        pomai_db *db;
        CHILD_OK(pomai_open(box->db, NULL, &db, &err));
        pid_t child = fork();
        CHILD_CHECK(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        CHILD_OK(pomai_close(db, &err));
        pomai_status status = pomai_open(box->db, NULL, &db, &err);
        kill(child, SIGKILL);
        CHILD_CHECK(waitpid(child, NULL, 0) == child);
        CHILD_OK(status);
        CHILD_OK(pomai_close(db, &err));
        _exit(0);
    }
    assert_int_equal(wait_child(pid), 0);
}

/* ---- paths ---- */

static void test_paths(void **state)
{
    struct box *box = *state;
    pomai_error err;
    char path[T_PATH_MAX];
    pomai_db *db;
    t_join(path, box->dir, "file");
    t_write_file(path, "hello", 5);
    assert_open_refused(path, 0, POMAI_ENOTDB, path);
    assert_open_refused(path, POMAI_OPEN_READONLY, POMAI_ENOTDB, path);
    t_join(path, box->dir, "file/below");
    assert_open_refused(path, 0, POMAI_ENOTDB, path);
    t_join(path, box->dir, "no/parent");
    assert_open_refused(path, 0, POMAI_ENOTFOUND, path);
    t_join(path, box->dir, "missing");
    assert_open_refused(path, POMAI_OPEN_EXISTING, POMAI_ENOTFOUND, path);
    assert_open_refused(path, POMAI_OPEN_READONLY, POMAI_ENOTFOUND, path);
    assert_int_equal(access(path, F_OK), -1); /* and nothing was made */
    assert_open_refused("", 0, POMAI_EINVAL, NULL);
    assert_refused(pomai_open(NULL, NULL, &db, &err), POMAI_EINVAL, NULL);
    assert_refused(pomai_open(box->db, NULL, NULL, &err), POMAI_EINVAL, NULL);

    /* A directory of something else is left as it is. */
    t_join(path, box->dir, "other");
    assert_int_equal(mkdir(path, 0700), 0);
    char inside[T_PATH_MAX];
    t_join(inside, path, "thesis.txt");
    t_write_file(inside, "precious", 8);
    assert_open_refused(path, 0, POMAI_ENOTDB, path);
    assert_open_refused(path, POMAI_OPEN_READONLY, POMAI_ENOTDB, path);
    size_t size;
    uint8_t *bytes = t_read_file(inside, &size);
    assert_memory_equal(bytes, "precious", 8);
    free(bytes);
    assert_int_equal(remove(inside), 0);
    assert_int_equal(rmdir(path), 0); /* nothing was put beside it */

    /* An empty directory becomes a database, except read-only. */
    t_join(path, box->dir, "empty");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_open_refused(path, POMAI_OPEN_READONLY, POMAI_ENOTFOUND, path);
    assert_open_refused(path, POMAI_OPEN_EXISTING, POMAI_ENOTFOUND, path);
    assert_int_equal(try_open(path, 0, &err), POMAI_OK);
    assert_int_equal(try_open(path, POMAI_OPEN_EXISTING, &err), POMAI_OK);
}

static void test_odd_paths(void **state)
{
    struct box *box = *state;
    pomai_error err;
    char path[T_PATH_MAX];
    make_db(box);
    assert_true(snprintf(path, sizeof path, "%s//", box->db) < T_PATH_MAX);
    assert_int_equal(try_open(path, POMAI_OPEN_EXISTING, &err), POMAI_OK);
    t_join(path, box->dir, "link");
    assert_int_equal(symlink(box->db, path), 0);
    assert_int_equal(try_open(path, POMAI_OPEN_EXISTING, &err), POMAI_OK);
    t_join(path, box->dir, "dangling");
    assert_int_equal(symlink("/nowhere/at/all", path), 0);
    assert_true(try_open(path, 0, &err) != POMAI_OK && strlen(err.message) > 10);
    t_join(path, box->dir, "new/");
    assert_int_equal(try_open(path, 0, &err), POMAI_OK);
    char *long_path = malloc(9000);
    memset(long_path, 'x', 8999);
    long_path[8999] = '\0';
    assert_open_refused(long_path, 0, POMAI_ETOOBIG, NULL);
    for (unsigned i = 100; i < 8999; i += 100)
        long_path[i] = '/'; /* every name is short enough, the whole is not */
    assert_open_refused(long_path, 0, POMAI_ETOOBIG, NULL);
    free(long_path);
}

/* The program may change its directory while a database is open that it opened by a relative path. */
/* Removing the file LOCK, as people do with locks that they take for stale, lets nobody in. */
static void test_lock_file_removed(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_db *db, *other = NULL;
    char lock[T_PATH_MAX];
    assert_ok(pomai_open(box->db, NULL, &db, &err));
    t_join(lock, box->db, "LOCK");
    assert_int_equal(remove(lock), 0);
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    for (int i = 0; i < 2; i++) {
        options.flags = i == 0 ? 0 : POMAI_OPEN_READONLY;
        assert_int_equal(pomai_open(box->db, &options, &other, &err), POMAI_ELOCKED);
        assert_null(other);
    }
    close_db(db);
    assert_ok(pomai_open(box->db, NULL, &db, &err));
    close_db(db);
}

static void test_relative_path(void **state)
{
    struct box *box = *state;
    char elsewhere[T_PATH_MAX], trap[T_PATH_MAX];
    t_join(elsewhere, box->dir, "elsewhere");
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    t_join(trap, elsewhere, "db");
    pid_t pid = fork_child();
    if (pid == 0) {
        pomai_error err;
        pomai_db *db;
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.shards = 1;
        options.wal_file_bytes = 65536;
        CHILD_CHECK(chdir(elsewhere) == 0); /* another database lies at the same relative path */
        CHILD_OK(pomai_open("db", &options, &db, &err));
        CHILD_OK(pomai_close(db, &err));
        CHILD_CHECK(chdir(box->dir) == 0);
        CHILD_OK(pomai_open("db", &options, &db, &err));
        CHILD_OK(try_put(pomai_default(db), 0, 10, 64, &err));
        CHILD_CHECK(chdir(elsewhere) == 0);
        for (uint64_t i = 1; i < 60; i++)
            CHILD_OK(try_put(pomai_default(db), i * 10, 10, 64, &err)); /* several files */
        pomai_collection_options small = POMAI_COLLECTION_OPTIONS_INIT;
        pomai_collection *collection;
        small.dim = 4;
        CHILD_OK(pomai_collection_create(db, "later", &small, &collection, &err));
        pomai_collection_close(collection);
        CHILD_OK(pomai_close(db, &err));
        _exit(0);
    }
    assert_int_equal(wait_child(pid), 0);
    pomai_db *db = open_db(box, NULL);
    assert_int_equal(count_rows(pomai_default(db)), 600);
    close_db(db);
    pomai_error err;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    assert_ok(pomai_open(trap, &options, &db, &err));
    assert_int_equal(count_rows(pomai_default(db)), 0);
    close_db(db);
}

static void test_open_options(void **state)
{
    struct box *box = *state;
    pomai_error err;
    pomai_db *db;
    pomai_open_options good = POMAI_OPEN_OPTIONS_INIT, options = good;
    options.shards = 257;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_EINVAL, "257");
    options = good;
    options.mailbox_slots = 3;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_EINVAL, "3");
    options = good;
    options.wal_file_bytes = 65535;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_EINVAL, "65535");
    options = good;
    options.struct_size = 5;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_EINVAL, NULL);
    options = good;
    options.flags = 1u << 30;
    assert_refused(pomai_open(box->db, &options, &db, &err), POMAI_EINVAL, NULL);
    assert_int_equal(access(box->db, F_OK), -1);
    /* 256 shards work, and the number is the database's from then on. */
    options = good;
    options.shards = 256;
    options.wal_file_bytes = 65536;
    db = open_db(box, &options);
    pomai_collection *coll = create(db, "c", 2, POMAI_METRIC_L2, POMAI_ID_U64);
    for (uint64_t i = 0; i < 40; i++)
        put_rows(coll, i << 32, 2, 2);
    pomai_collection_close(coll);
    close_db(db);
    options.shards = 2;
    db = open_db(box, &options);
    assert_ok(pomai_collection_open(db, "c", &coll, &err));
    assert_int_equal(count_rows(coll), 80);
    pomai_collection_close(coll);
    close_db(db);
}

/* ---- permissions ---- */

static void become_nobody(void)
{
    if (getuid() == 0) CHILD_CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
}

static void test_read_only_directory(void **state)
{
    struct box *box = *state;
    pomai_error err;
    assert_int_equal(chmod(box->dir, 0555), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        become_nobody();
        pomai_db *db;
        pomai_status status = pomai_open(box->db, NULL, &db, &err);
        CHILD_CHECK(status == POMAI_EACCESS && strstr(err.message, box->db) != NULL);
        _exit(0);
    }
    assert_int_equal(wait_child(pid), 0);
    assert_int_equal(chmod(box->dir, 0755), 0);
}

static int open_to_all(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)where;
    return chmod(path, kind == FTW_D ? 0555 : 0444);
}

static int make_mine(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)where;
    return chmod(path, kind == FTW_D ? 0700 : 0600);
}

/* A database that one may read but not write opens read-only, and only so. */
static void test_database_of_another_user(void **state)
{
    struct box *box = *state;
    make_db(box);
    assert_int_equal(chmod(box->dir, 0755), 0);
    assert_int_equal(nftw(box->db, open_to_all, 16, FTW_PHYS), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        become_nobody();
        pomai_error err;
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        pomai_db *db;
        CHILD_CHECK(pomai_open(box->db, &options, &db, &err) == POMAI_EACCESS && strlen(err.message) > 0);
        options.flags = POMAI_OPEN_READONLY;
        CHILD_OK(pomai_open(box->db, &options, &db, &err));
        pomai_collection_info info;
        CHILD_OK(pomai_collection_get_info(pomai_default(db), &info, &err));
        CHILD_CHECK(info.rows == 10);
        CHILD_OK(pomai_close(db, &err));
        _exit(0);
    }
    assert_int_equal(wait_child(pid), 0);
    assert_int_equal(nftw(box->db, make_mine, 16, FTW_PHYS), 0);
    if (getuid() != 0) return;
    pid = fork_child();
    if (pid == 0) { /* and one that one may not read, not at all */
        become_nobody();
        pomai_error err;
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        pomai_db *db;
        options.flags = POMAI_OPEN_READONLY;
        CHILD_CHECK(pomai_open(box->db, &options, &db, &err) == POMAI_EACCESS);
        char *json = NULL;
        CHILD_CHECK(pomai_verify_path(box->db, NULL, NULL, &json, &err) == POMAI_EACCESS);
        _exit(0);
    }
    assert_int_equal(wait_child(pid), 0);
}

/* ---- a full disk ---- */

static uint64_t child_count(pomai_collection *coll)
{
    pomai_collection_info info;
    return pomai_collection_get_info(coll, &info, NULL) == POMAI_OK ? info.rows : UINT64_MAX;
}

static void child_fill_disk(const struct box *box)
{
    enum { DIM = 64, ROWS = 100 };
    pomai_error err;
    pomai_ack ack;
    pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
    options.shards = 2;
    options.wal_file_bytes = 65536;
    pomai_db *db;
    char ballast[T_PATH_MAX];
    static uint8_t filler[512 << 10];
    CHILD_OK(pomai_open(box->db, &options, &db, &err));
    t_join(ballast, box->db, "../ballast");
    t_write_file(ballast, filler, sizeof filler);

    pomai_collection *coll = pomai_default(db);
    uint64_t acked = 0;
    pomai_status status = POMAI_OK;
    for (unsigned i = 0; i < 2000 && status == POMAI_OK; i++) {
        status = try_put(coll, (uint64_t)i * 4096, ROWS, DIM, &err);
        acked += status == POMAI_OK ? ROWS : 0;
    }
    CHILD_CHECK(status == POMAI_ENOSPC && strlen(err.message) > 0);
    CHILD_CHECK(acked > 0 && child_count(coll) == acked);
    CHILD_CHECK(try_put(coll, 1u << 30, ROWS, DIM, &err) == POMAI_ENOSPC); /* still */
    CHILD_CHECK(child_count(coll) == acked);
    float query[DIM] = {0};
    pomai_result *result;
    CHILD_OK(pomai_search(coll, query, 1, DIM, 10, NULL, &result, &err)); /* reads go on */
    CHILD_CHECK(pomai_result_count(result, 0) == 10);
    pomai_result_free(result);
    CHILD_CHECK(remove(ballast) == 0); /* room again: writing goes on without reopening */
    CHILD_OK(try_put(coll, 1u << 30, ROWS, DIM, &err));
    acked += ROWS;
    uint64_t dead = 1;
    pomai_ids list = {1, &dead, NULL};
    CHILD_OK(pomai_delete(coll, &list, NULL, &ack, &err));
    acked -= ack.rows;
    CHILD_CHECK(child_count(coll) == acked);
    CHILD_OK(pomai_close(db, &err));
    CHILD_OK(pomai_open(box->db, &options, &db, &err));
    CHILD_CHECK(child_count(pomai_default(db)) == acked);
    CHILD_OK(pomai_close(db, &err));
    char *json = NULL;
    CHILD_OK(pomai_verify_path(box->db, NULL, NULL, &json, &err));
    _exit(0);
}

static void test_full_disk(void **state)
{
    struct box *box = *state;
    pid_t pid = fork_child();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", box->dir, "tmpfs", 0, "size=2m") != 0)
            _exit(SKIPPED);
        child_fill_disk(box);
    }
    int status = wait_child(pid);
    if (status == SKIPPED) {
        print_message("skipped: a small file system cannot be mounted here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* No room even for a new database: said so, and opening works once there is room. */
static void test_full_disk_at_creation(void **state)
{
    struct box *box = *state;
    pid_t pid = fork_child();
    if (pid == 0) {
        pomai_error err;
        pomai_db *db;
        char ballast[T_PATH_MAX];
        static uint8_t filler[1 << 20];
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", box->dir, "tmpfs", 0, "size=1m") != 0)
            _exit(SKIPPED);
        t_join(ballast, box->dir, "ballast");
        for (size_t free_bytes = 0; free_bytes <= 64 << 10; free_bytes += 4096) {
            t_write_file(ballast, filler, sizeof filler - free_bytes);
            pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
            options.shards = 2;
            options.wal_file_bytes = 65536;
            pomai_status status = pomai_open(box->db, &options, &db, &err);
            if (status == POMAI_OK) {
                status = try_put(pomai_default(db), 1, 3, 4, &err);
                CHILD_CHECK(status == POMAI_OK || status == POMAI_ENOSPC);
                bool put = status == POMAI_OK;
                status = pomai_close(db, &err);
                CHILD_CHECK(status == POMAI_OK || status == POMAI_ENOSPC);
                CHILD_CHECK(remove(ballast) == 0);
                CHILD_OK(pomai_open(box->db, &options, &db, &err));
                CHILD_CHECK(child_count(pomai_default(db)) == (put ? 3 : 0));
            } else {
                CHILD_CHECK(status == POMAI_ENOSPC && strlen(err.message) > 0);
                CHILD_CHECK(remove(ballast) == 0);
                CHILD_OK(pomai_open(box->db, &options, &db, &err));
                CHILD_CHECK(child_count(pomai_default(db)) == 0);
            }
            CHILD_OK(pomai_close(db, &err));
            t_remove(box->db);
        }
        _exit(0);
    }
    int status = wait_child(pid);
    if (status == SKIPPED) {
        print_message("skipped: a small file system cannot be mounted here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* ---- the process around the library ---- */

static void on_tick(int signal_number)
{
    (void)signal_number;
}

/* Signals that interrupt every system call and every sleep, in whatever thread, change nothing. */
static void test_signals(void **state)
{
    struct box *box = *state;
    pid_t pid = fork_child();
    if (pid == 0) {
        pomai_error err;
        pomai_db *db;
        struct sigaction action = {.sa_handler = on_tick}; /* without SA_RESTART */
        struct itimerval timer = {{0, 300}, {0, 300}};
        CHILD_CHECK(sigaction(SIGALRM, &action, NULL) == 0);
        pomai_open_options options = POMAI_OPEN_OPTIONS_INIT;
        options.wal_file_bytes = 65536;
        options.mailbox_slots = 1;
        CHILD_CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
        CHILD_OK(pomai_open(box->db, &options, &db, &err));
        for (uint64_t i = 0; i < 200; i++) {
            CHILD_OK(try_put(pomai_default(db), i * 5000, 20, 16, &err));
            float query[16] = {1};
            pomai_result *result;
            CHILD_OK(pomai_search(pomai_default(db), query, 1, 16, 5, NULL, &result, &err));
            pomai_result_free(result);
        }
        CHILD_OK(pomai_sync(db, &err));
        CHILD_OK(pomai_close(db, &err));
        CHILD_OK(pomai_open(box->db, &options, &db, &err));
        pomai_collection_info info;
        CHILD_OK(pomai_collection_get_info(pomai_default(db), &info, &err));
        CHILD_CHECK(info.rows == 4000);
        CHILD_OK(pomai_close(db, &err));
        _exit(0);
    }
    assert_int_equal(wait_child(pid), 0);
}

static unsigned count_entries(const char *path)
{
    unsigned n = 0;
    DIR *dir = opendir(path);
    CHILD_CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

/* A thread that was joined may be listed for a moment longer. */
static bool tasks_fall_to(unsigned wanted)
{
    for (unsigned tries = 0; tries < 500; tries++) {
        if (count_entries("/proc/self/task") <= wanted) return true;
        usleep(10000);
    }
    return false;
}

/* Whatever number of file descriptors the process has left: opened, or refused with a sentence; nothing leaks. */
static void test_few_file_descriptors(void **state)
{
    struct box *box = *state;
    make_db(box);
    pid_t pid = fork_child();
    if (pid == 0) {
        struct rlimit limit, before;
        pomai_error err = {0};
        pomai_db *db;
        CHILD_OK(pomai_open(box->db, NULL, &db, &err)); /* a sanitizer has a thread of its own from here on */
        CHILD_OK(pomai_close(db, &err));
        usleep(50000);
        unsigned tasks = count_entries("/proc/self/task");
        CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
        limit = before;
        unsigned opened = 0, refused = 0, files = count_entries("/proc/self/fd");
        for (unsigned n = 3; n < 40; n++) {
            limit.rlim_cur = n;
            CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
            pomai_status status = pomai_open(box->db, NULL, &db, &err);
            if (status == POMAI_OK) {
                pomai_status put = try_put(pomai_default(db), 1, 1, 4, &err);
                CHILD_CHECK(put == POMAI_OK || strlen(err.message) > 10);
                pomai_close(db, &err);
                opened++;
            } else {
                CHILD_CHECK(strlen(err.message) > 10 && status != POMAI_ECORRUPT && status != POMAI_ENOTDB);
                refused++;
            }
            CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
        }
        CHILD_CHECK(opened > 0 && refused > 0);
        CHILD_CHECK(count_entries("/proc/self/fd") == files);
        pomai_collection_info info;
        CHILD_OK(pomai_open(box->db, NULL, &db, &err));
        CHILD_OK(pomai_collection_get_info(pomai_default(db), &info, &err));
        CHILD_CHECK(info.rows == 10);
        CHILD_OK(pomai_close(db, &err));
        CHILD_CHECK(tasks_fall_to(tasks));
        _exit(0);
    }
    assert_int_equal(wait_child(pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOXED(test_second_writer_is_told_who_has_it),
        BOXED(test_same_process_twice),
        BOXED(test_many_readers),
        BOXED(test_forked_child_keeps_no_lock),
        BOXED(test_paths),
        BOXED(test_odd_paths),
        BOXED(test_lock_file_removed),
        BOXED(test_relative_path),
        BOXED(test_open_options),
        BOXED(test_read_only_directory),
        BOXED(test_database_of_another_user),
        BOXED(test_full_disk),
        BOXED(test_full_disk_at_creation),
        BOXED(test_signals),
        BOXED(test_few_file_descriptors),
    };
    return cmocka_run_group_tests_name("processes", tests, NULL, NULL);
}
