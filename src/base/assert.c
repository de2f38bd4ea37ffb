#include "base/assert.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

NORETURN void assert_failed(const char *file, int line, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "nono: %s:%d: assertion failed: %s\n", file, line, what);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    /* Straight to the descriptor: stdio may be what broke. */
    ssize_t ignored = write(STDERR_FILENO, text, len);
    (void)ignored;
    abort();
}
