/* Shared inside base/ only: the memory fault hook, and poisoning of pooled memory so that ASan sees
 * its misuse. */
#pragma once
#include "base/attr.h"
#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__)
#define BASE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BASE_ASAN 1
#endif
#endif

#ifdef BASE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* Asked before every allocation of the process: true when a test wants this one to fail. Any
 * thread. */
bool mem_must_fail(void);
