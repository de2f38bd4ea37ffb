#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "net/address.h"

static struct address parse(const char *text)
{
    struct address a;
    if (!address_parse(str_from(text), &a))
        fail_msg("%s is not taken for an address", text);
    return a;
}

static void test_canonical_text(void **state)
{
    static const char *const rows[][2] = {
        {"1.2.3.4", "1.2.3.4"},
        {"255.255.255.255", "255.255.255.255"},
        {"0.0.0.0", "0.0.0.0"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"0000:0000:0000:0000:0000:0000:0000:0001", "::1"},
        {"2001:DB8::A", "2001:db8::a"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, /* the first of two equal runs */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},       /* the longer one */
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"}, /* one zero group is written out */
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"::ffff:1.2.3.4", "1.2.3.4"},
        {"::FFFF:0102:0304", "1.2.3.4"},
        {"0:0:0:0:0:ffff:7f00:1", "127.0.0.1"},
        {"64:ff9b::1.2.3.4", "64:ff9b::102:304"},
        {"::1.2.3.4", "::102:304"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a = parse(rows[i][0]), again;
        char text[ADDRESS_TEXT_SIZE];
        size_t n = address_text(&a, text);
        assert_string_equal(text, rows[i][1]);
        assert_int_equal(n, strlen(text));
        again = parse(text);
        assert_true(address_eq(&a, &again));
    }
}

static void test_not_an_address(void **state)
{
    static const char *const rows[] = {
        "", ".", ":", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.1.1.1", "1.2.3.256",
        "01.2.3.4", "1.2.3.04", "1.2.3.4 ", " 1.2.3.4", "0x1.2.3.4", "+1.2.3.4", "1.2.3.-4", "1.2.3.1000",
        ":::", "1:::2", "::1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8",
        "12345::", "g::", "1:", ":1", "::1:", "[::1]", "fe80::1%eth0", "::1.2.3", "::1.2.3.4:5", "::01.2.3.4",
        "1:2:3:4:5:6:7:1.2.3.4", "::256.1.1.1", "1.2.3.4::", "::ffff:127.1",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a = {.family = 99};
        if (address_parse(str_from(rows[i]), &a))
            fail_msg("%s is taken for an address", rows[i]);
        assert_int_equal(a.family, 99);
    }
}

static void test_bytes(void **state)
{
    static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 10, 1, 2, 3};
    static const uint8_t four[4] = {10, 1, 2, 3};
    struct address a = address_from_bytes(ADDRESS_V6, mapped), b = address_from_bytes(ADDRESS_V4, four);
    (void)state;
    assert_int_equal(a.family, ADDRESS_V4);
    assert_true(address_eq(&a, &b));
    b.bytes[3]++;
    assert_false(address_eq(&a, &b));
}

static void test_kinds(void **state)
{
    static const struct {
        const char *text;
        enum address_kind kind;
    } rows[] = {
        {"8.8.8.8", ADDRESS_PUBLIC},
        {"2001:4860:4860::8888", ADDRESS_PUBLIC},
        {"9.255.255.255", ADDRESS_PUBLIC},
        {"10.0.0.0", ADDRESS_PRIVATE},
        {"172.15.255.255", ADDRESS_PUBLIC},
        {"172.16.0.0", ADDRESS_PRIVATE},
        {"172.31.255.255", ADDRESS_PRIVATE},
        {"172.32.0.0", ADDRESS_PUBLIC},
        {"192.168.1.1", ADDRESS_PRIVATE},
        {"192.169.0.1", ADDRESS_PUBLIC},
        {"100.63.255.255", ADDRESS_PUBLIC},
        {"100.64.0.0", ADDRESS_PRIVATE},
        {"100.127.255.255", ADDRESS_PRIVATE},
        {"100.128.0.0", ADDRESS_PUBLIC},
        {"fc00::1", ADDRESS_PRIVATE},
        {"fdff::1", ADDRESS_PRIVATE},
        {"fe00::1", ADDRESS_PUBLIC},
        {"127.0.0.1", ADDRESS_LOOPBACK},
        {"127.255.255.255", ADDRESS_LOOPBACK},
        {"::1", ADDRESS_LOOPBACK},
        {"::ffff:127.0.0.1", ADDRESS_LOOPBACK},
        {"0.0.0.0", ADDRESS_UNSPECIFIED},
        {"0.1.2.3", ADDRESS_UNSPECIFIED},
        {"::", ADDRESS_UNSPECIFIED},
        {"::2", ADDRESS_UNSPECIFIED}, /* 0.0.0.2 as v4-compatible */
        {"223.255.255.255", ADDRESS_PUBLIC},
        {"224.0.0.1", ADDRESS_MULTICAST},
        {"239.255.255.255", ADDRESS_MULTICAST},
        {"ff02::1", ADDRESS_MULTICAST},
        {"255.255.255.255", ADDRESS_BROADCAST},
        {"100.100.100.200", ADDRESS_CLOUD},
        {"168.63.129.16", ADDRESS_CLOUD},
        {"64:ff9b::168.63.129.16", ADDRESS_CLOUD},
        {"169.254.0.0", ADDRESS_LINK_LOCAL},
        {"169.255.0.0", ADDRESS_PUBLIC},
        {"::ffff:169.254.3.4", ADDRESS_LINK_LOCAL},
        {"fe80::1", ADDRESS_LINK_LOCAL},
        {"febf::1", ADDRESS_LINK_LOCAL},
        {"fec0::1", ADDRESS_PUBLIC},
        {"169.254.169.254", ADDRESS_METADATA},
        {"::ffff:a9fe:a9fe", ADDRESS_METADATA},
        {"fd00:ec2::254", ADDRESS_METADATA},
        {"fd00:ec2::255", ADDRESS_PRIVATE},
        {"64:ff9b::169.254.169.254", ADDRESS_METADATA},
        {"64:ff9b::169.254.1.1", ADDRESS_LINK_LOCAL},
        {"64:ff9b::127.0.0.1", ADDRESS_LOOPBACK},
        {"64:ff9b::8.8.8.8", ADDRESS_PUBLIC},
        {"64:ff9b::10.0.0.1", ADDRESS_PRIVATE},
        {"2002:a9fe:a9fe::1", ADDRESS_METADATA},
        {"2002:7f00:1::", ADDRESS_LOOPBACK},
        {"2002:808:808::1", ADDRESS_PUBLIC},
        {"::169.254.169.254", ADDRESS_METADATA},
        {"::127.0.0.1", ADDRESS_LOOPBACK},
        {"::8.8.8.8", ADDRESS_PUBLIC},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a = parse(rows[i].text);
        if (address_kind(&a) != rows[i].kind)
            fail_msg("%s is %s", rows[i].text, address_kind_name(address_kind(&a)));
    }
}

static void test_cidr(void **state)
{
    static const struct {
        const char *block, *inside, *outside;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
        {"10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"},
        {"0.0.0.0/0", "255.1.2.3", "::1"},
        {"::/0", "2001:db8::1", "1.2.3.4"},
        {"1.2.3.4", "1.2.3.4", "1.2.3.5"},
        {"1.2.3.4/32", "1.2.3.4", "1.2.3.0"},
        {"128.0.0.0/1", "255.0.0.1", "127.255.255.255"},
        {"10.1.2.128/25", "10.1.2.129", "10.1.2.127"},
        {"fd00::/8", "fdff:1::", "fc00::1"},
        {"2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"},
        {"::1", "::1", "::2"},
        {"::1/128", "::1", "::"},
        {"::ffff:10.0.0.0/104", "10.9.9.9", "11.9.9.9"},
        {"::ffff:0:0/96", "10.9.9.9", "2001:db8::1"},
        {"::ffff:1.2.3.4", "1.2.3.4", "1.2.3.5"},
    };
    static const char *const bad[] = {
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8 ", "10.0.0.0/08x",
        "10.0.0.1/8", "10.0.0.0/7777", "10.1/8", "fd00::/129", "fd00::1/8", "::ffff:0:0/95", "[fd00::]/8", "x/8",
        "10.0.0.0/8/8", "1.2.3.4:80",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cidr c;
        struct address in = parse(rows[i].inside), out = parse(rows[i].outside);
        assert_true(cidr_parse(str_from(rows[i].block), &c));
        assert_true(cidr_contains(&c, &in));
        assert_false(cidr_contains(&c, &out));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cidr c;
        if (cidr_parse(str_from(bad[i]), &c))
            fail_msg("%s is taken for a block", bad[i]);
    }
}

static void test_embedded(void **state)
{
    static const struct {
        const char *text, *inner; /* NULL: none */
    } rows[] = {
        {"64:ff9b::1.2.3.4", "1.2.3.4"}, {"2002:102:304:5::6", "1.2.3.4"}, {"::1.2.3.4", "1.2.3.4"},
        {"::", NULL}, {"::1", NULL}, {"1.2.3.4", NULL}, {"64:ff9b:1::1.2.3.4", NULL}, {"2003::1", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a = parse(rows[i].text), inner;
        assert_int_equal(address_embedded(&a, &inner), rows[i].inner != NULL);
        if (rows[i].inner) {
            struct address want = parse(rows[i].inner);
            assert_true(address_eq(&inner, &want));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical_text), cmocka_unit_test(test_not_an_address),
        cmocka_unit_test(test_bytes),          cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_cidr),           cmocka_unit_test(test_embedded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
