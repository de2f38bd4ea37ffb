#include "http/hop.h"

#include "base/encode.h"
#include "tls/hash.h"

/* ---- hop-by-hop fields ---- */

/* Framing is ours to write, and Host and Expect are needed to do it; a client cannot name these
 * away. */
static bool is_needed(enum field_id id)
{
    return id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING ||
           id == FIELD_EXPECT;
}

static void drop_known(struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        enum field_id id = (enum field_id)f->v[i].id;
        if (id == FIELD_CONTENT_LENGTH || field_flags(id) & FIELD_F_HOP)
            f->v[i].drop = true;
    }
}

static void drop_named(struct fields *f, struct str name)
{
    enum field_id id = field_lookup(name);

    if (is_needed(id) || field_flags(id) & FIELD_F_HOP)
        return;
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == id && (id != FIELD_OTHER || str_eq_nocase(f->v[i].name, name)))
            f->v[i].drop = true;
}

static void drop_everything(struct fields *f)
{
    for (unsigned i = 0; i < f->n; i++)
        if (!is_needed((enum field_id)f->v[i].id))
            f->v[i].drop = true;
}

/* Names come in any number, each is looked for in every field: after more than a head can have
 * fields the work ends, on the safe side. */
static void drop_listed(struct fields *f, struct str list, unsigned *names)
{
    struct str part;

    while (str_next(&list, ',', &part)) {
        part = str_trim(part);
        if (!part.n)
            continue;
        if (++*names > LIMIT_HEAD_FIELDS) {
            drop_everything(f);
            return;
        }
        drop_named(f, part);
    }
}

void hop_strip(struct http_head *head)
{
    struct fields *f = &head->fields;
    unsigned names = 0;

    drop_known(f);
    for (unsigned i = 0; i < f->n; i++)
        if (f->v[i].id == FIELD_CONNECTION)
            drop_listed(f, f->v[i].value, &names);
}

/* ---- WebSocket ---- */

static bool base64_char(char c)
{
    return ascii_is_alpha((unsigned char)c) || ascii_is_digit((unsigned char)c) || c == '+' ||
           c == '/';
}

/* 16 bytes in base64 are 22 characters and two of padding. */
static bool key_ok(struct str key)
{
    if (key.n != 24 || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (!base64_char(key.p[i]))
            return false;
    return true;
}

static enum err check_handshake(const struct http_head *head, struct errctx *ctx)
{
    const struct field *key = fields_get(&head->fields, FIELD_SEC_WEBSOCKET_KEY);
    const struct field *version = fields_get(&head->fields, FIELD_SEC_WEBSOCKET_VERSION);

    if (head->framing == FRAMING_CHUNKED || head->length)
        return err_set(ctx, ERR_BAD_REQUEST, "WebSocket handshake with a body");
    if (!key || fields_count(&head->fields, FIELD_SEC_WEBSOCKET_KEY) != 1 || !key_ok(key->value))
        return err_set(ctx, ERR_BAD_REQUEST, "Sec-WebSocket-Key is not one of 16 bytes in base64");
    if (!version || fields_count(&head->fields, FIELD_SEC_WEBSOCKET_VERSION) != 1 ||
        !str_eq(version->value, STR("13")))
        return err_set(ctx, ERR_BAD_REQUEST, "Sec-WebSocket-Version is not 13");
    return ERR_OK;
}

enum err hop_upgrade(const struct http_head *head, enum upgrade *ret_upgrade, struct errctx *ctx)
{
    if (!fields_get(&head->fields, FIELD_UPGRADE)) {
        *ret_upgrade = UPGRADE_NONE;
        return ERR_OK;
    }
    if (!str_eq(head->method, STR("GET")) || head->minor == 0 ||
        !fields_has_token(&head->fields, FIELD_CONNECTION, STR("upgrade")) ||
        !fields_has_token(&head->fields, FIELD_UPGRADE, STR("websocket"))) {
        *ret_upgrade = UPGRADE_OTHER;
        return ERR_OK;
    }
    enum err e = check_handshake(head, ctx);
    if (!e)
        *ret_upgrade = UPGRADE_WEBSOCKET;
    return e;
}

bool hop_websocket_accept(struct str key, char ret_accept[29])
{
    unsigned char digest[HASH_SHA1_BYTES];
    struct buf text;

    if (hash_sha1(key, STR("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), digest) != ERR_OK)
        return false;
    buf_init(&text, 64);
    encode_base64(&text, str_of((const char *)digest, sizeof(digest)));
    bool ok = buf_ok(&text) && text.n == 28;
    if (ok)
        memcpy(ret_accept, text.p, 28);
    ret_accept[ok ? 28 : 0] = '\0';
    buf_fini(&text);
    return ok;
}
