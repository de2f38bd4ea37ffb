#include "policy/glob.h"
#include "base/assert.h"
#include "base/mem.h"
#include "policy/path.h"

enum { PATTERN_MAX = 4096, DEPTH_MAX = 64 };

/* ---- tokens ---- */

enum token_kind {
    TOK_BYTE,  /* literal, never a separator */
    TOK_SLASH, /* separator */
    TOK_ANY,   /* ? */
    TOK_STAR,  /* * */
    TOK_STARS, /* ** and longer */
    TOK_CLASS,
    TOK_OPEN,
    TOK_COMMA,
    TOK_CLOSE,
    TOK_END,
};
struct token {
    uint8_t kind, byte;
    uint16_t class_index;
};
struct byte_class {
    uint64_t bits[4];
};

/* ---- automaton ---- */

/* Consuming states go on to the next one. Every step without a byte leads forward, so that one
 * ascending pass over a set of states completes it. */
enum op {
    OP_BYTE,
    OP_CLASS,
    OP_ANY,
    OP_STAR,  /* stays on a byte, or goes on without one */
    OP_STARS, /* the same, across slashes */
    OP_SPLIT, /* to the next state and to arg */
    OP_JUMP,
    OP_MATCH,
};
struct state {
    uint8_t op, byte;
    uint16_t arg; /* SPLIT, JUMP: state; CLASS: index */
};
/* A token makes three states at most, and those that do have more than one byte. */
enum { STATES_MAX = 3 * PATTERN_MAX + 2, WORDS_MAX = STATES_MAX / 64 + 1, WORDS_FEW = 2 };

struct glob {
    struct state *states; /* NULL for a simple one */
    struct byte_class *classes;
    struct str literal;
    uint16_t n_states, weight;
    uint8_t reading;
    bool simple, exact, differs;
};

struct compiler {
    struct str pattern;
    size_t at;
    struct errctx *ctx;
    struct token *tokens;
    size_t n, pos;
    unsigned depth;
    struct byte_class *classes;
    size_t n_classes;
    struct state *states;
    size_t n_states;
};

static enum err invalid(struct compiler *c, const char *why)
{
    return err_set(c->ctx, ERR_INVALID, "%s", why);
}

/* ---- reading the pattern ---- */

static bool take_escape(struct compiler *c, uint8_t *ret_byte)
{
    uint64_t value;
    if (c->at + 3 > c->pattern.n || !str_hex(str_of(c->pattern.p + c->at + 1, 2), 255, &value))
        return false;
    c->at += 3;
    *ret_byte = (uint8_t)value;
    return true;
}

static void class_add(struct byte_class *class, unsigned from, unsigned to)
{
    for (unsigned b = from; b <= to; b++)
        class->bits[b / 64] |= UINT64_C(1) << b % 64;
}

static bool class_has(const struct byte_class *class, unsigned char b)
{
    return class->bits[b / 64] >> b % 64 & 1;
}

/* One member of a class; a percent escape is the byte it stands for, a slash then data. */
static uint8_t take_member(struct compiler *c)
{
    uint8_t byte = (uint8_t)c->pattern.p[c->at];
    if (byte == '%' && take_escape(c, &byte))
        return byte == '/' ? (uint8_t)PATH_DATA_SLASH : byte;
    c->at++;
    return byte;
}

/* Behind the '['. As the reference reads it: ']' or '-' as the first member is literal, so is a
 * trailing
 * '-', and a backslash is no escape here. */
static enum err take_class(struct compiler *c, struct byte_class *class)
{
    unsigned from = 0, to = 0;
    bool negated = false, first = true, range = false;
    if (c->at < c->pattern.n && (c->pattern.p[c->at] == '!' || c->pattern.p[c->at] == '^')) {
        negated = true;
        c->at++;
    }
    for (;; first = false) {
        if (c->at >= c->pattern.n)
            return invalid(c, "a [ is not closed (a literal one is written \\[)");
        char raw = c->pattern.p[c->at];
        if (raw == ']' && !first)
            break;
        if (raw == '-' && !first && !range) {
            range = true;
            c->at++;
            continue;
        }
        uint8_t member = take_member(c);
        if (range && member < from)
            return invalid(c, "a range in [ ] ends before it starts");
        to = member;
        if (!range)
            from = member;
        class_add(class, from, to);
        range = false;
    }
    c->at++;
    if (range)
        class_add(class, '-', '-');
    for (unsigned i = 0; negated && i < ARRAY_LEN(class->bits); i++)
        class->bits[i] = ~class->bits[i];
    return ERR_OK;
}

static void push(struct compiler *c, enum token_kind kind, uint8_t byte)
{
    c->tokens[c->n++] = (struct token){.kind = (uint8_t)kind, .byte = byte};
}

static enum err push_class(struct compiler *c)
{
    c->at++;
    enum err e = take_class(c, &c->classes[c->n_classes]);
    c->tokens[c->n++] = (struct token){.kind = TOK_CLASS, .class_index = (uint16_t)c->n_classes++};
    return e;
}

static enum err push_percent(struct compiler *c)
{
    uint8_t byte;
    if (!take_escape(c, &byte))
        return invalid(c, "a malformed percent escape (a literal percent sign is written %25)");
    if (byte == 0)
        return invalid(c, "an encoded NUL, which no path holds");
    push(c, TOK_BYTE, byte == '/' ? (uint8_t)PATH_DATA_SLASH : byte);
    return ERR_OK;
}

static enum err push_backslash(struct compiler *c)
{
    if (c->at + 1 >= c->pattern.n)
        return invalid(c, "a lone \\ at the end");
    char byte = c->pattern.p[c->at + 1];
    c->at += 2;
    push(c, byte == '/' ? TOK_SLASH : TOK_BYTE, (uint8_t)byte);
    return ERR_OK;
}

static void push_stars(struct compiler *c)
{
    size_t start = c->at;
    while (c->at < c->pattern.n && c->pattern.p[c->at] == '*')
        c->at++;
    push(c, c->at - start > 1 ? TOK_STARS : TOK_STAR, 0);
}

static enum err push_brace(struct compiler *c, char brace)
{
    c->at++;
    if (brace == ',') {
        push(c, c->depth ? TOK_COMMA : TOK_BYTE, ',');
        return ERR_OK;
    }
    if (brace == '}' && c->depth == 0)
        return invalid(c, "a } without { (a literal one is written \\})");
    c->depth += brace == '{' ? 1U : -1U;
    if (c->depth > DEPTH_MAX)
        return invalid(c, "braces are nested too deep");
    push(c, brace == '{' ? TOK_OPEN : TOK_CLOSE, 0);
    return ERR_OK;
}

static enum err push_plain(struct compiler *c, char byte)
{
    c->at++;
    if (ascii_is_ctl((unsigned char)byte))
        return invalid(c, "a control character, which no path holds");
    push(c, byte == '/' ? TOK_SLASH : byte == '?' ? TOK_ANY : TOK_BYTE, (uint8_t)byte);
    return ERR_OK;
}

static enum err push_next(struct compiler *c)
{
    char byte = c->pattern.p[c->at];
    switch (byte) {
    case '*':
        push_stars(c);
        return ERR_OK;
    case '[':
        return push_class(c);
    case '%':
        return push_percent(c);
    case '\\':
        return push_backslash(c);
    case '{':
    case '}':
    case ',':
        return push_brace(c, byte);
    default:
        return push_plain(c, byte);
    }
}

static enum err read_tokens(struct compiler *c)
{
    while (c->at < c->pattern.n) {
        enum err e = push_next(c);
        if (e != ERR_OK)
            return e;
    }
    if (c->depth)
        return invalid(c, "a { is not closed (a literal one is written \\{)");
    if (c->n == 0 || c->tokens[0].kind == TOK_BYTE)
        return invalid(c, "a pattern begins with / (or **), or it never matches");
    return ERR_OK;
}

/* ---- normalising (decision E2) ---- */

static bool ends_branch(uint8_t kind)
{
    return kind == TOK_COMMA || kind == TOK_CLOSE || kind == TOK_END;
}

/* Slashes that a path never ends with go: the last one, also inside a last alternation. */
static void drop_trailing(struct compiler *c, size_t from, size_t end)
{
    while (end > from && c->tokens[end - 1].kind == TOK_SLASH)
        c->tokens[--end].kind = TOK_END;
    if (end == from || c->tokens[end - 1].kind != TOK_CLOSE)
        return;
    unsigned depth = 0;
    for (size_t i = end - 1, branch_end = end - 1; i-- > from;) {
        uint8_t kind = c->tokens[i].kind;
        if (kind == TOK_CLOSE)
            depth++;
        else if (depth == 0 && (kind == TOK_COMMA || kind == TOK_OPEN)) {
            drop_trailing(c, i + 1, branch_end);
            branch_end = i;
        }
        if (kind == TOK_OPEN && depth-- == 0)
            return;
    }
}

static void collapse_slashes(struct compiler *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        uint8_t kind = c->tokens[i].kind;
        if (kind == TOK_END || (kind == TOK_SLASH && n && c->tokens[n - 1].kind == TOK_SLASH))
            continue;
        c->tokens[n++] = c->tokens[i];
    }
    c->n = n;
}

static bool splits_segments(const struct token *t)
{
    return t->kind == TOK_SLASH || t->kind == TOK_END ||
           (t->kind == TOK_BYTE && (t->byte == PATH_DATA_SLASH || t->byte == '\\'));
}

static bool has_dot_segment(const struct compiler *c)
{
    size_t dots = 0;
    bool whole = true; /* nothing but dots since the last separator */
    for (size_t i = 0; i <= c->n; i++) {
        const struct token *t = &c->tokens[i];
        if (splits_segments(t)) {
            if (whole && (dots == 1 || dots == 2))
                return true;
            dots = 0;
            whole = true;
        } else if (t->kind == TOK_BYTE && t->byte == '.') {
            dots++;
        } else {
            whole = false;
        }
    }
    return false;
}

static enum err normalise(struct compiler *c)
{
    bool rooted = c->tokens[0].kind == TOK_SLASH;
    drop_trailing(c, rooted ? 1 : 0, c->n);
    collapse_slashes(c);
    c->tokens[c->n] = (struct token){.kind = TOK_END};
    if (has_dot_segment(c))
        return invalid(c, "a dot segment, which no accepted path holds");
    return ERR_OK;
}

/* ---- emitting states ---- */

static size_t emit(struct compiler *c, enum op op, uint8_t byte, size_t arg)
{
    ASSERT(c->n_states < STATES_MAX);
    c->states[c->n_states] = (struct state){(uint8_t)op, byte, (uint16_t)arg};
    return c->n_states++;
}

static uint8_t kind_at(const struct compiler *c, size_t i)
{
    return c->tokens[i].kind;
}

/* Skips a double star that fills its segment, and further ones behind it, which say no more; false
 * when there is none. */
static bool skip_whole_stars(const struct compiler *c, size_t *at)
{
    size_t i = *at;
    if (kind_at(c, i) != TOK_STARS ||
        !(ends_branch(kind_at(c, i + 1)) || kind_at(c, i + 1) == TOK_SLASH))
        return false;
    while (kind_at(c, i + 1) == TOK_SLASH && kind_at(c, i + 2) == TOK_STARS &&
           (ends_branch(kind_at(c, i + 3)) || kind_at(c, i + 3) == TOK_SLASH))
        i += 2;
    *at = i + 1;
    return true;
}

/* Any run and a slash, or nothing: what a double star is behind a slash (or the start) and before
 * one. */
static void emit_optional_run(struct compiler *c)
{
    size_t split = emit(c, OP_SPLIT, 0, 0);
    emit(c, OP_STARS, 0, 0);
    emit(c, OP_BYTE, '/', 0);
    c->states[split].arg = (uint16_t)c->n_states;
}

static void emit_slash(struct compiler *c)
{
    size_t at = c->pos + 1;
    if (!skip_whole_stars(c, &at)) {
        emit(c, OP_BYTE, '/', 0);
        c->pos++;
    } else if (ends_branch(kind_at(c, at))) { /* a slash and anything, or nothing at all */
        size_t split = emit(c, OP_SPLIT, 0, 0);
        emit(c, OP_BYTE, '/', 0);
        emit(c, OP_STARS, 0, 0);
        c->states[split].arg = (uint16_t)c->n_states;
        c->pos = at;
    } else {
        emit(c, OP_BYTE, '/', 0);
        emit_optional_run(c);
        c->pos = at + 1;
    }
}

static void emit_stars(struct compiler *c, bool first)
{
    size_t at = c->pos;
    if (first && skip_whole_stars(c, &at) && !ends_branch(kind_at(c, at))) {
        emit_optional_run(c);
        c->pos = at + 1;
        return;
    }
    emit(c, OP_STARS, 0, 0);
    c->pos++;
}

static void emit_braces(struct compiler *c);

/* One branch, or the whole pattern: up to the token that ends it. */
static void emit_branch(struct compiler *c)
{
    for (size_t start = c->pos; !ends_branch(kind_at(c, c->pos));) {
        const struct token *t = &c->tokens[c->pos];
        switch ((enum token_kind)t->kind) {
        case TOK_SLASH:
            emit_slash(c);
            continue;
        case TOK_STARS:
            emit_stars(c, c->pos == start);
            continue;
        case TOK_OPEN:
            emit_braces(c);
            continue;
        case TOK_ANY:
            emit(c, OP_ANY, 0, 0);
            break;
        case TOK_STAR:
            emit(c, OP_STAR, 0, 0);
            break;
        case TOK_CLASS:
            emit(c, OP_CLASS, 0, t->class_index);
            break;
        default:
            emit(c, OP_BYTE, t->byte, 0);
            break;
        }
        c->pos++;
    }
}

/* Whether the branch at `at` holds nothing but braces; *at moves to its end. */
static bool skip_branch(const struct compiler *c, size_t *at)
{
    bool empty = true;
    for (unsigned depth = 0; depth || !ends_branch(kind_at(c, *at)); (*at)++) {
        uint8_t kind = kind_at(c, *at);
        depth += kind == TOK_OPEN ? 1U : kind == TOK_CLOSE ? -1U : 0U;
        empty &= kind == TOK_OPEN || kind == TOK_CLOSE || kind == TOK_COMMA;
    }
    return empty;
}

/* How many branches follow that hold something: the others are discarded, as in the reference. */
static size_t count_branches(const struct compiler *c, size_t at)
{
    size_t n = 0;
    for (;; at++) {
        n += !skip_branch(c, &at);
        if (kind_at(c, at) == TOK_CLOSE)
            return n;
    }
}

/* {a,b,c}: split to a or on, jump to the end; split to b or on, … Jumps are chained through their
 * arguments until the end is known. */
static void emit_braces(struct compiler *c)
{
    size_t left = count_branches(c, c->pos + 1), jumps = 0;
    do {
        size_t after = ++c->pos, split = 0;
        if (skip_branch(c, &after)) {
            c->pos = after;
            continue;
        }
        if (--left)
            split = emit(c, OP_SPLIT, 0, 0);
        emit_branch(c);
        if (left) {
            jumps = emit(c, OP_JUMP, 0, jumps);
            c->states[split].arg = (uint16_t)c->n_states;
        }
    } while (kind_at(c, c->pos) != TOK_CLOSE);
    c->pos++;
    while (jumps) {
        size_t before = c->states[jumps].arg;
        c->states[jumps].arg = (uint16_t)c->n_states;
        jumps = before;
    }
}

/* ---- the finished thing ---- */

/* Leading tokens that stand for themselves. */
static size_t literal_run(const struct compiler *c)
{
    size_t n = 0;
    while (kind_at(c, n) == TOK_BYTE || kind_at(c, n) == TOK_SLASH)
        n++;
    return n;
}

/* A literal, or a literal and a final double star: *ret_n tokens of it are the prefix. */
static bool is_simple(const struct compiler *c, size_t *ret_n, bool *ret_exact)
{
    size_t n = literal_run(c), at = n;
    *ret_n = n;
    *ret_exact = kind_at(c, n) == TOK_END;
    if (*ret_exact)
        return true;
    if ((n && kind_at(c, n - 1) != TOK_SLASH) || !skip_whole_stars(c, &at) ||
        kind_at(c, at) != TOK_END)
        return false;
    *ret_n = n ? n - 1 : 0;
    return true;
}

static void measure(const struct compiler *c, struct glob *g)
{
    for (size_t i = 0; i < c->n; i++) {
        uint8_t kind = kind_at(c, i);
        g->weight = (uint16_t)(g->weight + (kind == TOK_BYTE || kind == TOK_SLASH));
        g->differs |= kind == TOK_STAR || kind == TOK_ANY;
    }
}

static struct glob *build(const struct compiler *c, enum glob_reading reading)
{
    struct glob shape = {.reading = (uint8_t)reading};
    size_t literal_n;
    shape.simple = is_simple(c, &literal_n, &shape.exact);
    if (!shape.simple)
        literal_n = literal_run(c);
    size_t states = shape.simple ? 0 : c->n_states * sizeof *c->states;
    size_t classes = shape.simple ? 0 : c->n_classes * sizeof *c->classes;
    char *block = mem_alloc(sizeof shape + classes + states + literal_n + 1);
    if (!block)
        return NULL;
    struct glob *g = (struct glob *)(void *)block;
    *g = shape;
    measure(c, g);
    g->classes = (struct byte_class *)(void *)(block + sizeof *g);
    g->states = (struct state *)(void *)(block + sizeof *g + classes);
    g->n_states = shape.simple ? 0 : (uint16_t)c->n_states;
    char *text = block + sizeof *g + classes + states;
    if (classes)
        memcpy(g->classes, c->classes, classes);
    if (states)
        memcpy(g->states, c->states, states);
    for (size_t i = 0; i < literal_n; i++)
        text[i] = (char)c->tokens[i].byte;
    g->literal = str_of(text, literal_n);
    return g;
}

static enum err compile(struct compiler *c)
{
    enum err e = read_tokens(c);
    if (e == ERR_OK)
        e = normalise(c);
    if (e != ERR_OK)
        return e;
    emit_branch(c);
    emit(c, OP_MATCH, 0, 0);
    return ERR_OK;
}

enum err glob_compile(struct str pattern, enum glob_reading reading, struct glob **ret_glob,
                      struct errctx *ctx)
{
    struct compiler c = {.pattern = pattern, .ctx = ctx};
    if (pattern.n > PATTERN_MAX)
        return err_set(ctx, ERR_INVALID, "longer than %d bytes", PATTERN_MAX);
    size_t n = pattern.n + 2;
    c.tokens = mem_zalloc(n * sizeof *c.tokens);
    c.classes = mem_zalloc((n / 3 + 1) * sizeof *c.classes); /* the shortest is [x] */
    c.states = mem_alloc((3 * n) * sizeof *c.states);
    enum err e = c.tokens && c.classes && c.states ? compile(&c) : ERR_NOMEM;
    struct glob *g = e == ERR_OK ? build(&c, reading) : NULL;
    mem_free(c.tokens);
    mem_free(c.classes);
    mem_free(c.states);
    if (e == ERR_OK && !g)
        e = ERR_NOMEM;
    if (e == ERR_NOMEM)
        return err_set(ctx, ERR_NOMEM, "out of memory for endpoint rules");
    if (e == ERR_OK)
        *ret_glob = g;
    return e;
}

void glob_free(struct glob *g)
{
    mem_free(g);
}

/* ---- matching ---- */

struct run {
    const struct glob *g;
    uint64_t *now, *next;
    size_t words;
    bool cross;
};

static void mark(uint64_t *set, size_t i)
{
    set[i / 64] |= UINT64_C(1) << i % 64;
}

/* Adds what is reached without a byte. */
static void complete(const struct glob *g, uint64_t *set, size_t words)
{
    for (size_t w = 0; w < words; w++) {
        for (uint64_t done = 0; set[w] & ~done;) {
            unsigned bit = (unsigned)__builtin_ctzll(set[w] & ~done);
            size_t i = w * 64 + bit;
            const struct state *s = &g->states[i];
            done |= UINT64_C(1) << bit;
            if (s->op == OP_SPLIT || s->op == OP_STAR || s->op == OP_STARS)
                mark(set, i + 1);
            if (s->op == OP_SPLIT || s->op == OP_JUMP)
                mark(set, s->arg);
        }
    }
}

static void step_state(const struct run *r, size_t i, unsigned char byte)
{
    const struct state *s = &r->g->states[i];
    bool inside = r->cross || byte != '/';
    switch ((enum op)s->op) {
    case OP_BYTE:
        if (s->byte == byte)
            mark(r->next, i + 1);
        break;
    case OP_CLASS:
        if (class_has(&r->g->classes[s->arg], byte))
            mark(r->next, i + 1);
        break;
    case OP_ANY:
        if (inside)
            mark(r->next, i + 1);
        break;
    case OP_STAR:
        if (inside)
            mark(r->next, i);
        break;
    case OP_STARS:
        mark(r->next, i);
        break;
    case OP_SPLIT:
    case OP_JUMP:
    case OP_MATCH:
        break;
    }
}

/* From the set `now` to the one after this byte; false when nothing is left. */
static bool step(struct run *r, unsigned char byte)
{
    uint64_t any = 0;
    memset(r->next, 0, r->words * sizeof *r->next);
    for (size_t w = 0; w < r->words; w++)
        for (uint64_t left = r->now[w]; left; left &= left - 1)
            step_state(r, w * 64 + (unsigned)__builtin_ctzll(left), byte);
    for (size_t w = 0; w < r->words; w++)
        any |= r->next[w];
    if (any)
        complete(r->g, r->next, r->words);
    uint64_t *swap = r->now;
    r->now = r->next;
    r->next = swap;
    return any != 0;
}

/* The literal prefix has matched: its states are the first ones, one for each byte. */
static bool run_from(struct run *r, struct str path)
{
    size_t start = r->g->literal.n, last = r->g->n_states - 1U;
    memset(r->now, 0, r->words * sizeof *r->now);
    mark(r->now, start);
    complete(r->g, r->now, r->words);
    for (size_t i = start; i < path.n; i++)
        if (!step(r, (unsigned char)path.p[i]))
            return false;
    return r->now[last / 64] >> last % 64 & 1;
}

static bool run_few(const struct glob *g, struct str path, bool cross)
{
    uint64_t a[WORDS_FEW], b[WORDS_FEW];
    struct run r = {g, a, b, WORDS_FEW, cross};
    r.words = g->n_states / 64U + 1;
    return run_from(&r, path);
}

static bool run_many(const struct glob *g, struct str path, bool cross)
{
    uint64_t a[WORDS_MAX], b[WORDS_MAX];
    struct run r = {g, a, b, g->n_states / 64U + 1, cross};
    return run_from(&r, path);
}

bool glob_match_as(const struct glob *g, struct str path, enum glob_reading reading)
{
    bool cross = reading == GLOB_PATH;
    if (!str_starts(path, g->literal))
        return false;
    if (g->simple && g->exact)
        return path.n == g->literal.n;
    if (g->simple)
        return path.n == g->literal.n || path.p[g->literal.n] == '/';
    return g->n_states / 64U + 1 <= WORDS_FEW ? run_few(g, path, cross) : run_many(g, path, cross);
}

bool glob_match(const struct glob *g, struct str path)
{
    return glob_match_as(g, path, (enum glob_reading)g->reading);
}

bool glob_is_simple(const struct glob *g, struct str *ret_prefix, bool *ret_exact)
{
    if (!g->simple)
        return false;
    *ret_prefix = g->literal;
    *ret_exact = g->exact;
    return true;
}

struct str glob_literal(const struct glob *g)
{
    return g->literal;
}

size_t glob_weight(const struct glob *g)
{
    return g->weight;
}

bool glob_readings_differ(const struct glob *g)
{
    return g->differs;
}

/* Behind the class that begins at `at`; a ']' that comes first is a member. */
static size_t class_end(struct str pattern, size_t at)
{
    size_t i = at + 1;
    i += i < pattern.n && (pattern.p[i] == '!' || pattern.p[i] == '^');
    for (i++; i < pattern.n && pattern.p[i] != ']'; i++)
        ;
    return i < pattern.n ? i + 1 : pattern.n;
}

void glob_suggest(struct buf *out, struct str pattern)
{
    for (size_t i = 0; i < pattern.n;) {
        size_t from = i;
        if (pattern.p[i] == '*' || pattern.p[i] == '?') {
            while (i < pattern.n && (pattern.p[i] == '*' || pattern.p[i] == '?'))
                i++;
            buf_add_z(out, "**");
            continue;
        }
        i = pattern.p[i] == '[' ? class_end(pattern, i) : i + (pattern.p[i] == '\\' ? 2 : 1);
        i = i < pattern.n ? i : pattern.n;
        buf_add(out, pattern.p + from, i - from);
    }
}
