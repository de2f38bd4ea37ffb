#include "cli/loglevel.h"

bool loglevel_word(struct str text, enum log_level *ret_level)
{
    for (int l = LOG_OFF; l <= LOG_TRACE; l++) {
        if (str_eq_nocase(text, str_from(log_level_name((enum log_level)l)))) {
            *ret_level = (enum log_level)l;
            return true;
        }
    }
    return false;
}

/* nono, nono_proxy, nono_cli and what is below them. */
static bool is_ours(struct str target)
{
    static const char *const ours[] = {"nono", "nono_proxy", "nono_cli"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        struct str name = str_from(ours[i]);
        if (!str_starts(target, name))
            continue;
        struct str below = str_of(target.p + name.n, target.n - name.n);
        if (below.n == 0 || str_starts(below, STR("::")))
            return true;
    }
    return false;
}

static bool directive(struct str text, enum log_level *ret_level)
{
    size_t equals = str_find(text, '=');
    if (equals < text.n)
        return is_ours(str_trim(str_of(text.p, equals))) &&
               loglevel_word(str_trim(str_of(text.p + equals + 1, text.n - equals - 1)), ret_level);
    if (loglevel_word(text, ret_level))
        return true;
    *ret_level = LOG_TRACE; /* a name alone means everything from it */
    return is_ours(text);
}

void loglevel_directives(struct str text, enum log_level *ret_level)
{
    struct str rest = text, item;
    bool any = false;
    while (str_next(&rest, ',', &item)) {
        enum log_level level;
        if (!directive(str_trim(item), &level))
            continue;
        *ret_level = any && *ret_level > level ? *ret_level : level;
        any = true;
    }
}
