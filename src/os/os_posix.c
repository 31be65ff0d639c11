/* SPDX-License-Identifier: Apache-2.0 */
/* The table of os.h over POSIX and Linux. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

/* ---- files ---- */

static int posix_file_open(const pm_os *os, const char *path, int flags)
{
    (void)os;
    int mode = O_CLOEXEC;
    if ((flags & PM_OPEN_WRITE) != 0)
        mode |= (flags & PM_OPEN_READ) != 0 ? O_RDWR : O_WRONLY;
    else
        mode |= O_RDONLY;
    if ((flags & PM_OPEN_CREATE) != 0) mode |= O_CREAT;
    if ((flags & PM_OPEN_NEW) != 0) mode |= O_EXCL;
    int fd;
    do
        fd = open(path, mode, 0644);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int posix_file_close(const pm_os *os, int fd)
{
    (void)os;
    return close(fd) == 0 ? 0 : -errno; /* never repeated: on Linux the descriptor is gone either way */
}

static int64_t posix_file_read(const pm_os *os, int fd, void *to, size_t size, uint64_t offset)
{
    (void)os;
    size_t done = 0;
    while (done < size) {
        size_t want = size - done < (1u << 30) ? size - done : (1u << 30);
        ssize_t n = pread(fd, (char *)to + done, want, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (int64_t)done;
}

static int posix_file_write(const pm_os *os, int fd, const pm_span *spans, size_t count, uint64_t offset)
{
    (void)os;
    size_t at = 0;   /* span to write next */
    size_t skip = 0; /* bytes of it already written */
    while (at < count) {
        struct iovec iov[64];
        int used = 0;
        for (size_t i = at; i < count && used < 64; i++, used++) {
            size_t before = i == at ? skip : 0;
            iov[used].iov_base = (char *)(uintptr_t)spans[i].data + before;
            iov[used].iov_len = spans[i].size - before;
        }
        ssize_t n = pwritev(fd, iov, used, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        if (n == 0) return -EIO;
        offset += (uint64_t)n;
        size_t left = (size_t)n;
        while (at < count && left >= spans[at].size - skip) {
            left -= spans[at].size - skip;
            at++;
            skip = 0;
        }
        skip += left;
    }
    return 0;
}

static int posix_file_sync(const pm_os *os, int fd)
{
    (void)os;
    return fdatasync(fd) == 0 ? 0 : -errno; /* never repeated: the kernel reports a lost write once */
}

static void posix_file_forget(const pm_os *os, int fd, uint64_t offset, uint64_t size)
{
    (void)os;
    (void)posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
}

static int posix_file_allocate(const pm_os *os, int fd, uint64_t size)
{
    (void)os;
    int rc;
    do
        rc = fallocate(fd, 0, 0, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int posix_file_truncate(const pm_os *os, int fd, uint64_t size)
{
    (void)os;
    int rc;
    do
        rc = ftruncate(fd, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc == 0 ? 0 : -errno;
}

static int posix_file_size(const pm_os *os, int fd, uint64_t *size)
{
    (void)os;
    struct stat st;
    if (fstat(fd, &st) != 0) return -errno;
    *size = (uint64_t)st.st_size;
    return 0;
}

static int posix_file_lock(const pm_os *os, int fd, bool exclusive)
{
    (void)os;
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

static void posix_file_unlock(const pm_os *os, int fd)
{
    (void)os;
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &lock);
    (void)flock(fd, LOCK_UN);
}

/* fcntl cannot lock a directory, flock can. */
static int posix_dir_lock(const pm_os *os, const char *path, bool exclusive)
{
    (void)os;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return fd;
    int rc = errno == EWOULDBLOCK ? -EAGAIN : -errno;
    close(fd);
    return rc;
}

/* ---- names ---- */

static int posix_path_kind(const pm_os *os, const char *path)
{
    (void)os;
    struct stat st;
    if (stat(path, &st) != 0) return errno == ENOENT ? PM_PATH_NONE : -errno;
    return S_ISDIR(st.st_mode) ? PM_PATH_DIR : PM_PATH_FILE;
}

static int posix_path_absolute(const pm_os *os, const char *path, char *to, size_t size)
{
    (void)os;
    size_t used = 0;
    to[0] = '\0';
    if (path[0] != '/') {
        if (getcwd(to, size) == NULL) return -errno;
        used = strlen(to);
    }
    int n = snprintf(to + used, size - used, "%s%s", used > 0 && to[used - 1] != '/' ? "/" : "", path);
    return n >= 0 && (size_t)n < size - used ? 0 : -ENAMETOOLONG;
}

static int posix_path_rename(const pm_os *os, const char *from, const char *to)
{
    (void)os;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int posix_path_remove(const pm_os *os, const char *path)
{
    (void)os;
    return unlink(path) == 0 ? 0 : -errno;
}

static int posix_dir_make(const pm_os *os, const char *path)
{
    (void)os;
    return mkdir(path, 0755) == 0 ? 0 : -errno;
}

static int posix_dir_remove(const pm_os *os, const char *path)
{
    (void)os;
    if (rmdir(path) == 0) return 0;
    return errno == EEXIST ? -ENOTEMPTY : -errno; /* POSIX allows either */
}

static int posix_dir_sync(const pm_os *os, const char *path)
{
    (void)os;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

static int posix_dir_list(const pm_os *os, const char *path, pm_name_fn each, void *context)
{
    (void)os;
    DIR *dir = opendir(path);
    if (dir == NULL) return -errno;
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            rc = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) rc = each(context, entry->d_name);
    }
    closedir(dir);
    return rc;
}

/* ---- memory ---- */

static void *posix_pages_map(const pm_os *os, size_t size)
{
    (void)os;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return NULL;
    /* Scans walk slabs end to end: huge pages save page faults while ingesting and TLB misses while searching. */
    (void)madvise(pages, size, MADV_HUGEPAGE);
    return pages;
}

static void posix_pages_unmap(const pm_os *os, void *pages, size_t size)
{
    (void)os;
    if (pages != NULL && size > 0) munmap(pages, size);
}

static void posix_pages_touch(const pm_os *os, void *pages, size_t size)
{
    (void)os;
#ifdef MADV_POPULATE_WRITE
    (void)madvise(pages, size, MADV_POPULATE_WRITE); /* since Linux 5.14 */
#else
    (void)madvise(pages, size, 23);
#endif
}

static int posix_file_map(const pm_os *os, int fd, uint64_t size, const void **pages)
{
    (void)os;
    if (size == 0 || size > SIZE_MAX) return -EINVAL;
    void *mapped = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return -errno;
    *pages = mapped;
    return 0;
}

static void posix_file_unmap(const pm_os *os, const void *pages, uint64_t size)
{
    (void)os;
    if (pages != NULL && size > 0) munmap((void *)(uintptr_t)pages, (size_t)size);
}

/* In large pages if the file system has them and the file is not in the page cache in small ones yet: a walk through a
 * graph misses the translation of most addresses else. */
static void posix_file_scatter(const pm_os *os, const void *pages, uint64_t size)
{
    (void)os;
    (void)madvise((void *)(uintptr_t)pages, (size_t)size, MADV_HUGEPAGE);
}

/* ---- clocks, chance, surroundings ---- */

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t posix_now_ns(const pm_os *os)
{
    (void)os;
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t posix_wall_ns(const pm_os *os)
{
    (void)os;
    return clock_ns(CLOCK_REALTIME);
}

#ifdef POMAI_TEST_HOOKS
int (*pm_random_instead)(void *to, size_t size) = NULL;
#endif

static int posix_random(const pm_os *os, void *to, size_t size)
{
    (void)os;
    size_t done = 0;
#ifdef POMAI_TEST_HOOKS
    if (pm_random_instead != NULL) return pm_random_instead(to, size);
#endif
    while (done < size) {
        ssize_t n = getrandom((char *)to + done, size - done, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -errno;
        done += (size_t)n;
    }
    return 0;
}

static uint32_t posix_cores(const pm_os *os)
{
    (void)os;
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return (uint32_t)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

static const char *posix_env(const pm_os *os, const char *name)
{
    (void)os;
    return getenv(name);
}

static void posix_who(const pm_os *os, char *text, size_t size)
{
    (void)os;
    char host[65] = "?";
    (void)gethostname(host, sizeof host - 1);
    snprintf(text, size, "process %ld on %s", (long)getpid(), host);
}

/* ---- threads ---- */

static void posix_word_wait(const pm_os *os, _Atomic uint32_t *word, uint32_t seen, uint64_t until_ns)
{
    (void)os;
    struct timespec at = {.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
    /* FUTEX_WAIT_BITSET takes an absolute monotonic time. Early returns are fine: every caller looks again. */
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, until_ns == PM_FOREVER ? NULL : &at, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

static void posix_word_wake(const pm_os *os, _Atomic uint32_t *word)
{
    (void)os;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Three states: 0 free, 1 held, 2 held with waiters (Drepper, Futexes Are Tricky, 2011, mutex 2). */
static void posix_mutex_lock(const pm_os *os, _Atomic uint32_t *mutex)
{
    uint32_t free_state = 0;
    if (atomic_compare_exchange_strong(mutex, &free_state, 1)) return;
    while (atomic_exchange(mutex, 2) != 0)
        posix_word_wait(os, mutex, 2, PM_FOREVER);
}

static void posix_mutex_unlock(const pm_os *os, _Atomic uint32_t *mutex)
{
    if (atomic_exchange(mutex, 0) == 2) posix_word_wake(os, mutex);
}

static int posix_thread_hold(const pm_os *os)
{
    (void)os;
    int before = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static void posix_thread_let_go(const pm_os *os, int held)
{
    (void)os;
    pthread_setcancelstate(held, NULL);
}

static void posix_relax(const pm_os *os)
{
    (void)os;
    sched_yield();
}

enum { LOW_PRIORITY = 10 }; /* lower, and a busy machine would leave a piece of work lying that others wait for */

static void *task_thread(void *arg)
{
    const pm_task *task = arg;
#if defined(__linux__)
    if (task->low) (void)setpriority(PRIO_PROCESS, 0, LOW_PRIORITY); /* on Linux: of this thread */
#endif
    pm_task_loop(arg);
    return NULL;
}

static int posix_task_start(pm_task *task)
{
    /* The host's signals are the host's business: its handlers must not run on our threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, task_thread, task);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) return -rc;
    pthread_setname_np(thread, task->name);
    task->thread = (unsigned long)thread;
    task->started = true;
    return 0;
}

static void posix_task_join(pm_task *task)
{
    if (task->started) pthread_join((pthread_t)task->thread, NULL);
    task->started = false;
}

static const pm_os posix = {
    .file_open = posix_file_open,
    .file_close = posix_file_close,
    .file_read = posix_file_read,
    .file_write = posix_file_write,
    .file_sync = posix_file_sync,
    .file_forget = posix_file_forget,
    .file_allocate = posix_file_allocate,
    .file_truncate = posix_file_truncate,
    .file_size = posix_file_size,
    .file_lock = posix_file_lock,
    .file_unlock = posix_file_unlock,
    .dir_lock = posix_dir_lock,
    .path_kind = posix_path_kind,
    .path_absolute = posix_path_absolute,
    .path_rename = posix_path_rename,
    .path_remove = posix_path_remove,
    .dir_make = posix_dir_make,
    .dir_remove = posix_dir_remove,
    .dir_sync = posix_dir_sync,
    .dir_list = posix_dir_list,
    .pages_map = posix_pages_map,
    .pages_unmap = posix_pages_unmap,
    .pages_touch = posix_pages_touch,
    .file_map = posix_file_map,
    .file_unmap = posix_file_unmap,
    .file_scatter = posix_file_scatter,
    .now_ns = posix_now_ns,
    .wall_ns = posix_wall_ns,
    .random = posix_random,
    .cores = posix_cores,
    .env = posix_env,
    .who = posix_who,
    .task_start = posix_task_start,
    .task_join = posix_task_join,
    .word_wait = posix_word_wait,
    .word_wake = posix_word_wake,
    .mutex_lock = posix_mutex_lock,
    .mutex_unlock = posix_mutex_unlock,
    .thread_hold = posix_thread_hold,
    .thread_let_go = posix_thread_let_go,
    .relax = posix_relax,
};

#if defined(__aarch64__)
uint64_t pm_os_hwcap(void)
{
    return getauxval(AT_HWCAP);
}
#elif defined(__x86_64__)
bool pm_os_allow_tiles(void)
{
    const long request_permission = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA */
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

const pm_os *pm_os_posix(void)
{
    return &posix;
}
