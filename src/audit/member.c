#include "audit/member.h"
#include "base/encode.h"

void member_text(struct buf *out, const char *key, struct str value)
{
    if (!value.n)
        return;
    buf_add_z(out, key);
    encode_json(out, value);
}

void member_text_or_null(struct buf *out, const char *key, struct str value)
{
    buf_add_z(out, key);
    if (value.n)
        encode_json(out, value);
    else
        buf_add_z(out, "null");
}
