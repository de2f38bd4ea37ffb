/* Small text helpers of the command line. Pure; any thread. */
#pragma once
#include "base/buf.h"

struct command;

/* 'text' in quotes for messages: controls and non-ASCII escaped, cut at a readable length. */
void cli_add_quoted(struct buf *out, struct str text);
/* Append words with line breaks: every line begins with `indent` blanks but the first, none is
 * longer than `width` if words allow. */
void cli_add_wrapped(struct buf *out, struct str text, size_t indent, size_t width);
/* The whole buffer to a descriptor, errors ignored: nobody may be there to read. A reader that
 * takes nothing is given up on. */
void cli_print(int fd, const struct buf *text);
/* What was asked for, to standard output, however slowly it is read. False: it could not be written. */
bool cli_answer(const struct buf *text) MUST_CHECK;
/* "nono: TEXT" on stderr, with a last line that points to --help of the command (NULL: of nono
 * itself). */
void cli_usage_error(const struct command *command, struct str text);
