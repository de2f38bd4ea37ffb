#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "config/platform.h"
#include "config/schema.h"
#include <stdio.h>
#include <time.h>

static const struct platform here = {.os = "linux", .id = "debian", .version_id = "12"};

static const struct json *read_text(struct json_doc *d, struct str text)
{
    struct json_error e;
    const struct json *v;
    if (json_read(d, text, "f", &v, &e) != ERR_OK)
        fail_msg("%.*s: %u:%u: %s", STR_ARG(text), e.at.line, e.at.column, e.text);
    return v;
}

static void check_tree(const struct json *v, const char *want, const char *text)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write(&b, v, 0);
    if (!str_eq(buf_str(&b), str_from(want)))
        fail_msg("%s\n gives %.*s\n not   %s", text, STR_ARG(buf_str(&b)), want);
    buf_fini(&b);
}

/* What loads without a word, and its canonical form. */
static const struct {
    const char *text, *canonical;
} good[] = {
    {"{}", "{}"},
    {"{'$schema': 'x', meta: {name: 'n', version: '1', description: null, author: 'a'}}",
        "{\"meta\":{\"name\":\"n\",\"version\":\"1\",\"author\":\"a\"}}"},
    {"{extends: 'a'}", "{\"extends\":\"a\"}"},
    {"{extends: ['a', './b']}", "{\"extends\":[\"a\",\"./b\"]}"},
    {"{extends: []}", "{\"extends\":[]}"},
    {"{extends: null}", "{}"},
    /* aliases */
    {"{secrets: {a: 'A'}, undo: {}, brokered_commands: ['x', {}]}",
        "{\"env_credentials\":{\"a\":\"A\"},\"rollback\":{},\"command_args\":[\"x\",{}]}"},
    {"{network: {proxy_allow: ['a']}}", "{\"network\":{\"allow_domain\":[\"a\"]}}"},
    {"{network: {allow_proxy: ['a'], proxy_credentials: ['b'], external_proxy: 'c', external_proxy_bypass: ['d'], port_allow: [1]}}",
        "{\"network\":{\"allow_domain\":[\"a\"],\"credentials\":[\"b\"],\"upstream_proxy\":\"c\","
        "\"upstream_bypass\":[\"d\"],\"open_port\":[1]}}"},
    {"{network: {allow_port: [0, 65535]}}", "{\"network\":{\"open_port\":[0,65535]}}"},
    {"{filesystem: {ignore: ['x']}}", "{\"filesystem\":{\"suppress_save_prompt\":[\"x\"]}}"},
    /* null is absent, but for the network profile, which it clears */
    {"{network: {network_profile: null, credentials: null, tls_intercept: null, upstream_proxy: null}}",
        "{\"network\":{\"network_profile\":null}}"},
    {"{network: {custom_credentials: {s: {upstream: 'u', credential_key: 'k', auth: null, aws_auth: null, spiffe: null, proxy: null,"
     "credential_format: null, path_pattern: null, path_replacement: null, query_param_name: null, env_var: null,"
     "endpoint_policy: null, tls_ca: null, tls_client_cert: null, tls_client_key: null, rate_limit: null}}}}",
        "{\"network\":{\"custom_credentials\":{\"s\":{\"upstream\":\"u\",\"credential_key\":\"k\"}}}}"},
    {"{environment: {allow_vars: null}}", "{\"environment\":{}}"},
    /* tolerated names go */
    {"{network: {allow_domain: ['a', {domain: 'b', x: 1}, {domain: 'c', endpoints: [{method: 'GET', path: '/', note: {}}]}]}}",
        "{\"network\":{\"allow_domain\":[\"a\",{\"domain\":\"b\"},{\"domain\":\"c\",\"endpoints\":[{\"method\":\"GET\",\"path\":\"/\"}]}]}}"},
    {"{network: {custom_credentials: {s: {upstream: 'u', endpoint_rules: [{method: '*', path: '/', more: 1}], auth: {token_url: 't', odd: 1,"
     "extra_params: {a: 'b'}, client_assertion: {type: 'spiffe_jwt', workload_api_socket: 's', audience: ['a'], odd: 2}}}}}}",
        "{\"network\":{\"custom_credentials\":{\"s\":{\"upstream\":\"u\",\"endpoint_rules\":[{\"method\":\"*\",\"path\":\"/\"}],"
        "\"auth\":{\"token_url\":\"t\",\"extra_params\":{\"a\":\"b\"},\"client_assertion\":{\"type\":\"spiffe_jwt\","
        "\"workload_api_socket\":\"s\",\"audience\":[\"a\"]}}}}}}"},
    {"{network: {custom_credentials: {s: {upstream: 'u', spiffe: {type: 'jwt', workload_api_socket: '', audience: [], odd: 1}}}}}",
        "{\"network\":{\"custom_credentials\":{\"s\":{\"upstream\":\"u\",\"spiffe\":{\"type\":\"jwt\",\"workload_api_socket\":\"\","
        "\"audience\":[]}}}}}"},
    /* additions of O10, the two forms of E5 */
    {"{network: {timeouts: {head: 1, dns: 4294967295}, max_body_bytes: 0, endpoint_glob: 'path', custom_credentials: {s: {upstream: 'u',"
     "keep_client_credentials: true, cache_ttl_secs: 0, endpoint_policy: {default: 'allow', approve: [{method: 'GET', path: '/', backend: 'b',"
     "reason: 'r', timeout_secs: 0}]}}}}}",
        "{\"network\":{\"timeouts\":{\"head\":1,\"dns\":4294967295},\"max_body_bytes\":0,\"endpoint_glob\":\"path\","
        "\"custom_credentials\":{\"s\":{\"upstream\":\"u\",\"keep_client_credentials\":true,\"cache_ttl_secs\":0,"
        "\"endpoint_policy\":{\"default\":\"allow\",\"approve\":[{\"method\":\"GET\",\"path\":\"/\",\"backend\":\"b\",\"reason\":\"r\","
        "\"timeout_secs\":0}]}}}}}"},
    {"{security: {approval_backends: {t: {type: 'terminal'}}, approval_defaults: {backend: 't'}}}",
        "{\"security\":{\"approval_backends\":{\"t\":{\"type\":\"terminal\"}},\"approval_defaults\":{\"backend\":\"t\"}}}"},
    {"{credential_capture: {c: {command: ['x'], output: 'text', stdin: 'null', timeout_secs: 300, ttl_secs: 0}}}",
        "{\"credential_capture\":{\"c\":{\"command\":[\"x\"],\"output\":\"text\",\"stdin\":\"null\",\"timeout_secs\":300,\"ttl_secs\":0}}}"},
    {"{credential_capture: {c: {provider: {command: ['x'], config: {a: [1]}}, output: {format: 'json', allow_headers: ['A']},"
     "interaction: {open_urls: {allow_origins: [{origin: 'https://a', when: 'linux'}, {origin: 'https://b', when: 'macos'}]}}}}}",
        "{\"credential_capture\":{\"c\":{\"provider\":{\"command\":[\"x\"],\"config\":{\"a\":[1]}},\"output\":{\"format\":\"json\","
        "\"allow_headers\":[\"A\"]},\"interaction\":{\"open_urls\":{\"allow_origins\":[\"https://a\"]}}}}}"},
    /* conditions */
    {"{filesystem: {read: ['a', {path: 'b'}, {path: 'c', when: 'linux'}, {path: 'd', when: 'macos'}, {path: 'e', when: ['macos', '!windows']}]}}",
        "{\"filesystem\":{\"read\":[\"a\",\"b\",\"c\",\"e\"]}}"},
    {"{groups: {include: [{name: 'g', when: '!linux:debian'}], exclude: [{when: 'linux:debian:>=12', name: 'h'}]}}",
        "{\"groups\":{\"include\":[],\"exclude\":[\"h\"]}}"},
    {"{env_credentials: {a: {env_var: 'A', when: 'linux'}, b: {env_var: 'B', when: 'macos'}, c: {env_var: 'C'}}}",
        "{\"env_credentials\":{\"a\":\"A\",\"c\":\"C\"}}"},
    /* sections of the sandbox */
    {"{security: {signal_mode: 'isolated', process_info_mode: 'allow_all', ipc_mode: 'full', capability_elevation: true, wsl2_proxy_policy: 'error'},"
     "linux: {af_unix_mediation: 'off', sandbox_policy: 'auto'}, workdir: {access: 'readwrite'}, hooks: {h: {event: 'e', matcher: 'm', script: 's'}},"
     "session_hooks: {before: {script: 's', timeout_secs: 5}}, open_urls: {allow_localhost: true}, allow_gpu: true, packs: ['p'], binary: 'b'}",
        "{\"security\":{\"signal_mode\":\"isolated\",\"process_info_mode\":\"allow_all\",\"ipc_mode\":\"full\",\"capability_elevation\":true,"
        "\"wsl2_proxy_policy\":\"error\"},\"linux\":{\"af_unix_mediation\":\"off\",\"sandbox_policy\":\"auto\"},\"workdir\":{\"access\":\"readwrite\"},"
        "\"hooks\":{\"h\":{\"event\":\"e\",\"matcher\":\"m\",\"script\":\"s\"}},\"session_hooks\":{\"before\":{\"script\":\"s\",\"timeout_secs\":5}},"
        "\"open_urls\":{\"allow_localhost\":true},\"allow_gpu\":true,\"packs\":[\"p\"],\"binary\":\"b\"}"},
    {"{command_policies: {commands: {a: {x: [1, null]}}, credentials: {}, entrypoint: null, executable_dirs: [{}]}}",
        "{\"command_policies\":{\"commands\":{\"a\":{\"x\":[1,null]}},\"credentials\":{},\"entrypoint\":null,\"executable_dirs\":[{}]}}"},
    {"{platform_overrides: {linux: {meta: {name: 'n'}, network: {proxy_allow: ['a']}}, windows: {}}}",
        "{\"platform_overrides\":{\"linux\":{\"meta\":{\"name\":\"n\"},\"network\":{\"allow_domain\":[\"a\"]}},\"windows\":{}}}"},
    {"{network: {open_port_range: [[1, 2], [3, 4]]}}", "{\"network\":{\"open_port_range\":[[1,2],[3,4]]}}"},
    {"{security: {groups: [], allowed_commands: []}, policy: {}}", "{\"security\":{}}"},
    {"{credential_providers: {p: {type: 'oauth_capture', token_endpoints: [{host: 'h', path: '/', response_fields: [{path: 'a', kind: 'jwt'}],"
     "request_body: 'form'}], api_hosts: ['a'], credential_store: {type: 'file_json', path: 'p', phantom_fields: ['f']}, helpers: {login: []}}},"
     "credential_routes: [{name: 'r', provider: 'p', upgrades: [{origin: 'o', path: '/'}]}]}",
        "{\"credential_providers\":{\"p\":{\"type\":\"oauth_capture\",\"token_endpoints\":[{\"host\":\"h\",\"path\":\"/\","
        "\"response_fields\":[{\"path\":\"a\",\"kind\":\"jwt\"}],\"request_body\":\"form\"}],\"api_hosts\":[\"a\"],"
        "\"credential_store\":{\"type\":\"file_json\",\"path\":\"p\",\"phantom_fields\":[\"f\"]},\"helpers\":{\"login\":[]}}},"
        "\"credential_routes\":[{\"name\":\"r\",\"provider\":\"p\",\"upgrades\":[{\"origin\":\"o\",\"path\":\"/\"}]}]}"},
};

static void test_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        struct json_doc *d = json_doc_new();
        struct problems p;
        problems_init(&p, d);
        const struct json *v =
            schema_normalise(d, read_text(d, str_from(good[i].text)), &here, &p);
        for (size_t k = 0; k < p.n; k++)
            fail_msg("%s: %s", good[i].text, p.v[k].message.p);
        check_tree(v, good[i].canonical, good[i].text);
        /* what is canonical stays as it is, the very same nodes */
        assert_ptr_equal(schema_normalise(d, v, &here, &p), v);
        assert_int_equal(p.n, 0);
        problems_fini(&p);
        json_doc_free(d);
    }
}

/* One problem each: place, pointer, parts of message and hint. A message that begins with ~ is a notice. */
static const struct {
    const char *text;
    uint32_t line, column;
    const char *pointer, *says, *hint;
} bad[] = {
    {"[]", 1, 1, "", "the profile must be an object, not a list", ""},
    {"null", 1, 1, "", "the profile must be an object, not null", ""},
    {"{networks: {}}", 1, 2, "/networks", "unknown key \"networks\" in the profile; the closest known key is \"network\"", "write \"network\""},
    {"{network: {blcok: true}}", 1, 12, "/network/blcok", "closest known key is \"block\"", ""},
    {"{network: {extrenal_proxy: 'x'}}", 1, 12, "/network/extrenal_proxy", "\"external_proxy\"", ""},
    {"{allow_domain: []}", 1, 2, "/allow_domain", "known in \"network\"", "move it into"},
    {"{network: {meta: {}}}", 1, 12, "/network/meta", "known outside", "move it out"},
    {"{'a/b~\\u001b': 1}", 1, 2, "/a~1b~0\x1b", "unknown key \"a/b~\\u001b\"", ""},
    {"{network: {custom_credentials: {'my svc': {upstream: 'u', upsteram: 1}}}}", 1, 59,
        "/network/custom_credentials/my svc/upsteram", "in network.custom_credentials.\"my svc\"; the closest known key is \"upstream\"", ""},
    /* kinds */
    {"{network: []}", 1, 11, "/network", "network must be an object, not a list", ""},
    {"{network: {block: 'true'}}", 1, 19, "/network/block", "network.block must be true or false, not the string \"true\"", "write true"},
    {"{network: {block: 1}}", 1, 19, "/network/block", "true or false, not the number 1", ""},
    {"{network: {deny_domain: 'x'}}", 1, 25, "/network/deny_domain", "must be a list, not the string \"x\"", "write [\"x\"]"},
    {"{network: {deny_domain: ['a',\n 5]}}", 2, 2, "/network/deny_domain/1", "network.deny_domain[1] must be a string, not the number 5", ""},
    {"{network: {upstream_proxy: {}}}", 1, 28, "/network/upstream_proxy", "must be a string, not an object", ""},
    {"{network: {allow_domain: [5]}}", 1, 27, "/network/allow_domain/0", "a string or an object", ""},
    {"{extends: 5}", 1, 11, "/extends", "a string or a list", ""},
    {"{network: {custom_credentials: []}}", 1, 32, "/network/custom_credentials", "an object, not a list", ""},
    /* numbers */
    {"{network: {max_body_bytes: 60.0}}", 1, 28, "/network/max_body_bytes", "an integer", "write 60"},
    {"{network: {max_body_bytes: 6e1}}", 1, 28, "/network/max_body_bytes", "an integer", "write 60"},
    {"{network: {max_body_bytes: '60'}}", 1, 28, "/network/max_body_bytes", "not the string \"60\"", "write 60 without quotes"},
    {"{network: {max_body_bytes: -1}}", 1, 28, "/network/max_body_bytes", "not the number -1", ""},
    {"{network: {max_body_bytes: 18446744073709551616}}", 1, 28, "/network/max_body_bytes", "from 0 to 18446744073709551615", ""},
    {"{network: {listen_port: [65536]}}", 1, 26, "/network/listen_port/0", "from 0 to 65535, not the number 65536", ""},
    {"{network: {open_port_range: [[1]]}}", 1, 30, "/network/open_port_range/0", "must have 2 items, not 1", ""},
    {"{network: {timeouts: {head: 0}}}", 1, 29, "/network/timeouts/head", "from 1", ""},
    {"{network: {timeouts: {haed: 1}}}", 1, 23, "/network/timeouts/haed", "\"head\"", ""},
    {"{credential_capture: {c: {command: ['x'], timeout_secs: 301}}}", 1, 57, "/credential_capture/c/timeout_secs", "from 1 to 300", ""},
    {"{credential_capture: {c: {command: ['x'], ttl_secs: 3601}}}", 1, 53, "/credential_capture/c/ttl_secs", "from 0 to 3600", ""},
    {"{network: {custom_credentials: {s: {upstream: 'u', rate_limit: {requests_per_minute: 4294967296}}}}}", 1, 86,
        "/network/custom_credentials/s/rate_limit/requests_per_minute", "4294967295", ""},
    /* words */
    {"{network: {endpoint_glob: 'segmnt'}}", 1, 27, "/network/endpoint_glob", "must be \"segment\" or \"path\", not \"segmnt\"", "did you mean \"segment\"?"},
    {"{network: {endpoint_glob: 'zzz'}}", 1, 27, "/network/endpoint_glob", "not \"zzz\"", ""},
    {"{credential_capture: {c: {command: ['x'], output: 'json'}}}", 1, 51, "/credential_capture/c/output", "\"text\"", ""},
    {"{workdir: {access: 'rw'}}", 1, 20, "/workdir/access", "\"none\", \"read\", \"write\" or \"readwrite\"", ""},
    {"{network: {custom_credentials: {s: {upstream: 'u', endpoint_policy: {default: 'ask'}}}}}", 1, 79,
        "/network/custom_credentials/s/endpoint_policy/default", "\"deny\", \"approve\" or \"allow\"", ""},
    /* null */
    {"{command_policies: null}", 1, 20, "/command_policies", "an object, not null", "leave it out"},
    {"{network: {block: null}}", 1, 19, "/network/block", "true or false, not null", ""},
    {"{network: {allow_domain: null}}", 1, 26, "/network/allow_domain", "a list, not null", ""},
    {"{network: {custom_credentials: null}}", 1, 32, "/network/custom_credentials", "not null", ""},
    {"{network: {custom_credentials: {s: null}}}", 1, 36, "/network/custom_credentials/s", "not null", ""},
    {"{network: {custom_credentials: {s: {upstream: null}}}}", 1, 47, "/network/custom_credentials/s/upstream", "not null", ""},
    {"{network: {custom_credentials: {s: {upstream: 'u', inject_header: null}}}}", 1, 67,
        "/network/custom_credentials/s/inject_header", "a string, not null", ""},
    {"{network: {custom_credentials: {s: {upstream: 'u', auth: {token_url: 't', scope: null}}}}}", 1, 82,
        "/network/custom_credentials/s/auth/scope", "not null", ""},
    {"{meta: {name: 'n', version: null}}", 1, 29, "/meta/version", "not null", ""},
    {"{platform_overrides: {linux: null}}", 1, 30, "/platform_overrides/linux", "not null", ""},
    /* what is missing: the place of the object */
    {"{meta: {}}", 1, 8, "/meta", "meta lacks \"name\"", ""},
    {"{network: {allow_domain: [{}]}}", 1, 27, "/network/allow_domain/0", "network.allow_domain[0] lacks \"domain\"", ""},
    {"{network: {allow_domain: [{domain: 'a', endpoints: [{path: '/'}]}]}}", 1, 53, "/network/allow_domain/0/endpoints/0", "lacks \"method\"", ""},
    {"{network: {custom_credentials: {s: {}}}}", 1, 36, "/network/custom_credentials/s", "lacks \"upstream\"", ""},
    {"{network: {custom_credentials: {s: {upstream: 'u', rate_limit: {}}}}}", 1, 64,
        "/network/custom_credentials/s/rate_limit", "lacks \"requests_per_minute\"", ""},
    {"{credential_routes: [{name: 'x'}]}", 1, 22, "/credential_routes/0", "credential_routes[0] lacks \"provider\"", ""},
    /* given twice, both places named */
    {"{network: {block: true,\n block: false}}", 2, 2, "/network/block", "network.block is given twice; first at f:1:12", "remove"},
    {"{meta: {name: 'a', name: 'b'}}", 1, 20, "/meta/name", "given twice; first at f:1:9", ""},
    {"{network: {}, network: {}}", 1, 15, "/network", "given twice; first at f:1:2", ""},
    {"{network: {allow_domain: [], proxy_allow: []}}", 1, 30, "/network/proxy_allow",
        "\"proxy_allow\" and \"allow_domain\" are two names of one setting; the other is at f:1:12", "keep \"allow_domain\""},
    {"{network: {proxy_allow: [], allow_proxy: []}}", 1, 29, "/network/allow_proxy", "\"allow_proxy\" and \"proxy_allow\"", ""},
    {"{network: {allow_domain: [{domain: 'a', domain: 'b'}]}}", 1, 41, "/network/allow_domain/0/domain", "given twice", ""},
    {"{network: {custom_credentials: {s: {upstream: 'a'}, s: {upstream: 'b'}}}}", 1, 53, "/network/custom_credentials/s",
        "~network.custom_credentials.s is given twice; this one counts, not the one at f:1:33", ""},
    {"{environment: {set_vars: {A: '1', A: '2'}}}", 1, 35, "/environment/set_vars/A", "~given twice", ""},
    {"{command_policies: {commands: {c: {x: 1, x: 2}}}}", 1, 42, "/command_policies/commands/c/x", "~given twice", ""},
    /* conditions */
    {"{filesystem: {read: [{path: 'a', when: 'linux:'}]}}", 1, 40, "/filesystem/read/0/when", "is no predicate", "for example"},
    {"{filesystem: {read: [{path: 'a', when: []}]}}", 1, 40, "/filesystem/read/0/when", "must name a system", ""},
    {"{filesystem: {read: [{path: 'a', when: ['linux', 5]}]}}", 1, 50, "/filesystem/read/0/when/1", "must be a string", ""},
    {"{filesystem: {read: [{path: 'a', name: 'a'}]}}", 1, 34, "/filesystem/read/0/name", "unknown key \"name\"", ""},
    {"{env_credentials: {a: {when: 'linux'}}}", 1, 23, "/env_credentials/a", "lacks \"env_var\"", ""},
    /* overrides */
    {"{platform_overrides: {linux: {extends: 'x'}}}", 1, 31, "/platform_overrides/linux/extends", "cannot stand in platform_overrides", ""},
    {"{platform_overrides: {linux: {platform_overrides: {}}}}", 1, 31, "/platform_overrides/linux/platform_overrides", "cannot stand", ""},
    {"{platform_overrides: {freebsd: {}}}", 1, 23, "/platform_overrides/freebsd", "unknown key", ""},
    {"{platform_overrides: {macos: {network: {blok: 1}}}}", 1, 41, "/platform_overrides/macos/network/blok", "unknown key", ""},
    /* legacy names */
    {"{security: {groups: ['a']}}", 1, 13, "/security/groups", "~security.groups is an old name of groups.include", "groups.include"},
    {"{security: {allowed_commands: ['a']}}", 1, 13, "/security/allowed_commands", "~security.allowed_commands is an old name of commands.allow", ""},
    {"{policy: {exclude_groups: ['a']}}", 1, 11, "/policy/exclude_groups", "~policy.exclude_groups is an old name of groups.exclude", ""},
    {"{policy: {add_allow_read: ['a']}}", 1, 11, "/policy/add_allow_read", "~filesystem.read", ""},
    {"{policy: {add_allow_write: ['a']}}", 1, 11, "/policy/add_allow_write", "~filesystem.write", ""},
    {"{policy: {add_allow_readwrite: ['a']}}", 1, 11, "/policy/add_allow_readwrite", "~filesystem.allow", ""},
    {"{policy: {add_deny_access: ['a']}}", 1, 11, "/policy/add_deny_access", "~filesystem.deny", ""},
    {"{policy: {add_deny_commands: ['a']}}", 1, 11, "/policy/add_deny_commands", "~commands.deny", ""},
    {"{policy: {override_deny: ['a']}}", 1, 11, "/policy/override_deny", "~filesystem.bypass_protection", ""},
    {"{policy: {odd: ['a']}}", 1, 11, "/policy/odd", "unknown key", ""},
};

static void check_problem(unsigned i, const struct problem *got)
{
    bool notice = bad[i].says[0] == '~';
    if (got->warning != notice || got->at.line != bad[i].line || got->at.column != bad[i].column ||
        !str_eq(got->pointer, str_from(bad[i].pointer)) ||
        !strstr(got->message.p, bad[i].says + notice) || !strstr(got->hint.p, bad[i].hint))
        fail_msg("%s:\n%u:%u: %s (%s) [%s]", bad[i].text, got->at.line, got->at.column, got->message.p,
            got->hint.p, got->pointer.p);
}

static void test_bad(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct json_doc *d = json_doc_new();
        struct problems p;
        problems_init(&p, d);
        const struct json *v =
            schema_normalise(d, read_text(d, str_from(bad[i].text)), &here, &p);
        assert_non_null(v);
        if (p.n == 0)
            fail_msg("%s: nothing is wrong", bad[i].text);
        check_problem(i, &p.v[0]);
        if (p.n > 1)
            fail_msg("%s: also %s", bad[i].text, p.v[1].message.p);
        assert_int_equal(p.errors, bad[i].says[0] != '~');
        problems_fini(&p);
        json_doc_free(d);
    }
}

static const char everything_wrong[] =
    "{meta: {nam: 1}, network: {blok: 1, block: 5, allow_domain: [1, 'ok', 2], timeouts: 'x',\n"
    "custom_credentials: {s: {upstream: 5, odd: 1, inject_mode: 'x'}}}, groups: {include: [{when: ':'}]}}";

/* All errors are found, and what is left has the right shape. */
static void test_all_errors(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct problems p;
    problems_init(&p, d);
    const struct json *root = read_text(d, STR(everything_wrong));
    const struct json *v = schema_normalise(d, root, &here, &p);
    assert_int_equal(p.errors, 12);
    check_tree(v, "{\"meta\":{},\"network\":{\"allow_domain\":[\"ok\"],\"custom_credentials\":{\"s\":{}}},\"groups\":{\"include\":[]}}",
        everything_wrong);
    (void)schema_normalise(d, root, &here, &p);
    assert_int_equal(p.errors, 12); /* the same file again says nothing new */
    problems_fini(&p);
    json_doc_free(d);
}

static void test_legacy(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct problems p;
    problems_init(&p, d);
    static const char text[] =
        "{security: {ipc_mode: 'full', groups: ['b', {name: 'c', when: 'macos'}]}, groups: {include: ['a']},"
        "policy: {add_allow_read: ['/r', {path: '/s', when: 'linux'}], exclude_groups: []},"
        "platform_overrides: {linux: {policy: {override_deny: ['/x']}}}}";
    const struct json *v = schema_normalise(d, read_text(d, STR(text)), &here, &p);
    assert_int_equal(p.errors, 0);
    assert_int_equal(p.n, 3);
    check_tree(v, "{\"security\":{\"ipc_mode\":\"full\"},\"groups\":{\"include\":[\"a\",\"b\"]},"
                  "\"platform_overrides\":{\"linux\":{\"filesystem\":{\"bypass_protection\":[\"/x\"]}}},"
                  "\"filesystem\":{\"read\":[\"/r\",\"/s\"]}}", text);
    problems_fini(&p);
    json_doc_free(d);
}

static void test_places_stay(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct problems p;
    problems_init(&p, d);
    const struct json *v = schema_normalise(d,
        read_text(d, STR("{network: {\nproxy_allow: ['a',\n 'b']}}")), &here, &p);
    const struct json_member *m = json_get(json_get(v, STR("network"))->value, STR("allow_domain"));
    assert_int_equal(m->key_at.line, 2);
    assert_int_equal(m->value->items[1]->at.line, 3);
    problems_fini(&p);
    json_doc_free(d);
}

static void test_memory(void **state)
{
    (void)state;
    bool done = false;
    for (int64_t n = 0; !done; n++) {
        struct json_doc *d = json_doc_new();
        struct problems p;
        problems_init(&p, d);
        const struct json *root = read_text(d, STR(everything_wrong));
        mem_fail_after(n, true);
        const struct json *v = schema_normalise(d, root, &here, &p);
        mem_fail_after(-1, false);
        done = v && p.n == 12;
        assert_true(!v || p.errors == 12);
        problems_fini(&p);
        json_doc_free(d);
        assert_true(n < 1000);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* 70,000 hosts, read, normalised and merged: work that does not grow faster than the list. The bound is lax, for sanitizers. */
static void test_many(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct problems p;
    struct buf b;
    buf_init(&b, 1 << 24);
    problems_init(&p, d);
    buf_add_z(&b, "{network: {allow_domain: [");
    for (unsigned i = 0; i < 70000; i++)
        buf_printf(&b, "'host-%u.example%u.com',\n", i, i % 97);
    buf_add_z(&b, "]}}");
    double start = seconds();
    const struct json *v = schema_normalise(d, read_text(d, buf_str(&b)), &here, &p);
    const struct json *merged = schema_merge(d, v, v);
    double took = seconds() - start;
    assert_int_equal(p.n, 0);
    assert_int_equal(json_get(json_get(merged, STR("network"))->value, STR("allow_domain"))->value->n, 70000);
    if (took > 3)
        fail_msg("%.2f s", took);
    buf_fini(&b);
    problems_fini(&p);
    json_doc_free(d);
}

/* 20,000 wrong items must not take quadratic time. */
static void test_many_errors(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct problems p;
    struct buf b;
    buf_init(&b, 1 << 24);
    problems_init(&p, d);
    buf_add_z(&b, "{network: {deny_domain: [");
    for (unsigned i = 0; i < 20000; i++)
        buf_add_z(&b, "5 ");
    buf_add_z(&b, "]}}");
    double start = seconds();
    (void)schema_normalise(d, read_text(d, buf_str(&b)), &here, &p);
    assert_int_equal(p.errors, 20000);
    assert_true(seconds() - start < 5);
    buf_fini(&b);
    problems_fini(&p);
    json_doc_free(d);
}

static void test_schema_text(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    struct buf b;
    buf_init(&b, 1 << 20);
    schema_write(&b);
    assert_true(buf_ok(&b) && b.n > 10000);
    const struct json *v = read_text(d, buf_str(&b));
    const struct json *defs = json_get(v, STR("$defs"))->value;
    const struct json *network =
        json_get(json_get(json_get(defs, STR("network"))->value, STR("properties"))->value, STR("proxy_allow"))->value;
    assert_true(json_get(network, STR("deprecated"))->value->truth);
    assert_null(json_get(json_get(json_get(defs, STR("override"))->value, STR("properties"))->value, STR("extends")));
    buf_fini(&b);
    json_doc_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good), cmocka_unit_test(test_bad), cmocka_unit_test(test_all_errors),
        cmocka_unit_test(test_legacy), cmocka_unit_test(test_places_stay), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_many), cmocka_unit_test(test_many_errors), cmocka_unit_test(test_schema_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
