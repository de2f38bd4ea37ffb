#include "policy/decide.h"
#include "policy/policy_int.h"
#include "policy/route_int.h"
#include <stdarg.h>
#include <stdio.h>

/* host:port as reasons show it: brackets round IPv6. */
enum { HOSTPORT_SIZE = LIMIT_HOST_BYTES + sizeof "[]:65535" };

static const char *hostport(const struct decision *d, char out[HOSTPORT_SIZE])
{
    bool v6 = d->host.is_address && d->host.address.family == ADDRESS_V6;
    (void)snprintf(out, HOSTPORT_SIZE, v6 ? "[%s]:%u" : "%s:%u", d->host.text, (unsigned)d->port);
    return out;
}

/* ---- refusals ---- */

bool decision_refuse(struct decision *d, enum err refusal, const struct cause *cause,
                     const char *format, ...)
{
    va_list args;
    d->verdict = VERDICT_REFUSE;
    d->refusal = refusal;
    d->rule = cause->rule;
    d->origin = cause->origin;
    d->remedy = cause->remedy;
    va_start(args, format);
    (void)vsnprintf(d->reason, sizeof d->reason, format, args);
    va_end(args);
    return true;
}

static struct cause cause_of_rule(const struct rule *r)
{
    return (struct cause){r->id, r->origin, STR("take the entry off the deny list")};
}

#define REMEDY_NONE STR("no entry can allow it")
#define REMEDY_ADDRESS                                                                             \
    STR("add --allow-domain ADDRESS or a CIDR block (and --allow-domain '*' to keep all else "     \
        "open)")
#define REMEDY_LOCALHOST                                                                           \
    STR("add --allow-domain localhost (and --allow-domain '*' to keep all else open)")
#define REMEDY_LIST STR("add --allow-domain HOST or HOST:PORT, or allow_domain in the profile")

static const struct cause trace_cause = {STR("floor:trace"), STR_NULL, REMEDY_NONE};
static const struct cause service_cause = {STR("unknown-service"), STR_NULL, STR_NULL};
static const struct cause unlisted_cause = {STR("default-deny"), STR_NULL, REMEDY_LIST};
static const struct cause localhost_cause = {STR("floor:loopback"), STR_NULL, REMEDY_LOCALHOST};

static const struct cause *cause_of_kind(enum address_kind kind)
{
    static const struct cause causes[] = {
        [ADDRESS_LOOPBACK] = {STR("floor:loopback"), STR_NULL, REMEDY_ADDRESS},
        [ADDRESS_UNSPECIFIED] = {STR("floor:unspecified"), STR_NULL, REMEDY_ADDRESS},
        [ADDRESS_MULTICAST] = {STR("floor:multicast"), STR_NULL, REMEDY_ADDRESS},
        [ADDRESS_BROADCAST] = {STR("floor:broadcast"), STR_NULL, REMEDY_ADDRESS},
        [ADDRESS_CLOUD] = {STR("floor:cloud"), STR_NULL, REMEDY_ADDRESS},
        [ADDRESS_LINK_LOCAL] = {STR("floor:link-local"), STR_NULL, REMEDY_NONE},
        [ADDRESS_METADATA] = {STR("floor:metadata"), STR_NULL, REMEDY_NONE},
    };
    return &causes[kind];
}

/* ---- addresses: of literals in policy_decide, of names in policy_addr ---- */

/* A literal was asked for by itself; an address of a name came from DNS. */
static enum err address_refusal(const struct decision *d)
{
    return d->host.is_address ? ERR_HOST_DENIED : ERR_ADDRESS_DENIED;
}

static bool refuse_floor(struct decision *d, const struct address *a, enum address_kind kind)
{
    char ip[ADDRESS_TEXT_SIZE];
    struct address inner;
    const struct cause *cause = cause_of_kind(kind);
    enum err refusal = address_refusal(d);
    address_text(a, ip);
    if (kind == ADDRESS_METADATA && d->host.is_address)
        return decision_refuse(d, refusal, cause,
                               "host %s is in the deny list (cloud metadata protection)", ip);
    if (kind == ADDRESS_METADATA && a->family == ADDRESS_V6 && !address_embedded(a, &inner))
        return decision_refuse(d, refusal, cause,
                               "resolved IP %s is a metadata address (cloud metadata protection)",
                               ip);
    return decision_refuse(d, refusal, cause,
                           "resolved IP %s is in the link-local range (cloud metadata protection)",
                           ip);
}

/* One that an IP or CIDR entry would open (H6, and the two cloud addresses of H5). */
static bool refuse_locked(struct decision *d, const struct address *a, enum address_kind kind)
{
    char ip[ADDRESS_TEXT_SIZE];
    const char *article = kind == ADDRESS_UNSPECIFIED ? "an" : "a";
    const char *name = address_kind_name(kind);
    const struct cause *cause = cause_of_kind(kind);
    address_text(a, ip);
    if (d->host.is_address)
        return decision_refuse(d, ERR_HOST_DENIED, cause,
                               "host %s is %s %s address, which only an IP or CIDR entry allows",
                               ip, article, name);
    return decision_refuse(
        d, ERR_ADDRESS_DENIED, cause,
        "resolved IP %s of host %s is %s %s address, which only an IP or CIDR entry allows", ip,
        d->host.text, article, name);
}

static const struct rule *allow_address(const struct policy *p, const struct address *a,
                                        uint16_t port, bool explicit_only)
{
    struct query q = {port, SCHEME_BITS_ALL, SCOPE_BOTH, explicit_only};
    return rule_set_address(&p->sets[RULES_ALLOW], a, &q);
}

static bool floor_refuses(const struct policy *p, struct decision *d, const struct address *a,
                          enum address_kind kind)
{
    if (floor_kind(kind))
        return refuse_floor(d, a, kind);
    if (kind == ADDRESS_CLOUD && !allow_address(p, a, d->port, true))
        return refuse_locked(d, a, kind);
    return false;
}

static bool needs_unlocking(enum address_kind kind)
{
    return kind == ADDRESS_LOOPBACK || kind == ADDRESS_UNSPECIFIED || kind == ADDRESS_MULTICAST ||
           kind == ADDRESS_BROADCAST;
}

/* Decisions H6 and H10a. `localhost` unlocks loopback itself, not an embedding of it. */
static bool lock_refuses(const struct policy *p, struct decision *d, const struct address *a,
                         enum address_kind kind)
{
    struct address inner;
    if (!needs_unlocking(kind) || allow_address(p, a, d->port, false))
        return false;
    if (kind == ADDRESS_LOOPBACK && d->unlock_loopback && !address_embedded(a, &inner))
        return false;
    if (kind == ADDRESS_LOOPBACK && d->route_loopback && d->host.is_address)
        return false; /* the operator wrote this very address */
    return refuse_locked(d, a, kind);
}

/* The rule of the deny list that holds an address, or the IPv4 address inside it: port-exact ones
 * first. */
static const struct rule *deny_address(const struct policy *p, const struct address *a,
                                       uint16_t port, uint8_t scopes)
{
    struct query q = {port, SCHEME_BITS_ALL, scopes, false};
    struct address inner;
    const struct rule *r = rule_set_address(&p->sets[RULES_DENY], a, &q);
    if (!r && address_embedded(a, &inner))
        r = rule_set_address(&p->sets[RULES_DENY], &inner, &q);
    return r;
}

static bool deny_refuses_address(const struct policy *p, struct decision *d,
                                 const struct address *a)
{
    char ip[ADDRESS_TEXT_SIZE];
    const struct rule *r = deny_address(p, a, d->port, SCOPE_PORT);
    if (!r)
        r = deny_address(p, a, d->port, SCOPE_ANY);
    if (!r)
        return false;
    struct cause cause = cause_of_rule(r);
    address_text(a, ip);
    return decision_refuse(d, ERR_ADDRESS_DENIED, &cause,
                           "resolved IP %s of host %s is in the deny list", ip, d->host.text);
}

/* ---- names ---- */

static bool floor_refuses_host(const struct policy *p, struct decision *d)
{
    const struct hostname *host = &d->host;
    if (host->is_address)
        return floor_refuses(p, d, &host->address, address_kind(&host->address));
    return floor_name(host) &&
           decision_refuse(d, ERR_HOST_DENIED, cause_of_kind(ADDRESS_METADATA),
                           "host %s is in the deny list (cloud metadata protection)", host->text);
}

static const struct rule *deny_host(const struct policy *p, const struct decision *d,
                                    uint8_t scopes)
{
    struct query q = {d->port, SCHEME_BITS_ALL, scopes, false};
    const struct rule *r = rule_set_host(&p->sets[RULES_DENY], &d->host, &q);
    if (!r && d->host.is_address)
        r = deny_address(p, &d->host.address, d->port, scopes);
    return r;
}

static bool deny_refuses_host(const struct policy *p, struct decision *d)
{
    char text[HOSTPORT_SIZE];
    const struct rule *r = deny_host(p, d, SCOPE_PORT);
    bool port_exact = r != NULL;
    if (!r)
        r = deny_host(p, d, SCOPE_ANY);
    if (!r)
        return false;
    struct cause cause = cause_of_rule(r);
    return decision_refuse(d, ERR_HOST_DENIED, &cause, "host %s is in the deny list",
                           port_exact ? hostport(d, text) : d->host.text);
}

/* The allowlist and the default. An allowing rule is noted in the decision. */
static bool list_refuses(const struct policy *p, struct decision *d, uint8_t schemes)
{
    const struct rule_set *allow = &p->sets[RULES_ALLOW];
    struct query q = {d->port, schemes, SCOPE_BOTH, false};
    char text[HOSTPORT_SIZE];
    const struct rule *r = rule_set_host(allow, &d->host, &q);
    if (r) {
        d->rule = r->id;
        d->origin = r->origin;
        return false;
    }
    if (allow->n == 0 && !p->strict) {
        d->rule = STR("default-allow");
        return false;
    }
    return decision_refuse(d, ERR_HOST_DENIED, &unlisted_cause, "host %s is not in the allowlist",
                           hostport(d, text));
}

/* `localhost` and names below it are loopback by definition, so this holds without resolving
 * (H10a): an entry for exactly that name, or one that covers a loopback address, must say so. */
static bool localhost_refuses(const struct policy *p, struct decision *d)
{
    static const struct address v4 = {ADDRESS_V4, {127, 0, 0, 1}};
    static const struct address v6 = {ADDRESS_V6, {[15] = 1}};
    struct query q = {d->port, SCHEME_BITS_ALL, SCOPE_BOTH, false};
    char text[HOSTPORT_SIZE];
    if (d->host.is_address || !hostname_is_localhost(&d->host))
        return false;
    d->unlock_loopback =
        d->route_loopback || rule_set_exact(&p->sets[RULES_ALLOW], &d->host, &q) != NULL;
    if (d->unlock_loopback || allow_address(p, &v4, d->port, false) ||
        allow_address(p, &v6, d->port, false))
        return false;
    return decision_refuse(
        d, ERR_HOST_DENIED, &localhost_cause,
        "host %s is a loopback name, which only an entry for it or for a loopback address allows",
        hostport(d, text));
}

static bool lock_refuses_host(const struct policy *p, struct decision *d)
{
    const struct address *a = &d->host.address;
    return d->host.is_address ? lock_refuses(p, d, a, address_kind(a)) : localhost_refuses(p, d);
}

/* ---- the two calls ---- */

bool policy_bypasses(const struct policy *p, const struct hostname *host, uint16_t port)
{
    struct query q = {port, SCHEME_BITS_ALL, SCOPE_BOTH, false};
    return rule_set_host(&p->sets[RULES_BYPASS], host, &q) != NULL;
}

static void choose_way(const struct policy *p, struct decision *d)
{
    bool direct = d->route_loopback && d->scheme == SCHEME_HTTP; /* decision K12 */
    d->chained = p->chain && !direct && !policy_bypasses(p, &d->host, d->port);
    d->resolve_here = !d->chained || !p->names_there;
}

static void refuse_service(struct decision *d, struct str prefix)
{
    char shown[64];
    size_t n = prefix.n < sizeof shown - 1 ? prefix.n : sizeof shown - 1;
    for (size_t i = 0; i < n; i++)
        shown[i] = (unsigned char)prefix.p[i] > ' ' && (unsigned char)prefix.p[i] < 0x7f
                       ? prefix.p[i]
                       : '?';
    shown[n] = 0;
    (void)decision_refuse(d, ERR_UNKNOWN_SERVICE, &service_cause,
                          "this is the nono gateway%s%s%s: use it as an HTTP proxy (HTTP_PROXY, "
                          "HTTPS_PROXY)",
                          n ? " and it has no service '" : "", shown, n ? "'" : "");
}

/* The target of a request: its own, or that of the route which its prefix names. */
static bool target_refuses(const struct policy *p, const struct facts *f, struct decision *d)
{
    const struct route *r = NULL;
    d->host = f->host;
    d->port = f->port;
    d->scheme = f->scheme;
    if (f->shape != SHAPE_REVERSE && f->shape != SHAPE_LOCAL)
        return false;
    if (f->shape == SHAPE_REVERSE)
        r = policy_route_by_prefix(p, f->prefix);
    if (!r) {
        refuse_service(d, f->prefix);
        return true;
    }
    d->host = r->host;
    d->port = r->view.port;
    d->scheme = r->view.scheme;
    return r->wildcard &&
           decision_refuse(d, ERR_UNKNOWN_SERVICE, &service_cause,
                           "service \"%.*s\" has many hosts (%.*s), so no prefix leads to it",
                           r->view.prefix.n > 60 ? 60 : (int)r->view.prefix.n, r->view.prefix.p,
                           r->view.host_pattern.n > 100 ? 100 : (int)r->view.host_pattern.n,
                           r->view.host_pattern.p);
}

/* Names first, and the place that routes tie them to; then what routes say of the request itself.
 */
static bool host_refuses(const struct policy *p, const struct facts *f, struct decision *d)
{
    uint8_t schemes = SCHEME_BITS_ALL; /* what a tunnel carries is not known */
    if (f->shape != SHAPE_CONNECT)
        schemes = d->scheme == SCHEME_HTTPS ? SCHEME_BIT_HTTPS : SCHEME_BIT_HTTP;
    return floor_refuses_host(p, d) || deny_refuses_host(p, d) ||
           (p->routes.n && judge_place_refuses(p, f, d)) || list_refuses(p, d, schemes) ||
           lock_refuses_host(p, d);
}

/* Refused for what its route's upstream is: the refusal says which route, and what to write instead of an address that is none. */
static void blame_route(const struct policy *p, const struct facts *f, struct decision *d)
{
    const struct route *r = policy_route_by_prefix(p, f->prefix);
    char reason[sizeof d->reason];
    d->route = r;
    if (!r || !d->host.is_address || address_kind(&d->host.address) != ADDRESS_UNSPECIFIED)
        return;
    (void)snprintf(reason, sizeof reason, "route %.*s leads nowhere: %s is no host that a request could go to",
                   r->view.id.n > 60 ? 60 : (int)r->view.id.n, r->view.id.p, d->host.text);
    memcpy(d->reason, reason, sizeof reason);
    d->remedy = STR("write 127.0.0.1 or localhost in the route's upstream");
}

void policy_decide(const struct policy *p, const struct facts *f, struct decision *ret_decision)
{
    struct decision *d = ret_decision;
    memset(d, 0, sizeof *d);
    d->credential = -1;
    /* No method is spelled so by accident, and some servers take methods in any case. */
    if (str_eq_nocase(f->method, STR("TRACE"))) {
        d->host = f->host;
        d->port = f->port;
        (void)decision_refuse(
            d, ERR_TRACE_REFUSED, &trace_cause,
            "TRACE is refused: its answer would show what the gateway adds to a request");
        return;
    }
    if (target_refuses(p, f, d))
        return;
    if (host_refuses(p, f, d)) {
        if (f->shape == SHAPE_REVERSE)
            blame_route(p, f, d);
        return;
    }
    if (!judge_request_refuses(p, f, d))
        choose_way(p, d);
}

enum err policy_addr(const struct policy *p, struct decision *d, const struct address *a,
                     struct vetted_addr *ret_vetted)
{
    enum address_kind kind = address_kind(a);
    bool literal = d->host.is_address;
    if (d->verdict == VERDICT_REFUSE)
        return d->refusal;
    if (floor_refuses(p, d, a, kind))
        return d->refusal;
    if (literal ? deny_refuses_host(p, d) : deny_refuses_address(p, d, a))
        return d->refusal;
    if (lock_refuses(p, d, a, kind) || judge_address_refuses(p, d, a))
        return d->refusal;
    *ret_vetted = (struct vetted_addr){.address = *a, .port = d->port, .by = VOUCHED_POLICY};
    return ERR_OK;
}
