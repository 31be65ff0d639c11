/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plants one bug after the other (src/base/mutant.h) and requires that a test catches it: tests that let a bug pass
 * prove nothing. A test here is a twin of a program of tests/, named <directory>.<program>, linked with the engine that
 * has the bugs in it; the table may name one test of a program that takes long. First every twin runs without a bug and
 * must succeed (--quick: but those that take long).
 *
 * Caught is what ends with anything but 0, says that it FAILED, or hangs where the table says that this is a symptom.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mutant.h"
#include "support/args.h"
#include "support/tmp.h"

#ifdef MUTANTS_OF_THREADS
enum { OF_THREADS = 1, GRACE = 20 };
#else
enum { OF_THREADS = 0, GRACE = 10 };
#endif

enum { MOST_PROGRAMS = 64, MOST_JOBS = 16, NAME_SIZE = 96, SLOW_SECONDS = 30 };

static const struct mutant {
    const char *name, *kinds, *what;
} mutants[] = {
#define ENTRY_X(name, kinds, what) {#name, kinds, what},
    PM_MUTANT_TABLE(ENTRY_X)
#undef ENTRY_X
};

enum { MUTANTS = sizeof mutants / sizeof mutants[0] };

static struct options {
    struct t_args args;
    const char *only;
    bool list, quick;
    char bin[T_PATH_MAX]; /* where this program and the twins are */
    char dir[T_PATH_MAX];
} options;

static char programs[MOST_PROGRAMS][NAME_SIZE];
static double takes[MOST_PROGRAMS]; /* seconds, without a bug */
static unsigned program_count;

/* ---- who is to catch what ---- */

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; (p = strstr(p, word)) != NULL; p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0')) return true;
    return false;
}

/* A word of the table is a directory, or a program in it, or a program and one of its tests, <program>:<test>. */
static bool word_means(const char *word, size_t length, const char *program)
{
    const char *test = memchr(word, ':', length);
    if (test != NULL) length = (size_t)(test - word);
    if (length == 7 && strncmp(word, "threads", 7) == 0) return strncmp(program, "model.", 6) == 0;
    return strncmp(word, program, length) == 0 && (program[length] == '.' || program[length] == '\0');
}

/* The n-th program that is to catch it, in the order of the words; NULL: no more. */
static const char *catcher(const struct mutant *m, unsigned n)
{
    for (const char *word = m->kinds; *word != '\0';) {
        size_t length = strcspn(word, " ");
        for (unsigned i = 0; i < program_count; i++)
            if (word_means(word, length, programs[i]) && n-- == 0) return programs[i];
        word += length + (word[length] == ' ');
    }
    return NULL;
}

/* Words that nothing answers to must at least be known; a directory's programs may not be built everywhere. */
static void check_words(const struct mutant *m)
{
    static const char known[] = "crash model sim power fault double corrupt unit scenario api threads hang";
    for (const char *word = m->kinds; *word != '\0';) {
        char directory[NAME_SIZE];
        size_t length = strcspn(word, " ");
        bool found = false, others = false;
        snprintf(directory, sizeof directory, "%.*s", (int)strcspn(word, ". "), word);
        for (unsigned i = 0; i < program_count; i++) {
            found |= word_means(word, length, programs[i]);
            others |= word_means(directory, strlen(directory), programs[i]);
        }
        if (!has_word(known, directory) || (others && !found)) {
            fprintf(stderr, "mutants: %s: nobody is called %.*s\n", m->name, (int)length, word);
            exit(2);
        }
        word += length + (word[length] == ' ');
    }
}

static bool is_chosen(const struct mutant *m)
{
    if (options.only != NULL && strcmp(options.only, m->name) != 0) return false;
    return has_word(m->kinds, "threads") == OF_THREADS;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void find_programs(void)
{
    ssize_t n = readlink("/proc/self/exe", options.bin, sizeof options.bin - 1);
    if (n < 0) t_die("find", "this program");
    options.bin[n] = '\0';
    *strrchr(options.bin, '/') = '\0';
    DIR *dir = opendir(options.bin);
    if (dir == NULL) t_die("list", options.bin);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL && program_count < MOST_PROGRAMS;)
        if (entry->d_name[0] != '.' && strchr(entry->d_name, '.') != NULL && strlen(entry->d_name) < NAME_SIZE)
            strcpy(programs[program_count++], entry->d_name);
    closedir(dir);
    qsort(programs, program_count, NAME_SIZE, by_name);
}

/* ---- one run of a twin ---- */

struct run {
    pid_t pid; /* 0: none */
    double start, limit;
    int out;
    off_t read_to;
    bool hang_counts;
    uint64_t ticks; /* of the processor, and since when no more */
    double busy_at;
    char dir[T_PATH_MAX];
    char said[160]; /* the line in which it FAILED */
};

enum outcome { RUNNING, GOOD, CAUGHT, HANGS };

static bool is_soak(const char *program)
{
    return strstr(program, ".soak_") != NULL;
}

/* The test that is to catch it is all that runs. */
static const char *chosen_test(const struct mutant *m, const char *program)
{
    const char *word = strstr(m->kinds, program), *test = word != NULL ? word + strlen(program) : "";
    return *test == ':' ? test : NULL;
}

static void choose_test(const struct mutant *m, const char *program)
{
    const char *test = chosen_test(m, program);
    char name[NAME_SIZE];
    if (test == NULL) return;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(test + 1, " "), test + 1);
    setenv("POMAI_MUTANT_TEST", name, 1);
}

/* mutant NULL: without one. */
static void run_program(const struct run *r, const char *program, const struct mutant *mutant, double seconds)
{
    char path[T_PATH_MAX], for_seconds[32], seed[32];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    (void)personality(ADDR_NO_RANDOMIZE); /* upsets the sanitizers of older compilers on newer kernels */
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setenv("POMAI_MUTANT", mutant != NULL ? mutant->name : "", 1);
    if (mutant != NULL) choose_test(mutant, program);
    setenv("TMPDIR", r->dir, 1);
    setenv("TSAN_OPTIONS", "halt_on_error=1", 0);
    dup2(r->out, 1);
    dup2(r->out, 2);
    t_join(path, options.bin, program);
    snprintf(for_seconds, sizeof for_seconds, "%g", seconds);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)options.args.seed);
    if (strcmp(program, "scenario.test_build") == 0 || strcmp(program, "unit.test_quant") == 0)
        execl(path, path, "--share", "11", (char *)NULL); /* the others catch the same */
    else if (!is_soak(program))
        execl(path, path, (char *)NULL);
    else if (OF_THREADS)
        execl(path, path, "--seconds", for_seconds, "--seed", seed, "--threads", "4", (char *)NULL);
    else
        execl(path, path, "--seconds", for_seconds, "--seed", seed, (char *)NULL);
    _exit(127);
}

static void start(struct run *r, const char *program, const struct mutant *mutant, double seconds)
{
    char path[T_PATH_MAX];
    memset(r, 0, sizeof *r);
    t_tmp_make(r->dir, options.dir, "twin");
    (void)chmod(r->dir, 0755); /* a test becomes another user */
    t_join(path, r->dir, "out");
    r->out = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (r->out < 0) t_die("make", path);
    fflush(NULL);
    r->start = r->busy_at = t_now();
    r->limit = seconds + GRACE;
    r->pid = fork();
    if (r->pid < 0) t_die("fork for", program);
    if (r->pid == 0) run_program(r, program, mutant, seconds);
    setpgid(r->pid, r->pid); /* whoever is first */
}

static void stop(struct run *r)
{
    kill(-r->pid, SIGKILL);
    while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void finish(struct run *r)
{
    kill(-r->pid, SIGKILL); /* children that outlived it */
    close(r->out);
    t_remove(r->dir);
    r->pid = 0;
}

/* Looks for the word that a soak says before it goes on to look for more. */
static bool has_failed(struct run *r)
{
    char bytes[8192];
    ssize_t n = pread(r->out, bytes, sizeof bytes - 1, r->read_to);
    if (n <= 0) return false;
    bytes[n] = '\0';
    for (ssize_t i = 0; i < n; i++)
        if (bytes[i] == '\0') bytes[i] = ' ';
    const char *found = strstr(bytes, "FAILED");
    r->read_to += n > 16 ? n - 16 : 0; /* the word may be cut */
    if (found == NULL) return false;
    while (found > bytes && found[-1] != '\n')
        found--;
    snprintf(r->said, sizeof r->said, "%.*s", (int)strcspn(found, "\n"), found);
    return true;
}

/* A process that uses no processor for this long hangs; a busy disk does not take as long. */
static bool is_idle(struct run *r)
{
    char path[64], text[1024];
    unsigned long long user = 0, kernel = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)r->pid);
    FILE *f = fopen(path, "r");
    if (f == NULL) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *rest = strrchr(text, ')');
    if (rest != NULL) (void)sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel);
    if (user + kernel != r->ticks) {
        r->ticks = user + kernel;
        r->busy_at = t_now();
    }
    return t_now() - r->busy_at > 3;
}

static enum outcome look(struct run *r)
{
    int status;
    pid_t got = waitpid(r->pid, &status, WNOHANG);
    bool failed = has_failed(r);
    if (got == r->pid) return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? GOOD : CAUGHT;
    if (!failed && t_now() - r->start < r->limit && !(r->hang_counts && is_idle(r))) return RUNNING;
    stop(r);
    return failed ? CAUGHT : HANGS;
}

/* ---- the harness must be sound itself ---- */

static bool is_wanted(unsigned p)
{
    for (unsigned i = 0; i < MUTANTS; i++)
        for (unsigned n = 0; is_chosen(&mutants[i]) && catcher(&mutants[i], n) != NULL; n++)
            if (catcher(&mutants[i], n) == programs[p]) return true;
    return false;
}

/* That take many seconds, and are tests of their own: --quick takes their word that they succeed without a bug. */
static bool is_slow(const char *program)
{
    static const char slow[] =
        "scenario.test_build scenario.test_codes scenario.test_damage scenario.test_filter_search "
        "scenario.test_graph scenario.test_machine scenario.test_salvage unit.test_columns unit.test_flat "
        "unit.test_graph unit.test_quant unit.test_segment";
    return has_word(slow, program);
}

static bool has_succeeded(unsigned p, struct run *r, enum outcome outcome)
{
    takes[p] = t_now() - r->start;
    printf("%-30s %s without a bug, %.1f s\n", programs[p], outcome == GOOD ? "succeeds" : "FAILS", takes[p]);
    if (outcome != GOOD) printf("  %s\n", r->said);
    finish(r);
    return outcome == GOOD;
}

/* Every program that is to catch something succeeds when there is nothing to catch. */
static bool all_are_sound(void)
{
    const double seconds = options.args.seconds < 1 ? options.args.seconds : 1;
    struct run run[MOST_JOBS];
    unsigned of[MOST_JOBS], next = 0;
    int under_way = 0;
    bool busy[MOST_JOBS] = {false}, good = true;
    while (next < program_count || under_way > 0) {
        for (int j = 0; j < options.args.jobs && j < MOST_JOBS; j++) {
            while (!busy[j] && next < program_count && (!is_wanted(next) || (options.quick && is_slow(programs[next]))))
                takes[next++] = SLOW_SECONDS;
            if (!busy[j] && next < program_count) {
                of[j] = next++;
                start(&run[j], programs[of[j]], NULL, seconds);
                run[j].limit = 120; /* the tests that know no --seconds are not hurried */
                busy[j] = true;
                under_way++;
            }
            enum outcome outcome;
            if (!busy[j] || (outcome = look(&run[j])) == RUNNING) continue;
            good &= has_succeeded(of[j], &run[j], outcome);
            busy[j] = false;
            under_way--;
        }
        usleep(5000);
    }
    return good;
}

/* ---- all mutants ---- */

struct worker {
    const struct mutant *mutant; /* NULL: none */
    unsigned tried;
    double start;
    struct run run;
};

static unsigned cases, failures, waiting;

static void start_try(struct worker *w)
{
    const char *program = catcher(w->mutant, w->tried);
    start(&w->run, program, w->mutant, options.args.seconds);
    w->run.hang_counts = has_word(w->mutant->kinds, "hang");
    if (is_soak(program)) return;
    /* knows no --seconds */
    double usual = takes[(unsigned)(program - programs[0]) / NAME_SIZE];
    if (!w->run.hang_counts)
        w->run.limit = usual * 4 + GRACE;
    else /* one test is only a part of what was timed */
        w->run.limit = (chosen_test(w->mutant, program) != NULL ? usual : usual * 2) + 3;
}

static void begin_mutant(struct worker *w, const struct mutant *m)
{
    w->mutant = m;
    w->tried = 0;
    w->start = t_now();
    start_try(w);
}

/* Moves on after a run of a twin; false: the mutant is done with. */
static bool next_run(struct worker *w, enum outcome outcome)
{
    const struct mutant *m = w->mutant;
    const char *program = catcher(m, w->tried);
    bool caught = outcome == CAUGHT || (outcome == HANGS && w->run.hang_counts);
    bool hung = outcome == HANGS;
    char said[sizeof w->run.said];
    memcpy(said, w->run.said, sizeof said);
    finish(&w->run);
    if (caught) {
        printf("%-30s caught by %s%s, %.1f s\n", m->name, program, hung ? " (hangs)" : "", t_now() - w->start);
        if (options.args.verbose && said[0] != '\0') printf("  %s\n", said);
        return false;
    }
    if (catcher(m, ++w->tried) != NULL) {
        start_try(w);
        return true;
    }
    printf("%-30s SURVIVED %s%s, %.1f s: %s\n", m->name, m->kinds, hung ? " (hangs)" : "", t_now() - w->start, m->what);
    failures++;
    return false;
}

/* The next one that somebody in this build can catch. */
static const struct mutant *take_mutant(unsigned *at)
{
    while (*at < MUTANTS && (options.args.cases == 0 || cases < options.args.cases)) {
        const struct mutant *m = &mutants[(*at)++];
        if (!is_chosen(m)) continue;
        if (catcher(m, 0) == NULL) {
            printf("%-30s waits for a test: %s\n", m->name, m->kinds);
            waiting++;
            continue;
        }
        cases++;
        return m;
    }
    return NULL;
}

static void run_mutants(void)
{
    struct worker workers[MOST_JOBS] = {0};
    unsigned at = 0, busy;
    do {
        busy = 0;
        for (int i = 0; i < options.args.jobs; i++) {
            struct worker *w = &workers[i];
            if (w->mutant == NULL) {
                const struct mutant *m = take_mutant(&at);
                if (m == NULL) continue;
                begin_mutant(w, m);
            }
            busy++;
            enum outcome outcome = look(&w->run);
            if (outcome != RUNNING && !next_run(w, outcome)) w->mutant = NULL;
        }
        usleep(5000);
    } while (busy > 0);
}

/* No twin needs a real disk, and hundreds of databases that are really synced take minutes. */
static const char *roomy_memory(void)
{
    static const char dir[] = "/dev/shm";
    struct statvfs fs;
    const uint64_t enough = (uint64_t)2 << 30;
    return access(dir, W_OK) == 0 && statvfs(dir, &fs) == 0 && fs.f_bavail * fs.f_frsize >= enough ? dir : NULL;
}

/* Takes --only NAME, --list and --quick out, and leaves the rest to t_parse_args. */
static void parse(int argc, char **argv)
{
    char *rest[64];
    int n = 0;
    bool has_seconds = false, has_jobs = false, has_dir = getenv("TMPDIR") != NULL;
    for (int i = 0; i < argc && n < 60; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            options.list = true;
        } else if (strcmp(argv[i], "--quick") == 0) {
            options.quick = true;
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            options.only = argv[++i];
        } else {
            has_seconds |= strcmp(argv[i], "--seconds") == 0;
            has_dir |= strcmp(argv[i], "--dir") == 0;
            has_jobs |= strcmp(argv[i], "--jobs") == 0;
            rest[n++] = argv[i];
        }
    }
    options.args = t_parse_args(n, rest);
    if (!has_seconds) options.args.seconds = 10; /* of one run of one test */
    if (!has_dir && roomy_memory() != NULL) options.args.dir = roomy_memory();
    if (!has_jobs) options.args.jobs = 3; /* for two processors: of those that hang some sleep */
    if (options.args.jobs > MOST_JOBS) options.args.jobs = MOST_JOBS;
    if (options.args.seconds <= 0) options.args.seconds = 10;
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    find_programs();
    bool exists = options.only == NULL;
    for (unsigned i = 0; i < MUTANTS; i++) {
        check_words(&mutants[i]);
        exists |= options.only != NULL && strcmp(options.only, mutants[i].name) == 0;
        if (options.list && is_chosen(&mutants[i]))
            printf("%-30s %-36s %s\n", mutants[i].name, mutants[i].kinds, mutants[i].what);
    }
    if (options.list) return 0;
    if (!exists) {
        fprintf(stderr, "mutants: there is no %s; --list says what there is\n", options.only);
        return 2;
    }
    t_tmp_make(options.dir, options.args.dir, "mutants");
    (void)chmod(options.dir, 0755);
    if (all_are_sound())
        run_mutants();
    else
        failures++;
    t_remove(options.dir);
    if (waiting > 0) printf("mutants: %u wait for a test that is not built here\n", waiting);
    printf("mutants: %u cases, %u failures, seed %llu\n", cases, failures, (unsigned long long)options.args.seed);
    return failures > 0;
}
