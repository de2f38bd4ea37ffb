/* `nono profile validate`: all problems of each file. */
#include "base/encode.h"
#include "cli/cli_int.h"
#include "cli/profile_command.h"
#include "cli/profile_load.h"
#include <unistd.h>

enum { EXIT_WRONG = 1, EXIT_OLD_KEYS = 2 };

/* What one file came to. */
struct result {
    const struct problems *problems;
    struct str file;
    bool valid;
    size_t old_keys;
};

/* The schema's notice for sections that were renamed. */
static bool is_old_key(const struct problem *p)
{
    static const char notice[] = " is an old name of ";
    return p->warning && memmem(p->message.p, p->message.n, notice, strlen(notice)) != NULL;
}

/* ---- text ---- */

static void add_problem_text(struct buf *out, const struct problem *p)
{
    buf_add_z(out, p->warning ? "[warn] " : "[err] ");
    if (p->at.file && *p->at.file) {
        place_format(out, &p->at);
        buf_add_z(out, ": ");
    }
    encode_visible(out, p->message);
    if (p->hint.n) {
        buf_add_z(out, " (");
        encode_visible(out, p->hint);
        buf_add_c(out, ')');
    }
    buf_add_c(out, '\n');
}

static void add_text(struct buf *out, const struct result *r)
{
    for (size_t i = 0; i < r->problems->n; i++)
        add_problem_text(out, &r->problems->v[i]);
    if (r->valid) {
        buf_add_z(out, "[ok] ");
        encode_visible(out, r->file);
        buf_add_c(out, '\n');
    }
}

/* ---- JSON (decision W2) ---- */

static void add_problem_json(struct buf *out, const struct problem *p)
{
    buf_add_z(out, "{\"file\":");
    encode_json(out, str_from(p->at.file ? p->at.file : ""));
    buf_printf(out, ",\"line\":%u,\"column\":%u,\"pointer\":", p->at.line, p->at.column);
    encode_json(out, p->pointer);
    buf_add_z(out, ",\"message\":");
    encode_json(out, p->message);
    buf_add_z(out, ",\"hint\":");
    if (p->hint.n)
        encode_json(out, p->hint);
    else
        buf_add_z(out, "null");
    buf_add_c(out, '}');
}

static void add_problems_json(struct buf *out, const struct problems *all, bool warnings)
{
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (all->v[i].warning != warnings)
            continue;
        buf_add_z(out, n++ ? "," : "");
        add_problem_json(out, &all->v[i]);
    }
}

static void add_json(struct buf *out, const struct result *r)
{
    buf_add_z(out, "{\"file\":");
    encode_json(out, r->file);
    buf_printf(out, ",\"valid\":%s,\"errors\":[", r->valid ? "true" : "false");
    add_problems_json(out, r->problems, false);
    buf_add_z(out, "],\"warnings\":[");
    add_problems_json(out, r->problems, true);
    buf_printf(out, "],\"deprecated_keys\":%zu}", r->old_keys);
}

/* ---- one after the other ---- */

static int check(const struct args *args, const char *name, struct buf *out)
{
    struct loaded l;
    loaded_profile(str_from(name), &l);
    if (l.resolve.tree)
        profile_notes(l.resolve.tree, &l.resolve.problems);
    struct result r = {
        .problems = &l.resolve.problems,
        .file = l.ok && l.config.profile_file.n ? l.config.profile_file : str_from(name),
        .valid = l.ok,
    };
    for (size_t i = 0; i < r.problems->n; i++)
        r.old_keys += is_old_key(&r.problems->v[i]);
    if (args_first(args, OPTION_JSON))
        add_json(out, &r);
    else
        add_text(out, &r);
    loaded_fini(&l);
    if (!r.valid)
        return EXIT_WRONG;
    return args_first(args, OPTION_STRICT) && r.old_keys ? EXIT_OLD_KEYS : 0;
}

int profile_validate(const struct args *args, char **envp)
{
    struct buf out;
    bool json = args_first(args, OPTION_JSON), many = args->n_words > 1;
    int worst = 0;
    (void)envp;
    buf_init(&out, PRINT_MAX_BYTES);
    buf_add_z(&out, json && many ? "[" : "");
    for (size_t i = 0; i < args->n_words; i++) {
        buf_add_z(&out, json && i ? ",\n" : "");
        int code = check(args, args->words[i], &out);
        if (code == EXIT_WRONG || worst == 0)
            worst = code;
    }
    buf_add_z(&out, json ? many ? "]\n" : "\n" : "");
    worst = profile_answer(&out, worst);
    buf_fini(&out);
    return worst;
}
