/* api.h -- the inside of diffrl.h, shared by api.c, api_policy.c and api_sampler.c. */
#ifndef POLICY_API_H
#define POLICY_API_H
#include "diffusion/denoiser.h"
#include "policy/diffrl.h"
#include <fenv.h>

struct diffrl_schedule {
  Arena *arena;
  Schedule *schedule;
};

/* Write the sentence (error may be NULL) and return the status. */
diffrl_status api_fail(diffrl_error *error, diffrl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "what "given": expected one of a, b, c" */
diffrl_status api_fail_name(diffrl_error *error, diffrl_list list, const char *what,
                            const char *given);

/* Copy a struct that begins with its size into ours of `size` bytes; NULL is all zero.  Fails if
 * the caller's is longer and says something there: it was made for a newer library. */
diffrl_status api_options(void *own, size_t size, const void *given, const char *what,
                          diffrl_error *error);

bool api_predicts(const char *name, Prediction *predicts); /* false: no such prediction */
diffrl_level api_level(const Level *level);

/* ---- the caller's floating-point environment ------------------------------------------------- */

/* From here to the end of the block: round to nearest, no traps, denormals kept. */
#define AS_GUEST                                                                                   \
  fenv_t caller __attribute__((cleanup(guest_leave)));                                             \
  guest_enter(&caller)

static inline void guest_enter(fenv_t *caller) {
  fegetenv(caller);
  fesetenv(FE_DFL_ENV);
}
static inline void guest_leave(fenv_t *caller) { fesetenv(caller); }

#endif
