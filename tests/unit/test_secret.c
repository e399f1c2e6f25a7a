/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks for secrets where they must not be any more: in all writable memory of this process, after the store that used
 * them was closed. They are made up at run time, so that the program does not hold them otherwise.
 */

#include "lib/check.h"

#include "lib/temp_dir.h"
#include "net/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <shale/object_store.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

#define LEN 40
#define CHUNK 65536u

static char *dir;
static char secret[LEN], token[LEN];
static char chunk[CHUNK];

static void make_up(char what[LEN])
{
    unsigned char r[LEN];

    assert_int_equal(getrandom(r, sizeof(r), 0), LEN);
    for (int i = 0; i < LEN; i++)
        what[i] = (char)('a' + r[i] % 26);
}

static void put(int fd, const void *data, size_t len)
{
    assert_int_equal(write(fd, data, len), len);
}

static void put_text(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

static int create(const char *name, char path[4096])
{
    int fd;

    snprintf(path, 4096, "%s/%s", dir, name);
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    assert_true(fd >= 0);
    return fd;
}

/* Hits in [from, to), but for the needle itself and what was read of it. */
static size_t count_in(int mem, size_t from, size_t to, const char *needle)
{
    size_t found = 0;

    for (size_t at = from; at < to; at += CHUNK - LEN) {
        ssize_t n = pread(mem, chunk, to - at < CHUNK ? to - at : CHUNK, (off_t)at);

        for (const char *p = chunk; n > 0 && (p = memmem(p, (size_t)(chunk + n - p), needle, LEN)) != NULL; p++) {
            size_t where = at + (size_t)(p - chunk);

            found += where != (size_t)needle && (where < (size_t)chunk || where >= (size_t)chunk + CHUNK);
        }
        secret_wipe(chunk, CHUNK);
    }
    return found;
}

/* The memory of sanitizers is too large to look through; what else they find is found. */
#ifdef SANITIZED
#define assert_count(needle, n) (void)count
#else
#define assert_count(needle, n) assert_int_equal(count(needle), n)
#endif

static size_t count(const char *needle)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY);
    size_t from, to, found = 0;
    char line[4400], rights[5];

    assert_non_null(maps);
    assert_true(mem >= 0);
    while (fgets(line, sizeof(line), maps))
        if (sscanf(line, "%zx-%zx %4s", &from, &to, rights) == 3 && memcmp(rights, "rw", 2) == 0)
            found += count_in(mem, from, to, needle);
    fclose(maps);
    close(mem);
    return found;
}

/* One request to where nobody is: it is signed, and not sent. */
static void use_and_look(void)
{
    struct shale_buf out = SHALE_BUF_INIT;
    struct shale_store *store;

    assert_int_equal(shale_store_s3("bucket", NULL, &store), 0);
    assert_int_equal(shale_store_get(store, "a", &out), SHALE_ETRANSIENT);
    assert_non_null(strstr(shale_errmsg(), "connect"));
    assert_count(secret, 1); /* of the keys in use */
    assert_count(token, 1);
    shale_store_close(store);
    assert_count(secret, 0);
    assert_count(token, 0);
}

static int setup(void **state)
{
    (void)state;
    dir = temp_dir_new();
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
    unsetenv("AWS_PROFILE");
    unsetenv("AWS_DEFAULT_PROFILE");
    unsetenv("http_proxy");
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1", 1);
    make_up(secret);
    make_up(token);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    temp_dir_remove(dir);
    return 0;
}

static void keys_of_a_file_are_gone(void **state)
{
    char path[4096];
    int fd = create("credentials", path);

    (void)state;
    put_text(fd, "[other]\naws_secret_access_key = ");
    put(fd, secret, LEN);
    put_text(fd, "\n[default]\naws_access_key_id = AKID\naws_secret_access_key = ");
    put(fd, secret, LEN);
    put_text(fd, "\naws_session_token = ");
    put(fd, token, LEN);
    put_text(fd, "\n");
    close(fd);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    use_and_look();
}

static void keys_of_a_process_are_gone(void **state)
{
    char path[4096], credentials[4096];
    int fd = create("json", path);

    (void)state;
    put_text(fd, "{\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"");
    put(fd, secret, LEN);
    put_text(fd, "\", \"SessionToken\": \"");
    put(fd, token, LEN);
    put_text(fd, "\"}");
    close(fd);
    fd = create("credentials", credentials);
    put_text(fd, "[default]\ncredential_process = cat '");
    put_text(fd, path);
    put_text(fd, "'\n");
    close(fd);
    setenv("AWS_SHARED_CREDENTIALS_FILE", credentials, 1);
    use_and_look();
}

static void buffers_leave_nothing_when_they_grow(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;

    (void)state;
    for (size_t n = 0; n < 5; n++) {
        assert_int_equal(secret_buf_reserve(&b, (size_t)100 << (4 * n)), 0);
        if (n == 0)
            assert_int_equal(shale_buf_append(&b, secret, LEN), 0);
        assert_count(secret, 1);
    }
    secret_buf_fini(&b);
    assert_count(secret, 0);
}

static void a_file_is_read_whole_or_not(void **state)
{
    struct shale_buf b = SHALE_BUF_INIT;
    char path[4096];
    int fd = create("file", path);

    (void)state;
    for (int i = 0; i < 500; i++)
        put(fd, secret, LEN);
    close(fd);
    assert_int_equal(secret_read_file(&b, path, 500 * LEN), 0);
    assert_int_equal(b.len, 500 * LEN);
    assert_int_equal(b.data[b.len], 0);
    assert_memory_equal(b.data + 499 * LEN, secret, LEN);
    secret_buf_fini(&b);
    assert_int_equal(secret_read_file(&b, path, 500 * LEN - 1), -EFBIG);
    secret_buf_fini(&b);
    assert_int_equal(secret_read_file(&b, dir, 10), -EISDIR);
    secret_buf_fini(&b);
    assert_int_equal(secret_read_file(&b, "/no/such/file", 10), -ENOENT);
    secret_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keys_of_a_file_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_of_a_process_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(buffers_leave_nothing_when_they_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_is_read_whole_or_not, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
