/* Shared inside credential/ only: the broker's own state. */
#pragma once
#include "credential/bridge.h"

enum {
    FAILURE_MS = 5000,      /* a failure, and a second refusal, are kept */
    REFRESH_MS = 60000,     /* most of the last quarter of a life */
    FILE_GONE_MS = 60000,   /* the last value of a file that has gone */
    FILE_LOOK_MS = 500,     /* a change is noticed about then */
    SOURCE_IDLE_MS = 3600000,
    MAX_SOURCES = 1024,
    MAX_ENTRIES = 1024,     /* scopes of one source */
    MAX_RUNNING = 32,       /* helpers at once */
    MAX_QUEUED = 4096,
    MAX_ARGUMENTS = 64,     /* that the audit shows */
};

/* What a source yields in one scope. */
struct entry {
    struct list node;
    struct source *source;
    struct str key;
    char *memory;
    struct material *current;
    bool stale;             /* current is to be read anew; it serves on if that fails */
    bool for_refusal;       /* current was fetched because the one before was refused */
    uint64_t hold_ns;       /* until then a refusal fetches nothing */
    uint64_t failed_ns;     /* until then `failed` is the answer */
    enum err failure;
    char failed[SENTENCE_BYTES];
    struct run *run;
    struct list asks;
};

/* A helper on its way, or waiting for its turn. */
struct run {
    struct list node;
    struct entry *entry;
    struct asked asked;
    struct order order;
    struct child *child;
    bool queued, for_refusal;
    uint64_t reloads;       /* of the broker, when it was made */
    uint64_t start_ns;
};

struct broker_ask {
    struct list node;       /* of its entry, or of the broker's answered ones */
    struct broker *broker;
    struct entry *entry;    /* NULL once it is answered */
    struct asked asked;
    uint64_t newer_than;
    bool refused, refresh;
    bool late;              /* came after the run began whose result is not kept */
    broker_answer_fn *fn;
    void *owner;
    struct task task;
    enum err answer;
    struct material *material;
    char sentence[SENTENCE_BYTES];
    uint64_t failed_until_ns;
};

struct broker {
    struct broker_env env;
    struct helper_env helpers;
    struct bridges bridges;
    struct map sources;
    struct list source_list; /* least lately asked first */
    size_t n_sources;
    uint64_t reloads;
    uint64_t version_floor;  /* no version of a source made anew is below one told before */
    struct list queue, running;
    unsigned n_running, n_queued;
    struct list answered;
    bool closing;
};

/* During the answer, for ERR_CREDENTIAL_UNAVAILABLE: until when asking again brings the same (monotonic; 0: ask again any time). */
uint64_t broker_ask_failed_until(const struct broker_ask *a);
