/* What the load generator, the origin and the bare relay share: arguments, sockets, time. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Noreturn void die(const char *what); /* with errno's text; exit 1 */

/* The value of `--name VALUE`, or the fallback. */
const char *arg_text(char **argv, const char *name, const char *fallback);
double arg_number(char **argv, const char *name, double fallback);
bool arg_flag(char **argv, const char *name);

uint64_t now_ns(void);
struct sockaddr_in address_of(const char *host_port); /* "10.0.0.1:80"; dies when malformed */
int listen_on(const struct sockaddr_in *at);          /* non-blocking */
void no_delay(int fd);
void epoll_watch(int epoll, int fd, uint32_t events, void *owner);

/* Where the byte after the empty line is, or NULL. */
const char *after_head(const char *p, size_t n);
/* The Content-Length of a complete head, 0 where there is none. */
size_t content_length(const char *head, const char *end);
