#include "cli_unit.h"
#include "cli/profile_starter.h"
#include "cli/tree_print.h"

static struct buf out;
static struct json_doc *doc;

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, 1 << 16);
    doc = json_doc_new();
    assert_non_null(doc);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_doc_free(doc);
    buf_fini(&out);
    return 0;
}

static const struct json *read(const char *text)
{
    const struct json *root = NULL;
    struct json_error why;
    if (json_read(doc, str_from(text), "f", &root, &why))
        fail_msg("%s", why.text);
    return root;
}

static void test_lines(void **state)
{
    (void)state;
    tree_lines(&out, NULL,
               read("{\"a\": {\"b c\": [1, true, null], \"d\": []},\n \"e\": \"x\\n\"}"));
    assert_str(buf_str(&out), "a[\"b c\"][0] = 1  # f:1:16\n"
                              "a[\"b c\"][1] = true  # f:1:19\n"
                              "a[\"b c\"][2] = null  # f:1:25\n"
                              "a.d = []  # f:1:37\n"
                              "e = \"x\\n\"  # f:2:7\n");
}

static void test_json(void **state)
{
    const struct json *root = read("{\"a\": [1, {}], \"b\": {\"c\": \"x\"}}");
    (void)state;
    tree_json(&out, root, false);
    assert_str(buf_str(&out),
               "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": \"x\"\n  }\n}\n");
    buf_reset(&out);
    tree_json(&out, root, true);
    assert_str(buf_str(&out), "{\n  \"a\": [\n"
                              "    {\"value\": 1, \"origin\": \"f:1:8\"},\n"
                              "    {\"value\": {}, \"origin\": \"f:1:11\"}\n  ],\n  \"b\": {\n"
                              "    \"c\": {\"value\": \"x\", \"origin\": \"f:1:27\"}\n  }\n}\n");
    buf_reset(&out);
    tree_json(&out, read("{}"), true);
    assert_str(buf_str(&out), "{\n}\n");
}

/* What may hold a secret is masked wherever a tree is shown, and nothing else is. */
static void test_masks(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"{\"upstream_proxy\": \"u:p@h:1\"}", "\"***@h:1\""},
        {"{\"upstream_proxy\": \"h:1\"}", "\"h:1\""},
        {"{\"upstream_proxy\": \"socks5://u:p%40@h:1\"}", "\"socks5://***@h:1\""},
        {"{\"upstream\": \"https://h/v1?x@y\"}", "\"https://h/v1?x@y\""},
        {"{\"upstream\": \"https://a@b@h/v1\"}", "\"https://***@h/v1\""},
        {"{\"url\": \"https://h/hook/secret?k=1\"}", "\"https://h/***\""},
        {"{\"url\": \"https://h\"}", "\"https://h\""},
        {"{\"url\": \"https://h/\"}", "\"https://h/\""},
        {"{\"client_secret\": \"x\"}", "\"***\""},
        {"{\"client_secret\": \"env://X\"}", "\"env://X\""},
        {"{\"client_secret\": \"\"}", "\"\""},
        {"{\"set_vars\": {\"A\": \"x\"}}", "\"***\""},
        {"{\"extra_params\": {\"A\": \"x\"}}", "\"***\""},
        {"{\"allow_domain\": \"https://h/x?y\"}", "\"https://h/x?y\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_reset(&out);
        tree_value(&out, NULL, read(cases[i].text));
        if (!buf_holds(&out, cases[i].shown))
            fail_msg("%s is shown as %.*s", cases[i].text, STR_ARG(buf_str(&out)));
    }
}

static void test_starter_is_loose_json(void **state)
{
    struct buf text;
    const struct json *root;
    (void)state;
    buf_init(&text, 1 << 16);
    profile_starter(&text, STR("my-name"));
    buf_add_c(&text, 0);
    root = read(text.p);
    assert_str(json_get(json_get(root, STR("meta"))->value, STR("name"))->value->text, "my-name");
    for (size_t i = 0; i + 1 < text.n; i++)
        assert_true(text.p[i] == '\n' || (text.p[i] >= ' ' && text.p[i] < 0x7f));
    buf_fini(&text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines),
        TEST(test_json),
        TEST(test_masks),
        TEST(test_starter_is_loose_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
