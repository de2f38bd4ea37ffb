/* Intrusive doubly linked list: a node that links to itself is in no list. */
#pragma once
#include "base/attr.h"
#include <stdbool.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_push(struct list *head, struct list *node) /* at the end */
{
    node->prev = head->prev, node->next = head;
    head->prev->next = node, head->prev = node;
}
static inline void list_push_front(struct list *head, struct list *node)
{
    list_push(head->next, node);
}
static inline void list_remove(struct list *node) /* also of a node in no list */
{
    node->prev->next = node->next, node->next->prev = node->prev;
    list_init(node);
}
/* The first node, or NULL. */
static inline struct list *list_first(struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
