/* cmd:// — what a helper's stdout means (config.md 9.4, 9.5). */
#include "base/mem.h"
#include "credential/credential_int.h"
#include "credential/pick.h"
#include "sys/clock.h"

/* ---- times ---- */

static bool take_digits(struct str *s, size_t n, uint64_t least, uint64_t most, uint64_t *ret)
{
    if (s->n < n || !str_u64(str_of(s->p, n), most, ret) || *ret < least)
        return false;
    *s = str_of(s->p + n, s->n - n);
    return true;
}

static bool take_char(struct str *s, const char *any)
{
    if (!s->n || !s->p[0] || !strchr(any, s->p[0]))
        return false;
    *s = str_of(s->p + 1, s->n - 1);
    return true;
}

/* Days since 1970-01-01 in the Gregorian calendar; years begin in March. */
static uint64_t days_of(uint64_t year, uint64_t month, uint64_t day)
{
    year -= month <= 2;
    uint64_t era = year / 400, yoe = year % 400;
    uint64_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* "Z" or "+01:00": minutes east of UTC. */
static bool take_zone(struct str *s, int64_t *ret_minutes)
{
    uint64_t hours, minutes;
    bool west = s->n && s->p[0] == '-';
    if (take_char(s, "Zz")) {
        *ret_minutes = 0;
        return s->n == 0;
    }
    if (!take_char(s, "+-") || !take_digits(s, 2, 0, 23, &hours) || !take_char(s, ":") ||
        !take_digits(s, 2, 0, 59, &minutes))
        return false;
    *ret_minutes = (int64_t)(hours * 60 + minutes) * (west ? -1 : 1);
    return s->n == 0;
}

static bool parse_rfc3339(struct str s, uint64_t *ret_wall_ms)
{
    uint64_t year, month, day, hour, minute, second, ms = 0;
    int64_t zone;
    if (!take_digits(&s, 4, 1970, 9999, &year) || !take_char(&s, "-") ||
        !take_digits(&s, 2, 1, 12, &month) || !take_char(&s, "-") ||
        !take_digits(&s, 2, 1, 31, &day) || !take_char(&s, "Tt ") ||
        !take_digits(&s, 2, 0, 23, &hour) || !take_char(&s, ":") ||
        !take_digits(&s, 2, 0, 59, &minute) || !take_char(&s, ":") ||
        !take_digits(&s, 2, 0, 60, &second))
        return false;
    if (take_char(&s, ".")) {
        uint64_t digit, unit = 100;
        size_t before = s.n;
        for (; take_digits(&s, 1, 0, 9, &digit); unit /= 10)
            ms += digit * unit;
        if (s.n == before)
            return false;
    }
    if (!take_zone(&s, &zone))
        return false;
    int64_t at = (int64_t)(days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second);
    at -= zone * 60;
    *ret_wall_ms = at > 0 ? (uint64_t)at * 1000 + ms : 0;
    return true;
}

bool time_parse(struct str text, uint64_t *ret_wall_ms)
{
    uint64_t seconds, fraction;
    size_t dot = str_find(text, '.');
    if (!str_u64(str_of(text.p, dot), UINT64_C(1000000000000), &seconds))
        return parse_rfc3339(text, ret_wall_ms);
    if (dot < text.n && /* whole seconds do */
        !str_u64(str_of(text.p + dot + 1, text.n - dot - 1), UINT64_MAX, &fraction))
        return false;
    *ret_wall_ms = seconds * 1000;
    return true;
}

/* ---- values ---- */

static enum err bad(struct report *report, struct errctx *ctx, const char *sentence)
{
    report->action = "invalid_json_output";
    return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s", sentence);
}

static enum err take_text(struct str value, const char *what, struct secret **ret_secret,
                          struct errctx *ctx)
{
    struct buf text;
    enum err e;
    if (pick_kind(value) != '"')
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "%s is no text", what);
    buf_init(&text, VALUE_BYTES);
    pick_text(value, &text);
    e = buf_ok(&text) ? material_check(buf_str(&text), what, ctx) : ERR_NOMEM;
    if (!e) {
        *ret_secret = secret_new(buf_str(&text));
        e = *ret_secret ? ERR_OK : ERR_NOMEM;
    }
    buf_wipe_fini(&text);
    return e;
}

/* The name as the list writes it, which outlives the helper's output; p NULL: not allowed. */
static struct str allowed_name(const struct capture_conf *c, struct str key)
{
    struct buf text;
    struct str found = STR_NULL;
    buf_init(&text, 1024);
    pick_text(key, &text);
    for (size_t i = 0; buf_ok(&text) && i < c->n_allow_headers; i++)
        if (str_eq_nocase(c->allow_headers[i], buf_str(&text)) &&
            header_is_safe(c->allow_headers[i]))
            found = c->allow_headers[i];
    buf_fini(&text);
    return found;
}

static bool named_already(const struct material_field *v, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(v[i].name, name))
            return true;
    return false;
}

static enum err add_field(const struct capture_conf *c, struct str key, struct str value,
                          struct material_field *v, size_t *n, struct report *report,
                          struct errctx *ctx)
{
    struct str name = allowed_name(c, key);
    if (!name.p)
        return bad(report, ctx, "the helper returned a header field that allow_headers does not "
                                "name");
    if (*n == HEADER_FIELDS)
        return bad(report, ctx, "the helper returned too many header fields");
    if (named_already(v, *n, name))
        return bad(report, ctx, "the helper returned a header field twice");
    enum err e = take_text(value, "a header field that the helper returned", &v[*n].value, ctx);
    if (e) {
        report->action = "invalid_json_output";
        return e;
    }
    const char *copy = mem_dup(name.p, name.n);
    if (!copy) {
        secret_unref(v[*n].value);
        return ERR_NOMEM;
    }
    report->header_names[report->n_header_names++] = name;
    v[(*n)++].name = str_of(copy, name.n);
    return ERR_OK;
}

static enum err take_headers(const struct capture_conf *c, struct str headers,
                             struct material **ret_material, struct report *report,
                             struct errctx *ctx)
{
    struct str key, value;
    size_t at = 0, n = 0;
    enum err e = ERR_OK;
    if (pick_kind(headers) != '{')
        return bad(report, ctx, "the helper's output has no object `headers`");
    struct material_field *v = mem_zalloc(HEADER_FIELDS * sizeof(*v));
    if (!v)
        return ERR_NOMEM;
    while (!e && pick_member(headers, &at, &key, &value))
        e = add_field(c, key, value, v, &n, report, ctx);
    if (!e && n == 0)
        e = bad(report, ctx, "the helper's `headers` is empty");
    if (e) {
        material_fields_free(v, n);
        return e;
    }
    *ret_material = material_new(NULL, v, n);
    return *ret_material ? ERR_OK : ERR_NOMEM;
}

static enum err take_provider(const struct capture_conf *c, struct str root,
                              struct material **ret_material, struct report *report,
                              struct errctx *ctx)
{
    struct str material = pick_get(root, "material"), type = pick_get(material, "type");
    struct secret *secret = NULL;
    if (str_eq(type, STR("\"headers\"")))
        return take_headers(c, pick_get(material, "headers"), ret_material, report, ctx);
    if (!str_eq(type, STR("\"secret\"")))
        return bad(report, ctx,
                   "the provider's `material` has neither the type secret nor headers");
    enum err e = take_text(pick_get(material, "value"), "the provider's secret", &secret, ctx);
    if (e) {
        report->action = "invalid_json_output";
        return e;
    }
    *ret_material = material_new(secret, NULL, 0);
    return *ret_material ? ERR_OK : ERR_NOMEM;
}

/* `expires_at`, where there is one: its end on our clock. */
static enum err read_end(struct str root, uint64_t now_ns, uint64_t wall_ms, uint64_t *ret_end_ns,
                         struct report *report, struct errctx *ctx)
{
    struct str value = pick_get(root, "expires_at");
    struct buf text;
    uint64_t at = 0;
    if (!value.p || pick_kind(value) == 'n')
        return ERR_OK;
    buf_init(&text, 256);
    if (pick_kind(value) == '"')
        pick_text(value, &text);
    else
        buf_add_str(&text, value);
    bool good = buf_ok(&text) && time_parse(buf_str(&text), &at);
    buf_wipe_fini(&text);
    if (!good)
        return bad(report, ctx, "the helper's `expires_at` is neither RFC 3339 nor Unix seconds");
    if (at <= wall_ms)
        return bad(report, ctx, "the helper returned a value that has expired already");
    at -= wall_ms;
    *ret_end_ns = now_ns + (at < FAR_MS ? at : FAR_MS) * NS_PER_MS;
    return ERR_OK;
}

static enum err read_json(const struct capture_conf *c, struct str out, uint64_t now_ns,
                          uint64_t wall_ms, struct material **ret_material, struct report *report,
                          struct errctx *ctx)
{
    struct material *m = NULL;
    uint64_t end_ns = 0;
    if (!pick_valid(out))
        return bad(report, ctx, "the helper's output is no valid JSON");
    struct str root = str_trim(out);
    while (root.n && strchr(" \t\r\n", root.p[0]))
        root.p++, root.n--;
    if (pick_kind(root) != '{')
        return bad(report, ctx, "the helper's output is no JSON object");
    enum err e = read_end(root, now_ns, wall_ms, &end_ns, report, ctx);
    if (!e)
        e = c->provider ? take_provider(c, root, &m, report, ctx)
                        : take_headers(c, pick_get(root, "headers"), &m, report, ctx);
    if (e)
        return e;
    m->end_ns = end_ns;
    *ret_material = m;
    return ERR_OK;
}

enum err capture_read(const struct capture_conf *c, struct str out, uint64_t now_ns,
                      uint64_t wall_ms, struct material **ret_material, struct report *report,
                      struct errctx *ctx)
{
    enum err e;
    out = trim_lines(out);
    report->action = "captured";
    if (out.n == 0) {
        report->action = "empty_stdout";
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE, "the helper printed nothing");
    }
    if (!str_is_utf8(out)) {
        report->action = "non_utf8_stdout";
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "what the helper printed is no UTF-8 text");
    }
    if (c->provider || c->output_json)
        return read_json(c, out, now_ns, wall_ms, ret_material, report, ctx);
    e = material_take(out, "what the helper printed", ret_material, ctx);
    if (e)
        report->action = "collect_failed";
    return e;
}
