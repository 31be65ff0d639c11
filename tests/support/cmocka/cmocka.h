/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few names of cmocka that the tests use, for builds where the library cannot be had (POMAI_CMOCKA_STANDIN). A
 * failed assertion of the test's own thread ends the test; one of another thread, or of a forked child, the process.
 */
#ifndef T_CMOCKA_STANDIN_H
#define T_CMOCKA_STANDIN_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
    CMFixtureFunction setup_func, teardown_func;
};

enum { T_STANDIN_FAILED = 1, T_STANDIN_SKIPPED };

static jmp_buf t_standin_out;
static pthread_t t_standin_thread;
static pid_t t_standin_process; /* 0: no test runs */

__attribute__((unused, noreturn)) static void t_standin_fail(const char *file, int line)
{
    fprintf(stderr, "%s:%d: error: failure\n", file, line);
    if (t_standin_process != getpid() || !pthread_equal(t_standin_thread, pthread_self())) abort();
    longjmp(t_standin_out, T_STANDIN_FAILED);
}

__attribute__((unused)) static void t_standin_integers(const char *file, int line, uintmax_t a, uintmax_t b, int equal)
{
    if ((a == b) == equal) return;
    fprintf(stderr, "%#jx %s %#jx\n", a, equal ? "!=" : "==", b);
    t_standin_fail(file, line);
}

__attribute__((unused)) static void t_standin_range(const char *file, int line, uintmax_t x, uintmax_t least,
                                                    uintmax_t most)
{
    if (x >= least && x <= most) return;
    fprintf(stderr, "%ju is not within %ju to %ju\n", x, least, most);
    t_standin_fail(file, line);
}

__attribute__((unused)) static void t_standin_strings(const char *file, int line, const char *a, const char *b)
{
    if (a != NULL && b != NULL && strcmp(a, b) == 0) return;
    fprintf(stderr, "\"%s\" != \"%s\"\n", a != NULL ? a : "(null)", b != NULL ? b : "(null)");
    t_standin_fail(file, line);
}

__attribute__((unused)) static void t_standin_memory(const char *file, int line, const void *a, const void *b,
                                                     size_t size)
{
    const unsigned char *left = a, *right = b;
    for (size_t i = 0; i < size; i++) {
        if (left[i] == right[i]) continue;
        fprintf(stderr, "byte %zu of %zu: %#x != %#x\n", i, size, left[i], right[i]);
        t_standin_fail(file, line);
    }
}

#define T_STANDIN_CHECK(ok, text)                                                                                      \
    do {                                                                                                               \
        if (!(ok)) {                                                                                                   \
            fprintf(stderr, "%s\n", text);                                                                             \
            t_standin_fail(__FILE__, __LINE__);                                                                        \
        }                                                                                                              \
    } while (0)

#define assert_true(x)     T_STANDIN_CHECK(x, #x)
#define assert_false(x)    T_STANDIN_CHECK(!(x), "not: " #x)
#define assert_non_null(x) T_STANDIN_CHECK((x) != NULL, #x " is NULL")
#define assert_null(x)     T_STANDIN_CHECK((x) == NULL, #x " is not NULL")
#define assert_ptr_equal(a, b)                                                                                         \
    T_STANDIN_CHECK((const void *)(uintptr_t)(a) == (const void *)(uintptr_t)(b), #a " is not " #b)
#define assert_int_equal(a, b)     t_standin_integers(__FILE__, __LINE__, (uintmax_t)(a), (uintmax_t)(b), 1)
#define assert_int_not_equal(a, b) t_standin_integers(__FILE__, __LINE__, (uintmax_t)(a), (uintmax_t)(b), 0)
#define assert_in_range(x, least, most)                                                                                \
    t_standin_range(__FILE__, __LINE__, (uintmax_t)(x), (uintmax_t)(least), (uintmax_t)(most))
#define assert_string_equal(a, b)       t_standin_strings(__FILE__, __LINE__, a, b)
#define assert_memory_equal(a, b, size) t_standin_memory(__FILE__, __LINE__, a, b, size)
#define fail()                          t_standin_fail(__FILE__, __LINE__)
#define skip()                          longjmp(t_standin_out, T_STANDIN_SKIPPED)
#define print_message(...)              printf(__VA_ARGS__)
#define print_error(...)                fprintf(stderr, __VA_ARGS__)
#define fail_msg(...)                                                                                                  \
    do {                                                                                                               \
        fprintf(stderr, __VA_ARGS__);                                                                                  \
        fputc('\n', stderr);                                                                                           \
        fail();                                                                                                        \
    } while (0)

#define cmocka_unit_test(f)                                                                                            \
    {                                                                                                                  \
#f, f, NULL, NULL                                                                                              \
    }
#define cmocka_unit_test_setup_teardown(f, setup, teardown)                                                            \
    {                                                                                                                  \
#f, f, setup, teardown                                                                                         \
    }
#define cmocka_run_group_tests(tests, setup, teardown)                                                                 \
    t_standin_run(tests, sizeof(tests) / sizeof(tests)[0], setup, teardown)
#define cmocka_run_group_tests_name(name, tests, setup, teardown) cmocka_run_group_tests(tests, setup, teardown)

/* What is said of the test. */
__attribute__((unused)) static const char *t_standin_one(const struct CMUnitTest *test, void *of_group)
{
    void *volatile state = of_group;
    void *now = of_group;
    const char *volatile said = "      OK";
    if (test->setup_func != NULL && test->setup_func(&now) != 0) return " FAILED ";
    state = now;
    const int left = setjmp(t_standin_out);
    if (left == 0) {
        now = state;
        test->test_func(&now);
    } else {
        said = left == T_STANDIN_SKIPPED ? "SKIPPED " : " FAILED ";
    }
    now = state;
    if (test->teardown_func != NULL && test->teardown_func(&now) != 0) said = " FAILED ";
    return said;
}

__attribute__((unused)) static int t_standin_run(const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup,
                                                 CMFixtureFunction teardown)
{
    int failed = 0;
    void *state = NULL;
    t_standin_thread = pthread_self();
    t_standin_process = getpid();
    setvbuf(stdout, NULL, _IOLBF, 0); /* in order with what failed */
    if (setup != NULL && setup(&state) != 0) return 1;
    for (size_t i = 0; i < n; i++) {
        printf("[ RUN      ] %s\n", tests[i].name);
        const char *said = t_standin_one(&tests[i], state);
        printf("[ %s ] %s\n", said, tests[i].name);
        failed += strcmp(said, " FAILED ") == 0;
    }
    if (teardown != NULL && teardown(&state) != 0) failed++;
    printf("[==========] %zu test(s) run, %d failed.\n", n, failed);
    return failed;
}

#endif
