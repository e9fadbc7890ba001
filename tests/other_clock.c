/* Gives one process another clock: OTHER_CLOCK_S seconds are added to every answer of the real one.
 *
 * Nothing else changes: the count of seconds since the machine was started, sleeping, the dates of
 * files. That is what a wrongly set clock looks like from inside. (libfaketime changes how long a
 * process sleeps, too.) Build: cc -shared -fPIC -o other_clock.so other_clock.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long off(void) {
    const char *given = getenv("OTHER_CLOCK_S");
    return given ? atol(given) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *answer) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, answer);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) answer->tv_sec += off();
    return failed;
}

int gettimeofday(struct timeval *answer, void *zone) {
    (void)zone;
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    if (!failed) answer->tv_sec = now.tv_sec, answer->tv_usec = now.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *answer) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (answer) *answer = now.tv_sec;
    return now.tv_sec;
}
