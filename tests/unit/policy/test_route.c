/* Routes: places, rules, credentials (H11, E1 to E7, K1, K2, K13, K12; cases 29, 36, 37, 50, 52, 66 to 70, 72, 96). */
#include "unit.h"
#include <stdio.h>
#include <time.h>
#include "base/mem.h"
#include "policy/route.h"

/* ---- a route in a few words ---- */

enum { RULES_MAX = 8 };

struct lines {
    struct endpoint_spec v[RULES_MAX];
    size_t n;
};

/* Method and path, one rule after another, separated by bars. */
static void parse_rules(const char *text, const char *origin, struct lines *out)
{
    struct str rest = str_from(text), one, method;
    out->n = 0;
    while (text && str_next(&rest, '|', &one)) {
        assert_true(out->n < RULES_MAX);
        assert_true(str_next(&one, ' ', &method));
        out->v[out->n++] = (struct endpoint_spec){.method = method, .path = one, .origin = str_from(origin)};
    }
}

struct words {
    const char *id, *prefix, *url, *rules; /* url: "https://host[:port][/base]" */
    const char *deny, *approve, *allow;    /* any of them: an endpoint_policy */
    char credential;                       /* 0, 'c', 'u' (not in this version) */
    char fallback;                         /* 0: deny; 'a' allow, 'p' approve */
    bool crossing;                         /* endpoint_glob "path" */
};

static void parse_url(const char *url, struct route_spec *s)
{
    struct str rest = str_from(url), host;
    s->scheme = str_starts(rest, STR("https")) ? SCHEME_HTTPS : SCHEME_HTTP;
    rest = str_of(strstr(url, "//") + 2, strlen(strstr(url, "//") + 2));
    size_t slash = str_find(rest, '/'), colon;
    s->base_path = str_of(rest.p + slash, rest.n - slash);
    host = str_of(rest.p, slash);
    colon = str_rfind(host, ':');
    if (colon < host.n && !str_ends(host, STR("]"))) {
        uint64_t port = 0;
        assert_true(str_u64(str_of(host.p + colon + 1, host.n - colon - 1), 65535, &port));
        s->port = (uint16_t)port;
        host.n = colon;
    }
    s->host = host;
}

static enum err add_route(struct policy *p, const struct words *w, struct errctx *ctx)
{
    struct lines rules, deny, approve, allow;
    struct route_spec s = {.id = str_from(w->id), .origin = str_from("p.json:1:2"), .prefix = str_from(w->prefix)};
    parse_url(w->url, &s);
    parse_rules(w->rules, "p.json:3:4", &rules);
    parse_rules(w->deny, "p.json:5:6", &deny);
    parse_rules(w->approve, "p.json:7:8", &approve);
    parse_rules(w->allow, "p.json:9:9", &allow);
    s.has_credential = w->credential != 0;
    s.unavailable = w->credential == 'u';
    s.segment_globs = !w->crossing;
    s.rules = rules.v, s.n_rules = rules.n;
    s.policy_given = w->deny || w->approve || w->allow || w->fallback;
    s.fallback = w->fallback == 'a' ? ENDPOINT_ACT_ALLOW : w->fallback == 'p' ? ENDPOINT_ACT_APPROVE : ENDPOINT_ACT_DENY;
    s.deny = deny.v, s.n_deny = deny.n;
    s.approve = approve.v, s.n_approve = approve.n;
    s.allow = allow.v, s.n_allow = allow.n;
    return policy_add_route(p, &s, ctx);
}

/* `allow`: entries of the host's own; NULL: everything is allowed. Routes are put on the list when there is one. */
static struct policy *make_routes(const struct words *routes, size_t n, const char *allow, const char *deny)
{
    struct policy *p;
    struct errctx ctx = {0};
    assert_int_equal(policy_new(&p), ERR_OK);
    add_words(p, RULES_DENY, deny, "--deny-domain");
    for (size_t i = 0; i < n; i++) {
        if (add_route(p, &routes[i], &ctx) != ERR_OK ||
            (allow && policy_allow_route(p, i, &ctx) != ERR_OK))
            fail_msg("%s: %s", routes[i].id, ctx.text);
    }
    if (allow)
        add_words(p, RULES_ALLOW, allow, "--allow-domain");
    assert_int_equal(policy_freeze(p), ERR_OK);
    return p;
}

/* "GET https://host[:port]/path", "CONNECT host:port", "GET /prefix/path". */
static struct decision ask_for(const struct policy *p, const char *request)
{
    static char scratch[200000];
    struct facts f = {.scratch = scratch, .scratch_size = sizeof scratch};
    struct decision d;
    struct errctx ctx = {0};
    struct str rest = str_from(request);
    assert_true(str_next(&rest, ' ', &f.method));
    if (str_eq(f.method, STR("CONNECT"))) {
        f.shape = SHAPE_CONNECT;
        assert_int_equal(target_parse_authority(rest, &f.host, &f.port, &ctx), ERR_OK);
        f.scheme = f.port == 443 ? SCHEME_HTTPS : SCHEME_HTTP;
    } else if (rest.p[0] == '/') {
        f.shape = SHAPE_REVERSE;
        f.prefix = str_of(rest.p + 1, str_find(str_of(rest.p + 1, rest.n - 1), '/'));
        f.path = f.prefix.n + 1 < rest.n ? str_of(rest.p + 1 + f.prefix.n, rest.n - 1 - f.prefix.n) : STR("/");
    } else {
        struct target_uri uri;
        f.shape = SHAPE_FORWARD;
        assert_int_equal(target_parse_uri(rest, &uri, &ctx), ERR_OK);
        f.host = uri.host, f.port = uri.port, f.scheme = uri.scheme;
        target_split_query(uri.origin.n ? uri.origin : STR("/"), &f.path, &f.query);
    }
    policy_decide(p, &f, &d);
    return d;
}

/* What became of it: "allow", "allow:ID" (with that credential), "intercept", or the name of the refusal. */
static const char *outcome(const struct policy *p, const struct decision *d)
{
    static char text[100];
    struct route_view v;
    if (d->verdict == VERDICT_REFUSE)
        return err_name(d->refusal);
    if (d->verdict == VERDICT_INTERCEPT)
        return "intercept";
    if (d->credential < 0)
        return "allow";
    policy_route_view(p, (size_t)d->credential, &v);
    (void)snprintf(text, sizeof text, "allow:%.*s", STR_ARG(v.id));
    return text;
}

static void check_decision(const struct decision *d, const char *what)
{
    bool refused = d->verdict == VERDICT_REFUSE;
    for (const char *c = d->reason; *c; c++)
        if (*c < ' ' || *c > '~')
            fail_msg("%s: reason with byte %d", what, *c);
    bool asked = d->endpoint_judged && d->endpoint_action == ENDPOINT_ACT_APPROVE;
    if (!d->rule.n || (refused && !d->reason[0]) || (d->verdict == VERDICT_ALLOW && asked != (d->reason[0] != '\0')))
        fail_msg("%s: rule or reason: %s", what, d->reason);
    if (refused ? d->verdict != VERDICT_REFUSE || !err_status(d->refusal) : d->refusal != ERR_OK)
        fail_msg("%s: refusal %s", what, err_name(d->refusal));
    if (d->credential >= 0 && !d->route)
        fail_msg("%s: a credential of no route", what);
}

/* ---- scenes: routes, entries, and requests with their outcomes ---- */

struct scene {
    const char *name;
    struct words routes[4];
    const char *allow, *deny;
    const char *requests; /* "GET https://h/x = allow", one a line */
};

static const struct scene scenes[] = {
    {"H11, case 50: a host with endpoint rules, in every shape",
     {{"_ep_git.test", "", "https://git.test", "* /org/**", .credential = 0}}, NULL, "",
     "CONNECT git.test:443 = intercept\nCONNECT GIT.test.:443 = intercept\nCONNECT git.test:8443 = endpoint_denied\n"
     "CONNECT git.test:22 = endpoint_denied\nCONNECT git.test:80 = endpoint_denied\nGET http://git.test/org/x = endpoint_denied\n"
     "GET http://git.test:443/org/x = endpoint_denied\nGET https://git.test/org/x = allow\nGET https://git.test/org = allow\n"
     "GET https://git.test/other = endpoint_denied\nGET https://git.test:8443/org/x = endpoint_denied\n"
     "GET https://git.test./org/x = allow\nGET https://other.test/x = allow\nCONNECT other.test:443 = allow\n"
     "CONNECT sub.git.test:443 = allow\nGET https://git.test/a/../org/x = bad_request\nGET https://git.test = endpoint_denied"},
    {"13.0: the port of a URL entry", {{"_ep_h.test", "", "https://h.test:8443", "* /x/**", .credential = 0}}, NULL, "",
     "CONNECT h.test:8443 = intercept\nCONNECT h.test:443 = endpoint_denied\nGET https://h.test:8443/x/1 = allow\n"
     "GET https://h.test:8443/y = endpoint_denied"},
    {"case 36: deny and allow lists come first", {{"_ep_git.test", "", "https://git.test", "* /**", .credential = 0}}, "", "git.test",
     "CONNECT git.test:443 = host_denied\nGET https://git.test/ = host_denied\nGET https://x.test/ = host_denied"},
    {"H3: a route's entry is for its port alone", {{"_ep_git.test", "", "https://git.test", "* /a", .credential = 0}}, "", "",
     "GET https://git.test/a = allow\nCONNECT git.test:443 = intercept\nCONNECT git.test:80 = endpoint_denied\n"
     "CONNECT x.git.test:443 = host_denied"},
    {"K1: a credential's host", {{"api", "api", "https://api.test", NULL, .credential = 'c'}}, NULL, "",
     "CONNECT api.test:443 = intercept\nCONNECT api.test:80 = endpoint_denied\nGET http://api.test/ = endpoint_denied\n"
     "GET https://api.test/x = allow:api\nGET /api/x = allow:api\nGET /api = allow:api\nGET /apix = unknown_service\n"
     "GET /API/x = unknown_service\nGET /api/%2e%2e = bad_request\nGET https://api.test/%00 = bad_request\nTRACE /api/x = trace_refused"},
    {"case 52: a wildcard upstream", {{"dev", "dev", "https://*.dev.test", NULL, .credential = 'c'}}, NULL, "",
     "CONNECT a.b.dev.test:443 = intercept\nCONNECT dev.test:443 = allow\nCONNECT a.dev.test:80 = endpoint_denied\n"
     "GET https://a.dev.test/x = allow:dev\nGET /dev/x = unknown_service"},
    {"case 66: two credentials, disjoint paths",
     {{"a", "a", "https://h.test", "* /a/**", .credential = 'c'}, {"b", "b", "https://h.test", "* /b/**", .credential = 'c'}}, NULL, "",
     "GET https://h.test/a/1 = allow:a\nGET https://h.test/b/1 = allow:b\nGET https://h.test/c = endpoint_denied\n"
     "GET /a/a/1 = allow:a\nGET /a/b/1 = endpoint_denied\nGET /b/b = allow:b"},
    {"5.5: default-deny policies do not veto each other",
     {{"a", "a", "https://h.test", NULL, NULL, NULL, "* /a/**", .credential = 'c'}, {"b", "b", "https://h.test", NULL, NULL, NULL, "* /b/**", .credential = 'c'}},
     "h.test", "", "GET https://h.test/a/1 = allow:a\nGET https://h.test/b/1 = allow:b\nGET https://h.test/c = endpoint_denied"},
    {"case 67: a catch-all credential and a path rule without one",
     {{"c", "c", "https://h.test", NULL, .credential = 'c'}, {"_ep_h.test", "", "https://h.test", "GET /ok/**", .credential = 0}}, NULL, "",
     "GET https://h.test/ok/1 = allow:c\nPOST https://h.test/ok/1 = endpoint_denied\nGET https://h.test/no = endpoint_denied\n"
     "GET /c/ok = allow:c\nGET /c/no = endpoint_denied"},
    {"case 68: two equal candidates",
     {{"one", "one", "https://h.test", NULL, .credential = 'c'}, {"two", "two", "https://h.test", NULL, .credential = 'c'}}, NULL, "",
     "GET https://h.test/x = endpoint_denied\nGET /one/x = allow:one\nGET /two/x = allow:two\nCONNECT h.test:443 = intercept"},
    {"case 68: equal rules",
     {{"one", "one", "https://h.test", "* /x/**", .credential = 'c'}, {"two", "two", "https://h.test", "* /x/**", .credential = 'c'}},
     NULL, "", "GET https://h.test/x/1 = endpoint_denied\nGET /two/x/1 = allow:two"},
    {"case 69: a wildcard rule beside a credential",
     {{"_ep_*.h.test", "", "https://*.h.test", "* /**", .credential = 0}, {"c", "c", "https://api.h.test", NULL, .credential = 'c'}}, NULL, "",
     "GET https://api.h.test/x = allow:c\nGET https://b.h.test/x = allow"},
    {"K2: the most specific wins",
     {{"all", "all", "https://h.test", NULL, .credential = 'c'}, {"star", "star", "https://h.test", "* /**", .credential = 'c'},
      {"repos", "repos", "https://h.test", "* /repos/**", .credential = 'c'}, {"mine", "mine", "https://h.test", "* /repos/me", .credential = 'c'}},
     NULL, "", "GET https://h.test/x = allow:star\nGET https://h.test/repos/x = allow:repos\nGET https://h.test/repos/me = allow:mine\n"
     "GET https://h.test/repos/me/x = allow:repos\nGET https://h.test//repos//me/ = allow:mine"},
    {"K2: a longer base path is more specific, an exact host than a wildcard",
     {{"all", "all", "https://h.test", NULL, .credential = 'c'}, {"v1", "v1", "https://h.test/v1", NULL, .credential = 'c'},
      {"wild", "wild", "https://*.test", NULL, .credential = 'c'}}, NULL, "",
     "GET https://h.test/v1/x = allow:v1\nGET https://h.test/v1 = allow:v1\nGET https://h.test/v1x = allow:all\nGET https://z.test/ = allow:wild"},
    {"K2: as much literal beginning, then as much literal at all",
     {{"a", "a", "https://h.test", "* /r/*/x", .credential = 'c'}, {"b", "b", "https://h.test", "* /r/*/*", .credential = 'c'},
      {"c", "c", "https://*.h.test", "* /y", .credential = 'c'}, {"d", "d", "https://*.z.h.test", "* /y", .credential = 'c'}}, NULL, "",
     "GET https://h.test/r/1/x = allow:a\nGET https://h.test/r/1/y = allow:b\nGET https://a.z.h.test/y = allow:d\n"
     "GET https://z.h.test/y = allow:c"},
    {"E6: an address with a plain entry of its own", {{"c", "c", "http://203.0.113.5", "* /in/**", .credential = 'c'}}, "203.0.113.5", "",
     "GET http://203.0.113.5/out = allow\nGET http://203.0.113.5/in = allow:c"},
    {"E6: a block is no entry of its own", {{"c", "c", "http://203.0.113.5", "* /in/**", .credential = 'c'}}, "203.0.113.0/24", "",
     "GET http://203.0.113.5/out = endpoint_denied"},
    {"E6: outside a credential's rules", {{"c", "c", "https://h.test", "* /in/**", .credential = 'c'}}, "", "",
     "GET https://h.test/in/x = allow:c\nGET https://h.test/out = endpoint_denied\nGET /c/out = endpoint_denied"},
    {"E6: with a plain entry of the host's own", {{"c", "c", "https://h.test", "* /in/**", .credential = 'c'}}, "h.test", "",
     "GET https://h.test/in/x = allow:c\nGET https://h.test/out = allow\nGET /c/out = endpoint_denied\nCONNECT h.test:443 = intercept"},
    {"E6: with a plain entry for the port", {{"c", "c", "https://h.test", "* /in/**", .credential = 'c'}}, "h.test:443", "",
     "GET https://h.test/out = allow"},
    {"E6: `*`, wildcards and other ports are not its own", {{"c", "c", "https://h.x.test", "* /in/**", .credential = 'c'}},
     "* *.x.test h.x.test:80", "", "GET https://h.x.test/out = endpoint_denied"},
    {"E6: allow-all is no entry", {{"c", "c", "https://h.test", "* /in/**", .credential = 'c'}}, NULL, "",
     "GET https://h.test/out = endpoint_denied"},
    {"E6: an endpoint_policy has no way round it", {{"c", "c", "https://h.test", NULL, "* /no", NULL, "* /in/**", .credential = 'c'}}, "h.test", "",
     "GET https://h.test/in/x = allow:c\nGET https://h.test/out = endpoint_denied\nGET https://h.test/no = endpoint_denied"},
    {"E6: a gate is not shadowed by a plain entry", {{"_ep_h.test", "", "https://h.test", "* /in/**", .credential = 0}}, "h.test", "",
     "GET https://h.test/in/x = allow\nGET https://h.test/out = endpoint_denied\nCONNECT h.test:443 = intercept"},
    {"E6: a wildcard upstream and its wildcard entry", {{"c", "c", "https://*.h.test", "* /in/**", .credential = 'c'}}, "*.h.test", "",
     "GET https://a.h.test/out = allow\nGET https://a.h.test/in/1 = allow:c"},
    {"E7: below a base path", {{"ai", "ai", "https://h.test/v1", "* /chat/**", .credential = 'c'}}, "", "",
     "GET /ai/chat/x = allow:ai\nGET /ai/v1/chat/x = endpoint_denied\nGET /ai/other = endpoint_denied\n"
     "GET https://h.test/v1/chat/x = allow:ai\nGET https://h.test/chat/x = endpoint_denied\nGET https://h.test/v1 = endpoint_denied"},
    {"E7: a pattern that begins with the base path", {{"ai", "ai", "https://h.test/v1/", "* /v1/chat/**", .credential = 'c'}}, "", "",
     "GET /ai/chat/x = allow:ai\nGET https://h.test/v1/chat/x = allow:ai\nGET https://h.test/v1/v1/chat/x = endpoint_denied"},
    {"E7: the base path itself", {{"ai", "ai", "https://h.test/v1", "* /v1|* /v1/**", .credential = 'c'}}, "", "",
     "GET /ai = allow:ai\nGET /ai/x = allow:ai\nGET https://h.test/v1 = allow:ai\nGET https://h.test/v2 = endpoint_denied"},
    {"E7: outside the base path, with a plain entry", {{"ai", "ai", "https://h.test/v1", NULL, .credential = 'c'}}, "h.test", "",
     "GET https://h.test/v1/x = allow:ai\nGET https://h.test/v2 = allow\nGET https://h.test/v1%2Fx = allow"},
    {"E7: deny rules under either reading", {{"ai", "ai", "https://h.test/v1", NULL, "* /v1/admin/**|* /keys", NULL, NULL, .credential = 'c', .fallback = 'a'}}, "", "",
     "GET /ai/x = allow:ai\nGET /ai/admin/x = endpoint_denied\nGET /ai/v1/admin/x = endpoint_denied\nGET /ai/keys = endpoint_denied\n"
     "GET https://h.test/v1/admin/x = endpoint_denied\nGET https://h.test/v1/v1/admin = endpoint_denied"},
    {"E1, E4: deny under both readings and forms, allow under one",
     {{"_ep_h.test", "", "https://h.test", NULL, "* /x/*/secret|* /adm/**", NULL, "* /**", .credential = 0}}, NULL, "",
     "GET https://h.test/x/a/secret = endpoint_denied\nGET https://h.test/x/a/b/secret = endpoint_denied\n"
     "GET https://h.test/x%2Fa%2Fsecret = endpoint_denied\nGET https://h.test/%61dm/x = endpoint_denied\n"
     "GET https://h.test/adm%2Fx = endpoint_denied\nGET https://h.test/adm%5Cx = endpoint_denied\nGET https://h.test/x%2fb = allow\n"
     "GET https://h.test/ADM = allow\nGET https://h.test//adm// = endpoint_denied"},
    {"E1, E4: allow", {{"_ep_h.test", "", "https://h.test", "GET /r/*/i|get /%7Ea/b%2Fc", .credential = 0}}, NULL, "",
     "GET https://h.test/r/a/i = allow\nGET https://h.test/r/a/b/i = endpoint_denied\nGET https://h.test/r/a%2Fb/i = allow\n"
     "GET https://h.test/r%2Fa/i = endpoint_denied\nGET https://h.test/~a/b%2fc = allow\nGET https://h.test/~a/b/c = endpoint_denied\n"
     "get https://h.test/r/a/i/ = allow\nPOST https://h.test/r/a/i = endpoint_denied"},
    {"endpoint_glob path", {{"_ep_h.test", "", "https://h.test", "GET /r/*/i", .crossing = true}}, NULL, "",
     "GET https://h.test/r/a/b/i = allow\nGET https://h.test/r/i = endpoint_denied"},
    {"5.5: deny, approve, allow, default",
     {{"_ep_h.test", "", "https://h.test", NULL, "DELETE /**", "* /ask/**", "* /**", .credential = 0}}, NULL, "",
     "GET https://h.test/x = allow\nDELETE https://h.test/x = endpoint_denied\nDELETE https://h.test/ask/1 = endpoint_denied\n"
     "GET https://h.test/ask/1 = allow"},
    {"5.5: a policy that allows everything is none", {{"_ep_h.test", "", "https://h.test", NULL, .fallback = 'a'}}, NULL, "",
     "CONNECT h.test:443 = allow\nGET http://h.test/../x = allow\nCONNECT h.test:80 = allow"},
    {"H12: entries of one host add up",
     {{"_ep_1", "", "https://h.test", "* /a/**", .credential = 0}, {"_ep_2", "", "https://h.test", "* /b/**", .credential = 0}, {"_ep_3", "", "https://*.test", "* /c/**", .credential = 0}},
     NULL, "", "GET https://h.test/a = allow\nGET https://h.test/b/x = allow\nGET https://h.test/c = allow\nGET https://h.test/d = endpoint_denied"},
    {"K13: not in this version", {{"aws", "aws", "https://h.test", "* /in/**", .credential = 'u'}}, "h.test", "",
     "GET https://h.test/in/x = credential_unavailable\nGET https://h.test/out = credential_unavailable\n"
     "CONNECT h.test:443 = credential_unavailable\nGET /aws/in/x = credential_unavailable\nGET /aws/out = credential_unavailable\n"
     "CONNECT h.test:80 = endpoint_denied"},
    {"K13: beside one that is", {{"aws", "aws", "https://h.test", "* /aws/**", .credential = 'u'}, {"c", "c", "https://h.test", "* /c/**", .credential = 'c'}},
     "h.test", "", "GET https://h.test/aws/x = credential_unavailable\nGET https://h.test/c/x = allow:c\n"
     "GET https://h.test/out = credential_unavailable\nCONNECT h.test:443 = intercept"},
    {"K2: a deny rule yields to another's rule, not to a catch-all",
     {{"a", "a", "https://h.test", NULL, "* /admin/**|* /x", NULL, NULL, .credential = 'c', .fallback = 'a'}, {"b", "b", "https://h.test", "* /admin/**", .credential = 'c'},
      {"i", "i", "https://i.test", NULL, "* /x", NULL, "* /y", .credential = 'c'}, {"j", "j", "https://i.test", NULL, .credential = 'c'}}, NULL, "",
     "GET https://h.test/admin/1 = allow:b\nGET https://h.test/x = endpoint_denied\nGET https://h.test/z = allow:a\n"
     "GET https://i.test/x = endpoint_denied\nGET https://i.test/y = allow:i\nGET https://i.test/z = allow:j"},
    {"case 29, K12: loopback upstreams", {{"dev", "dev", "http://localhost:3000", "* /ok", .credential = 'c'},
                                          {"num", "num", "http://127.0.0.1:4000", NULL, .credential = 'c'}}, "127.0.0.0/8 localhost 0.0.0.0", "",
     "GET /dev/ok = allow:dev\nGET http://localhost:3000/ok = allow:dev\nGET http://127.0.0.1:3000/ok = endpoint_denied\n"
     "CONNECT 127.0.0.1:3000 = endpoint_denied\nCONNECT [::ffff:127.0.0.1]:3000 = endpoint_denied\nCONNECT localhost:3000 = intercept\n"
     "CONNECT x.localhost:3000 = endpoint_denied\nCONNECT 0.0.0.0:3000 = endpoint_denied\nCONNECT localhost:4000 = endpoint_denied\n"
     "GET http://127.0.0.1:4000/ = allow:num\nCONNECT 127.0.0.1:5000 = endpoint_denied\nCONNECT 127.0.0.2:5000 = allow"},
    {"H6: a route's own text unlocks its loopback address", {{"dev", "dev", "http://localhost:3000", NULL, .credential = 'c'},
                                                            {"num", "num", "http://[::1]:4000", NULL, .credential = 'c'}}, NULL, "",
     "GET /dev/x = allow:dev\nGET /num/x = allow:num\nCONNECT 127.0.0.1:80 = host_denied\nCONNECT localhost:80 = endpoint_denied"},
    {"H5: nothing unlocks metadata", {{"m", "m", "http://169.254.169.254", NULL, .credential = 'c'}}, NULL, "",
     "GET /m/x = host_denied\nGET http://169.254.169.254/x = host_denied"},
    {"case 96: allow-all and a credential", {{"c", "c", "https://h.test", NULL, .credential = 'c'}}, "*", "",
     "GET https://h.test/x = allow:c\nGET https://other.test/x = allow\nGET /c/x = allow:c"},
    {"OPTIONS of a whole server", {{"_ep_h.test", "", "https://h.test", "OPTIONS /**", .credential = 0}}, NULL, "",
     "OPTIONS https://h.test = allow\nGET https://h.test/x = endpoint_denied"},
};

static size_t route_count(const struct scene *s)
{
    size_t n = 0;
    while (n < ARRAY_LEN(s->routes) && s->routes[n].id)
        n++;
    return n;
}

static void check_scene(const struct scene *s)
{
    struct policy *p = make_routes(s->routes, route_count(s), s->allow, s->deny);
    struct str rest = str_from(s->requests), line;
    while (str_next(&rest, '\n', &line)) {
        char request[200];
        const char *equals = memmem(line.p, line.n, " = ", 3);
        assert_non_null(equals);
        (void)snprintf(request, sizeof request, "%.*s", (int)(equals - line.p), line.p);
        struct str expected = str_of(equals + 3, (size_t)(line.p + line.n - equals - 3));
        struct decision d = ask_for(p, request);
        check_decision(&d, request);
        if (d.verdict == VERDICT_ALLOW && d.host.is_address && ask_address(p, &d, d.host.text) != ERR_OK)
            fail_msg("%s: %s: its own address is refused: %s", s->name, request, d.reason);
        if (!str_eq(str_from(outcome(p, &d)), expected))
            fail_msg("%s: %s: %s (%s), expected %.*s", s->name, request, outcome(p, &d), d.reason, STR_ARG(expected));
    }
    policy_free(p);
}

static void test_scenes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scenes); i++)
        check_scene(&scenes[i]);
}

/* ---- what the answer says ---- */

static void test_texts(void **state)
{
    static const struct words routes[] = {
        {"_ep_git.test", "", "https://git.test", "GET /r/*/issues", .credential = 0},
        {"svc", "svc", "https://svc.test:8443/v1", NULL, "DELETE /**", "POST /ask", "* /in/**", .credential = 'c'},
    };
    struct policy *p = make_routes(routes, ARRAY_LEN(routes), NULL, "");
    (void)state;
    struct decision d = ask_for(p, "GET https://git.test/r/a/b/issues");
    assert_true(str_eq(d.hint, STR("* and ? stay inside one path segment, write /r/**/issues")));
    assert_true(str_eq(d.remedy, d.hint));
    assert_non_null(strstr(d.reason, "write /r/**/issues"));
    assert_true(str_eq(d.rule, STR("endpoint_policy.default")) && str_eq(d.origin, STR("p.json:1:2")));
    assert_true(d.endpoint_judged && d.endpoint_action == ENDPOINT_ACT_DENY);
    d = ask_for(p, "POST https://git.test/r/a/b/issues");
    assert_int_equal(d.hint.n, 0);
    assert_string_equal(d.reason, "endpoint denied by endpoint_policy.default: POST /r/a/b/issues on host 'git.test'");
    d = ask_for(p, "GET https://git.test/r/a/issues");
    assert_true(str_eq(d.rule, STR("endpoint_policy.allow[GET /r/*/issues]")) && str_eq(d.origin, STR("p.json:3:4")));
    assert_true(str_eq(d.endpoint_rule, d.rule) && d.credential == -1 && d.route);
    d = ask_for(p, "CONNECT git.test:80");
    assert_true(str_eq(d.rule, STR("route:_ep_git.test")) && str_eq(d.remedy, STR("use https://git.test")));
    assert_non_null(strstr(d.reason, "reachable only at https://git.test"));
    d = ask_for(p, "CONNECT svc.test:443");
    assert_non_null(strstr(d.reason, "https://svc.test:8443"));
    d = ask_for(p, "DELETE /svc/in/x");
    assert_string_equal(d.reason, "endpoint denied by endpoint_policy.deny[DELETE /**]: DELETE /in/x on service 'svc'");
    assert_true(str_eq(d.origin, STR("p.json:5:6")));
    d = ask_for(p, "POST /svc/ask");
    assert_int_equal(d.verdict, VERDICT_ALLOW); /* hold asks */
    assert_string_equal(d.reason, "allowed if the default approval back end grants it when it is asked for");
    assert_true(d.endpoint_action == ENDPOINT_ACT_APPROVE && str_eq(d.endpoint_rule, STR("endpoint_policy.approve[POST /ask]")));
    d = ask_for(p, "GET /svc/in/x");
    assert_true(d.port == 8443 && d.scheme == SCHEME_HTTPS && str_eq(hostname_str(&d.host), STR("svc.test")) && d.credential == 1);
    struct route_view v;
    route_view(d.route, &v);
    assert_true(str_eq(v.upstream, STR("https://svc.test:8443/v1")) && str_eq(v.base_path, STR("/v1")) && v.has_rules);
    assert_int_equal(route_rules(d.route), 3);
    struct route_rule_view rule;
    route_rule_view(d.route, 2, &rule);
    assert_true(rule.action == ENDPOINT_ACT_ALLOW && str_eq(rule.path, STR("/in/**")) && !rule.whole_path);
    policy_free(p);
}

static void test_reason_of_a_rule(void **state)
{
    struct endpoint_spec deny = {.method = STR("*"), .path = STR("/x"), .reason = STR("ask the team first")};
    struct route_spec s = {.id = STR("r"), .scheme = SCHEME_HTTPS, .host = STR("h.test"), .policy_given = true,
                           .fallback = ENDPOINT_ACT_APPROVE, .fallback_backend = STR("desk"), .fallback_timeout_ms = 5000,
                           .deny = &deny, .n_deny = 1};
    struct policy *p;
    struct errctx ctx = {0};
    (void)state;
    assert_int_equal(policy_new(&p), ERR_OK);
    assert_int_equal(policy_add_route(p, &s, &ctx), ERR_OK);
    struct decision d = ask_for(p, "GET https://h.test/x");
    assert_string_equal(d.reason, "ask the team first");
    d = ask_for(p, "GET https://h.test/y");
    assert_true(str_eq(d.approval_backend, STR("desk")) && d.approval_timeout_ms == 5000);
    assert_string_equal(d.reason, "allowed if approval back end 'desk' grants it when it is asked for");
    policy_free(p);
}

static void test_bad_routes(void **state)
{
    static const struct {
        struct words w;
        const char *part;
    } t[] = {
        {{"r", "", "https://h.test", "GET /[a", .credential = 0}, "/[a"},       {{"r", "", "https://h.test", "GET /a/../b", .credential = 0}, "p.json:3:4"},
        {{"r", "", "https://h.test", "GET x", .credential = 0}, "begins with"},  {{"r", "", "https://*.10.0.0.1", "* /x", .credential = 0}, "route r"},
        {{"r", "", "https://h..test", "* /x", .credential = 0}, "route r"},      {{"r", "", "https://h.test/a/../b", "* /x", .credential = 0}, "dot segment"},
        {{"r", "taken", "https://h.test", "* /x", .credential = 0}, "prefix"},   {{"r", "/taken/", "https://h.test", "* /x", .credential = 0}, "prefix"},
        {{"r", "", "https://127.1", "* /x", .credential = 0}, "route r"},  {{"r", "", "https://h.test", " /x", .credential = 0}, "method is empty"},
    };
    struct policy *p;
    struct errctx none = {0};
    (void)state;
    assert_int_equal(policy_new(&p), ERR_OK);
    assert_int_equal(add_route(p, &(struct words){"t", "taken", "https://t.test", NULL, .credential = 'c'}, &none), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct errctx ctx = {0};
        if (add_route(p, &t[i].w, &ctx) != ERR_INVALID || !strstr(ctx.text, t[i].part))
            fail_msg("%s %s: %s", t[i].w.url, t[i].w.rules, ctx.text);
    }
    assert_int_equal(policy_routes(p), 1);
    assert_non_null(policy_route_by_prefix(p, STR("taken")));
    policy_free(p);
}

static void test_case_88_prefix_with_slashes(void **state)
{
    static const struct words w = {"r", "/svc/", "https://h.test", NULL, .credential = 'c'};
    struct policy *p = make_routes(&w, 1, NULL, "");
    (void)state;
    assert_non_null(policy_route_by_prefix(p, STR("svc")));
    assert_null(policy_route_by_prefix(p, STR("/svc/")));
    policy_free(p);
}

/* A path longer than the stack's scratch needs the caller's. */
static void test_long_paths(void **state)
{
    static const struct words w = {"r", "", "https://h.test", "* /ok/**", .credential = 0};
    static char path[65000];
    static char scratch[2 * sizeof path + 4];
    struct policy *p = make_routes(&w, 1, NULL, "");
    struct facts f = {.shape = SHAPE_FORWARD, .method = STR("GET"), .scheme = SCHEME_HTTPS, .port = 443};
    struct decision d;
    struct errctx ctx = {0};
    (void)state;
    assert_int_equal(hostname_parse(STR("h.test"), &f.host, &ctx), ERR_OK);
    memset(path, 'a', sizeof path);
    memcpy(path, "/ok/%2F", 7);
    f.path = str_of(path, sizeof path);
    policy_decide(p, &f, &d);
    assert_int_equal(d.refusal, ERR_URI_TOO_LONG);
    f.scratch = scratch, f.scratch_size = sizeof scratch;
    policy_decide(p, &f, &d);
    assert_int_equal(d.verdict, VERDICT_ALLOW);
    path[1] = 'x';
    policy_decide(p, &f, &d);
    assert_int_equal(d.refusal, ERR_ENDPOINT_DENIED);
    check_decision(&d, "a long path");
    policy_free(p);
}

/* case 29: by an address that a name resolves to. */
static void test_case_29_resolved(void **state)
{
    static const struct words w[] = {{"r", "", "https://203.0.113.5", "* /ok", .credential = 0}, {"l", "l", "http://localhost:3000", NULL, .credential = 'c'}};
    struct policy *p = make_routes(w, 2, "* 127.0.0.0/8", "");
    (void)state;
    struct decision d = ask_for(p, "CONNECT other.test:443");
    assert_int_equal(d.verdict, VERDICT_ALLOW);
    assert_int_equal(ask_address(p, &d, "203.0.113.5"), ERR_ENDPOINT_DENIED);
    d = ask_for(p, "CONNECT other.test:443");
    assert_int_equal(ask_address(p, &d, "203.0.113.6"), ERR_OK);
    d = ask_for(p, "CONNECT other.test:80");
    assert_int_equal(ask_address(p, &d, "203.0.113.5"), ERR_OK);
    d = ask_for(p, "CONNECT other.test:3000");
    assert_int_equal(ask_address(p, &d, "127.0.0.1"), ERR_ENDPOINT_DENIED);
    d = ask_for(p, "GET /l/x");
    assert_int_equal(ask_address(p, &d, "127.0.0.1"), ERR_OK);
    assert_int_equal(ask_address(p, &d, "10.0.0.1"), ERR_OK);
    policy_free(p);
}

/* Added as an ordinary entry, but with the origin and port of the route: not one of the host's own. */
static void test_entry_of_a_route(void **state)
{
    static const struct words w = {"c", "c", "https://h.test", "* /in", .credential = 'c'};
    static const struct {
        const char *entry, *origin, *outcome;
    } t[] = {{"h.test:443", "p.json:1:2", "endpoint_denied"}, {"h.test:443", "--allow-domain", "allow"}, {"h.test", "p.json:1:2", "allow"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct policy *p;
        struct errctx ctx = {0};
        assert_int_equal(policy_new(&p), ERR_OK);
        assert_int_equal(add_route(p, &w, &ctx), ERR_OK);
        add_words(p, RULES_ALLOW, t[i].entry, t[i].origin);
        struct decision d = ask_for(p, "GET https://h.test/out");
        assert_string_equal(outcome(p, &d), t[i].outcome);
        policy_free(p);
    }
}

static void test_case_68_rivals(void **state)
{
    static const struct words w[] = {
        {"a", "a", "https://h.test", NULL, .credential = 'c'},          {"b", "b", "https://h.test", "GET /x|GET /y", .credential = 'c'},
        {"c", "c", "https://h.test", "POST /x|* /y", .credential = 'c'}, {"d", "d", "https://h.test", NULL, .credential = 'c'},
        {"e", "e", "https://h.test:444", NULL, .credential = 'c'},      {"f", "", "https://h.test", "* /y", .credential = 0},
        {"g", "g", "https://h.test/v1", NULL, .credential = 'c'},
    };
    static const int rivals[] = {-1, -1, 1, 0, -1, -1, -1};
    struct policy *p = make_routes(w, ARRAY_LEN(w), NULL, "");
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        const struct route *r = policy_route_rival(p, i);
        struct route_view v = {.index = 99};
        if (r)
            route_view(r, &v);
        assert_int_equal(r ? (int)v.index : -1, rivals[i]);
    }
    policy_free(p);
}

static void test_chained(void **state)
{
    static const struct words w[] = {{"l", "l", "http://localhost:3000", NULL, .credential = 'c'}, {"r", "r", "https://h.test", NULL, .credential = 'c'}};
    struct policy *p = make_routes(w, 2, NULL, "");
    (void)state;
    policy_set_chain(p, true);
    assert_false(ask_for(p, "GET /l/x").chained);
    assert_true(ask_for(p, "GET /r/x").chained);
    policy_free(p);
}

static void test_no_memory(void **state)
{
    static const struct words w = {"r", "r", "https://h.test/v1", NULL, "* /a/*", "GET /b", "* /c/**", .credential = 'c'};
    (void)state;
    for (int after = 0;; after++) {
        struct policy *p;
        struct errctx ctx = {0};
        assert_int_equal(policy_new(&p), ERR_OK);
        mem_fail_after(after, false);
        enum err e = add_route(p, &w, &ctx);
        mem_fail_after(-1, false);
        policy_free(p);
        if (e == ERR_OK) {
            assert_true(after > 10);
            return;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenes),       cmocka_unit_test(test_texts),
        cmocka_unit_test(test_reason_of_a_rule), cmocka_unit_test(test_bad_routes),
        cmocka_unit_test(test_case_88_prefix_with_slashes), cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_case_29_resolved), cmocka_unit_test(test_chained),
        cmocka_unit_test(test_case_68_rivals), cmocka_unit_test(test_entry_of_a_route),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
