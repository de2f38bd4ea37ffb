/* Between the scanner of loose text (jsonc.c) and the reader that builds trees of it (json.c). */
#pragma once
#include "config/json.h"

/* One value or one key, in the order of the text. */
struct json_token {
    size_t strict;    /* where it begins in the strict text */
    uint64_t integer; /* JSON_INTEGER */
    uint32_t line, column;
    uint8_t kind; /* enum json_kind; a key is a JSON_STRING */
    bool negative;
};
struct json_tokens {
    struct json_token *v;
    size_t n, cap;
};

/* Loose text to strict text and the tokens in it. In the strict text an object is the array of its keys and values in turn, because
 * jansson keeps one member of a repeated key only, and an integer is 0 (jansson's are signed; the token has the value).
 * ERR_INVALID with *ret_error (the file is the caller's to fill in), ERR_NOMEM. */
enum err jsonc_scan(struct str text, struct buf *strict, struct json_tokens *tokens, struct json_error *ret_error) MUST_CHECK;
