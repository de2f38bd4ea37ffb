/* Assertions for our own bugs. Always on; never reachable from peer, kernel or configuration bytes. */
#pragma once
#include "base/attr.h"

/* Writes where and what to stderr and aborts. Any thread. */
NORETURN void assert_failed(const char *file, int line, const char *what);

#define ASSERT(x) ((x) ? (void)0 : assert_failed(__FILE__, __LINE__, #x))
#define UNREACHABLE(what) assert_failed(__FILE__, __LINE__, what)
