/* `nono why`: questions judged by the functions that judge requests, on a runtime built as a start
 * builds it. */
#include "cli/why.h"
#include "base/mem.h"
#include "cli/cli_int.h"
#include "cli/profile_load.h"
#include "cli/proxy_options.h"
#include "cli/question.h"
#include "cli/resolve_host.h"
#include "cli/route_rows.h"
#include "config/reference.h"
#include "policy/overlap.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    EXIT_DENIED = 1,
    EXIT_USAGE = 2,
    QUESTION_MAX_BYTES = 65536,
    NOTE_BYTES = 512,
    MORE_BYTES = 5 * NOTE_BYTES,
};

struct why {
    const struct runtime *runtime;
    bool json, resolve, many;
    bool lost; /* an answer could not be written */
    size_t asked, denied;
    struct buf out;
};

/* ---- one question ---- */

/* Every address of the name, as the gateway judges them before it connects. */
static void judge_addresses(const struct why *w, struct answer *a)
{
    struct addresses found = {.n = 0};
    struct errctx why = {0};
    struct decision *d = &a->decision;
    if (d->verdict != VERDICT_ALLOW || d->host.is_address || (d->chained && !d->resolve_here))
        return;
    enum err e = resolve_host(&d->host, w->runtime->timeout_ms[TIMEOUT_DNS], &found, &why);
    if (e) {
        answer_deny(a, str_from(err_name(e)), why.text);
        return;
    }
    for (unsigned i = 0; i < found.n; i++) {
        struct vetted_addr vetted;
        if (policy_addr(w->runtime->policy, d, &found.v[i], &vetted)) {
            answer_refresh(a);
            return;
        }
    }
}

/* ---- what is worth knowing beside the answer ---- */

/* Texts of an answer, each with its NUL, in one buffer that never moves. */
struct more {
    struct answer_more told;
    struct buf text;
};

static void PRINTF_LIKE(2, 3) add_note(struct more *m, const char *format, ...)
{
    char line[NOTE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    size_t before = m->text.n;
    if (m->told.n_notes == ARRAY_LEN(m->told.notes))
        return;
    buf_add_z(&m->text, line);
    if (buf_ok(&m->text))
        m->told.notes[m->told.n_notes++] = str_of(m->text.p + before, m->text.n - before);
}

/* Whether the secret is within reach where `why` runs, without reading it: the gateway may run elsewhere. */
static void note_secret(struct more *m, const struct service_conf *s)
{
    struct str rest = reference_rest(s->credential_key);
    enum reference_scheme source;
    struct errctx why = {0};
    char name[NOTE_BYTES];
    if (reference_source(s->credential_key, &source, &why) || !reference_at_hand(source) ||
        rest.n >= sizeof(name))
        return;
    memcpy(name, rest.p, rest.n);
    name[rest.n] = 0;
    if (source == REFERENCE_ENV && !getenv(name))
        add_note(m, "the variable %s is not set here: a gateway that runs without it answers with 503",
                 name);
    else if (source == REFERENCE_FILE && access(name, R_OK))
        add_note(m, "the file of its secret cannot be read here (%s): a gateway that cannot either "
                    "answers with 503",
                 err_errno_text(errno));
}

static void note_rival(const struct why *w, struct more *m, const struct route_view *v)
{
    const struct route *r = policy_route_equal(w->runtime->policy, v->index);
    struct route_view other;
    if (!r)
        return;
    route_view(r, &other);
    add_note(m, "the credential \"%.*s\" (%.*s) is as good a candidate: each serves its own prefix, and a "
                "request for the host itself is refused with 403",
             STR_ARG(other.id), STR_ARG(other.origin));
}

static void note_names(const struct why *w, struct more *m, const struct answer *a)
{
    const struct decision *d = &a->decision;
    if (a->allowed && !w->resolve && !d->host.is_address && d->host.n &&
        (!d->chained || d->resolve_here))
        add_note(m, "the name was not looked up: --resolve judges its addresses, too");
}

/* A route's own base URL is asked about as a path. */
static void note_gateway(const struct why *w, struct more *m, const struct question *q,
                         const struct answer *a)
{
    struct str rest = q->facts.path;
    if (a->allowed || q->facts.shape != SHAPE_FORWARD || q->facts.scheme != SCHEME_HTTP || !rest.n)
        return;
    rest = str_of(rest.p + 1, rest.n - 1);
    rest.n = str_find(rest, '/');
    if (policy_route_by_prefix(w->runtime->policy, rest))
        add_note(m, "if that address is the gateway itself, ask with --url %.*s",
                 q->facts.path.n > 200 ? 200 : (int)q->facts.path.n, q->facts.path.p);
}

static void find_more(const struct why *w, const struct question *q, const struct answer *a,
                      struct more *m)
{
    struct route_view v;
    if (answer_credential(a, &v)) {
        const struct service_conf *s = route_service(&w->runtime->config, v.id);
        if (s && !v.unavailable) {
            route_credential_place(&m->text, s);
            m->told.place = buf_ok(&m->text) ? buf_str(&m->text) : STR_NULL;
            note_secret(m, s);
        }
        note_rival(w, m, &v);
    }
    note_names(w, m, a);
    note_gateway(w, m, q, a);
}

static void answer_question(struct why *w, struct question *q)
{
    struct answer a;
    struct more more = {.told = {.n_notes = 0}};
    buf_init(&more.text, MORE_BYTES);
    question_ask(w->runtime->policy, q, &a);
    if (w->resolve)
        judge_addresses(w, &a);
    if (buf_reserve(&more.text, MORE_BYTES))
        find_more(w, q, &a, &more);
    if (w->json) {
        buf_add_z(&w->out, !w->many ? "" : w->asked ? ",\n" : "[");
        answer_json(&w->out, q, &a, &more.told);
    } else if (w->many) {
        answer_line(&w->out, q, &a);
    } else {
        answer_text(&w->out, q, &a, &more.told);
    }
    w->asked++;
    w->denied += !a.allowed;
    buf_fini(&more.text);
}

static void flush(struct why *w)
{
    w->lost |= !cli_answer(&w->out);
    buf_reset(&w->out);
}

/* ---- many: a line each ---- */

static void answer_lines(struct why *w, struct str text)
{
    struct str rest = text, line;
    while (str_next(&rest, '\n', &line)) {
        struct question q;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        question_parse(line, &q);
        answer_question(w, &q);
        if (w->out.n > QUESTION_MAX_BYTES)
            flush(w);
    }
}

/* Whole lines are answered as they come, so that somebody may ask one by one. */
static bool answer_input(struct why *w)
{
    struct buf text;
    bool ok = true;
    ssize_t n = 1;
    buf_init(&text, 2 * QUESTION_MAX_BYTES);
    while (ok && n) {
        char *room = buf_reserve(&text, QUESTION_MAX_BYTES);
        n = room ? read(STDIN_FILENO, room, QUESTION_MAX_BYTES) : -1;
        if (n < 0 && room && errno == EINTR)
            continue;
        ok = n >= 0;
        text.n += n > 0 ? (size_t)n : 0;
        size_t whole = n == 0 ? text.n : str_rfind(buf_str(&text), '\n');
        if (n > 0 && whole == text.n)
            whole = 0;
        answer_lines(w, str_of(text.p, whole));
        if (ok)
            buf_drop(&text, whole);
        flush(w);
    }
    buf_fini(&text);
    if (!ok)
        profile_say(STR("standard input cannot be read, or a line of it is too long"));
    return ok;
}

/* ---- the command ---- */

static const char *value_of(const struct args *args, enum option_id id)
{
    const struct arg *a = args_first(args, id);
    return a ? a->value : NULL;
}

/* What contradicts itself in the question; NULL: nothing. */
static const char *wrong_question(const struct args *args)
{
    const char *host = value_of(args, OPTION_HOST);
    bool url = value_of(args, OPTION_URL), path = value_of(args, OPTION_PATH);
    bool method = value_of(args, OPTION_METHOD);
    if (!host && !url)
        return "say what to ask about: --host HOST[:PORT] or --url URL";
    if (host && url)
        return "--host and --url exclude each other: leave one out";
    if (url && path)
        return "--url holds the path already: leave --path out";
    if (host && strcmp(host, "-") == 0 && (path || method))
        return "the lines of --host - say method and path themselves: leave --method and --path "
               "out";
    if (host && method && !path)
        return "--method needs --path PATH: without a path the answer is about the CONNECT";
    return NULL;
}

static int answer_all(struct why *w, const struct args *args)
{
    const char *host = value_of(args, OPTION_HOST), *url = value_of(args, OPTION_URL);
    struct str method = str_from(value_of(args, OPTION_METHOD));
    struct question q;
    bool ok = true;
    w->many = host && strcmp(host, "-") == 0;
    if (w->many) {
        ok = answer_input(w);
    } else {
        if (url)
            question_of_url(str_from(url), method, &q);
        else
            question_of_host(str_from(host), method, str_from(value_of(args, OPTION_PATH)), &q);
        answer_question(w, &q);
    }
    if (w->json)
        buf_add_z(&w->out, !w->many ? "\n" : w->asked ? "]\n" : "[]\n");
    flush(w);
    if (w->lost)
        profile_say(STR("standard output cannot be written"));
    ok = ok && !w->lost;
    return !ok ? EXIT_USAGE : w->denied ? EXIT_DENIED : 0;
}

static int run(const struct config *config, const struct args *args)
{
    struct runtime *runtime = loaded_runtime(config);
    struct why w = {.runtime = runtime,
                    .json = args_first(args, OPTION_JSON),
                    .resolve = args_first(args, OPTION_RESOLVE)};
    if (!runtime)
        return EXIT_USAGE;
    buf_init(&w.out, PRINT_MAX_BYTES);
    int code = answer_all(&w, args);
    buf_fini(&w.out);
    runtime_unref(runtime);
    return code;
}

int why_command(const struct args *args, char **envp)
{
    struct config config;
    struct settings warnings;
    struct buf error;
    const char *wrong = wrong_question(args);
    if (wrong) {
        cli_usage_error(args->command, str_from(wrong));
        return EXIT_USAGE;
    }
    buf_init(&error, LINE_MAX_BYTES);
    int code = cli_proxy_parse(args, envp, &config, &warnings, &error);
    cli_proxy_wipe(args, envp);
    if (code == EXIT_USAGE)
        cli_usage_error(args->command, buf_str(&error));
    else if (code)
        profile_say(buf_str(&error));
    code = code ? EXIT_USAGE : run(&config, args);
    buf_fini(&error);
    settings_fini(&warnings);
    config_fini(&config);
    return code;
}
