/* `nono profile show`: what a profile comes to, each value with its origin. */
#include "base/encode.h"
#include "cli/cli_int.h"
#include "cli/profile_command.h"
#include "cli/profile_load.h"
#include "cli/route_rows.h"
#include "cli/tree_print.h"
#include "config/builtin.h"
#include <unistd.h>

enum { EXIT_WRONG = 1, EXIT_USAGE = 2 };

static void add_setting(struct buf *out, const char *name, const struct setting *s)
{
    buf_printf(out, "%s ", name);
    encode_visible(out, s->value);
    buf_add_z(out, "  # ");
    encode_visible(out, s->origin);
    buf_add_c(out, '\n');
}

/* What a built-in group stands for. */
static void add_members(struct buf *out, struct str name)
{
    const char *const *members = policy_group_members(str_of(name.p, str_find(name, ':')));
    for (; members && *members; members++)
        buf_printf(out, "  %s\n", *members);
}

static void add_settings(struct buf *out, const char *name, const struct settings *s)
{
    for (size_t i = 0; i < s->n; i++)
        add_setting(out, name, &s->v[i]);
}

/* Entries with the members of those that are groups. */
static void add_entries(struct buf *out, const char *name, const struct settings *s)
{
    for (size_t i = 0; i < s->n; i++) {
        add_setting(out, name, &s->v[i]);
        add_members(out, s->v[i].value);
    }
}

static void add_network(struct buf *out, const struct setting *s)
{
    const struct builtin_network *network = builtin_network_find(s->value);
    add_setting(out, "network profile", s);
    for (size_t i = 0; network && network->groups[i]; i++) {
        buf_printf(out, " group %s\n", network->groups[i]);
        add_members(out, str_from(network->groups[i]));
    }
}

/* Patterns are told as the gateway understands them: from the root of the host (decision E7). */
static void add_rules_of(struct buf *out, const struct route *r, const struct route_view *v)
{
    for (size_t k = 0; k < route_rules(r); k++) {
        struct route_rule_view rule;
        route_rule_view(r, k, &rule);
        buf_printf(out, "  %s ", endpoint_action_name(rule.action));
        encode_visible(out, rule.method);
        buf_add_c(out, ' ');
        if (v->base_path.n && !rule.whole_path)
            encode_visible(out, v->base_path);
        encode_visible(out, rule.path);
        buf_printf(out, "  # %.*s\n", STR_ARG(rule.origin));
    }
    buf_printf(out, "  %s everything else\n", endpoint_action_name(route_default(r)));
}

static void add_route(struct buf *out, const struct config *c, const struct policy *p, size_t i)
{
    struct route_view v;
    policy_route_view(p, i, &v);
    buf_printf(out, "route %.*s: ", STR_ARG(v.id));
    route_row_text(out, c, p, i);
    buf_printf(out, "  # %.*s\n", STR_ARG(v.origin));
    if (v.has_rules)
        add_rules_of(out, policy_route(p, i), &v);
}

/* What the gateway makes of it: the same structures that it runs with. */
static void add_running(struct buf *out, const struct runtime *r)
{
    static const char *const kinds[] = {
        [POLICY_ALLOW_ALL] = "every host is allowed",
        [POLICY_ALLOWLIST] = "only listed hosts are allowed",
        [POLICY_DENY_ALL] = "every host is denied",
    };
    const struct config *c = &r->config;
    buf_printf(out, "\npolicy: %s\n", kinds[policy_kind(r->policy)]);
    if (c->network_profile.value.n)
        add_network(out, &c->network_profile);
    add_entries(out, "allow", &c->allow);
    add_entries(out, "deny", &c->deny);
    add_settings(out, "no_proxy", &c->no_proxy);
    if (r->hop_text.n)
        add_setting(out, "upstream proxy",
                    &(struct setting){r->hop_text, c->upstream_proxy.origin});
    add_settings(out, "bypass", &c->bypass);
    for (size_t i = 0; i < policy_routes(r->policy); i++)
        add_route(out, c, r->policy, i);
    for (unsigned t = 0; t < TIMEOUT_COUNT_; t++)
        buf_printf(out, "timeout %s=%llu.%03llu\n", timeout_name((enum timeout_name)t),
                   (unsigned long long)(c->timeout_ms[t] / 1000),
                   (unsigned long long)(c->timeout_ms[t] % 1000));
    add_settings(out, "warning", &r->warnings);
}

static void show(const struct args *args, const struct loaded *l, struct buf *out)
{
    if (args_first(args, OPTION_JSON)) {
        tree_json(out, l->resolve.tree, args_first(args, OPTION_ORIGINS));
        return;
    }
    buf_add_z(out, "# ");
    encode_visible(out, l->config.profile_file);
    buf_add_c(out, '\n');
    if (l->resolve.tree->n)
        tree_lines(out, NULL, l->resolve.tree);
}

static bool show_running(struct str name, struct buf *out)
{
    struct config flags;
    struct runtime *r = loaded_flags(name, &flags) ? loaded_runtime(&flags) : NULL;
    if (r)
        add_running(out, r);
    config_fini(&flags);
    runtime_unref(r);
    return r != NULL;
}

int profile_show(const struct args *args, char **envp)
{
    struct loaded l;
    struct buf out;
    struct str name = str_from(args->words[0]);
    bool json = args_first(args, OPTION_JSON);
    (void)envp;
    if (args_first(args, OPTION_ORIGINS) && !json) {
        cli_usage_error(args->command,
                        STR("--origins belongs to --json; the text shows them anyhow"));
        return EXIT_USAGE;
    }
    buf_init(&out, PRINT_MAX_BYTES);
    loaded_profile(name, &l);
    bool ok = l.ok;
    if (ok)
        show(args, &l, &out);
    else
        loaded_report(&l);
    loaded_fini(&l);
    if (ok && !json && args_first(args, OPTION_RESOLVED))
        ok = show_running(name, &out);
    int code = profile_answer(&out, ok ? 0 : EXIT_WRONG);
    buf_fini(&out);
    return code;
}
