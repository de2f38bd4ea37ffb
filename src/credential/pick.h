/* Strict JSON (RFC 8259) that helpers print, read where it stands: slices of the text, nothing copied but what is asked for, so that one
 * wipe of the text leaves no secret behind (the reader of config/ keeps copies). Pure; any thread. */
#pragma once
#include "base/buf.h"

/* The whole text is one value, nested at most 64 deep. */
bool pick_valid(struct str text) MUST_CHECK;
/* The rest is for values of a valid text only. First byte of a value: one of { [ " t f n - 0…9. */
char pick_kind(struct str value);
/* Next member of an object, next item of an array: *at starts at 0. */
bool pick_member(struct str object, size_t *at, struct str *ret_key, struct str *ret_value) MUST_CHECK;
bool pick_item(struct str array, size_t *at, struct str *ret_value) MUST_CHECK;
/* The member of that name (the last of several), or p NULL; also when `object` is none. */
struct str pick_get(struct str object, const char *key);
/* A string's text, escapes resolved, added to out. A lone surrogate becomes U+FFFD. */
void pick_text(struct str string, struct buf *out);
