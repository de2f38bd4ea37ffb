#include "tls/tls_int.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>

enum { NAMES_SHOWN = 3, SENTENCE_MAX = 400 };

static const char *host_of(const struct tls_stream *t)
{
    return t->host.text;
}

static bool name_of(const GENERAL_NAME *g, struct buf *out)
{
    if (g->type == GEN_DNS) {
        buf_add(out, ASN1_STRING_get0_data(g->d.dNSName), (size_t)ASN1_STRING_length(g->d.dNSName));
        return true;
    }
    int n = g->type == GEN_IPADD ? ASN1_STRING_length(g->d.iPAddress) : 0;
    if (n != 4 && n != 16)
        return false;
    struct address a =
        address_from_bytes(n == 4 ? ADDRESS_V4 : ADDRESS_V6, ASN1_STRING_get0_data(g->d.iPAddress));
    address_format(out, &a);
    return true;
}

/* "a.test, b.test, 10.0.0.1 and 5 more", or "no name at all". */
static void list_names(X509 *leaf, struct buf *out)
{
    GENERAL_NAMES *names = leaf ? X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL) : NULL;
    unsigned shown = 0, more = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type != GEN_DNS && g->type != GEN_IPADD)
            continue;
        if (shown >= NAMES_SHOWN) {
            more++;
            continue;
        }
        if (shown)
            buf_add_z(out, ", ");
        shown += name_of(g, out);
    }
    if (!shown)
        buf_add_z(out, "none");
    if (more)
        buf_printf(out, " and %u more", more);
    GENERAL_NAMES_free(names);
}

static enum err other_names(const struct tls_stream *t, X509 *leaf, struct errctx *ctx)
{
    struct buf names;
    buf_init(&names, SENTENCE_MAX * 2);
    list_names(leaf, &names);
    enum err e = err_set(ctx, ERR_UPSTREAM_TLS, "certificate of %s is for other names: %.*s",
                         host_of(t), STR_ARG(buf_str(&names)));
    buf_fini(&names);
    return e;
}

static void date_of(const ASN1_TIME *at, char *ret_date, size_t cap)
{
    struct tm tm = {0};
    if (!at || !ASN1_TIME_to_tm(at, &tm) || !strftime(ret_date, cap, "%Y-%m-%d", &tm))
        ret_date[0] = '?', ret_date[1] = '\0';
}

static enum err outside_validity(const struct tls_stream *t, bool expired, struct errctx *ctx)
{
    char date[16];
    const X509 *bad = t->bad_cert;
    date_of(bad ? (expired ? X509_get0_notAfter(bad) : X509_get0_notBefore(bad)) : NULL, date,
            sizeof(date));
    return err_set(ctx, ERR_UPSTREAM_TLS, "certificate of %s is not trusted: %s %s %s", host_of(t),
                   t->bad_depth ? "a certificate of its chain" : "it",
                   expired ? "expired on" : "is not valid before", date);
}

static enum err unknown_issuer(const struct tls_stream *t, struct errctx *ctx)
{
    char cn[64] = "";
    if (t->bad_cert)
        (void)X509_NAME_get_text_by_NID(X509_get_issuer_name(t->bad_cert), NID_commonName, cn,
                                        sizeof(cn));
    return err_set(ctx, ERR_UPSTREAM_TLS, "certificate of %s is not trusted: unknown issuer%s%s%s (SSL_CERT_FILE adds trusted ones)",
                   host_of(t), cn[0] ? " '" : "", cn, cn[0] ? "'" : "");
}

static enum err untrusted(const struct tls_stream *t, long verdict, struct errctx *ctx)
{
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return other_names(t, t->bad_cert, ctx);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return outside_validity(t, verdict == X509_V_ERR_CERT_HAS_EXPIRED, ctx);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return err_set(ctx, ERR_UPSTREAM_TLS,
                       "certificate of %s is not trusted: self-signed certificate%s (SSL_CERT_FILE "
                       "adds trusted ones)", host_of(t),
                       verdict == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT ? "" : " in its chain");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return unknown_issuer(t, ctx);
    default:
        return err_set(ctx, ERR_UPSTREAM_TLS, "certificate of %s is not trusted: %s", host_of(t),
                       X509_verify_cert_error_string(verdict));
    }
}

static bool means_no_tls(int reason)
{
    return reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
           reason == SSL_R_HTTPS_PROXY_REQUEST || reason == SSL_R_PACKET_LENGTH_TOO_LONG ||
           reason == SSL_R_RECORD_LENGTH_MISMATCH || reason == SSL_R_UNEXPECTED_MESSAGE ||
           reason == SSL_R_UNKNOWN_PROTOCOL || reason == SSL_R_BAD_RECORD_TYPE;
}

static enum err from_queue(const struct tls_stream *t, unsigned long code, struct errctx *ctx)
{
    int reason = ERR_GET_REASON(code);
    const char *host = host_of(t);
    if (reason == ERR_R_MALLOC_FAILURE)
        return err_set(ctx, ERR_NOMEM, "out of memory in the TLS handshake with %s", host);
    bool ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
    if (ssl && means_no_tls(reason))
        return err_set(ctx, ERR_UPSTREAM_TLS, "%s does not speak TLS on port %u", host, t->port);
    if (ssl && (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_VERSION_TOO_LOW ||
                reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION))
        return err_set(ctx, ERR_UPSTREAM_TLS, "%s speaks no TLS version from 1.2 on", host);
    if (ssl && reason >= SSL_AD_REASON_OFFSET)
        return err_set(ctx, ERR_UPSTREAM_TLS, "%s refused the TLS handshake: alert %s", host,
                       SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
    const char *text = ERR_reason_error_string(code);
    return err_set(ctx, ERR_UPSTREAM_TLS, "TLS handshake with %s failed: %s", host,
                   text ? text : "unknown error");
}

enum err tls_explain(struct tls_stream *t, struct errctx *ctx)
{
    long verdict = SSL_get_verify_result(t->ssl);
    unsigned long code = ERR_peek_error();
    ERR_clear_error();
    if (t->write_err == ERR_NOMEM || t->under_err == ERR_NOMEM)
        return err_set(ctx, ERR_NOMEM, "out of memory in the TLS handshake with %s", host_of(t));
    if (verdict != X509_V_OK)
        return untrusted(t, verdict, ctx);
    if (t->under_err == ERR_EOF)
        return err_set(ctx, ERR_UPSTREAM_TLS, "%s closed the connection in the TLS handshake",
                       host_of(t));
    if (t->under_err || t->write_err)
        return err_set(ctx, ERR_UPSTREAM_TLS, "connection to %s was reset in the TLS handshake",
                       host_of(t));
    return from_queue(t, code, ctx);
}
