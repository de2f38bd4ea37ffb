/* For tests: the pure half of reading the system. */
#pragma once
#include "config/platform.h"

/* Take ID, ID_LIKE, VERSION_ID and VARIANT_ID from the text of an os-release file. */
void platform_os_release(struct platform *p, struct str text);
