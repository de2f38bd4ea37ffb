#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/mem.h"
#include "pki.h"
#include "tls/tls_int.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/nono-trust-XXXXXX";
static char good[64], other[64], empty[64];

static void test_settings(void **state)
{
    (void)state;
    const struct {
        const char *file, *dir;
        enum err e;
        const char *says;
    } cases[] = {
        {NULL, NULL, ERR_OK, NULL},
        {"", "", ERR_OK, NULL}, /* an empty variable counts as unset */
        {good, NULL, ERR_OK, NULL},
        {NULL, dir, ERR_OK, NULL},
        {good, "/tmp:/usr:", ERR_OK, NULL},
        {"/nonexistent/ca.pem", NULL, ERR_INVALID,
         "SSL_CERT_FILE: cannot read /nonexistent/ca.pem: No such file"},
        {"/tmp", NULL, ERR_INVALID, "SSL_CERT_FILE: cannot read /tmp: Is a directory"},
        {empty, NULL, ERR_INVALID, "holds no PEM certificate"},
        {good, "/nonexistent", ERR_INVALID, "SSL_CERT_DIR: cannot read /nonexistent: No such"},
        {NULL, "/tmp:/nonexistent", ERR_INVALID, "SSL_CERT_DIR: cannot read /nonexistent"},
        {NULL, good, ERR_INVALID, "SSL_CERT_DIR"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_trust *t = NULL;
        struct errctx ctx = {0};
        enum err e = tls_trust_new(cases[i].file, cases[i].dir, &t, &ctx);
        if (e != cases[i].e || (cases[i].says && !strstr(ctx.text, cases[i].says)))
            fail_msg("case %u: %s \"%s\"", i, err_name(e), ctx.text);
        if (e)
            assert_null(t);
        tls_trust_unref(t);
    }
}

static uint64_t id_of(const char *file)
{
    struct tls_trust *t = NULL;
    struct errctx ctx = {0};
    assert_int_equal(tls_trust_new(file, NULL, &t, &ctx), ERR_OK);
    uint64_t id = tls_trust_id(t);
    tls_trust_unref(t);
    return id;
}

static void test_id_is_by_content(void **state)
{
    (void)state;
    assert_int_equal(id_of(NULL), id_of(""));
    assert_int_equal(id_of(good), id_of(good));
    assert_true(id_of(good) != id_of(NULL));
    assert_true(id_of(good) != id_of(other));
}

static bool trusts(struct tls_trust *t, X509 *x)
{
    X509_STORE_CTX *v = X509_STORE_CTX_new();
    assert_true(v && X509_STORE_CTX_init(v, tls_trust_store(t), x, NULL));
    X509_STORE_CTX_set_flags(v, X509_V_FLAG_PARTIAL_CHAIN);
    bool ok = X509_verify_cert(v) == 1;
    X509_STORE_CTX_free(v);
    ERR_clear_error();
    return ok;
}

static void append_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "a");
    assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A bundle with two authorities of one name, a broken block, a key and a plain leaf: each counts
 * for itself, and what is not there is not trusted. The certificates are parsed when they are asked
 * for. */
static void test_bundle(void **state)
{
    (void)state;
    char path[64];
    struct tls_trust *t = NULL;
    struct errctx ctx = {0};
    struct pki_cert old = pki_make(&(struct pki_spec){.cn = "Same", .ca = 1});
    struct pki_cert new = pki_make(&(struct pki_spec){.cn = "Same", .ca = 1});
    struct pki_cert absent = pki_make(&(struct pki_spec){.cn = "Same", .ca = 1});
    struct pki_cert a = pki_make(&(struct pki_spec){.cn = "a", .issuer = &old});
    struct pki_cert b = pki_make(&(struct pki_spec){.cn = "b", .issuer = &new});
    struct pki_cert c = pki_make(&(struct pki_spec){.cn = "c", .issuer = &absent});
    struct pki_cert pinned = pki_make(&(struct pki_spec){.cn = "d", .issuer = &absent});
    (void)snprintf(path, sizeof(path), "%s/bundle.pem", dir);
    append_text(path, "# a comment\n");
    pki_append(path, &old);
    append_text(path, "-----BEGIN CERTIFICATE-----\nMIIB@@@@\n-----END CERTIFICATE-----\n"
                      "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n"
                      "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n");
    pki_append(path, &pinned);
    pki_append(path, &new);
    assert_int_equal(tls_trust_new(path, NULL, &t, &ctx), ERR_OK);
    assert_true(trusts(t, b.x));
    assert_true(trusts(t, a.x));
    assert_false(trusts(t, c.x));
    assert_false(trusts(t, absent.x));
    assert_true(trusts(t, pinned.x));
    assert_true(trusts(t, a.x));
    tls_trust_unref(t);
    pki_free(&old), pki_free(&new), pki_free(&absent);
    pki_free(&a), pki_free(&b), pki_free(&c), pki_free(&pinned);
    unlink(path);
}

static void test_hashed_directory(void **state)
{
    (void)state;
    char path[64];
    struct tls_trust *t = NULL;
    struct errctx ctx = {0};
    struct pki_cert root = pki_make(&(struct pki_spec){.cn = "Hashed", .ca = 1});
    struct pki_cert leaf = pki_make(&(struct pki_spec){.cn = "a", .issuer = &root});
    (void)snprintf(path, sizeof(path), "%s/%08lx.0", dir, X509_subject_name_hash(root.x));
    pki_append(path, &root);
    assert_int_equal(tls_trust_new(NULL, dir, &t, &ctx), ERR_OK);
    assert_true(trusts(t, leaf.x));
    tls_trust_unref(t);
    unlink(path);
    assert_int_equal(tls_trust_new(NULL, dir, &t, &ctx), ERR_OK);
    assert_false(trusts(t, leaf.x));
    tls_trust_unref(t);
    pki_free(&root), pki_free(&leaf);
}

/* Decision O7: SSL_CERT_FILE adds to the default store and does not replace it. */
static void test_default_stays(void **state)
{
    (void)state;
    struct tls_trust *t = NULL;
    struct errctx ctx = {0};
    FILE *f = fopen(X509_get_default_cert_file(), "r");
    X509 *root = f ? PEM_read_X509_AUX(f, NULL, NULL, NULL) : NULL;
    if (f)
        (void)fclose(f);
    if (!root)
        skip();
    assert_int_equal(tls_trust_new(good, NULL, &t, &ctx), ERR_OK);
    assert_true(trusts(t, root));
    tls_trust_unref(t);
    X509_free(root);
}

static void test_no_memory(void **state)
{
    (void)state;
    enum err e = ERR_NOMEM;
    for (int64_t n = 0; e; n++) {
        struct tls_trust *t = NULL;
        struct tls_client *c = NULL;
        struct errctx ctx = {0};
        assert_true(n < 100);
        mem_fail_after(n, false);
        e = tls_trust_new(good, dir, &t, &ctx);
        if (!e)
            e = tls_client_new(t, &c);
        mem_fail_after(-1, false);
        if (e)
            assert_int_equal(e, ERR_NOMEM);
        tls_client_free(c);
        tls_trust_unref(t);
    }
}

/* What one route adds (tls_ca, tls_client_cert, tls_client_key). */
static void put_key(const char *path, const struct pki_cert *c)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
}

static uint64_t route_id_of(struct tls_trust *base, const struct tls_route_files *files)
{
    struct tls_trust *t = NULL;
    struct tls_client *c = NULL;
    struct errctx ctx = {0};
    assert_int_equal(tls_trust_route(base, files, &t, &ctx), ERR_OK);
    assert_int_equal(tls_client_new(t, &c), ERR_OK);
    assert_true(!files->cert == !tls_trust_pair(t));
    assert_true(!files->cert ||
                SSL_CTX_get_session_cache_mode(c->ctx) == SSL_SESS_CACHE_OFF); /* always presented */
    uint64_t id = tls_trust_id(t);
    tls_client_free(c);
    tls_trust_unref(t);
    return id;
}

static void test_route(void **state)
{
    (void)state;
    char cert[64], key[64], wrong[64];
    struct tls_trust *base = NULL, *t = NULL;
    struct errctx ctx = {0};
    (void)snprintf(cert, sizeof(cert), "%s/client.pem", dir);
    (void)snprintf(key, sizeof(key), "%s/client.key", dir);
    (void)snprintf(wrong, sizeof(wrong), "%s/wrong.key", dir);
    struct pki_cert a = pki_make(&(struct pki_spec){.cn = "client"});
    struct pki_cert b = pki_make(&(struct pki_spec){.cn = "other"});
    pki_append(cert, &a);
    put_key(key, &a), put_key(wrong, &b);
    pki_free(&a), pki_free(&b);
    assert_int_equal(tls_trust_new(NULL, NULL, &base, &ctx), ERR_OK);
    const struct {
        struct tls_route_files files;
        const char *says;
    } bad[] = {
        {{.ca = "/nonexistent"}, "tls_ca: cannot read /nonexistent: No such file"},
        {{.ca = empty}, "tls_ca: "},
        {{.ca = key}, "holds no PEM certificate"},
        {{.cert = empty, .key = key}, "tls_client_cert: "},
        {{.cert = cert, .key = cert}, "holds no PEM private key"},
        {{.cert = cert, .key = "/nonexistent"}, "tls_client_key: cannot read"},
        {{.cert = cert}, "tls_client_key is missing"},
        {{.cert = cert, .key = wrong}, "is not the key of"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ctx = (struct errctx){0};
        assert_int_equal(tls_trust_route(base, &bad[i].files, &t, &ctx), ERR_INVALID);
        if (!strstr(ctx.text, bad[i].says))
            fail_msg("%s", ctx.text);
        assert_null(t);
    }
    uint64_t with_ca = route_id_of(base, &(struct tls_route_files){.ca = good});
    uint64_t with_cert = route_id_of(base, &(struct tls_route_files){.cert = cert, .key = key});
    assert_true(with_ca == route_id_of(base, &(struct tls_route_files){.ca = good}));
    assert_true(with_ca != tls_trust_id(base) && with_cert != tls_trust_id(base) && with_ca != with_cert);
    assert_true(with_ca != route_id_of(base, &(struct tls_route_files){.ca = other}));
    tls_trust_unref(base);
    unlink(cert), unlink(key), unlink(wrong);
}

static int group_setup(void **state)
{
    (void)state;
    tls_init();
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(good, sizeof(good), "%s/good.pem", dir);
    (void)snprintf(other, sizeof(other), "%s/other.pem", dir);
    (void)snprintf(empty, sizeof(empty), "%s/empty.pem", dir);
    struct pki_cert a = pki_make(&(struct pki_spec){.cn = "A", .ca = 1});
    struct pki_cert b = pki_make(&(struct pki_spec){.cn = "B", .ca = 1});
    pki_append(good, &a);
    pki_append(other, &b);
    pki_free(&a), pki_free(&b);
    FILE *f = fopen(empty, "w");
    return f && fputs("nothing here\n", f) >= 0 && fclose(f) == 0 ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    unlink(good), unlink(other), unlink(empty), rmdir(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),      cmocka_unit_test(test_id_is_by_content),
        cmocka_unit_test(test_bundle),        cmocka_unit_test(test_hashed_directory),
        cmocka_unit_test(test_default_stays), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_route),
    };
    return cmocka_run_group_tests_name("tls/trust", tests, group_setup, group_teardown);
}
