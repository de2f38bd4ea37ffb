#include "credential/broker.h"
#include "audit/events.h"
#include "audit/queue.h"
#include "base/assert.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "credential/broker_int.h"
#include "sys/clock.h"

/* ---- answers ---- */

static void ask_free(struct broker_ask *a)
{
    list_remove(&a->node);
    task_cancel(&a->task);
    material_unref(a->material);
    mem_free(a->asked.memory_);
    mem_free(a);
}

static void on_answer(struct task *t)
{
    struct broker_ask *a = CONTAINER_OF(t, struct broker_ask, task);
    list_remove(&a->node);
    a->fn(a->owner, a->answer, a->material, a->sentence);
    ask_free(a);
}

/* How long asking again is of no use. A file that appears is noticed at once: no long. */
static uint64_t failed_until(const struct broker_ask *a)
{
    const struct entry *e = a->entry;
    uint64_t now = loop_now(a->broker->env.control), soon = now + FILE_LOOK_MS * NS_PER_MS;
    if (!e || now >= e->failed_ns)
        return 0;
    return e->source->kind == &source_file && soon < e->failed_ns ? soon : e->failed_ns;
}

/* Told from the ready list: whoever asks is not called back while asking. */
static void answer(struct broker_ask *a, enum err e, struct material *m, const char *sentence)
{
    struct broker *b = a->broker;
    list_remove(&a->node);
    list_push(&b->answered, &a->node);
    a->answer = e;
    a->material = m ? material_ref(m) : NULL;
    if (e) {
        struct errctx text = {0};
        a->failed_until_ns = failed_until(a);
        (void)err_set(&text, e, "%s", sentence);
        memcpy(a->sentence, text.text, sizeof(a->sentence));
    }
    a->entry = NULL;
    task_run_soon(b->env.control, &a->task);
}

static const char *nomem_sentence(enum err e, const char *sentence)
{
    return e == ERR_NOMEM ? "out of memory" : sentence;
}

/* ---- what is told of it ---- */

static void record(struct broker *b, struct buf *line)
{
    if (b->env.audit && buf_ok(line))
        (void)queue_add(b->env.audit, line->p, line->n);
    buf_fini(line);
}

static void record_credential(struct source *s, const char *event, uint64_t version,
                              const char *reason)
{
    struct buf line;
    buf_init(&line, 65536);
    credential_event_format(&line, &(struct credential_event){.wall_ms = clock_wall_ms(),
                                                              .event = event,
                                                              .id = s->id,
                                                              .version = version,
                                                              .source = s->kind->name,
                                                              .reason = str_from(reason)});
    log_debug("credential %.*s: %s %s", STR_ARG(s->id), event, reason ? reason : "");
    record(s->broker, &line);
}

static void tell_failed(struct source *s, const char *sentence, struct str stderr_text)
{
    const struct broker_env *env = &s->broker->env;
    record_credential(s, "failed", 0, sentence);
    if (env->on_failed)
        env->on_failed(env->owner, s->id, sentence, stderr_text);
}

/* ---- entries ---- */

static void entry_free(struct entry *e)
{
    ASSERT(!e->run && list_empty(&e->asks));
    list_remove(&e->node);
    (void)map_remove(&e->source->entries, e->key);
    e->source->n_entries--;
    material_unref(e->current);
    mem_free(e->memory);
    mem_free(e);
}

static bool entry_idle(const struct entry *e)
{
    return !e->run && list_empty(&e->asks);
}

static void entry_evict(struct source *s)
{
    for (struct list *n = s->entry_list.next; n != &s->entry_list; n = n->next)
        if (entry_idle(LIST_ENTRY(n, struct entry, node))) {
            entry_free(LIST_ENTRY(n, struct entry, node));
            return;
        }
}

static struct entry *entry_make(struct source *s, struct str key)
{
    struct entry *e = mem_zalloc(sizeof(*e));
    if (!e)
        return NULL;
    e->source = s;
    list_init(&e->asks);
    list_init(&e->node);
    e->memory = mem_dup(key.n ? key.p : "", key.n);
    if (!e->memory || !map_put(&s->entries, str_of(e->memory, key.n), e)) {
        mem_free(e->memory);
        mem_free(e);
        return NULL;
    }
    e->key = str_of(e->memory, key.n);
    s->n_entries++;
    list_push(&s->entry_list, &e->node);
    return e;
}

static struct entry *entry_get(struct source *s, struct str key)
{
    struct entry *e = map_get(&s->entries, key);
    if (!e && s->n_entries >= MAX_ENTRIES)
        entry_evict(s);
    if (!e)
        e = entry_make(s, key);
    if (e) { /* the one asked last stands at the end */
        list_remove(&e->node);
        list_push(&s->entry_list, &e->node);
    }
    return e;
}

/* ---- sources ---- */

static bool source_idle(const struct source *s)
{
    for (struct list *n = s->entry_list.next; n != &s->entry_list; n = n->next)
        if (!entry_idle(LIST_ENTRY(n, struct entry, node)))
            return false;
    return true;
}

/* Workers that still hold something of it come back and ask: nobody watches over it any more. */
static void source_drop(struct source *s)
{
    struct broker *b = s->broker;
    while (!list_empty(&s->entry_list)) {
        struct entry *e = LIST_ENTRY(s->entry_list.next, struct entry, node);
        if (e->current && !e->current->end_ns)
            material_stop(e->current, 1);
        entry_free(e);
    }
    if (s->version > b->version_floor)
        b->version_floor = s->version;
    list_remove(&s->node);
    (void)map_remove(&b->sources, s->key);
    b->n_sources--;
    source_free(s);
}

/* Room for one more, and no secret stays for ever that a reload took away. */
static void sources_sweep(struct broker *b)
{
    uint64_t now = loop_now(b->env.control);
    struct list *n = b->source_list.next;
    while (n != &b->source_list) {
        struct source *s = LIST_ENTRY(n, struct source, node);
        n = n->next;
        bool old = now - s->used_ns > SOURCE_IDLE_MS * NS_PER_MS;
        if (!old && b->n_sources < MAX_SOURCES)
            return;
        if (source_idle(s))
            source_drop(s);
    }
}

static void on_file_changed(void *owner);

static enum err source_watch(struct source *s)
{
    char *path = source_path(s);
    if (!path)
        return ERR_NOMEM;
    enum err e = file_watch_open(s->broker->env.control, path, on_file_changed, s, &s->watch);
    mem_free(path);
    return e;
}

static enum err source_make(struct broker *b, const struct credential *c, struct str key,
                            struct source **ret_source)
{
    struct source *s = NULL;
    enum err e = source_new(c, key, &b->helpers, &s);
    if (e)
        return e;
    s->broker = b;
    s->version = b->version_floor;
    if (s->kind == &source_env)
        e = helper_env_hide(&b->helpers, s->rest);
    if (!e && s->kind == &source_file)
        e = source_watch(s);
    if (e || !map_put(&b->sources, s->key, s)) {
        source_free(s);
        return ERR_NOMEM;
    }
    list_push(&b->source_list, &s->node);
    b->n_sources++;
    *ret_source = s;
    return ERR_OK;
}

static enum err source_get(struct broker *b, const struct credential *c, struct source **ret_source,
                           struct errctx *ctx)
{
    struct buf key;
    enum err e = ERR_OK;
    if (c->gone)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "this kind of credential is not in this "
                                                        "version");
    buf_init(&key, 4096);
    buf_add_str(&key, c->id);
    buf_add_c(&key, 0);
    encode_hex(&key, &c->source_hash, sizeof(c->source_hash));
    if (!buf_ok(&key)) {
        buf_fini(&key);
        return ERR_NOMEM;
    }
    struct source *s = map_get(&b->sources, buf_str(&key));
    if (s) {
        list_remove(&s->node);
        list_push(&b->source_list, &s->node);
        s->used_ns = loop_now(b->env.control);
    }
    sources_sweep(b);
    if (!s)
        e = source_make(b, c, buf_str(&key), &s);
    buf_fini(&key);
    if (e)
        return e;
    s->used_ns = loop_now(b->env.control);
    *ret_source = s;
    return ERR_OK;
}

/* ---- what an attempt came to ---- */

static void set_life(struct source *s, struct material *m, uint64_t now)
{
    m->once = s->once;
    if (s->kind->look)
        return; /* a watch or the process's end decides */
    uint64_t end = now + s->ttl_ms * NS_PER_MS;
    if (!s->once && (!m->end_ns || end < m->end_ns))
        m->end_ns = end;
    uint64_t life = m->end_ns > now ? m->end_ns - now : 0;
    uint64_t last = life / 4 < REFRESH_MS * NS_PER_MS ? life / 4 : REFRESH_MS * NS_PER_MS;
    m->refresh_ns = s->once ? 0 : m->end_ns - last;
}

/* A file that holds what it held: what workers have stays good. */
static bool is_unchanged(const struct entry *e, const struct material *m)
{
    return e->source->kind->look && material_equal(e->current, m) &&
           !atomic_load_explicit(&e->current->until_ns_, memory_order_relaxed);
}

static void take_new(struct entry *e, struct material *m, bool for_refusal)
{
    struct source *s = e->source;
    uint64_t now = loop_now(s->broker->env.control);
    bool same = e->current && !s->once && material_equal(e->current, m);
    set_life(s, m, now);
    m->version = same ? e->current->version : ++s->version;
    if (same && material_worked(e->current))
        material_mark_worked(m);
    if (for_refusal && same && !s->kind->look) /* to read a file again costs nothing */
        e->hold_ns = now + FAILURE_MS * NS_PER_MS;
    else if (!same)
        e->hold_ns = 0;
    if (!same)
        e->for_refusal = for_refusal;
    e->failed_ns = 0;
    if (e->current && is_unchanged(e, m)) {
        material_unref(m);
        return;
    }
    if (e->current)
        material_stop(e->current, now);
    material_unref(e->current);
    e->current = m;
    e->stale = false;
    if (!same || !s->loaded)
        record_credential(s, s->loaded ? "refreshed" : "loaded", m->version, NULL);
    s->loaded = true;
}

/* It could not be read anew: what there was serves on. */
static void revive(struct entry *e)
{
    struct material *m = material_again(e->current);
    e->stale = false;
    material_unref(e->current);
    e->current = m;
}

/* A file that has gone leaves its last value for a while; one that holds something unusable does
 * not. What has an end of its own keeps it. */
static void take_failure(struct entry *e, enum err why, const char *sentence, struct str err_text)
{
    struct source *s = e->source;
    uint64_t now = loop_now(s->broker->env.control);
    e->failed_ns = now + FAILURE_MS * NS_PER_MS;
    e->failure = why;
    memcpy(e->failed, sentence, strnlen(sentence, sizeof(e->failed) - 1));
    e->failed[strnlen(sentence, sizeof(e->failed) - 1)] = 0;
    if (e->stale)
        revive(e);
    if (e->current && s->kind == &source_file && why != ERR_NOMEM)
        material_stop(e->current, why == ERR_NOT_FOUND ? now + FILE_GONE_MS * NS_PER_MS : now);
    if (why != ERR_NOMEM)
        tell_failed(s, sentence, err_text);
}

static bool satisfies(const struct broker_ask *a, const struct material *m, bool fresh)
{
    return m->version > a->newer_than || (fresh && a->refresh && m->version == a->newer_than);
}

static void answer_one(struct entry *e, struct broker_ask *a, enum err why)
{
    uint64_t now = loop_now(a->broker->env.control);
    bool valid = e->current && (e->current->once ? !why : material_valid(e->current, now));
    if (valid && satisfies(a, e->current, !why))
        answer(a, ERR_OK, e->current, NULL);
    else if (why)
        answer(a, why == ERR_NOMEM ? why : ERR_CREDENTIAL_UNAVAILABLE, NULL,
               nomem_sentence(why, e->failed));
    else
        answer(a, ERR_CREDENTIAL_UNAVAILABLE, NULL,
               "the source still gives the value that the upstream refused");
}

static void go_on(struct entry *e);

/* Everybody who waits for this attempt is told; those who came too late for it begin another. */
static void settle(struct entry *e, enum err why)
{
    struct list *n = e->asks.next;
    while (n != &e->asks) {
        struct broker_ask *a = LIST_ENTRY(n, struct broker_ask, node);
        n = n->next;
        if (!a->late)
            answer_one(e, a, why);
    }
    if (e->current && e->current->once) {
        material_unref(e->current);
        e->current = NULL;
    }
    if (!list_empty(&e->asks))
        go_on(e);
    else if (e->source->once && !e->failed_ns)
        entry_free(e);
}

static void finish(struct entry *e, enum err why, struct material *m, bool for_refusal,
                   const char *sentence, struct str err_text)
{
    if (why)
        take_failure(e, why, nomem_sentence(why, sentence), err_text);
    else
        take_new(e, m, for_refusal);
    settle(e, why);
}

/* ---- sources without a helper ---- */

static void look(struct entry *e, bool for_refusal)
{
    struct errctx ctx = {0};
    struct material *m = NULL;
    enum err why = e->source->kind->look(e->source, &m, &ctx);
    finish(e, why, m, for_refusal, ctx.text, STR_NULL);
}

static void on_file_changed(void *owner)
{
    struct source *s = owner;
    struct entry *e = map_get(&s->entries, STR(""));
    if (e) /* else nobody asked for it yet */
        look(e, false);
}

/* ---- helpers ---- */

/* The next use asks anew. Workers learn of it by their copies. */
static void make_stale(struct entry *e)
{
    e->failed_ns = e->hold_ns = 0;
    if (!e->current || e->stale)
        return;
    e->stale = true;
    material_stop(e->current, loop_now(e->source->broker->env.control));
}

static void run_free(struct run *r)
{
    struct broker *b = r->entry->source->broker;
    if (r->queued)
        b->n_queued--;
    else
        b->n_running--;
    list_remove(&r->node);
    r->entry->run = NULL;
    order_fini(&r->order);
    mem_free(r->asked.memory_);
    mem_free(r);
}

/* Arguments without what they may hold of secrets: texts in *out one behind the other. */
static size_t audit_arguments(const struct run *r, struct buf *out, struct str *v, size_t cap)
{
    size_t n = 0, ends[MAX_ARGUMENTS];
    struct str before = STR_NULL;
    for (; n < r->order.n_argv && n < cap && n < MAX_ARGUMENTS; n++) {
        struct str argument = str_from(r->order.argv[n]);
        scrub_argument(out, argument, before);
        before = argument;
        ends[n] = out->n;
    }
    if (!buf_ok(out))
        return 0;
    for (size_t i = 0; i < n; i++) {
        size_t from = i ? ends[i - 1] : 0;
        v[i] = str_of(out->p + from, ends[i] - from);
    }
    return n;
}

static void record_run(struct run *r, const struct child_result *result,
                       const struct report *report, struct str stderr_text, const char *reason)
{
    struct source *s = r->entry->source;
    const struct capture_conf *c = &s->capture;
    struct str argv[MAX_ARGUMENTS];
    struct buf arguments, line;
    uint64_t spent = clock_mono_ns() - r->start_ns;
    if (s->kind != &source_cmd || !s->broker->env.audit)
        return;
    buf_init(&arguments, 65536);
    buf_init(&line, 1u << 20);
    size_t n = audit_arguments(r, &arguments, argv, ARRAY_LEN(argv));
    struct capture_event event = {
        .wall_ms = clock_wall_ms(),
        .credential_id = s->id,
        .route_id = r->asked.route,
        .action = report->action,
        .name = c->name,
        .command = str_from(r->order.n_argv ? r->order.argv[0] : NULL),
        .argv = argv,
        .n_argv = n,
        .has_exit_status = result && result->end == CHILD_EXITED,
        .exit_status = result ? result->status : 0,
        .duration_ms = spent / NS_PER_MS,
        .stdout_bytes = result ? result->out.n : 0,
        .stderr_text = stderr_text,
        .cache_scope = str_of(r->asked.scope.p, str_find(r->asked.scope, '?')),
        .output_format = c->provider ? "provider_json" : c->output_json ? "json" : "text",
        .header_names = report->header_names,
        .n_header_names = report->n_header_names,
        .stdin_mode = c->provider     ? "provider_json"
                      : c->stdin_json ? "request_json"
                                      : "null",
        .interactive = c->stdio || c->stdin_terminal || c->open_urls,
        .has_urls = r->order.bridge != NULL,
        .urls_opened = r->order.bridge ? bridge_opened(r->order.bridge) : 0,
        .urls_refused = r->order.bridge ? bridge_refused(r->order.bridge) : 0,
        .target = r->asked.host,
        .method = r->asked.method,
        .path = str_of(r->asked.path.p, str_find(r->asked.path, '?')),
        .reason = str_from(reason)};
    capture_event_format(&line, &event);
    buf_fini(&arguments);
    record(s->broker, &line);
}

static void pump(struct broker *b);

static void on_child(void *owner, const struct child_result *result)
{
    struct run *r = owner;
    struct entry *e = r->entry;
    struct source *s = e->source;
    struct broker *b = s->broker;
    struct report report = {0};
    struct errctx ctx = {0};
    struct material *m = NULL;
    struct buf said;
    bool for_refusal = r->for_refusal, outdated = r->reloads != b->reloads && !s->once;
    r->child = NULL;
    enum err why = s->kind->collect(s, result, &m, &report, &ctx);
    buf_init(&said, 2 * STDERR_BYTES);
    buf_add_str(&said, result->err);
    scrub(&said, result->out, m);
    scrub(&said, STR_NULL, e->current);
    struct str text = buf_ok(&said) ? buf_str(&said) : STR_NULL;
    log_debug("helper of %.*s: %.*s", STR_ARG(s->id), STR_ARG(text));
    record_run(r, result, &report, text, why ? ctx.text : NULL);
    run_free(r);
    finish(e, why, m, for_refusal, ctx.text, text);
    if (outdated)
        make_stale(e); /* it may have read what was there before the reload */
    buf_wipe_fini(&said);
    pump(b);
}

/* Prepared no earlier than it runs: what waits for its turn holds no files. */
static void launch(struct run *r)
{
    struct errctx ctx = {0};
    struct entry *e = r->entry;
    struct source *s = e->source;
    r->start_ns = clock_mono_ns();
    enum err why = s->kind->prepare(s, &r->asked, &r->order, &ctx);
    if (!why)
        why = order_start(&r->order, s->broker->env.control, on_child, r, &r->child);
    if (!why)
        return;
    const char *action = r->order.failed_action ? r->order.failed_action : "spawn_failed";
    bool for_refusal = r->for_refusal;
    if (why != ERR_NOMEM)
        record_run(r, NULL, &(struct report){.action = action}, STR_NULL, ctx.text);
    run_free(r);
    finish(e, why, NULL, for_refusal, ctx.text, STR_NULL);
}

/* As many helpers at once as the machine bears; the others wait for their turn. */
static void pump(struct broker *b)
{
    while (b->n_running < MAX_RUNNING && !list_empty(&b->queue) && !b->closing) {
        struct run *r = LIST_ENTRY(list_first(&b->queue), struct run, node);
        list_remove(&r->node);
        r->queued = false;
        b->n_queued--;
        b->n_running++;
        list_push(&b->running, &r->node);
        launch(r);
    }
}

static bool asked_copy(struct asked *to, const struct asked *from)
{
    const struct str parts[] = {from->method, from->host, from->path, from->route, from->scope};
    struct str *const copies[] = {&to->method, &to->host, &to->path, &to->route, &to->scope};
    size_t n = 1;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        n += parts[i].n;
    char *p = to->memory_ = mem_alloc(n);
    for (size_t i = 0; p && i < ARRAY_LEN(parts); i++) {
        if (parts[i].n)
            memcpy(p, parts[i].p, parts[i].n);
        *copies[i] = str_of(p, parts[i].n);
        p += parts[i].n;
    }
    return p != NULL;
}

static enum err run_make(struct entry *e, const struct broker_ask *a, struct run **ret_run,
                         struct errctx *ctx)
{
    struct source *s = e->source;
    struct broker *b = s->broker;
    if (b->n_queued >= MAX_QUEUED)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "too many helpers wait for their turn");
    struct run *r = mem_zalloc(sizeof(*r));
    if (!r)
        return ERR_NOMEM;
    r->entry = e;
    r->for_refusal = a->refused;
    r->queued = true;
    r->reloads = b->reloads;
    list_init(&r->node);
    order_init(&r->order, s->env, 0);
    r->order.bridges = &b->bridges;
    b->n_queued++;
    if (!asked_copy(&r->asked, &a->asked)) {
        run_free(r);
        return ERR_NOMEM;
    }
    *ret_run = r;
    return ERR_OK;
}

static void start_helper(struct entry *e, struct broker_ask *a)
{
    struct errctx ctx = {0};
    struct broker *b = e->source->broker;
    enum err why = run_make(e, a, &e->run, &ctx);
    if (why) {
        finish(e, why, NULL, a->refused, ctx.text, STR_NULL);
        return;
    }
    list_push(&b->queue, &e->run->node);
    pump(b);
}

/* The first of those who wait begins; all the others join. What is not kept may only be shared by
 * those who asked for the very same thing before it was begun. */
static void go_on(struct entry *e)
{
    for (struct list *n = e->asks.next; n != &e->asks; n = n->next)
        LIST_ENTRY(n, struct broker_ask, node)->late = false;
    struct broker_ask *a = LIST_ENTRY(list_first(&e->asks), struct broker_ask, node);
    if (e->source->kind->look)
        look(e, a->refused);
    else
        start_helper(e, a);
}

/* ---- asking ---- */

/* What was fetched because of a refusal and is refused before it ever worked, with any worker. */
static bool hold_back(struct entry *e, const struct broker_ask *a, uint64_t now)
{
    bool again = a->refused && e->current && e->current->version <= a->newer_than;
    if (!again || e->stale)
        return false;
    if (e->for_refusal && !material_worked(e->current) && !e->hold_ns)
        e->hold_ns = now + FAILURE_MS * NS_PER_MS;
    return now < e->hold_ns;
}

static void notice_end(struct entry *e, uint64_t now)
{
    if (!e->current || material_valid(e->current, now) || (e->stale && now < e->current->end_ns))
        return;
    e->stale = false;
    record_credential(e->source, "expired", e->current->version, NULL);
    material_unref(e->current);
    e->current = NULL;
}

static void decide(struct broker_ask *a)
{
    struct entry *e = a->entry;
    struct source *s = e->source;
    uint64_t now = loop_now(a->broker->env.control);
    notice_end(e, now);
    if (e->current && !e->stale && satisfies(a, e->current, false))
        answer(a, ERR_OK, e->current, NULL);
    else if (a->refused && s->kind == &source_env && e->current)
        answer(a, ERR_CREDENTIAL_UNAVAILABLE, NULL,
               "the upstream refused it, and an environment variable is read at start only");
    else if (now < e->failed_ns && !e->run)
        answer(a, e->failure == ERR_NOMEM ? ERR_NOMEM : ERR_CREDENTIAL_UNAVAILABLE, NULL,
               e->failed);
    else if (hold_back(e, a, now))
        answer(a, ERR_CREDENTIAL_UNAVAILABLE, NULL,
               "the upstream refused it again: it is not fetched anew for a few seconds");
    else if (e->run)
        a->late = s->once && !e->run->queued;
    else
        go_on(e);
}

static enum err ask_copy_question(struct broker_ask *a, const struct credential *c,
                                  const struct question *q, struct str scope)
{
    struct asked from = {
        .method = q->method, .host = q->host, .path = q->path, .route = q->route, .scope = scope};
    if (!c->capture)
        from = (struct asked){.route = q->route};
    return asked_copy(&a->asked, &from) ? ERR_OK : ERR_NOMEM;
}

static enum err ask_place(struct broker_ask *a, const struct credential *c,
                          const struct question *q, struct errctx *ctx)
{
    struct source *s = NULL;
    struct str scope = STR_NULL;
    struct buf key;
    buf_init(&key, 4u << 20);
    enum err e = source_get(a->broker, c, &s, ctx);
    if (!e)
        e = credential_scope(c, q, &key, &scope, ctx);
    if (!e)
        e = ask_copy_question(a, c, q, scope);
    if (!e) {
        a->entry = entry_get(s, buf_str(&key));
        e = a->entry ? ERR_OK : ERR_NOMEM;
    }
    buf_fini(&key);
    return e;
}

static enum err ask(struct broker *b, const struct credential *c, const struct question *q,
                    const struct broker_ask *how, struct broker_ask **ret_ask)
{
    struct errctx ctx = {0};
    struct broker_ask *a = mem_zalloc(sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    *a = *how;
    a->broker = b;
    list_init(&a->node);
    task_init(&a->task, on_answer);
    enum err e = ask_place(a, c, q, &ctx);
    if (e == ERR_NOMEM) {
        ask_free(a);
        return e;
    }
    *ret_ask = a;
    if (e) {
        answer(a, ERR_CREDENTIAL_UNAVAILABLE, NULL, ctx.text);
        return ERR_OK;
    }
    list_push(&a->entry->asks, &a->node);
    decide(a);
    return ERR_OK;
}

enum err broker_ask(struct broker *b, const struct credential *c, const struct question *q,
                    uint64_t bad_version, broker_answer_fn *fn, void *owner,
                    struct broker_ask **ret_ask)
{
    struct broker_ask how = {
        .newer_than = bad_version, .refused = bad_version != 0, .fn = fn, .owner = owner};
    return ask(b, c, q, &how, ret_ask);
}

enum err broker_refresh(struct broker *b, const struct credential *c, const struct question *q,
                        uint64_t version, broker_answer_fn *fn, void *owner,
                        struct broker_ask **ret_ask)
{
    struct broker_ask how = {.newer_than = version, .refresh = true, .fn = fn, .owner = owner};
    return ask(b, c, q, &how, ret_ask);
}

static void run_withdraw(struct run *r)
{
    struct broker *b = r->entry->source->broker;
    if (!r->queued)
        record_run(r, NULL, &(struct report){.action = "withdrawn"}, STR_NULL,
                   "nobody waits for it any more");
    child_cancel(r->child);
    run_free(r);
    pump(b);
}

void broker_withdraw(struct broker_ask *a)
{
    if (!a)
        return;
    struct entry *e = a->entry;
    ask_free(a);
    if (!e)
        return;
    for (struct list *n = e->asks.next; n != &e->asks; n = n->next)
        if (!LIST_ENTRY(n, struct broker_ask, node)->late)
            return;
    if (e->run)
        run_withdraw(e->run);
    if (!list_empty(&e->asks))
        go_on(e);
    else if (e->source->once && !e->failed_ns)
        entry_free(e);
}

uint64_t broker_ask_failed_until(const struct broker_ask *a)
{
    return a->failed_until_ns;
}

/* ---- life ---- */

enum err broker_new(const struct broker_env *env, struct broker **ret_broker)
{
    struct broker *b = mem_zalloc(sizeof(*b));
    if (!b)
        return ERR_NOMEM;
    b->env = *env;
    map_init(&b->sources);
    list_init(&b->source_list);
    list_init(&b->queue);
    list_init(&b->running);
    list_init(&b->answered);
    enum err e = helper_env_init(&b->helpers, env->envp);
    if (e) {
        mem_free(b);
        return e;
    }
    e = bridges_init(&b->bridges, env->control, &b->helpers);
    if (e) {
        helper_env_fini(&b->helpers);
        mem_free(b);
        return e;
    }
    *ret_broker = b;
    return ERR_OK;
}

static void cancel_asks(struct list *asks)
{
    struct list *n;
    while ((n = list_first(asks))) {
        struct broker_ask *a = LIST_ENTRY(n, struct broker_ask, node);
        list_remove(&a->node);
        a->fn(a->owner, ERR_CANCELLED, NULL, "the gateway is ending");
        ask_free(a);
    }
}

void broker_free(struct broker *b)
{
    if (!b)
        return;
    b->closing = true;
    cancel_asks(&b->answered);
    for (struct list *n = b->source_list.next; n != &b->source_list; n = n->next) {
        struct source *s = LIST_ENTRY(n, struct source, node);
        for (struct list *k = s->entry_list.next; k != &s->entry_list; k = k->next) {
            struct entry *e = LIST_ENTRY(k, struct entry, node);
            cancel_asks(&e->asks);
            if (e->run) {
                child_cancel(e->run->child);
                run_free(e->run);
            }
        }
    }
    while (!list_empty(&b->source_list))
        source_drop(LIST_ENTRY(b->source_list.next, struct source, node));
    bridges_fini(&b->bridges);
    children_end(b->env.control);
    map_fini(&b->sources);
    helper_env_fini(&b->helpers);
    mem_free(b);
}

enum err broker_learn(struct broker *b, const struct config *config)
{
    struct str prefix = STR("env://");
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < config->services.n; i++) {
        struct str key = config->services.v[i].credential_key;
        if (str_starts(key, prefix))
            e = helper_env_hide(&b->helpers, str_of(key.p + prefix.n, key.n - prefix.n));
    }
    for (size_t i = 0; !e && i < config->n_env_sources; i++)
        e = helper_env_hide(&b->helpers, config->env_sources[i]);
    return e;
}

void broker_reload(struct broker *b)
{
    b->reloads++;
    for (struct list *n = b->source_list.next; n != &b->source_list; n = n->next) {
        struct source *s = LIST_ENTRY(n, struct source, node);
        if (s->kind == &source_file)
            on_file_changed(s);
        for (struct list *k = s->entry_list.next; !s->kind->look && k != &s->entry_list; k = k->next)
            make_stale(LIST_ENTRY(k, struct entry, node));
    }
}

void broker_probe(struct broker *b, const struct credential *c, struct buf *ret_sentence)
{
    struct source *s = NULL;
    struct errctx ctx = {0};
    uint64_t now = loop_now(b->env.control);
    enum err e = source_get(b, c, &s, &ctx);
    struct entry *only = s ? map_get(&s->entries, STR("")) : NULL;
    if (!e && only && only->current && material_valid(only->current, now))
        return;
    if (!e && only && now < only->failed_ns) {
        buf_add_z(ret_sentence, only->failed);
        return;
    }
    if (!e)
        e = s->kind->probe(s, &ctx);
    if (e)
        buf_add_z(ret_sentence, nomem_sentence(e, ctx.text));
}
