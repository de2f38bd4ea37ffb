/* What must hold for every message, whatever its bytes. */
#pragma once
#include "replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Runs the message whole and in several kinds of pieces; asserts that nothing differs. The outcome
 * is left in *ret_whole, for replay_fini. */
void same_in_pieces(enum h1_role role, struct str method, struct str message,
                    struct replay *ret_whole);
/* Asserts that a head that was accepted parses again, once written, to the same; and that it is
 * then written the same. */
void same_when_written(const struct replay *whole);
