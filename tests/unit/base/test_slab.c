#include "unit.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/slab.h"
#include <stdalign.h>

static void test_slab(void **state)
{
    (void)state;
    for (size_t size = 1; size < 100; size += 9) {
        struct slab *s = slab_new(size, 7);
        unsigned char *o[50];
        for (int round = 0; round < 3; round++) {
            for (size_t i = 0; i < 50; i++) {
                o[i] = slab_take(s);
                assert_non_null(o[i]);
                assert_int_equal((uintptr_t)o[i] % alignof(max_align_t), 0);
                for (size_t k = 0; k < size; k++)
                    assert_int_equal(o[i][k], 0);
                memset(o[i], 0xaa, size);
            }
            assert_int_equal(slab_out(s), 50);
            for (size_t i = 0; i < 50; i++)
                slab_give(s, o[i * 7 % 50]);
        }
        assert_int_equal(slab_out(s), 0);
        slab_free(s);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    mem_fail_after(0, false);
    assert_null(slab_new(10, 10));
    struct slab *s = slab_new(10, 1);
    mem_fail_after(0, false);
    assert_null(slab_take(s));
    assert_int_equal(slab_out(s), 0);
    void *o = slab_take(s);
    assert_non_null(o);
    slab_give(s, o);
    mem_fail_after(0, false);
    assert_null(slab_take(s)); /* also when one lies ready */
    mem_fail_after(-1, false);
    slab_free(s);
}

struct item {
    int number;
    struct list node;
};

static void test_list(void **state)
{
    (void)state;
    struct list head;
    struct item items[4];
    list_init(&head);
    assert_null(list_first(&head));
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_init(&items[i].node);
        list_remove(&items[i].node); /* in no list */
        if (i < 3)
            list_push(&head, &items[i].node);
        else
            list_push_front(&head, &items[i].node);
    }
    list_remove(&items[1].node);
    int want[] = {3, 0, 2};
    for (size_t i = 0; i < 3; i++) {
        struct item *it = LIST_ENTRY(list_first(&head), struct item, node);
        assert_int_equal(it->number, want[i]);
        list_remove(&it->node);
    }
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slab), cmocka_unit_test(test_no_memory), cmocka_unit_test(test_list)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
