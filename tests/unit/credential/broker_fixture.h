/* A broker on a loop of its own, in a temporary folder, for the tests of broker and helpers. */
#pragma once
#include "audit/queue.h"
#include "base/mem.h"
#include "credential/broker_int.h"
#include "sys/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

extern struct loop *loop;
extern struct broker *broker;
extern struct queue *audit;
extern struct config config;
extern struct capture_conf capture; /* the one entry, "helper" */
extern struct str words[8];         /* its command */
extern unsigned n_failed;           /* what on_failed was told, and the last of it */
extern char failed_text[8192], failed_sentence[200];
extern const struct question nobody;

int setup(void **state);
int teardown(void **state);
int fresh_capture(void **state);
int end_capture(void **state);
#define PLAIN(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define CMD(f) cmocka_unit_test_setup_teardown(f, fresh_capture, end_capture)

/* Files in the folder. */
const char *in(const char *name);
void put(const char *name, const char *text);
void script(const char *name, const char *body);
unsigned count(const char *name); /* lines: how often a helper ran */

struct told {
    unsigned times;
    enum err e;
    uint64_t version, end_ns;
    char value[300], sentence[200];
    struct broker_ask *ask;
};
void on_told(void *owner, enum err e, struct material *m, const char *sentence);
void turn(uint64_t ms);
void begin_of(const struct credential *c, const struct question *q, uint64_t bad, struct told *t);
void until_told(struct told *t);
struct told get_bad(const struct credential *c, uint64_t bad);
struct told get(const struct credential *c);
struct credential of(struct service_conf *s, const char *key);
struct credential file_of(struct service_conf *s, const char *name);
struct credential cmd_of(struct service_conf *s, const char *program);
/* The only entry of the source that was asked last. */
struct entry *entry_of_last(void);
/* Everything the audit got since the last look. */
const char *audited(void);
void expect_sentence(const struct told *t, const char *want);
