#include "http/head.h"

static bool copy_str(struct arena *a, struct str from, struct str *ret_copy)
{
    if (!from.p)
        return *ret_copy = STR_NULL, true;
    *ret_copy = arena_str(a, from);
    return ret_copy->p != NULL;
}

bool http_head_copy(struct arena *a, const struct http_head *from, unsigned extra,
                    struct http_head *ret_head)
{
    struct http_head copy = *from;

    if (!copy_str(a, from->method, &copy.method) || !copy_str(a, from->target, &copy.target) ||
        !copy_str(a, from->reason, &copy.reason) ||
        !fields_copy(a, &from->fields, extra, &copy.fields))
        return false;
    *ret_head = copy;
    return true;
}
