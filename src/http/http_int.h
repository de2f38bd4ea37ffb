/* Inside of http/ only: what the chunked coding borrows from the head parser. */
#pragma once
#include "http/h1_parse.h"

/* A scan that begins among field lines: a trailer section. */
void h1_scan_init_trailers(struct h1_scan *s, enum h1_role role);
/* Field lines up to the empty line that ends them, as h1_scan delimited them; p may be changed in
 * place (unfolding a response). *ret_bare_lf: some line ended in LF alone. ERR_BAD_REQUEST,
 * ERR_HEAD_TOO_LARGE; of a response ERR_BAD_RESPONSE. */
enum err h1_parse_fields(char *p, size_t n, enum h1_role role, struct fields *fields,
                         bool *ret_bare_lf, struct errctx *ctx) MUST_CHECK;
