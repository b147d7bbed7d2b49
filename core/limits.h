/* limits.h -- what the system grants this process: affinity, control groups (version 1 and 2, the
 * process's own and those above it), resource limits.  Asked when something begins; nothing is
 * kept. */
#ifndef CORE_LIMITS_H
#define CORE_LIMITS_H
#include <stddef.h>

/* CPUs, 1 or more. */
int limits_cpus(void);

/* Bytes that may still be taken: the least of what is free in memory, in every control group and
 * below RLIMIT_AS and RLIMIT_DATA.  SIZE_MAX: nothing says. */
size_t limits_memory(void);

/* Bytes that this process has touched, but for its files. */
size_t limits_resident(void);

#endif
