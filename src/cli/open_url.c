#include "cli/open_url.h"
#include "base/encode.h"
#include "base/limits.h"
#include "cli/cli_int.h"
#include "cli/env.h"
#include "credential/pick.h"
#include "sys/clock.h"
#include "sys/random.h"
#include "sys/sock.h"
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LENGTH_BYTES = 4,
    MESSAGE_MAX_BYTES = 8192,
    WAIT_MS = LIMIT_BRIDGE_PEER_MS + LIMIT_BRIDGE_OPENER_MS +
              10000, /* longer than the gateway waits for anything */
};

/* One exchange with the gateway. */
struct talk {
    int fd;
    uint64_t deadline_ns;
};

static bool wait_for(const struct talk *t, short events)
{
    struct pollfd p = {.fd = t->fd, .events = events};
    uint64_t now = clock_mono_ns();
    return now < t->deadline_ns && poll(&p, 1, (int)((t->deadline_ns - now) / NS_PER_MS) + 1) >= 0;
}

static bool send_all(const struct talk *t, struct str text)
{
    while (text.n) {
        struct iovec v = {(char *)(uintptr_t)text.p, text.n};
        size_t n = 0;
        enum err e = sock_writev(t->fd, &v, 1, &n);
        if (e && (e != ERR_AGAIN || !wait_for(t, POLLOUT)))
            return false;
        text = str_of(text.p + n, text.n - n);
    }
    return true;
}

static bool receive(const struct talk *t, struct buf *out, size_t want)
{
    while (out->n < want) {
        size_t n = 0;
        char *p = buf_reserve(out, want - out->n);
        enum err e = p ? sock_read(t->fd, p, want - out->n, &n) : ERR_NOMEM;
        if (e && (e != ERR_AGAIN || !wait_for(t, POLLIN)))
            return false;
        out->n += n;
    }
    return true;
}

/* ---- the messages ---- */

static void write_request(struct buf *out, struct str id, struct str url, struct str session)
{
    struct buf json;
    buf_init(&json, LIMIT_BRIDGE_MESSAGE);
    buf_add_z(&json, "{\"OpenUrl\":{\"request_id\":");
    encode_json(&json, id);
    buf_add_z(&json, ",\"url\":");
    encode_json(&json, url);
    buf_printf(&json, ",\"child_pid\":%ld,\"session_id\":", (long)getpid());
    encode_json(&json, session);
    buf_add_z(&json, "}}");
    const unsigned char length[LENGTH_BYTES] = {
        (unsigned char)(json.n >> 24), (unsigned char)(json.n >> 16), (unsigned char)(json.n >> 8),
        (unsigned char)json.n};
    buf_add(out, length, sizeof(length));
    buf_add_str(out, buf_str(&json));
    out->failed_ |= !buf_ok(&json);
    buf_fini(&json);
}

/* The answer's JSON in *out. */
static bool read_answer(const struct talk *t, struct buf *out)
{
    if (!receive(t, out, LENGTH_BYTES))
        return false;
    const unsigned char *p = (const unsigned char *)out->p;
    uint32_t length = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    if (length > LIMIT_BRIDGE_MESSAGE || !receive(t, out, LENGTH_BYTES + length))
        return false;
    buf_drop(out, LENGTH_BYTES);
    return pick_valid(buf_str(out));
}

/* Whether it says that the URL was opened; else why not. */
static bool understand(struct str answer, struct str id, struct buf *why)
{
    struct str opened = pick_get(answer, "UrlOpened"), error = pick_get(opened, "error"),
               given = pick_get(opened, "request_id");
    struct buf text;
    buf_init(&text, MESSAGE_MAX_BYTES);
    if (given.p && pick_kind(given) == '"')
        pick_text(given, &text);
    bool ours = buf_ok(&text) && str_eq(buf_str(&text), id);
    bool success = ours && str_eq(pick_get(opened, "success"), STR("true"));
    buf_reset(&text);
    if (!success && error.p && pick_kind(error) == '"')
        pick_text(error, &text);
    else if (!success)
        buf_add_z(&text, "the gateway's answer is not understood");
    encode_visible(why, buf_str(&text));
    buf_fini(&text);
    return success;
}

/* ---- one URL ---- */

static bool dial(struct str path, struct talk *ret, struct buf *why)
{
    struct sock_addr to = {.len = sizeof(struct sockaddr_un)};
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int os_errno = 0;
    if (path.n >= sizeof(at.sun_path)) {
        buf_add_z(why, "NONO_SUPERVISOR_PATH is too long");
        return false;
    }
    memcpy(at.sun_path, path.p, path.n);
    memcpy(&to.storage, &at, sizeof(at));
    if (sock_connect(&to, &ret->fd, &os_errno)) {
        buf_printf(why, "the gateway does not answer (%s): the credential helper may have ended",
                   err_errno_text(os_errno));
        return false;
    }
    ret->deadline_ns = clock_mono_ns() + (uint64_t)WAIT_MS * NS_PER_MS;
    return true;
}

static bool ask(struct str path, struct str session, struct str url, struct buf *why)
{
    struct talk talk;
    struct buf id, request, answer;
    uint64_t drawn = random_u64();
    if (!dial(path, &talk, why))
        return false;
    buf_init(&id, 64);
    encode_hex(&id, &drawn, sizeof(drawn));
    buf_init(&request, LENGTH_BYTES + LIMIT_BRIDGE_MESSAGE);
    buf_init(&answer, LENGTH_BYTES + LIMIT_BRIDGE_MESSAGE);
    write_request(&request, buf_str(&id), url, session);
    bool opened = false;
    if (!buf_ok(&request) || !buf_ok(&id))
        buf_add_z(why, "the URL is too long");
    else if (!send_all(&talk, buf_str(&request)) || !read_answer(&talk, &answer))
        buf_add_z(
            why,
            "the gateway did not answer: the credential helper may have ended, or asked too often");
    else
        opened = understand(buf_str(&answer), buf_str(&id), why);
    sock_close(talk.fd);
    buf_fini(&id);
    buf_fini(&request);
    buf_fini(&answer);
    return opened;
}

static void complain(struct str why)
{
    struct buf line;
    buf_init(&line, MESSAGE_MAX_BYTES);
    buf_add_z(&line, "nono: the URL was not opened: ");
    buf_add_str(&line, why);
    buf_add_c(&line, '\n');
    cli_print(STDERR_FILENO, &line);
    buf_fini(&line);
}

int open_url_command(const struct args *args, char **envp)
{
    const char *path = env_get(envp, "NONO_SUPERVISOR_PATH"),
               *session = env_get(envp, "NONO_SESSION_ID");
    int code = 0;
    if (!path) {
        complain(STR("NONO_SUPERVISOR_PATH is not set: this works only below a credential helper "
                     "with interaction.open_urls"));
        return 1;
    }
    for (size_t i = 0; i < args->n_words; i++) {
        struct buf why;
        buf_init(&why, MESSAGE_MAX_BYTES);
        if (!ask(str_from(path), str_from(session), str_from(args->words[i]), &why)) {
            complain(buf_str(&why));
            code = 1;
        }
        buf_fini(&why);
    }
    return code;
}
