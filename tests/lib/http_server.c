/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/http_server.h"

#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 65536u
#define BODY_MAX ((size_t)64 << 20)
#define TLS_HANDSHAKE 0x16 /* how a client begins that takes us for a server with TLS */

/* One connection, and its thread. The list only grows: the test is short. */
struct connection {
    struct http_server *server;
    struct connection *next;
    pthread_t thread;
    int fd;
    void *tls; /* NULL: there is none */
    unsigned number;
};

struct kept {
    struct http_request r;
    char *text; /* method, target and head; owned */
    char *body; /* owned */
};

struct http_server {
    char url[40];
    int fd;
    struct http_tls *tls; /* borrowed; NULL: none */
    bool proxy;           /* TLS comes after CONNECT */
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    struct connection *connections; /* GUARDED_BY(mu) */
    unsigned n_connections;         /* GUARDED_BY(mu) */
    struct http_rule *rules;        /* GUARDED_BY(mu) */
    unsigned *used;                 /* GUARDED_BY(mu); how often each was */
    size_t n_rules;                 /* GUARDED_BY(mu) */
    struct kept **kept;             /* GUARDED_BY(mu) */
    unsigned n_kept;                /* GUARDED_BY(mu) */
    unsigned released;              /* GUARDED_BY(mu); counts calls of http_server_release */
    bool stopped;                   /* GUARDED_BY(mu) */
};

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

static ssize_t wire_read(struct connection *c, void *buf, size_t n)
{
    return c->tls ? c->server->tls->read(c->tls, buf, n) : recv(c->fd, buf, n, 0);
}

static ssize_t wire_write(struct connection *c, const void *buf, size_t n)
{
    return c->tls ? c->server->tls->write(c->tls, buf, n) : send(c->fd, buf, n, MSG_NOSIGNAL);
}

/* ---- a request ---- */

struct input {
    char *data; /* owned */
    size_t len, cap;
};

/* false: the peer is gone. */
static bool read_more(struct connection *c, struct input *in)
{
    ssize_t n;

    if (in->len + 4096 > in->cap) {
        in->cap = (in->len + 4096) * 2;
        in->data = must(realloc(in->data, in->cap));
    }
    n = wire_read(c, in->data + in->len, in->cap - in->len - 1);
    if (n <= 0)
        return false;
    in->len += (size_t)n;
    in->data[in->len] = '\0';
    return true;
}

/* Bytes of the head with its empty line, or 0 when none comes. */
static size_t read_head(struct connection *c, struct input *in)
{
    for (;;) {
        char *end = in->len ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL;

        if (end)
            return (size_t)(end - in->data) + 4;
        if (in->len > HEAD_MAX || (in->len && in->data[0] == TLS_HANDSHAKE) || !read_more(c, in))
            return 0;
    }
}

/* Names in lower case, lines ended by \n alone. */
static void tidy_head(char *head)
{
    char *to = head;
    bool in_name = true;

    for (const char *from = head; *from; from++) {
        if (*from == '\r')
            continue;
        if (*from == ':')
            in_name = false;
        *to++ = in_name ? (char)tolower((unsigned char)*from) : *from;
        if (*from == '\n')
            in_name = true;
    }
    *to = '\0';
}

static struct kept *parse(const char *data, size_t head_len)
{
    struct kept *k = must(calloc(1, sizeof(*k)));
    char *line_end, *space;

    k->text = must(strndup(data, head_len - 2));
    line_end = strstr(k->text, "\r\n");
    space = strchr(k->text, ' ');
    if (!line_end || !space || space > line_end) {
        free(k->text);
        free(k);
        return NULL;
    }
    *line_end = '\0';
    *space = '\0';
    k->r.method = k->text;
    k->r.target = space + 1;
    space = strchr(space + 1, ' ');
    if (space)
        *space = '\0';
    tidy_head(line_end + 2);
    k->r.head = line_end + 2;
    return k;
}

static bool read_body(struct connection *c, struct input *in, size_t head_len, struct kept *k)
{
    char length[32];
    size_t len = http_request_value(&k->r, "content-length", length, sizeof(length)) ? strtoul(length, NULL, 10) : 0;

    if (len > BODY_MAX)
        return false;
    while (in->len < head_len + len)
        if (!read_more(c, in))
            return false;
    k->body = must(calloc(1, len + 1));
    memcpy(k->body, in->data + head_len, len);
    k->r.body = k->body;
    k->r.body_len = len;
    memmove(in->data, in->data + head_len + len, in->len - head_len - len + 1);
    in->len -= head_len + len;
    return true;
}

/* NULL: the peer is gone, or talks nonsense. */
static struct kept *read_request(struct connection *c, struct input *in)
{
    size_t head_len = read_head(c, in);
    struct kept *k = head_len ? parse(in->data, head_len) : NULL;

    if (k && !read_body(c, in, head_len, k)) {
        free(k->text);
        free(k);
        return NULL;
    }
    return k;
}

/* ---- its answer ---- */

static bool matches(const struct http_rule *rule, const struct http_request *r)
{
    size_t path = strcspn(r->target, "?"), len;

    if (rule->method && strcmp(rule->method, r->method) != 0)
        return false;
    if (!rule->path)
        return true;
    len = strlen(rule->path);
    if (len && rule->path[len - 1] == '*')
        return path >= len - 1 && strncmp(r->target, rule->path, len - 1) == 0;
    return path == len && strncmp(r->target, rule->path, len) == 0;
}

static struct http_rule choose_locked(struct http_server *s, const struct http_request *r)
{
    for (size_t i = 0; i < s->n_rules; i++) {
        if (matches(&s->rules[i], r) && (!s->rules[i].times || s->used[i] < s->rules[i].times)) {
            s->used[i]++;
            return s->rules[i];
        }
    }
    return (struct http_rule){ .status = 404, .body = "no rule" };
}

static void wait_locked(struct http_server *s, const struct http_rule *rule)
{
    unsigned released = s->released;
    struct timespec until;

    while (rule->hold && !s->stopped && s->released == released)
        pthread_cond_wait(&s->changed, &s->mu);
    if (!rule->delay_ms)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += rule->delay_ms % 1000 * 1000000;
    until.tv_sec += rule->delay_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (!s->stopped && pthread_cond_timedwait(&s->changed, &s->mu, &until) == 0)
        ;
}

static struct http_rule keep_and_choose(struct http_server *s, struct kept *k)
{
    struct http_rule rule;

    pthread_mutex_lock(&s->mu);
    s->kept = must(realloc(s->kept, (s->n_kept + 1) * sizeof(struct kept *)));
    s->kept[s->n_kept++] = k;
    pthread_cond_broadcast(&s->changed);
    rule = choose_locked(s, &k->r);
    wait_locked(s, &rule);
    if (s->stopped)
        rule.drop = true;
    pthread_mutex_unlock(&s->mu);
    return rule;
}

static bool send_all(struct connection *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = wire_write(c, p, n);

        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool pause_ms(struct http_server *s, int64_t ms)
{
    const struct http_rule rule = { .delay_ms = ms };
    bool stopped;

    pthread_mutex_lock(&s->mu);
    wait_locked(s, &rule);
    stopped = s->stopped;
    pthread_mutex_unlock(&s->mu);
    return !stopped;
}

/* n bytes of the body, as the rule has them sent. false: the peer is gone. */
static bool send_body(struct connection *c, const struct http_rule *rule, size_t n)
{
    bool ok = true;

    do {
        if (!rule->drip_ms)
            ok = send_all(c, rule->body, n);
        for (size_t i = 0; rule->drip_ms && i < n && ok; i++)
            ok = send_all(c, rule->body + i, 1) && pause_ms(c->server, rule->drip_ms);
    } while (ok && rule->endless);
    return ok;
}

/* false: the connection is to be closed. */
static bool answer(struct connection *c, const struct http_request *r, const struct http_rule *rule)
{
    size_t len = rule->body_len ? rule->body_len : rule->body ? strlen(rule->body) : 0;
    size_t sent = strcmp(r->method, "HEAD") == 0 && !rule->raw ? 0 : rule->cut && rule->cut < len ? rule->cut : len;
    char *head;
    bool ok;

    if (rule->drop)
        return false;
    if (rule->raw)
        return send_body(c, rule, sent) && !rule->close;
    if (asprintf(&head, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n%s\r\n", rule->status ? rule->status : 200, len,
                 rule->headers ? rule->headers : "") < 0)
        abort();
    ok = send_all(c, head, strlen(head)) && send_body(c, rule, sent);
    free(head);
    return ok && !rule->cut && !rule->close;
}

static bool tunnel(struct connection *c)
{
    static const char go_on[] = "HTTP/1.1 200 OK\r\n\r\n";

    if (!send_all(c, go_on, sizeof(go_on) - 1))
        return false;
    c->tls = c->server->tls->accept(c->server->tls, c->fd);
    return c->tls != NULL;
}

/* ---- threads ---- */

/* Only in a program that makes allocations fail (heap_fault.h): those of its own threads are meant. */
__attribute__((weak)) void heap_fault_spare(void);

static void spare_thread(void)
{
    if (heap_fault_spare)
        heap_fault_spare();
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    struct input in = { 0 };
    struct kept *k;
    bool ok = true;

    spare_thread();
    if (c->server->tls && !c->server->proxy)
        ok = (c->tls = c->server->tls->accept(c->server->tls, c->fd)) != NULL;
    while (ok && (k = read_request(c, &in)) != NULL) {
        struct http_rule rule;

        k->r.connection = c->number;
        rule = keep_and_choose(c->server, k);
        if (strcmp(k->r.method, "CONNECT") == 0 && (rule.status == 0 || rule.status == 200))
            ok = tunnel(c);
        else
            ok = answer(c, &k->r, &rule);
    }
    shutdown(c->fd, SHUT_RDWR);
    if (c->tls)
        c->server->tls->close(c->tls);
    free(in.data);
    return NULL;
}

static void *listen_main(void *arg)
{
    struct http_server *s = arg;
    int fd;

    spare_thread();
    while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct connection *c = must(calloc(1, sizeof(*c)));
        int one = 1;

        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        pthread_mutex_lock(&s->mu);
        c->server = s;
        c->fd = fd;
        c->number = s->n_connections++;
        c->next = s->connections;
        s->connections = c;
        if (pthread_create(&c->thread, NULL, serve, c) != 0)
            abort();
        pthread_mutex_unlock(&s->mu);
    }
    return NULL;
}

static struct http_server *start(struct http_tls *tls, bool proxy)
{
    struct http_server *s = must(calloc(1, sizeof(*s)));
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s->fd, 64) < 0 ||
        getsockname(s->fd, (struct sockaddr *)&a, &len) < 0)
        abort();
    s->tls = tls;
    s->proxy = proxy;
    snprintf(s->url, sizeof(s->url), "http%s://127.0.0.1:%d", tls && !proxy ? "s" : "", ntohs(a.sin_port));
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (pthread_create(&s->thread, NULL, listen_main, s) != 0)
        abort();
    return s;
}

struct http_server *http_server_start(void)
{
    return start(NULL, false);
}

struct http_server *http_server_start_tls(struct http_tls *tls)
{
    return start(tls, false);
}

struct http_server *http_server_start_proxy(struct http_tls *tls)
{
    return start(tls, true);
}

static void free_requests(struct http_server *s)
{
    for (unsigned i = 0; i < s->n_kept; i++) {
        free(s->kept[i]->text);
        free(s->kept[i]->body);
        free(s->kept[i]);
    }
    free(s->kept);
}

void http_server_stop(struct http_server *s)
{
    if (!s)
        return;
    shutdown(s->fd, SHUT_RDWR); /* accept fails; from then on the list stays as it is */
    pthread_join(s->thread, NULL);
    close(s->fd);
    pthread_mutex_lock(&s->mu);
    s->stopped = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mu);
    while (s->connections) {
        struct connection *c = s->connections;

        s->connections = c->next;
        shutdown(c->fd, SHUT_RDWR);
        pthread_join(c->thread, NULL);
        close(c->fd);
        free(c);
    }
    free_requests(s);
    free(s->rules);
    free(s->used);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mu);
    free(s);
}

/* ---- the test's side ---- */

const char *http_server_url(const struct http_server *s)
{
    return s->url;
}

void http_server_add(struct http_server *s, const struct http_rule *rule)
{
    pthread_mutex_lock(&s->mu);
    s->rules = must(realloc(s->rules, (s->n_rules + 1) * sizeof(*rule)));
    s->used = must(realloc(s->used, (s->n_rules + 1) * sizeof(*s->used)));
    s->rules[s->n_rules] = *rule;
    s->used[s->n_rules++] = 0;
    pthread_mutex_unlock(&s->mu);
}

void http_server_clear(struct http_server *s)
{
    pthread_mutex_lock(&s->mu);
    s->n_rules = 0;
    pthread_mutex_unlock(&s->mu);
    http_server_release(s);
}

void http_server_release(struct http_server *s)
{
    pthread_mutex_lock(&s->mu);
    s->released++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mu);
}

unsigned http_server_count(struct http_server *s)
{
    unsigned n;

    pthread_mutex_lock(&s->mu);
    n = s->n_kept;
    pthread_mutex_unlock(&s->mu);
    return n;
}

bool http_server_wait(struct http_server *s, unsigned n)
{
    struct timespec until;
    bool have;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&s->mu);
    while (s->n_kept < n && pthread_cond_timedwait(&s->changed, &s->mu, &until) == 0)
        ;
    have = s->n_kept >= n;
    pthread_mutex_unlock(&s->mu);
    return have;
}

const struct http_request *http_server_request(struct http_server *s, unsigned i)
{
    const struct http_request *r;

    pthread_mutex_lock(&s->mu);
    if (i >= s->n_kept)
        abort();
    r = &s->kept[i]->r;
    pthread_mutex_unlock(&s->mu);
    return r;
}

bool http_request_value(const struct http_request *r, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);

    for (const char *p = r->head; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        if (strncmp(p, name, n) == 0 && p[n] == ':') {
            p += n + 1;
            p += strspn(p, " ");
            snprintf(out, size, "%.*s", (int)strcspn(p, "\n"), p);
            return true;
        }
    }
    if (size)
        out[0] = '\0';
    return false;
}
