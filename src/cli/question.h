/* A request as a user writes it down, judged by the calls that the data path makes. Pure. */
#pragma once
#include "base/buf.h"
#include "policy/decide.h"

struct question {
    struct str asked;     /* as it was written: shown when it is malformed */
    struct facts facts;   /* method and path are slices of what was parsed, or static */
    bool scheme_open;     /* host and path alone do not say http or https: the route of that port does */
    bool by_tunnel;       /* https as clients send it: inside a CONNECT, which is judged too */
    struct errctx wrong;  /* code ERR_OK: well-formed. Else what the gateway answers with 400 */
};
/* One line: a host with or without a port (the CONNECT to it), a URL (as question_of_url), or METHOD URL, CONNECT HOST:PORT. METHOD URL is
 * the request line as it stands: nothing but that request is judged, no CONNECT that a client might open for it. */
void question_parse(struct str line, struct question *ret_question);
/* A host with or without a port; path p NULL: the CONNECT to it. method p NULL: GET. https goes by tunnel. */
void question_of_host(struct str host, struct str method, struct str path,
                      struct question *ret_question);
/* A URL; https goes by tunnel. One that begins with / is asked of the gateway itself: /SERVICE/PATH is the reverse route of a service. */
void question_of_url(struct str url, struct str method, struct question *ret_question);

struct answer {
    struct decision decision; /* of a malformed question: nothing but the refusal */
    bool allowed;             /* the gateway would serve it */
    struct str rule;
    char reason[512];         /* never empty */
    char remedy[512];         /* may be empty */
};
/* Names are not resolved; literals are judged by their address too. An open scheme is settled in q. */
void question_ask(const struct policy *policy, struct question *q, struct answer *ret_answer);
/* After policy_addr refused an address of an answer that was allowed so far. */
void answer_refresh(struct answer *a);
void answer_deny(struct answer *a, struct str rule, const char *reason);

/* The route of the credential that would go in, also one that this version has not got (decision K13).
 * False: none would. */
bool answer_credential(const struct answer *a, struct route_view *ret_route);

/* "CONNECT h:443", "GET https://h/p", "GET /svc/p". */
void question_format(struct buf *out, const struct question *q);
/* What else is known: where the credential goes ("header X-Key"; empty: nothing), and sentences that do not change the verdict. */
struct answer_more {
    struct str place;
    struct str notes[4];
    size_t n_notes;
};
/* A paragraph for people. */
void answer_text(struct buf *out, const struct question *q, const struct answer *a,
                 const struct answer_more *more);
/* One line of the same. */
void answer_line(struct buf *out, const struct question *q, const struct answer *a);
/* An object (decision W2). */
void answer_json(struct buf *out, const struct question *q, const struct answer *a,
                 const struct answer_more *more);
