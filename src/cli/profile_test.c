/* `nono profile test`: expectations written beside a profile, judged by the functions that judge
 * requests. */
#include "base/encode.h"
#include "cli/cli_int.h"
#include "cli/profile_command.h"
#include "cli/profile_load.h"
#include "cli/question.h"
#include "cli/suggest.h"
#include "config/nearest.h"
#include <unistd.h>

enum { EXIT_FAILED = 1 };

struct tests {
    struct buf out;
    size_t passed, failed, wrong; /* wrong: mistakes of the file itself */
};

static void add_place(struct buf *out, const struct place *at)
{
    place_format(out, at);
    buf_add_z(out, ": ");
}

static void wrong(struct tests *t, const struct place *at, const char *before, struct str text,
                  const char *after)
{
    buf_add_z(&t->out, "[err] ");
    add_place(&t->out, at);
    buf_add_z(&t->out, before);
    encode_visible(&t->out, text);
    buf_add_z(&t->out, after);
    buf_add_c(&t->out, '\n');
    t->wrong++;
}

/* ---- the policy that is tested ---- */

static bool add_entry(struct tests *t, struct settings *list, const struct json *v)
{
    struct buf at;
    if (v->kind != JSON_STRING) {
        wrong(t, &v->at, "this must be a string", STR(""), "");
        return true;
    }
    buf_init(&at, LINE_MAX_BYTES);
    place_format(&at, &v->at);
    bool ok = settings_add(list, v->text, buf_str(&at));
    buf_fini(&at);
    return ok;
}

/* A string, or a list of them. */
static bool add_entries(struct tests *t, struct settings *list, const struct json *v)
{
    bool ok = true;
    if (v->kind != JSON_ARRAY)
        return add_entry(t, list, v);
    for (size_t i = 0; ok && i < v->n; i++)
        ok = add_entry(t, list, v->items[i]);
    return ok;
}

static bool set_one(struct tests *t, struct setting *one, const struct json *v)
{
    struct settings list = {0};
    bool ok = add_entry(t, &list, v);
    if (ok && list.n)
        ok = setting_set(one, list.v[0].value, list.v[0].origin);
    settings_fini(&list);
    return ok;
}

/* Paths are meant from the file that names them. */
static bool set_profile(struct tests *t, struct config *c, const struct json *v)
{
    struct buf path;
    struct str file = str_from(v->at.file);
    size_t slash = str_rfind(file, '/');
    bool is_path = v->kind == JSON_STRING &&
                   (str_find(v->text, '/') < v->text.n || str_ends(v->text, STR(".json")) ||
                    str_ends(v->text, STR(".jsonc")));
    if (!set_one(t, &c->profile, v))
        return false;
    if (!is_path || v->text.p[0] == '/' || slash == file.n)
        return true;
    buf_init(&path, LINE_MAX_BYTES);
    buf_add_str(&path, str_of(file.p, slash + 1));
    buf_add_str(&path, v->text);
    struct setting s = {buf_str(&path), STR("profile")};
    bool ok = buf_ok(&path) && setting_set(&c->profile, s.value, s.origin);
    buf_fini(&path);
    return ok;
}

static const char *const member_names[] = {
    "profile",     "extends",        "network_profile", "allow_domain",
    "deny_domain", "upstream_proxy", "upstream_bypass", "expect",
};

static void unknown_member(struct tests *t, const struct json_member *m)
{
    const char *best = NULL;
    unsigned least = (unsigned)(m->key.n / 3) + 2;
    for (size_t i = 0; i < ARRAY_LEN(member_names); i++) {
        unsigned d = nearest_distance(m->key, str_from(member_names[i]), least);
        if (d < least)
            least = d, best = member_names[i];
    }
    wrong(t, &m->key_at, "unknown key \"", m->key, best ? "\"; did you mean " : "\"");
    if (best) {
        t->out.n -= buf_ok(&t->out);
        buf_printf(&t->out, "\"%s\"?\n", best);
    }
}

static bool take_member(struct tests *t, struct config *c, const struct json_member *m)
{
    if (str_eq(m->key, STR("profile")))
        return set_profile(t, c, m->value);
    if (str_eq(m->key, STR("extends")))
        return add_entries(t, &c->extends, m->value);
    if (str_eq(m->key, STR("network_profile")))
        return set_one(t, &c->network_profile, m->value);
    if (str_eq(m->key, STR("allow_domain")))
        return add_entries(t, &c->allow, m->value);
    if (str_eq(m->key, STR("deny_domain")))
        return add_entries(t, &c->deny, m->value);
    if (str_eq(m->key, STR("upstream_proxy")))
        return set_one(t, &c->upstream_proxy, m->value);
    if (str_eq(m->key, STR("upstream_bypass")))
        return add_entries(t, &c->bypass, m->value);
    if (!str_eq(m->key, STR("expect")) && !str_eq(m->key, STR("$schema")))
        unknown_member(t, m);
    return true;
}

/* ---- expectations ---- */

struct expectation {
    enum verdict verdict;
    const struct json *requests; /* a string or a list of them */
    struct str rule, reason;     /* p NULL: any */
};

static const char *verdict_name(enum verdict v)
{
    return v == VERDICT_ALLOW ? "allowed" : v == VERDICT_REFUSE ? "denied" : "intercepted";
}

/* "default-*" is a beginning. */
static bool rule_fits(struct str wanted, struct str rule)
{
    if (wanted.n && wanted.p[wanted.n - 1] == '*' && !str_eq(wanted, rule))
        return str_starts(rule, str_of(wanted.p, wanted.n - 1));
    return str_eq(wanted, rule);
}

static bool holds(const struct expectation *e, const struct answer *a)
{
    struct str reason = str_from(a->reason);
    /* What needs interception is served by versions that can; `deny` is what happens here. */
    bool verdict = e->verdict == VERDICT_REFUSE ? !a->allowed : a->decision.verdict == e->verdict;
    return verdict && (!e->rule.p || rule_fits(e->rule, a->rule)) &&
           (!e->reason.p || memmem(reason.p, reason.n, e->reason.p, e->reason.n));
}

static void check_request(struct tests *t, const struct policy *policy, const struct expectation *e,
                          const struct json *request)
{
    struct question q;
    struct answer a;
    if (request->kind != JSON_STRING) {
        wrong(t, &request->at, "a request is a string", STR(""), "");
        return;
    }
    question_parse(request->text, &q);
    q.by_tunnel = false; /* what the policy says of the request itself */
    question_ask(policy, &q, &a);
    if (holds(e, &a)) {
        buf_add_z(&t->out, "[ok] ");
        encode_visible(&t->out, request->text);
        buf_printf(&t->out, " is %s\n", verdict_name(e->verdict));
        t->passed++;
        return;
    }
    t->failed++;
    buf_add_z(&t->out, "[err] ");
    add_place(&t->out, &request->at);
    encode_visible(&t->out, request->text);
    buf_printf(&t->out, " should be %s", verdict_name(e->verdict));
    if (e->rule.p) {
        buf_add_z(&t->out, " by ");
        encode_visible(&t->out, e->rule);
    }
    buf_add_z(&t->out, ": ");
    answer_line(&t->out, &q, &a);
}

static bool read_expectation(struct tests *t, const struct json *v, struct expectation *ret)
{
    struct expectation e = {0};
    size_t before = t->wrong;
    for (size_t i = 0; i < v->n; i++) {
        const struct json_member *m = &v->members[i];
        bool allow = str_eq(m->key, STR("allow")), intercept = str_eq(m->key, STR("intercept"));
        bool rule = str_eq(m->key, STR("rule")), reason = str_eq(m->key, STR("reason"));
        if (allow || intercept || str_eq(m->key, STR("deny"))) {
            if (e.requests)
                wrong(t, &m->key_at, "one of allow, deny and intercept, not also \"", m->key, "\"");
            e.requests = m->value;
            e.verdict = allow ? VERDICT_ALLOW : intercept ? VERDICT_INTERCEPT : VERDICT_REFUSE;
        } else if ((rule || reason) && m->value->kind == JSON_STRING) {
            *(rule ? &e.rule : &e.reason) = m->value->text;
        } else {
            wrong(
                t, &m->key_at,
                "an expectation has allow, deny or intercept, and rule or reason (strings); not \"",
                m->key, "\"");
        }
    }
    if (!e.requests)
        wrong(t, &v->at, "an expectation needs allow, deny or intercept", STR(""), "");
    *ret = e;
    return t->wrong == before;
}

static void check_expectation(struct tests *t, const struct policy *policy, const struct json *v)
{
    struct expectation e;
    if (v->kind != JSON_OBJECT) {
        wrong(t, &v->at, "an expectation is an object", STR(""), "");
        return;
    }
    if (!read_expectation(t, v, &e))
        return;
    if (e.requests->kind != JSON_ARRAY) {
        check_request(t, policy, &e, e.requests);
        return;
    }
    for (size_t i = 0; i < e.requests->n; i++)
        check_request(t, policy, &e, e.requests->items[i]);
}

/* ---- a file ---- */

static void run_expectations(struct tests *t, const struct config *c, const struct json *v)
{
    const struct json_member *expect = json_get(v, STR("expect"));
    if (!expect || expect->value->kind != JSON_ARRAY || expect->value->n == 0) {
        wrong(t, expect ? &expect->value->at : &v->at, "there must be a list \"expect\"", STR(""),
              "");
        return;
    }
    struct runtime *r = loaded_runtime(c);
    if (!r) {
        wrong(t, &v->at, "this configuration cannot be loaded", STR(""), "");
        return;
    }
    for (size_t i = 0; i < expect->value->n; i++)
        check_expectation(t, r->policy, expect->value->items[i]);
    runtime_unref(r);
}

static void run_group(struct tests *t, const struct json *v)
{
    struct config c;
    bool ok = true;
    size_t before = t->wrong;
    if (v->kind != JSON_OBJECT) {
        wrong(t, &v->at, "tests are an object, or a list of objects", STR(""), "");
        return;
    }
    config_init(&c);
    for (size_t i = 0; ok && i < v->n; i++)
        ok = take_member(t, &c, &v->members[i]);
    if (!ok)
        wrong(t, &v->at, "out of memory", STR(""), "");
    if (t->wrong == before)
        run_expectations(t, &c, v);
    config_fini(&c);
}

static void run_file(struct tests *t, const char *path)
{
    struct json_doc *doc = json_doc_new();
    const struct json *root = NULL;
    struct json_error why = {.at = {.file = path}};
    if (!doc || json_read_file(doc, path, &root, &why)) {
        struct place at = why.at.file ? why.at : (struct place){.file = path};
        wrong(t, &at, why.text[0] ? why.text : "it cannot be read", STR(""), "");
    } else if (root->kind == JSON_ARRAY && root->n) {
        for (size_t i = 0; i < root->n; i++)
            run_group(t, root->items[i]);
    } else {
        run_group(t, root);
    }
    json_doc_free(doc);
}

int profile_test(const struct args *args, char **envp)
{
    struct tests t = {.passed = 0};
    (void)envp;
    buf_init(&t.out, PRINT_MAX_BYTES);
    for (size_t i = 0; i < args->n_words; i++)
        run_file(&t, args->words[i]);
    buf_printf(&t.out, "%zu passed, %zu failed\n", t.passed, t.failed + t.wrong);
    bool failed = t.failed || t.wrong || t.passed == 0;
    int code = profile_answer(&t.out, failed ? EXIT_FAILED : 0);
    buf_fini(&t.out);
    return code;
}
