#include "broker_fixture.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct loop *loop;
struct broker *broker;
struct queue *audit;
struct config config;
unsigned n_failed;
char failed_text[8192], failed_sentence[200];
static char folder[64], path_variable[128];

const char *in(const char *name)
{
    static char path[8][160];
    static unsigned next;
    char *p = path[next++ % 8];
    (void)snprintf(p, 160, "%s/%s", folder, name);
    return p;
}

void put(const char *name, const char *text)
{
    FILE *f = fopen(in(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    (void)fclose(f);
}

void script(const char *name, const char *body)
{
    char text[4096];
    (void)snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
    put(name, text);
    assert_int_equal(chmod(in(name), 0700), 0);
}

/* Lines of a file: how often a helper ran. */
unsigned count(const char *name)
{
    FILE *f = fopen(in(name), "r");
    unsigned n = 0;
    int c;
    if (!f)
        return 0;
    while ((c = fgetc(f)) != EOF)
        n += c == '\n';
    (void)fclose(f);
    return n;
}

static void on_failed(void *owner, struct str id, const char *sentence, struct str text)
{
    (void)owner, (void)id;
    n_failed++;
    (void)snprintf(failed_text, sizeof(failed_text), "%.*s", STR_ARG(text));
    (void)snprintf(failed_sentence, sizeof(failed_sentence), "%s", sentence);
}

int setup(void **state)
{
    static char *environment[] = {path_variable,
                                  (char *)"API_KEY=sk-from-env",
                                  (char *)"EMPTY=",
                                  (char *)"BROKEN=a\nb",
                                  (char *)"HTTPS_PROXY=http://127.0.0.1:1",
                                  (char *)"all_proxy=x",
                                  (char *)"NONO_PROXY_PASS=hunter2hunter2",
                                  (char *)"NONO_UPSTREAM_PROXY=http://u:p@h:1",
                                  (char *)"HELLO=world",
                                  (char *)"NONO_REQUEST_HOST=forged",
                                  (char *)"NONO_KEYRING_TIMEOUT_SECS= 1 ",
                                  NULL};
    bool locked;
    (void)state;
    secret_region_init(&locked);
    (void)snprintf(folder, sizeof(folder), "/tmp/nono-broker-XXXXXX");
    if (!mkdtemp(folder) || loop_new_uv(&loop))
        return -1;
    (void)snprintf(path_variable, sizeof(path_variable), "PATH=%s:/usr/bin:/bin", folder);
    audit = queue_new();
    config_init(&config);
    n_failed = 0;
    struct broker_env env = {
        .control = loop, .audit = audit, .envp = environment, .on_failed = on_failed};
    loop_turn(loop, 0);
    return broker_new(&env, &broker) ? -1 : 0;
}

int teardown(void **state)
{
    char command[128];
    (void)state;
    broker_free(broker);
    config_fini(&config);
    queue_free(audit);
    loop_free(loop);
    secret_region_fini();
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- asking ---- */

void on_told(void *owner, enum err e, struct material *m, const char *sentence)
{
    struct told *t = owner;
    size_t n = 0;
    t->times++;
    t->e = e;
    t->version = m ? m->version : 0;
    t->end_ns = m ? m->end_ns : 0;
    t->value[0] = 0;
    if (m && m->secret)
        (void)snprintf(t->value, sizeof(t->value), "%.*s", STR_ARG(secret_borrow(m->secret)));
    for (size_t i = 0; m && i < m->n_fields; i++)
        n += (size_t)snprintf(t->value + n, sizeof(t->value) - n, "%.*s=%.*s;",
                              STR_ARG(m->fields[i].name), STR_ARG(secret_borrow(m->fields[i].value)));
    (void)snprintf(t->sentence, sizeof(t->sentence), "%s", sentence ? sentence : "");
}

const struct question nobody = {.method = {"GET", 3},
                                       .host = {"api.example.com", 15},
                                       .path = {"/p/q?x=1", 8},
                                       .route = {"svc", 3}};

void turn(uint64_t ms)
{
    uint64_t start = clock_mono_ns();
    do
        loop_turn(loop, 10 * NS_PER_MS);
    while (clock_mono_ns() - start < ms * NS_PER_MS);
}

void begin_of(const struct credential *c, const struct question *q, uint64_t bad,
                     struct told *t)
{
    memset(t, 0, sizeof(*t));
    assert_int_equal(broker_ask(broker, c, q, bad, on_told, t, &t->ask), ERR_OK);
    assert_int_equal(t->times, 0); /* never from inside */
}

void until_told(struct told *t)
{
    uint64_t start = clock_mono_ns();
    while (!t->times && clock_mono_ns() - start < 20000 * NS_PER_MS)
        loop_turn(loop, 10 * NS_PER_MS);
    assert_int_equal(t->times, 1);
}

struct told get_bad(const struct credential *c, uint64_t bad)
{
    static struct told t;
    begin_of(c, &nobody, bad, &t);
    until_told(&t);
    return t;
}

struct told get(const struct credential *c)
{
    return get_bad(c, 0);
}

struct credential of(struct service_conf *s, const char *key)
{
    struct credential c;
    struct errctx ctx = {0};
    if (!s->name.n)
        s->name = STR("svc");
    s->credential_key = str_from(key);
    assert_int_equal(credential_init(&c, s, &config, &ctx), ERR_OK);
    return c;
}

/* Everything the audit got since the last look. */
const char *audited(void)
{
    static char text[65536];
    const char *p;
    size_t n, all = 0;
    while (queue_peek(audit, &p, &n)) {
        size_t room = sizeof(text) - 1 - all, take = n < room ? n : room;
        memcpy(text + all, p, take);
        all += take;
        queue_done(audit, n);
    }
    text[all] = 0;
    return text;
}

void expect_sentence(const struct told *t, const char *want)
{
    assert_int_equal(t->e, ERR_CREDENTIAL_UNAVAILABLE);
    if (!strstr(t->sentence, want))
        fail_msg("\"%s\" does not hold \"%s\"", t->sentence, want);
}

struct capture_conf capture;
struct str words[8];

struct credential cmd_of(struct service_conf *s, const char *program)
{
    words[0] = str_from(program);
    capture.name = STR("helper");
    capture.command = words;
    capture.n_command = capture.n_command ? capture.n_command : 1;
    capture.timeout_ms = capture.timeout_ms ? capture.timeout_ms : 5000;
    config.captures.v = &capture;
    config.captures.n = 1;
    return of(s, "cmd://helper");
}

int fresh_capture(void **state)
{
    capture = (struct capture_conf){.ttl_ms = 900000};
    return setup(state);
}

int end_capture(void **state)
{
    config.captures.v = NULL;
    config.captures.n = 0;
    return teardown(state);
}

struct credential file_of(struct service_conf *s, const char *name)
{
    static char reference[4][200];
    static unsigned next;
    char *p = reference[next++ % 4];
    (void)snprintf(p, 200, "file://%s", in(name));
    return of(s, p);
}

struct entry *entry_of_last(void)
{
    struct source *s = LIST_ENTRY(broker->source_list.prev, struct source, node);
    return LIST_ENTRY(s->entry_list.next, struct entry, node);
}
