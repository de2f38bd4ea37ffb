/* Shared by the parts of the simulated world. */
#pragma once
#include "sim.h"
#include "sys/sys_int.h"

/* Memory of the world itself never fails: mem_fail_after is for the program. */
void *sim_alloc(size_t n);
void *sim_grow(void *p, size_t n);
void sim_free(void *p);

extern struct sim_faults sim_faults;
extern bool sim_dirty; /* a descriptor became ready since the loops were turned */

/* sim_sys.c asks sim_net.c */
unsigned sim_net_bits(int fd, bool *ret_edge); /* what is true of a descriptor now; clears its edge */
unsigned sim_net_top(void);                    /* descriptors are below */
struct watch *sim_net_watch(int fd);
void sim_net_set_watch(int fd, struct watch *w);
void sim_net_end(void);
void sim_dns_end(void);
void sim_outside_end(void);
