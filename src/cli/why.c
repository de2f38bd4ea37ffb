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
#include <errno.h>
#include <unistd.h>

enum { EXIT_DENIED = 1, EXIT_USAGE = 2, QUESTION_MAX_BYTES = 65536, PLACE_MAX_BYTES = 512 };

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

/* Where the credential goes that the request would get; out stays empty when there is none. */
static void find_place(const struct why *w, const struct answer *a, struct buf *out)
{
    struct route_view v;
    if (!answer_credential(a, &v))
        return;
    const struct service_conf *s = route_service(&w->runtime->config, v.id);
    if (s)
        route_credential_place(out, s);
}

static void answer_question(struct why *w, struct question *q)
{
    struct answer a;
    struct buf place;
    buf_init(&place, PLACE_MAX_BYTES);
    question_ask(w->runtime->policy, q, &a);
    if (w->resolve)
        judge_addresses(w, &a);
    find_place(w, &a, &place);
    if (w->json) {
        buf_add_z(&w->out, !w->many ? "" : w->asked ? ",\n" : "[");
        answer_json(&w->out, q, &a, buf_str(&place));
    } else if (w->many) {
        answer_line(&w->out, q, &a);
    } else {
        answer_text(&w->out, q, &a, buf_str(&place));
    }
    w->asked++;
    w->denied += !a.allowed;
    buf_fini(&place);
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
