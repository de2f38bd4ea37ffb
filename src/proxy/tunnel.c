/* Tunnels: after our 200 to a CONNECT or the upstream's 101, bytes both ways. */
#include "proxy/proxy_int.h"

#include "sys/loop.h"

static void on_pump_done(void *owner, enum pump_end why)
{
    static const enum err ends[] = {
        [PUMP_BOTH_ENDED] = ERR_OK,       [PUMP_A_FAILED] = ERR_CLIENT_ABORTED,
        [PUMP_B_FAILED] = ERR_UPSTREAM_ABORTED, [PUMP_IDLE] = ERR_TUNNEL_IDLE,
        [PUMP_NOMEM] = ERR_NOMEM,
    };
    exchange_finish(owner, ends[why], SESSION_CLOSE);
}

/* Everything but the record goes: a tunnel that stays long keeps nothing else. */
static void drop_request(struct exchange *x)
{
    secret_release(x->request);
    x->request = NULL;
    arena_fini(&x->arena);
}

/* Our answer is out: the client's stream and the upstream's are joined. */
static void join(struct exchange *x)
{
    struct session *s = x->session;
    struct stream *client, *up = x->tunnel;
    uint64_t idle = exchange_timeout(x, TIMEOUT_TUNNEL);
    enum err e = h1_leg_detach(s->leg, &client);

    s->leg = x->client = NULL;
    x->tunnel = NULL;
    if (e != ERR_OK) {
        stream_close(up, true);
        exchange_abort(x, e);
        return;
    }
    drop_request(x);
    timer_stop(exchange_loop(x), &x->timer);
    e = pump_new(&x->worker->pump, client, up, idle, on_pump_done, x, &x->pump);
    if (e == ERR_OK)
        return;
    stream_close(client, true);
    stream_close(up, true);
    exchange_abort(x, e);
}

void tunnel_on_writable(struct exchange *x)
{
    enum err e;

    if (x->pump)
        return;
    e = leg_flush(x->client);
    if (exchange_over(x) || e == ERR_AGAIN)
        return;
    if (e != ERR_OK)
        exchange_abort(x, ERR_CLIENT_ABORTED);
    else
        join(x);
}

void tunnel_connect(struct exchange *x, struct stream *up)
{
    struct http_head head = {.status = 200, .reason = STR("Connection Established"), .minor = 1};

    stream_own(up, NULL, NULL);
    x->tunnel = up;
    exchange_set_state(x, EXCH_TUNNEL);
    timer_set(exchange_loop(x), &x->timer, LIMIT_TIMEOUT_REPLY);
    x->record.status = 200;
    x->response_started = x->record.relayed = true;
    if (leg_head(x->client, &head, STR(""), true) != ERR_OK)
        exchange_abort(x, ERR_NOMEM);
    else
        tunnel_on_writable(x);
}

void tunnel_upgrade(struct exchange *x)
{
    struct upconn *u = x->up;
    enum err e = h1_leg_detach(u->leg, &x->tunnel);

    x->up = NULL;
    u->leg = NULL;
    upconn_close(u);
    exchange_set_state(x, EXCH_TUNNEL);
    timer_set(exchange_loop(x), &x->timer, LIMIT_TIMEOUT_REPLY);
    if (e != ERR_OK) {
        x->tunnel = NULL;
        exchange_abort(x, e);
        return;
    }
    stream_own(x->tunnel, NULL, NULL);
    tunnel_on_writable(x);
}
