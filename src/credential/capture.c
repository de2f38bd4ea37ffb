/* cmd:// — what a helper of credential_capture is run with (config.md 9.2, 9.3). */
#include "base/encode.h"
#include "credential/bridge.h"
#include "sys/clock.h"

static bool is_name_byte(char c)
{
    return ascii_is_alpha((unsigned char)c) || ascii_is_digit((unsigned char)c) || c == '_';
}

/* `$NAME` becomes the variable's value; an unset one stays. One that holds a secret is refused: the
 * arguments of a process are for everybody to read. */
static enum err substitute(const struct helper_env *env, struct str text, struct buf *out,
                           struct errctx *ctx)
{
    for (size_t i = 0; i < text.n;) {
        size_t end = i + 1;
        while (text.p[i] == '$' && end < text.n && is_name_byte(text.p[end]))
            end++;
        struct str name = str_of(text.p + i + 1, end - i - 1);
        if (name.n && helper_env_hides(env, name))
            return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                           "the command names $%.*s, which holds a secret: anybody can read a "
                           "process's arguments", STR_ARG(name));
        const char *value = name.n ? helper_env_get(env, name) : NULL;
        if (value)
            buf_add_z(out, value);
        else
            buf_add(out, text.p + i, end - i);
        i = end;
    }
    return ERR_OK;
}

static enum err add_program(struct order *o, struct str text, struct errctx *ctx)
{
    struct str slash = str_of(text.p, str_find(text, '/'));
    if (text.n && text.p[0] != '/' && slash.n < text.n)
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "the command is a relative path: give an absolute one, or a bare name");
    return order_program(o, text, "install it, or correct the command", ctx);
}

static enum err add_command(struct source *s, struct order *o, struct errctx *ctx)
{
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < s->capture.n_command; i++) {
        struct buf text;
        buf_init(&text, 1u << 20);
        e = substitute(o->env, s->capture.command[i], &text, ctx);
        if (!e && !buf_ok(&text))
            e = ERR_NOMEM;
        if (!e && i == 0)
            e = add_program(o, buf_str(&text), ctx);
        else if (!e)
            order_argument(o, buf_str(&text));
        buf_fini(&text);
    }
    return e;
}

static void add_variables(struct source *s, const struct asked *a, struct order *o)
{
    order_variable(o, "NONO_SESSION_ID", str_from(o->env->session_id));
    order_variable(o, "NONO_REQUEST_HOST", a->host);
    order_variable(o, "NONO_REQUEST_PATH", a->path);
    order_variable(o, "NONO_REQUEST_METHOD", a->method);
    order_variable(o, "NONO_CACHE_SCOPE", a->scope);
    order_variable(o, "NONO_CAPTURE_CREDENTIAL", s->capture.name);
    order_variable(o, "NONO_CAPTURE_ROUTE", a->route);
    if (s->capture.allow_launch_services)
        order_variable(o, "NONO_CAPTURE_ALLOW_LAUNCH_SERVICES", STR("1"));
}

/* The launcher comes before every other browser that the helper might find. */
static enum err add_bridge(struct source *s, struct order *o, struct errctx *ctx)
{
    const char *path = helper_env_get(o->env, STR("PATH"));
    struct buf text;
    enum err e = bridge_open(o->bridges, &s->capture, &o->bridge, ctx);
    if (e) {
        o->failed_action = "browser_setup_failed";
        return e;
    }
    buf_init(&text, 1u << 20);
    buf_add_z(&text, bridge_folder(o->bridge));
    buf_add_c(&text, ':');
    buf_add_z(&text, path ? path : "/usr/bin:/bin");
    order_variable(o, "NONO_SUPERVISOR_PATH", str_from(bridge_socket(o->bridge)));
    order_variable(o, "BROWSER", str_from(bridge_launcher(o->bridge)));
    order_variable(o, "PATH", buf_str(&text));
    e = buf_ok(&text) ? ERR_OK : ERR_NOMEM;
    buf_fini(&text);
    return e;
}

static void add_member(struct buf *out, const char *key, struct str value)
{
    if (!out->n || out->p[out->n - 1] != '{')
        buf_add_c(out, out->n ? ',' : '{');
    encode_json(out, str_from(key));
    buf_add_c(out, ':');
    encode_json(out, value);
}

static void add_document(struct source *s, const struct asked *a, struct order *o)
{
    const struct capture_conf *c = &s->capture;
    o->has_in = true;
    if (c->provider)
        add_member(&o->in, "protocol", STR("nono.credential-provider.v1"));
    add_member(&o->in, "session_id", str_from(o->env->session_id));
    add_member(&o->in, "credential_name", c->name);
    add_member(&o->in, "route_id", a->route);
    add_member(&o->in, "request_host", a->host);
    add_member(&o->in, "request_path", a->path);
    add_member(&o->in, "request_method", a->method);
    add_member(&o->in, "cache_scope", a->scope);
    if (c->provider) {
        buf_add_z(&o->in, ",\"config\":");
        buf_add_str(&o->in, c->provider_config.n ? c->provider_config : STR("null"));
        buf_add_z(&o->in, ",\"interaction\":{");
        if (o->bridge) {
            add_member(&o->in, "open_url_helper", str_from(bridge_launcher(o->bridge)));
            add_member(&o->in, "supervisor_socket", str_from(bridge_socket(o->bridge)));
        }
        buf_add_c(&o->in, '}');
    }
    buf_add_z(&o->in, "}\n");
}

static enum err cmd_prepare(struct source *s, const struct asked *a, struct order *o,
                            struct errctx *ctx)
{
    const struct capture_conf *c = &s->capture;
    if (!s->has_capture || c->n_command == 0) {
        o->failed_action = "unknown_credential";
        return err_set(ctx, ERR_CREDENTIAL_UNAVAILABLE,
                       "credential_capture has no entry %.*s", STR_ARG(s->rest));
    }
    enum err e = add_command(s, o, ctx);
    if (e)
        return e;
    o->timeout_ms = c->timeout_ms;
    add_variables(s, a, o);
    if (c->open_urls && o->bridges)
        e = add_bridge(s, o, ctx);
    if (e)
        return e;
    if (c->provider || c->stdin_json)
        add_document(s, a, o);
    else
        o->terminal_stdin = c->stdin_terminal;
    o->terminal_stderr = c->stdio;
    return o->failed ? ERR_NOMEM : ERR_OK;
}

static enum err cmd_probe(struct source *s, struct errctx *ctx)
{
    struct order o;
    order_init(&o, s->env, 0);
    enum err e = cmd_prepare(s, &(struct asked){0}, &o, ctx);
    order_fini(&o);
    return e;
}

static enum err cmd_collect(struct source *s, const struct child_result *r,
                            struct material **ret_material, struct report *report,
                            struct errctx *ctx)
{
    struct str command = s->capture.name;
    char tool[96];
    struct buf text;
    buf_init(&text, sizeof(tool) - 1);
    buf_printf(&text, "the helper %.*s", (int)(command.n < 64 ? command.n : 64), command.p);
    memcpy(tool, text.p ? text.p : "", text.n);
    tool[text.n] = 0;
    buf_fini(&text);
    enum err e = helper_verdict(tool, r, report, ctx);
    if (e)
        return e;
    return capture_read(&s->capture, r->out, clock_mono_ns(), clock_wall_ms(), ret_material, report,
                        ctx);
}

const struct source_kind source_cmd = {.scheme = REFERENCE_CMD,
                                       .name = "cmd",
                                       .prepare = cmd_prepare,
                                       .collect = cmd_collect,
                                       .probe = cmd_probe};
