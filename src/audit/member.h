/* Members of the audit's rarer records; `key` holds comma, name and colon. (record.c has its own, which look at no capacity.) Pure. */
#pragma once
#include "base/buf.h"

/* Absent when empty. */
void member_text(struct buf *out, const char *key, struct str value);
/* null when empty. */
void member_text_or_null(struct buf *out, const char *key, struct str value);
