/* What every unit test of base/ and audit/ includes, in the order cmocka needs. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/str.h"

#define assert_str(actual, literal)                                                                \
    do {                                                                                           \
        struct str got_ = (actual), want_ = STR(literal);                                          \
        if (!str_eq(got_, want_))                                                                  \
            fail_msg("got \"%.*s\", want \"%.*s\"", STR_ARG(got_), STR_ARG(want_));                \
    } while (0)
