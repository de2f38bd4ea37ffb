#include "../base/unit.h"
#include "config/config.h"
#include "net/address.h"

struct good_tcp {
    const char *text;
    uint8_t family;
    const char *address;
    uint16_t port;
    bool port_given;
};

static void test_tcp_addresses(void **state)
{
    static const struct good_tcp cases[] = {
        {"127.0.0.1", ADDRESS_V4, "127.0.0.1", 0, false},
        {"0.0.0.0", ADDRESS_V4, "0.0.0.0", 0, false},
        {"10.1.2.3:8080", ADDRESS_V4, "10.1.2.3", 8080, true},
        {"10.1.2.3:0", ADDRESS_V4, "10.1.2.3", 0, true},
        {"10.1.2.3:65535", ADDRESS_V4, "10.1.2.3", 65535, true},
        {"::1", ADDRESS_V6, "::1", 0, false},
        {"::", ADDRESS_V6, "::", 0, false},
        {"[::1]", ADDRESS_V6, "::1", 0, false},
        {"[fd00::5]:443", ADDRESS_V6, "fd00::5", 443, true},
        {"fd00::5:443", ADDRESS_V6, "fd00::5:443", 0, false},
        {"::ffff:127.0.0.1", ADDRESS_V4, "127.0.0.1", 0, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct listen_spec spec;
        struct errctx ctx = {0};
        assert_int_equal(listen_parse(str_from(cases[i].text), &spec, &ctx), ERR_OK);
        struct address a = {.family = spec.family};
        memcpy(a.bytes, spec.bytes, sizeof(a.bytes));
        char text[ADDRESS_TEXT_SIZE];
        address_text(&a, text);
        assert_false(spec.is_unix);
        assert_int_equal(spec.family, cases[i].family);
        assert_string_equal(text, cases[i].address);
        assert_int_equal(spec.port, cases[i].port);
        assert_int_equal(spec.port_given, cases[i].port_given);
    }
}

static void test_unix_sockets(void **state)
{
    static const struct {
        const char *text, *path;
        unsigned mode;
        const char *owner, *group;
    } cases[] = {
        {"unix:/run/x", "/run/x", 0660, "", ""},
        {"unix:rel/x.sock", "rel/x.sock", 0660, "", ""},
        {"unix:/a:b", "/a:b", 0660, "", ""},
        {"unix:/x,mode=0600", "/x", 0600, "", ""},
        {"unix:/x,mode=666", "/x", 0666, "", ""},
        {"unix:/x,owner=me", "/x", 0660, "me", ""},
        {"unix:/x,group=us,mode=0,owner=me", "/x", 0, "me", "us"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct listen_spec spec;
        struct errctx ctx = {0};
        assert_int_equal(listen_parse(str_from(cases[i].text), &spec, &ctx), ERR_OK);
        assert_true(spec.is_unix);
        assert_true(str_eq(spec.path, str_from(cases[i].path)));
        assert_int_equal(spec.mode, cases[i].mode);
        assert_true(str_eq(spec.owner, str_from(cases[i].owner)));
        assert_true(str_eq(spec.group, str_from(cases[i].group)));
    }
}

static void test_refused_with_a_sentence(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "is no IP address"},
        {"localhost", "names are not taken"},
        {"localhost:80", "names are not taken"},
        {"1.2.3", "is no IP address"},
        {"127.1", "is no IP address"},
        {"0x7f.0.0.1", "is no IP address"},
        {"2130706433", "is no IP address"},
        {"1.2.3.4.5", "is no IP address"},
        {" 127.0.0.1", "is no IP address"},
        {"fe80::1%lo", "is no IP address"},
        {"[127.0.0.1]:80", "is no IP address"},
        {"[::1", "is no IP address"},
        {"[::1]80", "is no IP address"},
        {"[]:80", "is no IP address"},
        {":80", "is no IP address"},
        {"127.0.0.1:", "is no port"},
        {"127.0.0.1:65536", "is no port"},
        {"127.0.0.1:+1", "is no port"},
        {"127.0.0.1:80:90", "is no IP address"},
        {"[::1]:x", "is no port"},
        {"http://127.0.0.1", "is no IP address"},
        {"unix:", "needs a path"},
        {"unix:,mode=0600", "needs a path"},
        {"unix:/x,mode=", "has no value"},
        {"unix:/x,mode=0999", "octal"},
        {"unix:/x,mode=01777", "octal"},
        {"unix:/x,mode=rw", "octal"},
        {"unix:/x,mode=0600,mode=0660", "twice"},
        {"unix:/x,owner=", "has no value"},
        {"unix:/x,group=a,group=b", "twice"},
        {"unix:/x,color=red", "none of mode="},
        {"unix:/x,", "none of mode="},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct listen_spec spec = {.port = 7};
        struct errctx ctx = {0};
        if (listen_parse(str_from(cases[i].text), &spec, &ctx) != ERR_INVALID)
            fail_msg("'%s' is accepted", cases[i].text);
        if (!strstr(ctx.text, cases[i].says))
            fail_msg("'%s' says \"%s\"", cases[i].text, ctx.text);
        assert_int_equal(spec.port, 7); /* untouched */
    }
}

static void test_socket_path_length(void **state)
{
    char text[5 + 109] = "unix:";
    struct listen_spec spec;
    struct errctx ctx = {0};
    (void)state;
    memset(text + 5, 'a', 108);
    assert_int_equal(listen_parse(str_of(text, 5 + 107), &spec, &ctx), ERR_OK);
    assert_int_equal(listen_parse(str_of(text, 5 + 108), &spec, &ctx), ERR_INVALID);
    assert_non_null(strstr(ctx.text, "longer than 107"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tcp_addresses),
        cmocka_unit_test(test_unix_sockets),
        cmocka_unit_test(test_refused_with_a_sentence),
        cmocka_unit_test(test_socket_path_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
