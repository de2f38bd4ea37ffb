#include "upstream/resolv_conf.h"

static struct str next_word(struct str *line)
{
    struct str word;
    *line = str_trim(*line);
    size_t n = 0;
    while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
        n++;
    word = n ? str_of(line->p, n) : STR_NULL;
    *line = str_of(line->p + n, line->n - n);
    return word;
}

static void parse_search(struct str line, unsigned max, struct resolv_conf *conf)
{
    conf->n_search = 0;
    for (struct str word = next_word(&line); word.p && conf->n_search < max;
         word = next_word(&line)) {
        struct errctx ignored = {0};
        struct hostname *h = &conf->search[conf->n_search];
        if (!hostname_parse(word, h, &ignored) && !h->is_address)
            conf->n_search++;
    }
}

static void parse_number(struct str word, struct str name, unsigned *number)
{
    uint64_t v;
    if (str_starts(word, name) && str_u64(str_of(word.p + name.n, word.n - name.n), 1000, &v) && v)
        *number = (unsigned)v;
}

static void parse_options(struct str line, struct resolv_conf *conf)
{
    for (struct str word = next_word(&line); word.p; word = next_word(&line)) {
        parse_number(word, STR("timeout:"), &conf->timeout_s);
        parse_number(word, STR("attempts:"), &conf->attempts);
    }
}

void resolv_conf_parse(struct str text, struct resolv_conf *ret_conf)
{
    struct str line;
    memset(ret_conf, 0, sizeof *ret_conf);
    while (str_next(&text, '\n', &line)) {
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        struct str word = next_word(&line);
        if (str_eq(word, STR("search")))
            parse_search(line, RESOLV_CONF_SEARCH, ret_conf);
        else if (str_eq(word, STR("domain")))
            parse_search(line, 1, ret_conf);
        else if (str_eq(word, STR("options")))
            parse_options(line, ret_conf);
    }
}
