#include "cli/args.h"
#include "base/mem.h"
#include "cli/cli_int.h"
#include "cli/suggest.h"

struct scan {
    int argc;
    char **argv;
    int at; /* next argument */
    struct args *out;
    struct buf *error;
};

/* Each failing step ends with `return fail(s, …)`. */
static bool fail(struct scan *s, const char *text)
{
    buf_add_z(s->error, text);
    return false;
}

static bool add(struct scan *s, const struct option_row *row, struct str spelling, char *value)
{
    struct args *a = s->out;
    const struct arg *before = args_first(a, row->id);
    if (before && !(row->flags & (OPT_MULTI | OPT_COUNT))) {
        buf_add_str(s->error, spelling);
        if (!str_eq(before->spelling, spelling)) {
            buf_add_z(s->error, " means the same as ");
            buf_add_str(s->error, before->spelling);
        }
        return fail(s, " is given twice: leave one out");
    }
    struct arg *v = mem_realloc(a->v, (a->n + 1) * sizeof(*v));
    if (!v)
        return fail(s, "out of memory");
    a->v = v;
    a->v[a->n++] = (struct arg){row, spelling, value};
    a->help |= row->id == OPTION_HELP;
    a->version |= row->id == OPTION_VERSION;
    return true;
}

/* May this option stand here? Only global ones before the subcommand; behind it those of its own.
 */
static bool placed(struct scan *s, const struct option_row *row, struct str spelling)
{
    const struct command *c = s->out->command;
    if (row->flags & OPT_GLOBAL || (c && option_belongs(row, c)))
        return true;
    buf_add_str(s->error, spelling);
    buf_add_z(s->error, c ? " is an option of" : " belongs behind the subcommand:");
    unsigned n = 0;
    for (size_t i = 0; command_at(i); i++) {
        if (option_belongs(row, command_at(i)))
            buf_printf(s->error, "%s 'nono %s'", n++ ? "," : "", command_at(i)->name);
    }
    return fail(s, c ? " only" : "");
}

static bool value_ok(struct scan *s, const struct option_row *row, struct str spelling, char *value)
{
    if (*value == 0 && row->id != OPTION_PASS) {
        buf_add_str(s->error, spelling);
        return fail(s, " is given an empty value: give one, or leave the option out");
    }
    if (!(row->flags & OPT_PATH) && !str_is_utf8(str_from(value))) {
        buf_add_str(s->error, spelling);
        return fail(s, ": the value is not valid UTF-8");
    }
    return add(s, row, spelling, value);
}

/* The value in an argument of its own. What begins with '-' is an option; the text is not repeated,
 * it may be a password. */
static bool take_value(struct scan *s, const struct option_row *row, struct str spelling)
{
    char *next = s->at < s->argc ? s->argv[s->at] : NULL;
    if (next && (next[0] != '-' || next[1] == 0)) {
        s->at++;
        return value_ok(s, row, spelling, next);
    }
    buf_add_str(s->error, spelling);
    buf_add_z(s->error, " needs a value: ");
    buf_add_str(s->error, spelling);
    buf_add_z(s->error, next ? "=" : " ");
    buf_add_z(s->error, row->value);
    return fail(s, next ? " (with '=' where the value begins with '-')" : "");
}

static bool unknown(struct scan *s, struct str spelling, struct str name)
{
    buf_add_z(s->error, "unknown option ");
    cli_add_quoted(s->error, spelling);
    const char *meant = name.n > 1 ? suggest_option(name, s->out->command) : NULL;
    if (meant)
        buf_printf(s->error, "; did you mean --%s?", meant);
    return false;
}

static bool long_option(struct scan *s, char *arg)
{
    struct str text = str_from(arg);
    size_t equals = str_find(text, '=');
    struct str spelling = str_of(arg, equals), name = str_of(arg + 2, equals - 2);
    const struct option_row *row = option_find(name);
    if (!row)
        return unknown(s, spelling, name);
    if (!placed(s, row, spelling))
        return false;
    if (!row->value && equals < text.n) {
        buf_add_str(s->error, spelling);
        return fail(s, " is a switch and takes no value: leave out what is behind the '='");
    }
    if (!row->value)
        return add(s, row, spelling, NULL);
    return equals < text.n ? value_ok(s, row, spelling, arg + equals + 1)
                           : take_value(s, row, spelling);
}

/* -v, -vvs; and -pVALUE, -p=VALUE, -p VALUE for short options that take one. */
static bool short_options(struct scan *s, char *arg)
{
    for (char *c = arg + 1; *c; c++) {
        const struct option_row *row = option_find_short(*c);
        if (!row) {
            char spelling[] = {'-', *c};
            return unknown(s, str_of(spelling, 2), str_of(c, 1));
        }
        struct str spelling = str_from(row->short_name);
        if (!placed(s, row, spelling))
            return false;
        if (row->value && c[1])
            return value_ok(s, row, spelling, c[1] == '=' ? c + 2 : c + 1);
        if (row->value)
            return take_value(s, row, spelling);
        if (!add(s, row, spelling, NULL))
            return false;
    }
    return true;
}

static bool unknown_command(struct scan *s, struct str name)
{
    buf_add_z(s->error, "unknown command ");
    cli_add_quoted(s->error, name);
    const char *meant = suggest_command(name);
    if (meant)
        buf_printf(s->error, "; did you mean 'nono %s'?", meant);
    return meant ? false : fail(s, "; 'nono help' lists the commands");
}

/* The subcommand: one word, or a group and a second word. */
static bool command_word(struct scan *s, char *arg)
{
    struct args *a = s->out;
    struct buf name;
    buf_init(&name, 1024);
    if (a->group.n)
        buf_printf(&name, "%.*s ", STR_ARG(a->group));
    buf_add_z(&name, arg);
    struct str whole = buf_ok(&name) ? buf_str(&name) : str_from(arg);
    a->command = command_find(whole);
    bool group = !a->command && !a->group.n && command_group_help(whole);
    if (group)
        a->group = str_from(arg);
    bool ok = a->command || group || unknown_command(s, whole);
    buf_fini(&name);
    return ok;
}

/* A word of the subcommand's name, one of its arguments, or one too many. */
static bool word(struct scan *s, char *arg)
{
    struct args *a = s->out;
    if (!a->command)
        return command_word(s, arg);
    if (a->n_words < a->command->max_arguments) {
        const char **words = mem_realloc(a->words, (a->n_words + 1) * sizeof(*words));
        if (!words)
            return fail(s, "out of memory");
        a->words = words;
        a->words[a->n_words++] = arg;
        return true;
    }
    buf_add_z(s->error, "unexpected argument ");
    cli_add_quoted(s->error, str_from(arg));
    buf_printf(s->error, ": 'nono %s' takes ", a->command->name);
    if (a->command->max_arguments)
        buf_add_z(s->error, a->command->max_arguments == 1 ? "one" : "two");
    else
        buf_add_z(s->error, "options only");
    if (a->command->id == COMMAND_WHY && !str_starts(str_from(arg), STR("-")))
        buf_printf(s->error, "; did you mean %s?", strstr(arg, "://") ? "--url" : "--host");
    return false;
}

/* All that the command cannot do without. */
static bool complete(struct scan *s)
{
    const struct args *a = s->out;
    if (a->help || a->version || !a->command || a->n_words >= a->command->min_arguments)
        return true;
    buf_printf(s->error, "an argument is missing: nono %s %s", a->command->name,
               a->command->arguments);
    return false;
}

/* Is the text of this argument, but for the value of an option that takes any bytes, UTF-8? */
static bool utf8(struct scan *s, const char *arg)
{
    struct str text = str_from(arg), name = str_of(arg, str_find(text, '='));
    if (str_is_utf8(str_starts(text, STR("--")) ? name : text))
        return true;
    buf_add_z(s->error, "the argument ");
    cli_add_quoted(s->error, text);
    return fail(s, " is not valid UTF-8");
}

bool args_parse(int argc, char **argv, struct args *ret, struct buf *error)
{
    *ret = (struct args){0};
    struct scan s = {.argc = argc, .argv = argv, .at = 1, .out = ret, .error = error};
    bool ok = true, words_only = false;
    while (ok && s.at < argc && !ret->help && !ret->version) {
        char *arg = argv[s.at++];
        if (!utf8(&s, arg))
            return false;
        if (words_only || arg[0] != '-' || arg[1] == 0)
            ok = word(&s, arg);
        else if (arg[1] != '-')
            ok = short_options(&s, arg);
        else if (arg[2])
            ok = long_option(&s, arg);
        else
            words_only = true;
    }
    return ok && complete(&s);
}

void args_fini(struct args *a)
{
    mem_free(a->v);
    mem_free(a->words);
    *a = (struct args){0};
}

const struct arg *args_first(const struct args *a, enum option_id id)
{
    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i].row->id == id)
            return &a->v[i];
    }
    return NULL;
}

unsigned args_count(const struct args *a, enum option_id id)
{
    unsigned n = 0;
    for (size_t i = 0; i < a->n; i++)
        n += a->v[i].row->id == id;
    return n;
}
