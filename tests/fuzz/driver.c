/* Runs a libFuzzer target without libFuzzer: replays files and directories, then a bounded number
 * of mutations of them that depends on nothing but the seed, so that normal CI runs every target.
 * An input that kills the target is kept as crash-input.
 *
 *     fuzz_TARGET [--runs N] [--seed N] [--max BYTES] [--from N] PATH... */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

struct input {
    uint8_t *p;
    size_t n;
};

static struct input *seeds;
static size_t seed_count;
static struct input current;
static size_t max_bytes = 4096;

/* splitmix64: good enough to choose mutations, the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit ? (size_t)(next_random(state) % limit) : 0;
}

static void keep_current(void)
{
    FILE *f = fopen("crash-input", "wb");

    if (!f)
        return;
    fwrite(current.p, 1, current.n, f);
    fclose(f);
    fprintf(stderr, "the input was kept as crash-input (%zu bytes)\n", current.n);
}

static void on_abort(int number)
{
    keep_current();
    signal(number, SIG_DFL);
    raise(number);
}

/* An exact copy, so that a read past the end is seen. */
static void run(const uint8_t *p, size_t n)
{
    current = (struct input){malloc(n ? n : 1), n};
    if (!current.p)
        exit(2);
    memcpy(current.p, p, n);
    LLVMFuzzerTestOneInput(current.p, n);
    free(current.p);
}

static void add_seed(uint8_t *p, size_t n)
{
    struct input *more = realloc(seeds, (seed_count + 1) * sizeof(*seeds));

    if (!more)
        exit(2);
    seeds = more;
    seeds[seed_count++] = (struct input){p, n};
}

static void load_file(const char *path, size_t n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *p = malloc(n + 1);

    if (!f || !p) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    n = fread(p, 1, n, f);
    fclose(f);
    add_seed(p, n);
    run(p, n);
}

static void load(const char *path);

static void load_directory(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    char child[4096];

    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            snprintf(child, sizeof(child), "%s/%s", path, names[i]->d_name);
            load(child);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static void load(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        fprintf(stderr, "no such input: %s\n", path);
        exit(2);
    }
    if (S_ISDIR(st.st_mode))
        load_directory(path);
    else
        load_file(path, (size_t)st.st_size);
}

/* ---- mutations: each changes p[0..n) with room for max_bytes and returns the new length ---- */

static size_t change_byte(uint8_t *p, size_t n, uint64_t *r)
{
    static const uint8_t odd[] = {0,   '\t', '\n', '\r', ' ', '#',  ',',  '/', '0',
                                  '9', ':',  ';',  'A',  'f', 0x7f, 0x80, 0xff};

    if (n)
        p[below(r, n)] = below(r, 2) ? odd[below(r, sizeof(odd))] : (uint8_t)next_random(r);
    return n;
}

static size_t flip_bit(uint8_t *p, size_t n, uint64_t *r)
{
    if (n)
        p[below(r, n)] ^= (uint8_t)(1u << below(r, 8));
    return n;
}

static size_t remove_run(uint8_t *p, size_t n, uint64_t *r)
{
    size_t at = below(r, n), k = n ? 1 + below(r, n - at < 16 ? n - at : 16) : 0;

    memmove(p + at, p + at + k, n - at - k);
    return n - k;
}

static size_t insert(uint8_t *p, size_t n, size_t at, const uint8_t *q, size_t k)
{
    if (n + k > max_bytes)
        return n;
    memmove(p + at + k, p + at, n - at);
    memcpy(p + at, q, k);
    return n + k;
}

static size_t repeat_run(uint8_t *p, size_t n, uint64_t *r)
{
    uint8_t copy[64];
    size_t from = below(r, n), k = n - from < sizeof(copy) ? n - from : sizeof(copy);

    k = k ? 1 + below(r, k) : 0;
    memcpy(copy, p + from, k);
    return insert(p, n, below(r, n + 1), copy, k);
}

static size_t insert_byte(uint8_t *p, size_t n, uint64_t *r)
{
    uint8_t c = 0;

    change_byte(&c, 1, r);
    return insert(p, n, below(r, n + 1), &c, 1);
}

/* A piece of another seed. */
static size_t splice(uint8_t *p, size_t n, uint64_t *r)
{
    const struct input *other = &seeds[below(r, seed_count)];
    size_t from = below(r, other->n), k = other->n - from;

    k = k > 256 ? 256 : k;
    k = k ? 1 + below(r, k) : 0;
    return insert(p, n, below(r, n + 1), other->p + from, k);
}

static size_t mutate(uint8_t *p, size_t n, uint64_t *r)
{
    size_t (*const how[])(uint8_t *, size_t, uint64_t *) = {
        change_byte, change_byte, flip_bit, remove_run, repeat_run, insert_byte, splice};

    for (size_t left = 1 + below(r, 4); left; left--)
        n = how[below(r, sizeof(how) / sizeof(how[0]))](p, n, r);
    return n;
}

static void run_mutations(uint64_t seed, uint64_t from, uint64_t runs)
{
    uint8_t *p = malloc(max_bytes + 1);

    if (!p)
        exit(2);
    for (uint64_t i = from; i < from + runs; i++) {
        uint64_t r = seed * UINT64_C(0x2545f4914f6cdd1d) + i;
        const struct input *base = &seeds[below(&r, seed_count)];
        size_t n = base->n < max_bytes ? base->n : max_bytes;
        memcpy(p, base->p, n);
        run(p, mutate(p, n, &r));
    }
    free(p);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long v = text ? strtoull(text, &end, 10) : 0;

    if (!text || *end) {
        fprintf(stderr, "a number is missing\n");
        exit(2);
    }
    return v;
}

int main(int argc, char **argv)
{
    uint64_t runs = 20000, seed = 1, from = 0;

    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_current);
    signal(SIGABRT, on_abort);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--runs"))
            runs = number(argv[++i]);
        else if (!strcmp(argv[i], "--seed"))
            seed = number(argv[++i]);
        else if (!strcmp(argv[i], "--from"))
            from = number(argv[++i]);
        else if (!strcmp(argv[i], "--max"))
            max_bytes = (size_t)number(argv[++i]);
        else
            load(argv[i]);
    }
    size_t files = seed_count;
    if (!seed_count)
        add_seed(malloc(1), 0);
    run_mutations(seed, from, runs);
    printf("%zu inputs, %llu mutations\n", files, (unsigned long long)runs);
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].p);
    free(seeds);
    return 0;
}
