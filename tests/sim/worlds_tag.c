/* What every tag means: the bytes of a body, the same for whoever writes and whoever checks them. */
#include "worlds.h"
#include <stdarg.h>
#include <stdio.h>

size_t tag_length(unsigned tag)
{
    unsigned h = tag * 2654435761u;
    unsigned most = h % 3 == 0 ? 60000 : h % 3 == 1 ? 5000 : 200;
    return (h >> 8) % most;
}

static char tag_byte(unsigned tag, size_t i)
{
    return (char)('a' + (tag * 7 + i) % 26);
}

bool tag_matches(unsigned tag, size_t at, struct str bytes)
{
    for (size_t i = 0; i < bytes.n; i++)
        if (bytes.p[i] != tag_byte(tag, at + i))
            return false;
    return true;
}

void write_text(struct sim_peer *p, const char *format, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    sim_write(p, text, (size_t)n);
}

void write_tagged(struct sim_peer *p, unsigned tag, size_t from, size_t n)
{
    char piece[1024];
    while (n) {
        size_t k = n < sizeof piece ? n : sizeof piece;
        for (size_t i = 0; i < k; i++)
            piece[i] = tag_byte(tag, from + i);
        sim_write(p, piece, k);
        from += k;
        n -= k;
    }
}

void write_chunked(struct sim_peer *p, unsigned tag, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t k = 1 + sim_below(n - at);
        write_text(p, "%zx\r\n", k);
        write_tagged(p, tag, at, k);
        write_text(p, "\r\n");
        at += k;
    }
    write_text(p, "0\r\n\r\n");
}
