/* A chunked body with trailers, as that of a request and of a response. */
#include "invariants.h"
#include "base/assert.h"

static struct replay request, response, again;

static void run(struct replay *r, enum h1_role role, struct str head, struct str body)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_add_str(&b, head);
    buf_add_str(&b, body);
    ASSERT(buf_ok(&b));
    same_in_pieces(role, STR("GET"), buf_str(&b), r);
    buf_fini(&b);
}

/* What was decoded, sent anew in one chunk, is decoded to the same. */
static void same_when_encoded(struct str head, const struct replay *r)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    if (r->body.n)
        buf_printf(&b, "%zx\r\n", r->body.n);
    buf_add_str(&b, buf_str(&r->body));
    buf_add_z(&b, r->body.n ? "\r\n0\r\n\r\n" : "0\r\n\r\n");
    run(&again, H1_REQUEST, head, buf_str(&b));
    ASSERT(again.result == ERR_OK && str_eq(buf_str(&again.body), buf_str(&r->body)));
    replay_fini(&again);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    const struct str head = STR("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    const struct str body = {(const char *)p, n};

    if (n > 4 * LIMIT_HEAD_BYTES)
        return 0;
    run(&request, H1_REQUEST, head, body);
    run(&response, H1_RESPONSE, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), body);
    /* Whatever is right in a request is right in a response, and is the same there. */
    if (request.result == ERR_OK) {
        ASSERT(response.result == ERR_OK && !response.head.tainted);
        ASSERT(str_eq(buf_str(&request.body), buf_str(&response.body)));
        ASSERT(request.trailers.n == response.trailers.n);
        same_when_encoded(head, &request);
    }
    replay_fini(&request);
    replay_fini(&response);
    return 0;
}
