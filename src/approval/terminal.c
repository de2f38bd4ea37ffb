/* The terminal: one prompt at a time, on the control thread, which never waits for it. */
#include "approval/approval_int.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum {
    LOOK_MS = 100, /* a person does not notice, and not every system can watch /dev/tty */
    LINE_BYTES = 64,
    TEXT_BYTES = 16384, /* of one prompt */
    OUT_BYTES = 65536,
    PATH_SHOWN = 2048,
    FIELD_SHOWN = 512,
};

/* The one who waits, the queue and each message on its way hold a reference. Two threads never
 * touch the same member: `wait…` is the worker's, `node` and `queued` are control's, the rest is
 * written before it is posted. */
struct prompt {
    _Atomic unsigned refs;
    struct msg asked, withdrawn, answered;
    struct approvals *approvals;
    struct loop *control, *worker;
    prompt_fn *wait_fn; /* NULL: nobody waits */
    void *wait_owner;
    struct list node;
    bool queued;
    bool timed_out; /* why it was withdrawn */
    enum approval_answer answer;
    const char *sentence; /* static */
    struct str text;      /* behind this struct */
};

struct approvals {
    struct loop *control;
    struct list queue;
    unsigned n;
    struct prompt *shown; /* the first of the queue; NULL: none is */
    bool stopped;
    int fd; /* of /dev/tty; -1 */
    struct timer look;
    struct buf out; /* what the terminal did not take yet */
    char line[LINE_BYTES];
    size_t line_n;
};

static void unref(struct prompt *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
        mem_free(p);
}

/* ---- text that others wrote ---- */

/* The length of an escape sequence at the beginning of s; 1 when it has no end. */
static size_t escape_length(struct str s)
{
    size_t i = 2;
    if (s.n < 2)
        return 1;
    if (s.p[1] == '[') { /* CSI: parameters and intermediates, then a final byte */
        while (i < s.n && s.p[i] >= 0x20 && s.p[i] <= 0x3f)
            i++;
        return i < s.n && s.p[i] >= 0x40 && s.p[i] <= 0x7e ? i + 1 : 1;
    }
    if (s.p[1] && strchr("]P^_X", s.p[1])) { /* OSC, DCS, PM, APC, SOS: up to BEL or ST */
        for (; i < s.n; i++) {
            if (s.p[i] == '\a')
                return i + 1;
            if (s.p[i] == '\x1b' && i + 1 < s.n && s.p[i + 1] == '\\')
                return i + 2;
        }
        return 1;
    }
    for (i = 1; i < s.n && s.p[i] >= 0x20 && s.p[i] <= 0x2f;)
        i++;
    return i < s.n && s.p[i] >= 0x30 && s.p[i] <= 0x7e ? i + 1 : 1;
}

/* One UTF-8 character (RFC 3629) at the beginning of s: its length, or 0. */
static size_t decode(struct str s, uint32_t *ret_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char lead = (unsigned char)s.p[0];
    size_t n = lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
    uint32_t point;
    if (!n || n > s.n)
        return 0;
    point = lead & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s.p[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | ((unsigned char)s.p[i] & 0x3f);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    *ret_point = point;
    return n;
}

/* What has no width, or turns the direction of the text round. */
static bool deceives(uint32_t c)
{
    return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == 0xad || c == 0x61c;
}

static size_t clean_one(struct buf *out, struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    uint32_t point = 0;
    size_t n;
    if (c == 0x1b)
        return escape_length(s);
    if (c < 0x80) {
        buf_add_c(out, ascii_is_ctl(c) ? ' ' : (char)c);
        return 1;
    }
    n = decode(s, &point);
    if (n && point < 0xa0)
        buf_add_c(out, ' '); /* C1 */
    else if (!n || deceives(point))
        buf_add_c(out, '?');
    else
        buf_add(out, s.p, n);
    return n ? n : 1;
}

void terminal_clean(struct buf *out, struct str text, size_t max)
{
    struct str s = str_of(text.p, text.n < max ? text.n : max);
    while (s.n) {
        size_t n = clean_one(out, s);
        s = str_of(s.p + n, s.n - n);
    }
    if (text.n > max)
        buf_printf(out, "... (%zu bytes more)", text.n - max);
}

bool terminal_is_yes(struct str line)
{
    while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n'))
        line.n--;
    line = str_trim(line);
    return str_eq_nocase(line, STR("y")) || str_eq_nocase(line, STR("yes"));
}

static void add_line(struct buf *out, const char *name, struct str value, size_t max)
{
    buf_printf(out, "[nono] %s: ", name);
    terminal_clean(out, value, max);
    buf_add_c(out, '\n');
}

static void render(struct buf *out, const struct approval_question *q, uint64_t timeout_ms)
{
    buf_add_z(out, "[nono] A request needs approval\n");
    add_line(out, "Route", q->route_id, FIELD_SHOWN);
    add_line(out, "Method", q->method, FIELD_SHOWN);
    add_line(out, "Path", q->path, PATH_SHOWN);
    add_line(out, "Upstream", q->upstream, FIELD_SHOWN);
    add_line(out, "Rule", q->rule_label, FIELD_SHOWN);
    if (q->reason.n)
        add_line(out, "Reason", q->reason, FIELD_SHOWN);
    buf_printf(out, "[nono] \n[nono] Allow this request (within %.3g s)? [y/N] ",
               (double)timeout_ms / 1000);
}

/* ---- the terminal itself ---- */

static void on_look(struct timer *t);

static void flush(struct approvals *a)
{
    while (a->out.n) {
        ssize_t n = write(a->fd, a->out.p, a->out.n);
        if (n <= 0) {
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno != EAGAIN)
                buf_reset(&a->out); /* it is gone: reading says so */
            return;
        }
        buf_drop(&a->out, (size_t)n);
    }
}

static void print(struct approvals *a, struct str text)
{
    buf_add_str(&a->out, text);
    if (!buf_ok(&a->out)) { /* a terminal that takes nothing */
        buf_reset(&a->out);
        return;
    }
    flush(a);
}

static void close_terminal(struct approvals *a)
{
    timer_stop(a->control, &a->look);
    if (a->fd >= 0)
        (void)close(a->fd);
    a->fd = -1;
    buf_reset(&a->out);
}

/* A process in the background may not read its terminal: the kernel would stop all of us. */
static bool in_foreground(const struct approvals *a)
{
    pid_t group = tcgetpgrp(a->fd);
    return group >= 0 && group == getpgrp();
}

/* NULL: somebody can be asked. */
static const char *open_terminal(struct approvals *a)
{
    if (a->fd >= 0)
        return NULL;
    if (!isatty(STDERR_FILENO))
        return "standard error is no terminal, so nobody can be asked";
    a->fd = open("/dev/tty", O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (a->fd < 0)
        return "the gateway has no terminal, so nobody can be asked";
    if (in_foreground(a))
        return NULL;
    close_terminal(a);
    return "the gateway runs in the background of its terminal, so nobody can be asked";
}

/* ---- the queue ---- */

static void on_answered(struct msg *m)
{
    struct prompt *p = CONTAINER_OF(m, struct prompt, answered);
    prompt_fn *fn = p->wait_fn;
    if (fn) {
        p->wait_fn = NULL;
        fn(p->wait_owner, p->answer, p->sentence);
        unref(p); /* the one who waited */
    }
    unref(p);
}

static void leave_queue(struct prompt *p)
{
    p->queued = false;
    p->approvals->n--;
    list_remove(&p->node);
}

/* Out of the queue and back to where it came from; its reference goes with the message. */
static void answer(struct prompt *p, enum approval_answer how, const char *sentence)
{
    leave_queue(p);
    p->answer = how, p->sentence = sentence;
    p->answered.fn = on_answered;
    loop_post(p->worker, &p->answered);
}

static struct prompt *first(struct approvals *a)
{
    struct list *node = list_first(&a->queue);
    return node ? LIST_ENTRY(node, struct prompt, node) : NULL;
}

/* What was typed before a question is shown is no answer to it. */
static void show(struct approvals *a, struct prompt *p)
{
    a->shown = p;
    a->line_n = 0;
    (void)tcflush(a->fd, TCIFLUSH);
    print(a, p->text);
}

static void show_next(struct approvals *a)
{
    struct prompt *p;
    while (!a->stopped && !a->shown && (p = first(a)) != NULL) {
        const char *why = open_terminal(a);
        if (why)
            answer(p, APPROVAL_DENIED, why);
        else
            show(a, p);
    }
    if (a->shown || (a->fd >= 0 && a->out.n))
        timer_set(a->control, &a->look, LOOK_MS);
    else
        close_terminal(a);
}

static void answer_shown(struct approvals *a, enum approval_answer how, const char *sentence)
{
    struct prompt *p = a->shown;
    ASSERT(p);
    a->shown = NULL;
    answer(p, how, sentence);
    show_next(a);
}

/* Bytes of a line; a line that is too long is none of ours. */
static bool take_bytes(struct approvals *a, struct str bytes)
{
    size_t end = str_find(bytes, '\n');
    size_t n = end < sizeof(a->line) - a->line_n ? end : sizeof(a->line) - a->line_n;
    if (n)
        memcpy(a->line + a->line_n, bytes.p, n);
    a->line_n += n;
    return end < bytes.n;
}

static void read_answer(struct approvals *a)
{
    char bytes[LINE_BYTES];
    ssize_t n = read(a->fd, bytes, sizeof(bytes));
    if (n > 0 && take_bytes(a, str_of(bytes, (size_t)n))) {
        bool yes = a->line_n < sizeof(a->line) && terminal_is_yes(str_of(a->line, a->line_n));
        answer_shown(a, yes ? APPROVAL_GRANTED : APPROVAL_DENIED,
                     yes ? "the person at the terminal said yes"
                         : "the person at the terminal said no");
    } else if (n == 0) {
        answer_shown(a, APPROVAL_DENIED, "the terminal's input ended");
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        close_terminal(a);
        answer_shown(a, APPROVAL_FAILED, "the terminal is gone");
    }
}

static void on_look(struct timer *t)
{
    struct approvals *a = CONTAINER_OF(t, struct approvals, look);
    flush(a);
    timer_set(a->control, &a->look, LOOK_MS);
    if (a->shown && !a->out.n && in_foreground(a))
        read_answer(a);
    else if (!a->shown)
        show_next(a);
}

static void on_asked(struct msg *m)
{
    struct prompt *p = CONTAINER_OF(m, struct prompt, asked);
    struct approvals *a = p->approvals;
    if (a->stopped) {
        unref(p); /* its worker is about to end, and withdraws */
        return;
    }
    p->queued = true;
    a->n++;
    list_push(&a->queue, &p->node);
    if (a->n > LIMIT_APPROVAL_PROMPTS)
        answer(p, APPROVAL_FAILED, "too many questions wait for the terminal");
    else
        show_next(a);
}

static void withdraw(struct approvals *a, struct prompt *p)
{
    leave_queue(p);
    if (a->shown == p) {
        a->shown = NULL;
        print(a, p->timed_out ? STR("\n[nono] No answer in time: the request was refused\n")
                              : STR("\n[nono] Withdrawn: the request went away\n"));
    }
    unref(p); /* the queue */
}

static void on_withdrawn(struct msg *m)
{
    struct prompt *p = CONTAINER_OF(m, struct prompt, withdrawn);
    struct approvals *a = p->approvals;
    if (p->queued) {
        withdraw(a, p);
        show_next(a);
    }
    unref(p);
}

/* ---- the worker's side ---- */

struct prompt *prompt_ask(struct approvals *a, struct loop *control, struct loop *worker,
                          const struct approval_question *q, uint64_t timeout_ms, prompt_fn *fn,
                          void *owner)
{
    struct prompt *p = NULL;
    struct buf text;
    buf_init(&text, TEXT_BYTES);
    render(&text, q, timeout_ms);
    if (buf_ok(&text))
        p = mem_zalloc(sizeof(*p) + text.n);
    if (p) {
        memcpy(p + 1, text.p, text.n);
        p->text = str_of((const char *)(p + 1), text.n);
        p->approvals = a, p->control = control, p->worker = worker;
        p->wait_fn = fn, p->wait_owner = owner;
        list_init(&p->node);
        p->asked.fn = on_asked;
        atomic_init(&p->refs, 2); /* the one who waits; the message, then the queue */
        loop_post(control, &p->asked);
    }
    buf_fini(&text);
    return p;
}

void prompt_withdraw(struct prompt *p, bool timed_out)
{
    if (!p || !p->wait_fn)
        return;
    p->wait_fn = NULL;
    p->timed_out = timed_out;
    p->withdrawn.fn = on_withdrawn; /* takes the reference along */
    loop_post(p->control, &p->withdrawn);
}

/* ---- life ---- */

enum err approvals_new(struct loop *control, struct approvals **ret_approvals)
{
    struct approvals *a = mem_zalloc(sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    a->control = control;
    a->fd = -1;
    list_init(&a->queue);
    buf_init(&a->out, OUT_BYTES);
    timer_init(&a->look, on_look);
    *ret_approvals = a;
    return ERR_OK;
}

void approvals_stop(struct approvals *a)
{
    a->stopped = true;
    if (a->shown)
        print(a, STR("\n[nono] Withdrawn: the gateway stops\n"));
    a->shown = NULL;
    close_terminal(a);
}

void approvals_free(struct approvals *a)
{
    struct prompt *p;
    if (!a)
        return;
    close_terminal(a);
    while ((p = first(a)) != NULL) {
        leave_queue(p);
        unref(p);
    }
    buf_fini(&a->out);
    mem_free(a);
}
