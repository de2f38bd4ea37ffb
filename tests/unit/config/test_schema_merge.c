#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "config/platform.h"
#include "config/schema.h"
#include <stdio.h>

static const struct platform here = {.os = "linux", .id = "debian", .version_id = "12"};

static const struct json *canonical(struct json_doc *d, const char *text)
{
    struct json_error e;
    const struct json *v;
    struct problems p;
    problems_init(&p, d);
    if (json_read(d, str_from(text), "f", &v, &e) != ERR_OK)
        fail_msg("%s: %u:%u: %s", text, e.at.line, e.at.column, e.text);
    v = schema_normalise(d, v, &here, &p);
    if (p.errors)
        fail_msg("%s: %s", text, p.v[0].message.p);
    problems_fini(&p);
    return v;
}

/* Rows of the table of section 2.7: what stands in `network`, or at the top where the text begins with '{'. */
static const struct {
    const char *base, *child, *want;
} rows[] = {
    /* block, allow_http2: or */
    {"block: false", "", "\"block\":false"},
    {"block: true", "block: false", "\"block\":true"},
    {"block: false", "block: true", "\"block\":true"},
    {"block: false", "block: false", "\"block\":false"},
    {"allow_http2: true", "allow_http2: false", "\"allow_http2\":true"},
    /* network_profile: absent keeps, null clears, text replaces */
    {"network_profile: 'a'", "", "\"network_profile\":\"a\""},
    {"network_profile: 'a'", "network_profile: null", "\"network_profile\":null"},
    {"network_profile: 'a'", "network_profile: 'b'", "\"network_profile\":\"b\""},
    {"network_profile: null", "network_profile: 'b'", "\"network_profile\":\"b\""},
    {"", "network_profile: null", "\"network_profile\":null"},
    /* allow_domain: grouped */
    {"allow_domain: ['a', 'b']", "allow_domain: ['b', 'c', 'a']", "\"allow_domain\":[\"a\",\"b\",\"c\"]"},
    {"allow_domain: ['a']", "allow_domain: ['A']", "\"allow_domain\":[\"a\",\"A\"]"},
    {"allow_domain: ['a', {domain: 'g', endpoints: [{method: 'GET', path: '/1'}]}]",
        "allow_domain: ['b', {domain: 'g', endpoints: [{method: 'GET', path: '/1'}, {method: 'PUT', path: '/2'}]}]",
        "\"allow_domain\":[\"a\",{\"domain\":\"g\",\"endpoints\":[{\"method\":\"GET\",\"path\":\"/1\"},{\"method\":\"GET\",\"path\":\"/1\"},"
        "{\"method\":\"PUT\",\"path\":\"/2\"}]},\"b\"]"},
    {"allow_domain: ['g']", "allow_domain: [{domain: 'g', endpoints: [{method: '*', path: '/'}]}]",
        "\"allow_domain\":[{\"domain\":\"g\",\"endpoints\":[{\"method\":\"*\",\"path\":\"/\"}]}]"},
    {"allow_domain: [{domain: 'g', endpoints: [{method: '*', path: '/'}]}]", "allow_domain: ['g']",
        "\"allow_domain\":[{\"domain\":\"g\",\"endpoints\":[{\"method\":\"*\",\"path\":\"/\"}]}]"},
    {"allow_domain: ['g']", "allow_domain: [{domain: 'g', endpoints: []}]", "\"allow_domain\":[\"g\"]"},
    {"allow_domain: [{domain: 'g', endpoints: [{method: 'A', path: '/'}]}, {domain: 'g', endpoints: [{method: 'B', path: '/'}]}]", "",
        "\"allow_domain\":[{\"domain\":\"g\",\"endpoints\":[{\"method\":\"A\",\"path\":\"/\"},{\"method\":\"B\",\"path\":\"/\"}]}]"},
    {"", "allow_domain: ['x', 'x']", "\"allow_domain\":[\"x\"]"},
    /* lists: dedup-append */
    {"deny_domain: ['a', 'b', 'a']", "deny_domain: ['c', 'b']", "\"deny_domain\":[\"a\",\"b\",\"c\"]"},
    {"no_proxy: ['a']", "no_proxy: ['b']", "\"no_proxy\":[\"a\",\"b\"]"},
    {"upstream_bypass: ['a']", "upstream_bypass: ['a', 'b']", "\"upstream_bypass\":[\"a\",\"b\"]"},
    {"open_port: [1, 2]", "port_allow: [2, 3]", "\"open_port\":[1,2,3]"},
    {"listen_port: [1]", "listen_port: [1]", "\"listen_port\":[1]"},
    {"connect_port: [1]", "connect_port: [2]", "\"connect_port\":[1,2]"},
    {"open_port_range: [[1, 2]]", "open_port_range: [[1, 2], [2, 3]]", "\"open_port_range\":[[1,2],[2,3]]"},
    /* credentials */
    {"credentials: ['a', 'b']", "", "\"credentials\":[\"a\",\"b\"]"},
    {"credentials: ['a', 'b']", "credentials: null", "\"credentials\":[\"a\",\"b\"]"},
    {"credentials: ['a', 'b']", "credentials: []", "\"credentials\":[]"},
    {"credentials: ['a', 'b']", "credentials: ['c', 'a']", "\"credentials\":[\"a\",\"b\",\"c\"]"},
    {"", "credentials: ['c', 'c']", "\"credentials\":[\"c\"]"},
    /* custom_credentials: the child wins whole entries */
    {"custom_credentials: {a: {upstream: '1', env_var: 'E'}, b: {upstream: '2'}}",
        "custom_credentials: {c: {upstream: '3'}, a: {upstream: '4'}}",
        "\"custom_credentials\":{\"a\":{\"upstream\":\"4\"},\"b\":{\"upstream\":\"2\"},\"c\":{\"upstream\":\"3\"}}"},
    /* tls_intercept: whole */
    {"tls_intercept: {ca_validity: '1h', leaf_validity: '1h'}", "tls_intercept: {ca_validity: '2h'}",
        "\"tls_intercept\":{\"ca_validity\":\"2h\"}"},
    {"tls_intercept: {ca_validity: '1h'}", "tls_intercept: {}", "\"tls_intercept\":{}"},
    {"tls_intercept: {ca_validity: '1h'}", "tls_intercept: null", "\"tls_intercept\":{\"ca_validity\":\"1h\"}"},
    /* upstream_proxy cannot be cleared */
    {"upstream_proxy: 'a:1'", "upstream_proxy: null", "\"upstream_proxy\":\"a:1\""},
    {"upstream_proxy: 'a:1'", "external_proxy: 'b:1'", "\"upstream_proxy\":\"b:1\""},
    /* additions */
    {"timeouts: {head: 1, dns: 2}", "timeouts: {dns: 3, idle: 4}", "\"timeouts\":{\"head\":1,\"dns\":3,\"idle\":4}"},
    {"max_body_bytes: 1", "max_body_bytes: 2", "\"max_body_bytes\":2"},
    {"endpoint_glob: 'path'", "", "\"endpoint_glob\":\"path\""},
    /* top level */
    {"{extends: 'x', meta: {name: 'b'}, interactive: true}", "{extends: ['y'], meta: {name: 'c'}, interactive: false}",
        "{\"meta\":{\"name\":\"c\"},\"interactive\":true}"},
    {"{meta: {name: 'b'}}", "{}", "{}"},
    {"{credential_capture: {a: {command: ['1']}, b: {command: ['2']}}}", "{credential_capture: {a: {command: ['3'], ttl_secs: 1}}}",
        "{\"credential_capture\":{\"a\":{\"command\":[\"3\"],\"ttl_secs\":1},\"b\":{\"command\":[\"2\"]}}}"},
    {"{credential_routes: [{name: 'a', provider: 'p'}]}", "{credential_routes: [{name: 'a', provider: 'p'}]}",
        "{\"credential_routes\":[{\"name\":\"a\",\"provider\":\"p\"},{\"name\":\"a\",\"provider\":\"p\"}]}"},
    /* command_policies: the base wins */
    {"{command_policies: {approval_backends: {a: {type: 'terminal'}}, approval_defaults: {backend: 'a'}, entrypoint: 'e',"
     "allow_writable_executables: false, executable_dirs: ['1'], credentials: {x: 1}, commands: {c: {l: [1, 2], b: false, s: 'x', o: {p: 1}}}}}",
        "{command_policies: {approval_backends: {a: {type: 'webhook', url: 'u'}, b: {type: 'terminal'}}, approval_defaults: {backend: 'b',"
        "timeout_secs: 5}, entrypoint: 'f', allow_writable_executables: true, executable_dirs: ['1', '2'], credentials: {x: 2, y: 3},"
        "commands: {c: {l: [2, 3], b: true, s: 'y', o: {p: 2, q: 3}, n: 1}, d: {}}}}",
        "{\"command_policies\":{\"approval_backends\":{\"a\":{\"type\":\"terminal\"},\"b\":{\"type\":\"terminal\"}},"
        "\"approval_defaults\":{\"backend\":\"a\",\"timeout_secs\":5},\"entrypoint\":\"e\",\"allow_writable_executables\":true,"
        "\"executable_dirs\":[\"1\",\"2\"],\"credentials\":{\"x\":1,\"y\":3},"
        "\"commands\":{\"c\":{\"l\":[1,2,3],\"b\":true,\"s\":\"x\",\"o\":{\"p\":1,\"q\":3},\"n\":1},\"d\":{}}}}"},
    /* security: the child wins */
    {"{security: {approval_backends: {a: {type: 'terminal'}}, approval_defaults: {backend: 'a', timeout_secs: 1}, ipc_mode: 'full'}}",
        "{security: {approval_backends: {a: {type: 'webhook', url: 'u'}}, approval_defaults: {timeout_secs: 2}, signal_mode: 'isolated'}}",
        "{\"security\":{\"approval_backends\":{\"a\":{\"type\":\"webhook\",\"url\":\"u\"}},\"approval_defaults\":{\"timeout_secs\":2},"
        "\"ipc_mode\":\"full\",\"signal_mode\":\"isolated\"}}"},
    {"{security: {ipc_mode: 'full'}}", "{security: {ipc_mode: 'shared_memory_only'}}", "{\"security\":{\"ipc_mode\":\"shared_memory_only\"}}"},
    /* env_credentials: a base entry for the child's variable goes */
    {"{env_credentials: {a: 'X', b: 'Y', c: 'Z'}}", "{secrets: {d: 'X', c: 'W'}}",
        "{\"env_credentials\":{\"b\":\"Y\",\"c\":\"W\",\"d\":\"X\"}}"},
    {"{environment: {allow_vars: ['a'], deny_vars: ['d'], set_vars: {A: '1', B: '2'}}}",
        "{environment: {allow_vars: [], deny_vars: ['d', 'e'], set_vars: {B: '3'}}}",
        "{\"environment\":{\"allow_vars\":[\"a\"],\"deny_vars\":[\"d\",\"e\"],\"set_vars\":{\"A\":\"1\",\"B\":\"3\"}}}"},
    {"{environment: {}}", "{environment: {allow_vars: []}}", "{\"environment\":{\"allow_vars\":[]}}"},
    {"{open_urls: {allow_localhost: true}, allow_gpu: true, binary: 'a', allow_launch_services: true, allow_parent_of_protected: true}",
        "{open_urls: {}, allow_gpu: false, binary: null}",
        "{\"open_urls\":{},\"allow_gpu\":false,\"binary\":\"a\",\"allow_launch_services\":true,\"allow_parent_of_protected\":true}"},
    {"{groups: {include: ['a']}, commands: {allow: ['x']}, filesystem: {read: ['r']}, skipdirs: ['s'], packs: ['p'], command_args: ['1'],"
     "rollback: {exclude_globs: ['g']}, diagnostics: {suppress_system_services: ['d']}, unsafe_macos_seatbelt_rules: ['u']}",
        "{groups: {include: ['b', 'a']}, commands: {allow: ['x']}, filesystem: {read: ['q'], write: ['w']}, skipdirs: ['s', 't'], packs: ['p'],"
        "command_args: ['2'], rollback: {exclude_globs: ['g']}, diagnostics: {suppress_system_services: ['e']}, unsafe_macos_seatbelt_rules: ['u']}",
        "{\"groups\":{\"include\":[\"a\",\"b\"]},\"commands\":{\"allow\":[\"x\"]},\"filesystem\":{\"read\":[\"r\",\"q\"],\"write\":[\"w\"]},"
        "\"skipdirs\":[\"s\",\"t\"],\"packs\":[\"p\"],\"command_args\":[\"1\",\"2\"],\"rollback\":{\"exclude_globs\":[\"g\"]},"
        "\"diagnostics\":{\"suppress_system_services\":[\"d\",\"e\"]},\"unsafe_macos_seatbelt_rules\":[\"u\"]}"},
    {"{workdir: {access: 'read'}}", "{workdir: {access: 'none'}}", "{\"workdir\":{\"access\":\"read\"}}"},
    {"{workdir: {access: 'read'}}", "{workdir: {access: 'write'}}", "{\"workdir\":{\"access\":\"write\"}}"},
    {"{hooks: {a: {event: '1'}}, session_hooks: {before: {script: 'a'}}, linux: {sandbox_policy: 'auto'}}",
        "{hooks: {a: {script: '2'}}, session_hooks: {after: {script: 'b'}}, linux: {sandbox_policy: 'external', af_unix_mediation: 'off'}}",
        "{\"hooks\":{\"a\":{\"script\":\"2\"}},\"session_hooks\":{\"before\":{\"script\":\"a\"},\"after\":{\"script\":\"b\"}},"
        "\"linux\":{\"sandbox_policy\":\"external\",\"af_unix_mediation\":\"off\"}}"},
    /* overrides of one system merge with each other */
    {"{platform_overrides: {linux: {network: {deny_domain: ['a'], block: true}}, macos: {}}}",
        "{platform_overrides: {linux: {network: {deny_domain: ['b']}, meta: {name: 'm'}}}}",
        "{\"platform_overrides\":{\"linux\":{\"network\":{\"deny_domain\":[\"a\",\"b\"],\"block\":true},\"meta\":{\"name\":\"m\"}},\"macos\":{}}}"},
};

static const char *whole(char out[4096], const char *text, const char *open, const char *close)
{
    snprintf(out, 4096, "%s%s%s", text[0] == '{' ? "" : open, text, text[0] == '{' ? "" : close);
    return out;
}

static void check_row(struct json_doc *d, const char *base, const char *child, const char *text)
{
    char want[4096];
    const struct json *v = schema_merge(d, canonical(d, base), canonical(d, child));
    struct buf b;
    buf_init(&b, 1 << 20);
    json_write(&b, v, 0);
    whole(want, text, "{\"network\":{", "}}");
    if (!str_eq(buf_str(&b), str_from(want)))
        fail_msg("%s\n + %s\n gives %.*s\n not   %s", base, child, STR_ARG(buf_str(&b)), want);
    buf_fini(&b);
}

static void test_rows(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_doc *d = json_doc_new();
        char base[4096], child[4096];
        check_row(d, whole(base, rows[i].base, "{network: {", "}}"),
            whole(child, rows[i].child, "{network: {", "}}"), rows[i].want);
        json_doc_free(d);
    }
}

/* Nothing plus something is something, on either side, but for what belongs to the base alone. */
static void test_nothing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_doc *d = json_doc_new();
        char text[4096];
        const struct json *v = canonical(d, whole(text, rows[i].child, "{network: {", "}}"));
        const struct json *empty = canonical(d, "{}");
        const struct json *once = schema_merge(d, empty, v), *twice = schema_merge(d, empty, once);
        struct buf a, b;
        buf_init(&a, 1 << 20);
        buf_init(&b, 1 << 20);
        json_write(&a, once, 0);
        json_write(&b, twice, 0);
        if (!str_eq(buf_str(&a), buf_str(&b)))
            fail_msg("%s", text);
        assert_int_equal(once->n + (json_get(v, STR("extends")) != NULL), v->n);
        buf_fini(&a);
        buf_fini(&b);
        json_doc_free(d);
    }
}

/* Each value keeps the place of the file it comes from. */
static void test_places(void **state)
{
    (void)state;
    struct json_doc *d = json_doc_new();
    const struct json *base = canonical(d, "{network: {deny_domain: ['a'],\n block: true,\n upstream_proxy: 'x:1'}}");
    const struct json *child = canonical(d, "\n\n\n\n{network: {deny_domain: ['b'], block: false,\n upstream_proxy: 'y:1'}}");
    const struct json *net = json_get(schema_merge(d, base, child), STR("network"))->value;
    const struct json *deny = json_get(net, STR("deny_domain"))->value;
    assert_int_equal(deny->items[0]->at.line, 1);
    assert_int_equal(deny->items[1]->at.line, 5);
    assert_int_equal(json_get(net, STR("block"))->value->at.line, 2);
    assert_int_equal(json_get(net, STR("block"))->key_at.line, 2);
    assert_int_equal(json_get(net, STR("upstream_proxy"))->value->at.line, 6);
    assert_int_equal(json_get(net, STR("upstream_proxy"))->key_at.line, 6);
    json_doc_free(d);
}

static void test_memory(void **state)
{
    (void)state;
    const struct json *v = NULL;
    for (int64_t n = 0; !v; n++) {
        struct json_doc *d = json_doc_new();
        const struct json *base = canonical(d, "{network: {allow_domain: ['a', {domain: 'b', endpoints: [{method: 'G', path: '/'}]}]}, secrets: {a: 'A'}}");
        const struct json *child = canonical(d, "{network: {allow_domain: [{domain: 'b', endpoints: [{method: 'G', path: '/'}]}], open_port: [5]}, secrets: {b: 'A'}}");
        mem_fail_after(n, true);
        v = schema_merge(d, base, child);
        mem_fail_after(-1, false);
        json_doc_free(d);
        assert_true(n < 1000);
    }
    assert_non_null(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows), cmocka_unit_test(test_nothing), cmocka_unit_test(test_places), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
