/* The broker on the control loop, and what every new runtime needs of it. */
#include "server/server_int.h"

#include "base/log.h"
#include "base/mem.h"
#include "credential/broker.h"
#include "credential/table.h"
#include "sys/clock.h"

#include <unistd.h>

enum { WARN_EVERY_MS = 60000 };

/* Of the gateway's own state, so worth a warning; each at most once a minute. */
static void on_failed(void *owner, struct str id, const char *sentence, struct str stderr_text)
{
    struct server *s = owner;
    uint64_t hash = str_hash(id), now = clock_mono_ns();
    uint64_t *last = &s->warned_ns[hash % ARRAY_LEN(s->warned_ns)];
    enum log_level level = !*last || now - *last > WARN_EVERY_MS * NS_PER_MS ? LOG_WARN : LOG_INFO;

    if (level == LOG_WARN)
        *last = now;
    if (stderr_text.n)
        log_write(level, "credential %.*s: %s; it said: %.*s", STR_ARG(id), sentence, STR_ARG(stderr_text));
    else
        log_write(level, "credential %.*s: %s", STR_ARG(id), sentence);
}

enum err server_open_broker(struct server *s)
{
    struct broker_env env = {.control = s->control,
                             .audit = s->audit,
                             .envp = environ,
                             .on_failed = on_failed,
                             .owner = s};
    enum err e = broker_new(&env, &s->broker);

    if (e == ERR_OK)
        e = broker_learn(s->broker, &s->runtime->config);
    s->shared.broker = s->broker;
    s->shared.control = s->control;
    return e;
}

/* The array, and its texts behind it. */
static struct str *gather(struct server *s, size_t n, struct buf *texts)
{
    size_t *ends = mem_zalloc(n * sizeof(*ends));
    struct str *all = NULL;

    for (size_t i = 0; ends && i < n; i++) {
        const struct credential *c = credentials_at(s->runtime, (int)i);

        if (c)
            broker_probe(s->broker, c, texts);
        ends[i] = texts->n;
    }
    if (ends && buf_ok(texts))
        all = mem_zalloc(n * sizeof(*all) + texts->n);
    for (size_t i = 0; all && i < n; i++) {
        size_t start = i ? ends[i - 1] : 0;

        all[i] = str_of((char *)(all + n) + start, ends[i] - start);
    }
    if (all && texts->n)
        memcpy(all + n, texts->p, texts->n);
    mem_free(ends);
    return all;
}

struct str *server_probe(struct server *s, size_t *ret_n)
{
    size_t n = credentials_count(s->runtime);
    struct buf texts;
    struct str *all;

    if (!n || !s->broker)
        return NULL;
    buf_init(&texts, 1 << 20);
    all = gather(s, n, &texts);
    buf_fini(&texts);
    if (all)
        *ret_n = n;
    return all;
}

void server_close_broker(struct server *s)
{
    if (s->broker)
        broker_free(s->broker);
    s->broker = NULL;
}

enum err server_load_runtime(struct server *s, uint64_t generation, struct runtime **ret_runtime, char **ret_report,
                             struct errctx *ctx)
{
    struct runtime *rt = NULL;
    enum err e = runtime_load(s->config, s->token, generation, &rt, ret_report, ctx);

    if (e != ERR_OK)
        return e;
    e = credentials_attach(rt, ctx);
    if (e == ERR_OK) {
        *ret_runtime = rt;
        return ERR_OK;
    }
    runtime_unref(rt);
    mem_free(*ret_report); /* notices; the sentence is in ctx */
    *ret_report = NULL;
    return e;
}
