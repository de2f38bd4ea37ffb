/* The browser bridge of a cmd:// helper with interaction.open_urls (config.md 9.7): for one run of it a private folder with a socket and a
 * launcher; what the helper asks for there is judged by allow_origins and opened by the system's opener. Control thread only. */
#pragma once
#include "credential/credential_int.h"

/* What the runs of one gateway share. */
struct bridges {
    struct loop *control;
    const struct helper_env *env;
    char *program;           /* our own, for launchers; NULL: unknown */
    struct list openers;     /* that still run */
    unsigned n_openers;
};
enum err bridges_init(struct bridges *all, struct loop *control, const struct helper_env *env) MUST_CHECK;
void bridges_fini(struct bridges *all); /* every bridge is closed; openers that still run are left alone: a browser may be one */

/* Folder, socket and launcher are there, and the socket answers from now on. `rules` must outlive the bridge. ERR_CREDENTIAL_UNAVAILABLE
 * with a sentence that a person can act on, ERR_NOMEM. */
enum err bridge_open(struct bridges *all, const struct capture_conf *rules, struct bridge **ret_bridge, struct errctx *ctx) MUST_CHECK;
void bridge_close(struct bridge *b); /* takes the files away; NULL allowed */
const char *bridge_socket(const struct bridge *b);
const char *bridge_launcher(const struct bridge *b);
const char *bridge_folder(const struct bridge *b);
unsigned bridge_opened(const struct bridge *b);  /* URLs so far that were handed to the opener */
unsigned bridge_refused(const struct bridge *b); /* requests so far that were not */

/* Whether the URL may be opened. ERR_INVALID with a sentence; *ret_origin, a slice of url, is what may be told of it ("https://host:port"
 * as written; untouched where there is none). Pure. */
enum err bridge_judge(const struct capture_conf *rules, struct str url, struct str *ret_origin, struct errctx *ctx) MUST_CHECK;

/* ---- the folder (bridge_place.c) ---- */

struct bridge_place {
    char *folder, *socket, *launcher; /* owned */
};
/* A folder that only we can enter, with the launcher in it; in TMPDIR (/tmp), else XDG_RUNTIME_DIR. *ret_fd: the listening socket. Errors as
 * bridge_open. */
enum err bridge_place_make(const struct bridges *all, bool launch_services, struct bridge_place *ret_place, int *ret_fd,
                           struct errctx *ctx) MUST_CHECK;
void bridge_place_remove(struct bridge_place *place);
/* The launcher's text. `mac`: it stands in for `open`, and hands on to the real one what is no web address where that is allowed. */
void bridge_launcher_write(struct buf *out, struct str program, struct str socket, bool mac, bool launch_services);
