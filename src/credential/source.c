/* A source as the broker keeps it: everything that decides what it yields, copied. */
#include "base/mem.h"
#include "credential/credential_int.h"

static const struct source_kind *const kinds[] = {&source_env, &source_file,  &source_keyring,
                                                  &source_op,  &source_bw, &source_apple,
                                                  &source_cmd};

const struct source_kind *source_kind_of(enum reference_scheme scheme)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i]->scheme == scheme)
            return kinds[i];
    return NULL;
}

static struct str take(struct source *s, struct str text, bool *ok)
{
    struct str copy = config_text(&s->store, text);
    *ok &= copy.p != NULL;
    return copy;
}

static struct str *take_list(struct source *s, const struct str *v, size_t n, bool *ok)
{
    struct str *copy = config_alloc(&s->store, n * sizeof(*copy) + 1);
    *ok &= copy != NULL;
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = take(s, v[i], ok);
    return copy;
}

static bool take_capture(struct source *s, const struct capture_conf *c)
{
    bool ok = true;
    s->has_capture = true;
    s->capture = *c;
    s->capture.name = take(s, c->name, &ok);
    s->capture.origin = STR_NULL;
    s->capture.cache_path_regex = STR_NULL;
    s->capture.command = take_list(s, c->command, c->n_command, &ok);
    s->capture.allow_headers = take_list(s, c->allow_headers, c->n_allow_headers, &ok);
    s->capture.allow_origins = take_list(s, c->allow_origins, c->n_allow_origins, &ok);
    if (c->provider_config.n)
        s->capture.provider_config = take(s, c->provider_config, &ok);
    return ok;
}

static bool fill(struct source *s, const struct credential *c, struct str key)
{
    bool ok = true;
    s->id = take(s, c->id, &ok);
    s->reference = take(s, c->conf->credential_key, &ok);
    s->key = take(s, key, &ok);
    s->rest = reference_rest(s->reference);
    if (c->capture)
        ok &= take_capture(s, c->capture);
    s->once = c->once;
    s->ttl_ms = c->capture ? c->capture->ttl_ms : c->conf->cache_ttl_ms;
    if (s->ttl_ms > FAR_MS)
        s->ttl_ms = FAR_MS;
    return ok;
}

enum err source_new(const struct credential *c, struct str key, const struct helper_env *env,
                    struct source **ret_source)
{
    struct source *s = mem_zalloc(sizeof(*s));
    if (!s)
        return ERR_NOMEM;
    config_init(&s->store);
    map_init(&s->entries);
    list_init(&s->entry_list);
    list_init(&s->node);
    s->env = env;
    s->kind = source_kind_of(c->source);
    if (!s->kind || !fill(s, c, key)) {
        source_free(s);
        return ERR_NOMEM;
    }
    *ret_source = s;
    return ERR_OK;
}

void source_free(struct source *s)
{
    file_watch_close(s->watch);
    map_fini(&s->entries);
    config_fini(&s->store);
    mem_free(s);
}
