#include "cli/cli_int.h"
#include "base/encode.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

enum { QUOTED_MAX = 120, PRINT_WAIT_MS = 2000 };

void cli_add_quoted(struct buf *out, struct str text)
{
    buf_add_c(out, '\'');
    encode_visible(out, str_of(text.p, text.n < QUOTED_MAX ? text.n : QUOTED_MAX));
    buf_add_z(out, text.n > QUOTED_MAX ? "...'" : "'");
}

void cli_add_wrapped(struct buf *out, struct str text, size_t indent, size_t width)
{
    size_t column = indent;
    struct str rest = text, word;
    for (bool first = true; str_next(&rest, ' ', &word); first = false) {
        if (!first && column + 1 + word.n > width) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            buf_add_c(out, ' ');
            column++;
        }
        buf_add_str(out, word);
        column += word.n;
    }
}

/* wait_ms -1: as long as it takes. */
static bool print_within(int fd, const struct buf *text, int wait_ms)
{
    size_t done = 0;
    while (buf_ok(text) && done < text->n) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        int n = poll(&ready, 1, wait_ms);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || !(ready.revents & POLLOUT))
            return false;
        /* A pipe that polls writable takes PIPE_BUF bytes without blocking. */
        size_t piece = text->n - done < PIPE_BUF ? text->n - done : PIPE_BUF;
        ssize_t put = write(fd, text->p + done, piece);
        if (put < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        done += put > 0 ? (size_t)put : 0;
    }
    return buf_ok(text);
}

void cli_print(int fd, const struct buf *text)
{
    (void)print_within(fd, text, PRINT_WAIT_MS);
}

bool cli_answer(const struct buf *text)
{
    return print_within(STDOUT_FILENO, text, -1);
}
