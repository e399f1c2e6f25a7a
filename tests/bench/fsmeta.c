/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * fsmeta DIR FILES THREADS BYTES: rates of names and small files, all in one directory that the threads share. One line
 * for each phase: operations, seconds, rate, latencies, errors. Ends with 1 when an operation failed or read other than
 * what was written.
 */
enum { THREADS_MAX = 256 };

static char dir[PATH_MAX];
static int files, threads, bytes, phase;
static float *latency_us;
static long errors;
static pthread_barrier_t start;
static char *contents;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The path of file i in one of its roles. */
static const char *path(char *out, char role, int i)
{
    snprintf(out, PATH_MAX + 32, "%s/%c%07d", dir, role, i);
    return out;
}

static bool close_ok(int fd, bool ok)
{
    return close(fd) == 0 && ok;
}

static bool do_create(int i)
{
    char p[PATH_MAX + 32];
    int fd = open(path(p, 'f', i), O_CREAT | O_EXCL | O_WRONLY, 0644);

    return fd >= 0 && close_ok(fd, bytes == 0 || write(fd, contents, (size_t)bytes) == bytes);
}

static bool do_stat(int i)
{
    char p[PATH_MAX + 32];
    struct stat st;

    return stat(path(p, 'f', i), &st) == 0 && st.st_size == bytes;
}

static bool do_open(int i)
{
    char p[PATH_MAX + 32];
    int fd = open(path(p, 'f', i), O_RDONLY);

    return fd >= 0 && close_ok(fd, true);
}

static bool do_read(int i)
{
    char p[PATH_MAX + 32], *data = malloc((size_t)bytes + 1);
    int fd = open(path(p, 'f', i), O_RDONLY);
    bool ok = data && fd >= 0 && read(fd, data, (size_t)bytes) == bytes && memcmp(data, contents, (size_t)bytes) == 0;

    free(data);
    return fd >= 0 && close_ok(fd, ok);
}

static bool do_overwrite(int i)
{
    char p[PATH_MAX + 32];
    int fd = open(path(p, 'f', i), O_WRONLY);

    return fd >= 0 && close_ok(fd, bytes == 0 || pwrite(fd, contents, (size_t)bytes, 0) == bytes);
}

static bool do_chmod(int i)
{
    char p[PATH_MAX + 32];

    return chmod(path(p, 'f', i), 0600) == 0;
}

static bool do_rename(int i)
{
    char from[PATH_MAX + 32], to[PATH_MAX + 32];

    return rename(path(from, 'f', i), path(to, 'r', i)) == 0;
}

static bool do_stat_absent(int i)
{
    char p[PATH_MAX + 32];
    struct stat st;

    return stat(path(p, 'f', i), &st) < 0 && errno == ENOENT;
}

static bool do_link(int i)
{
    char from[PATH_MAX + 32], to[PATH_MAX + 32];

    return link(path(from, 'r', i), path(to, 'l', i)) == 0;
}

static bool do_symlink(int i)
{
    char p[PATH_MAX + 32];

    return symlink("target", path(p, 's', i)) == 0;
}

static bool do_unlink_links(int i)
{
    char p[PATH_MAX + 32];
    bool ok = unlink(path(p, 'l', i)) == 0;

    return unlink(path(p, 's', i)) == 0 && ok;
}

static bool do_unlink(int i)
{
    char p[PATH_MAX + 32];

    return unlink(path(p, 'r', i)) == 0;
}

static bool do_mkdir(int i)
{
    char p[PATH_MAX + 32];

    return mkdir(path(p, 'd', i), 0755) == 0;
}

static bool do_rmdir(int i)
{
    char p[PATH_MAX + 32];

    return rmdir(path(p, 'd', i)) == 0;
}

static const struct {
    const char *name;
    bool (*run)(int i);
} phases[] = {
    { "create+write", do_create }, { "stat", do_stat },       { "open+close", do_open },
    { "read", do_read },           { "overwrite", do_overwrite }, { "chmod", do_chmod },
    { "rename", do_rename },       { "stat-enoent", do_stat_absent }, { "link", do_link },
    { "symlink", do_symlink },     { "unlink-links", do_unlink_links }, { "unlink", do_unlink },
    { "mkdir", do_mkdir },         { "rmdir", do_rmdir },
};

static void *work(void *arg)
{
    int first = *(const int *)arg;
    long failed = 0;

    pthread_barrier_wait(&start);
    for (int i = first; i < files; i += threads) {
        double t = now();

        failed += !phases[phase].run(i);
        latency_us[i] = (float)((now() - t) * 1e6);
    }
    __atomic_fetch_add(&errors, failed, __ATOMIC_RELAXED);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static void run_phase(void)
{
    pthread_t t[THREADS_MAX];
    int first[THREADS_MAX];
    double began, took;

    errors = 0;
    pthread_barrier_init(&start, NULL, (unsigned)threads + 1);
    for (int k = 0; k < threads; k++) {
        first[k] = k;
        if (pthread_create(&t[k], NULL, work, &first[k]) != 0)
            abort();
    }
    began = now();
    pthread_barrier_wait(&start);
    for (int k = 0; k < threads; k++)
        pthread_join(t[k], NULL);
    took = now() - began;
    pthread_barrier_destroy(&start);
    qsort(latency_us, (size_t)files, sizeof(*latency_us), compare);
    printf("%-13s %6d ops %8.3f s %9.0f ops/s  p50 %8.0f us  p99 %8.0f us  errors %ld\n", phases[phase].name, files,
           took, files / took, (double)latency_us[files / 2], (double)latency_us[files * 99L / 100], errors);
    fflush(stdout);
}

/* Reads the directory once. */
static long list(void)
{
    double began = now(), took;
    struct dirent *e;
    DIR *d = opendir(dir);
    long n = 0;

    while (d && (e = readdir(d)))
        n += e->d_name[0] == 'f';
    if (d)
        closedir(d);
    took = now() - began;
    printf("%-13s %6ld ops %8.3f s %9.0f ops/s  errors %d\n", "readdir", n, took, (double)n / took, n != files);
    return n != files;
}

int main(int argc, char **argv)
{
    long total = 0;

    if (argc < 5 || atoi(argv[3]) < 1 || atoi(argv[3]) > THREADS_MAX) {
        fprintf(stderr, "usage: fsmeta DIR FILES THREADS BYTES\n");
        return 2;
    }
    files = atoi(argv[2]);
    threads = atoi(argv[3]);
    bytes = atoi(argv[4]);
    snprintf(dir, sizeof(dir), "%s/fsmeta.%d", argv[1], (int)getpid());
    latency_us = malloc(sizeof(*latency_us) * (size_t)files);
    contents = malloc((size_t)bytes + 1);
    if (!latency_us || !contents || mkdir(dir, 0755) < 0) {
        perror(dir);
        return 1;
    }
    for (int i = 0; i < bytes; i++)
        contents[i] = (char)rand();
    for (phase = 0; phase < (int)(sizeof(phases) / sizeof(phases[0])); phase++) {
        run_phase();
        total += errors;
        if (phase == 0)
            total += list();
    }
    if (rmdir(dir) < 0)
        total++;
    printf("errors in all: %ld\n", total);
    return total != 0;
}
