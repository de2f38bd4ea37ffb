#include "credential/material.h"
#include "base/assert.h"
#include "base/mem.h"

struct material *material_ref(struct material *m)
{
    uint32_t before = atomic_fetch_add_explicit(&m->refs_, 1, memory_order_relaxed);
    ASSERT(before > 0 && before < UINT32_MAX);
    return m;
}

void material_fields_free(struct material_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mem_free((char *)fields[i].name.p);
        secret_unref(fields[i].value);
    }
    mem_free(fields);
}

void material_unref(struct material *m)
{
    if (!m)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&m->refs_, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1)
        return;
    secret_unref(m->secret);
    material_fields_free(m->fields, m->n_fields);
    if (m->origin_)
        material_unref(m->origin_);
    mem_free(m);
}

bool material_valid(const struct material *m, uint64_t now_ns)
{
    const struct material *o = m->origin_ ? m->origin_ : m;
    uint64_t until = atomic_load_explicit(&o->until_ns_, memory_order_relaxed);
    return (m->end_ns == 0 || now_ns < m->end_ns) && (until == 0 || now_ns < until);
}

void material_stop(struct material *m, uint64_t until_ns)
{
    uint64_t now = atomic_load_explicit(&m->until_ns_, memory_order_relaxed);
    if (until_ns == 0)
        until_ns = 1;
    if (now == 0 || until_ns < now)
        atomic_store_explicit(&m->until_ns_, until_ns, memory_order_relaxed);
}

void material_mark_worked(struct material *m)
{
    struct material *o = m->origin_ ? m->origin_ : m;
    if (!atomic_load_explicit(&o->worked_, memory_order_relaxed))
        atomic_store_explicit(&o->worked_, true, memory_order_relaxed);
}

bool material_worked(const struct material *m)
{
    const struct material *o = m->origin_ ? m->origin_ : m;
    return atomic_load_explicit(&o->worked_, memory_order_relaxed);
}

struct material *material_new(struct secret *secret, struct material_field *fields, size_t n_fields)
{
    struct material *m = mem_zalloc(sizeof(*m));
    if (!m) {
        secret_unref(secret);
        material_fields_free(fields, n_fields);
        return NULL;
    }
    atomic_init(&m->refs_, 1);
    atomic_init(&m->until_ns_, 0);
    atomic_init(&m->worked_, false);
    m->secret = secret;
    m->fields = fields;
    m->n_fields = n_fields;
    return m;
}

static struct material_field *fields_copy(const struct material_field *from, size_t n)
{
    struct material_field *to = mem_zalloc(n * sizeof(*to));
    for (size_t i = 0; to && i < n; i++) {
        const char *name = mem_dup(from[i].name.p, from[i].name.n);
        if (!name) {
            material_fields_free(to, i);
            return NULL;
        }
        to[i] = (struct material_field){str_of(name, from[i].name.n), secret_ref(from[i].value)};
    }
    return to;
}

struct material *material_again(const struct material *m)
{
    struct material_field *fields = NULL;
    if (m->n_fields && !(fields = fields_copy(m->fields, m->n_fields)))
        return NULL;
    struct material *copy =
        material_new(m->secret ? secret_ref(m->secret) : NULL, fields, m->n_fields);
    if (!copy)
        return NULL;
    copy->version = m->version;
    copy->refresh_ns = m->refresh_ns;
    copy->end_ns = m->end_ns;
    copy->once = m->once;
    atomic_init(&copy->worked_, material_worked(m));
    return copy;
}

struct material *material_copy(struct material *m)
{
    struct material *copy = material_again(m);
    if (copy)
        copy->origin_ = material_ref(m->origin_ ? m->origin_ : m);
    return copy;
}

bool material_equal(const struct material *a, const struct material *b)
{
    if (!a->secret != !b->secret || a->n_fields != b->n_fields)
        return false;
    if (a->secret && !secret_equal(a->secret, secret_borrow(b->secret)))
        return false;
    for (size_t i = 0; i < a->n_fields; i++)
        if (!str_eq(a->fields[i].name, b->fields[i].name) ||
            !secret_equal(a->fields[i].value, secret_borrow(b->fields[i].value)))
            return false;
    return true;
}

enum err material_check(struct str value, const char *what, struct errctx *ctx)
{
    if (value.n == 0)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s is empty", what);
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c == '\r' || c == '\n')
            return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s holds a line break", what);
        if (ascii_is_ctl(c) && c != '\t')
            return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s holds a %s", what,
                           c ? "control character" : "NUL byte");
    }
    if (!str_is_utf8(value))
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s is no UTF-8 text", what);
    return ERR_OK;
}
