/* What an approval webhook is sent, and what it may answer (../shared spec: docs/approvals). */
#include "approval/approval_int.h"
#include "base/encode.h"
#include "config/json.h"
#include <stdio.h>

enum { REASON_SHOWN = 1024 };

static void add(struct buf *out, const char *key, struct str value)
{
    buf_add_z(out, key);
    encode_json(out, value);
}

void webhook_body(struct buf *out, struct str backend, const struct approval_question *q)
{
    add(out, "{\"backend\":", backend);
    buf_add_z(out, ",\"request\":{\"capability_type\":\"endpoint\"");
    add(out, ",\"request_id\":", q->request_id);
    add(out, ",\"route_id\":", q->route_id);
    add(out, ",\"upstream\":", q->upstream);
    add(out, ",\"method\":", q->method);
    add(out, ",\"path\":", q->path);
    add(out, ",\"rule_label\":", q->rule_label);
    add(out, ",\"reason\":", q->reason);
    buf_add_z(out, ",\"child_pid\":0,\"session_id\":\"proxy\"}}");
}

static enum approval_answer say(char sentence[SENTENCE_SIZE], enum approval_answer a,
                                const char *what, struct str reason)
{
    size_t n = reason.n <= REASON_SHOWN ? reason.n : REASON_SHOWN - 3;
    int at = snprintf(sentence, SENTENCE_SIZE, "%s%s", what, n ? ": " : "");
    char *p = sentence + at;
    for (size_t i = 0; i < n; i++)
        *p++ = ascii_is_ctl((unsigned char)reason.p[i]) ? ' ' : reason.p[i];
    memcpy(p, n < reason.n ? "..." : "", n < reason.n ? 4 : 1);
    return a;
}

static enum approval_answer garbage(char sentence[SENTENCE_SIZE], const char *what)
{
    return say(sentence, APPROVAL_FAILED, what, STR_NULL);
}

struct word {
    const char *text;
    enum approval_answer answer;
};
static const struct word words[] = {
    {"grant", APPROVAL_GRANTED},    {"granted", APPROVAL_GRANTED}, {"approve", APPROVAL_GRANTED},
    {"approved", APPROVAL_GRANTED}, {"allow", APPROVAL_GRANTED},   {"allowed", APPROVAL_GRANTED},
    {"deny", APPROVAL_DENIED},      {"denied", APPROVAL_DENIED},   {"reject", APPROVAL_DENIED},
    {"rejected", APPROVAL_DENIED},  {"block", APPROVAL_DENIED},    {"blocked", APPROVAL_DENIED},
    {"timeout", APPROVAL_TIMEOUT},  {"timed_out", APPROVAL_TIMEOUT},
};
static const char *const said[] = {[APPROVAL_GRANTED] = "it was granted",
                                   [APPROVAL_DENIED] = "it was denied",
                                   [APPROVAL_TIMEOUT] = "nobody decided in time"};

static struct str trim(struct str s)
{
    while (s.n && strchr(" \t\r\n\f\v", s.p[0]) && s.p[0])
        s.p++, s.n--;
    while (s.n && strchr(" \t\r\n\f\v", s.p[s.n - 1]) && s.p[s.n - 1])
        s.n--;
    return s;
}

/* {"decision": WORD, "reason"?} */
static enum approval_answer by_word(const struct json *decision, const struct json_member *reason,
                                    char sentence[SENTENCE_SIZE])
{
    struct str why = reason && reason->value->kind == JSON_STRING ? reason->value->text : STR_NULL;
    if (decision->kind != JSON_STRING)
        return garbage(sentence, "its decision is no text");
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eq_nocase(trim(decision->text), str_from(words[i].text)))
            return say(sentence, words[i].answer, said[words[i].answer], why);
    return garbage(sentence, "its decision is none that is known");
}

static bool is_ambiguous(const struct json *v)
{
    bool both = json_get(v, STR("Denied")) && json_get(v, STR("decision"));
    for (size_t i = 0; i < v->n; i++)
        both |= v->members[i].repeats != NULL;
    return both;
}

static enum approval_answer by_object(const struct json *v, char sentence[SENTENCE_SIZE])
{
    const struct json_member *denied = json_get(v, STR("Denied"));
    const struct json_member *decision = json_get(v, STR("decision"));
    const struct json_member *reason = json_get(v, STR("reason"));
    if (is_ambiguous(v))
        return garbage(sentence, "its answer contradicts itself");
    if (decision)
        return by_word(decision->value, reason, sentence);
    if (!denied || denied->value->kind != JSON_OBJECT)
        return garbage(sentence, "its answer holds no decision");
    reason = json_get(denied->value, STR("reason"));
    return say(sentence, APPROVAL_DENIED, said[APPROVAL_DENIED],
               reason && reason->value->kind == JSON_STRING ? reason->value->text : STR_NULL);
}

static enum approval_answer by_text(struct str text, char sentence[SENTENCE_SIZE])
{
    if (str_eq(text, STR("Granted")))
        return say(sentence, APPROVAL_GRANTED, said[APPROVAL_GRANTED], STR_NULL);
    if (str_eq(text, STR("Timeout")))
        return say(sentence, APPROVAL_TIMEOUT, said[APPROVAL_TIMEOUT], STR_NULL);
    return garbage(sentence, "its answer is none that is known");
}

enum approval_answer webhook_answer(unsigned status, struct str body, char sentence[SENTENCE_SIZE])
{
    enum approval_answer a;
    const struct json *root = NULL;
    struct json_error why;
    struct json_doc *doc;
    if (status / 100 != 2) {
        (void)snprintf(sentence, SENTENCE_SIZE, "it answered with status %u%s", status,
                       status / 100 == 3 ? ", and redirects are not followed" : "");
        return APPROVAL_DENIED;
    }
    doc = json_doc_new();
    if (!doc)
        return garbage(sentence, "the gateway is out of memory");
    if (!json_is_strict(body) || json_read(doc, body, "answer", &root, &why))
        a = garbage(sentence, "its answer is no JSON");
    else if (root->kind == JSON_STRING)
        a = by_text(root->text, sentence);
    else if (root->kind == JSON_OBJECT)
        a = by_object(root, sentence);
    else
        a = garbage(sentence, "its answer is none that is known");
    json_doc_free(doc);
    return a;
}
