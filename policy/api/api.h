/* api.h -- the inside of diffrl.h, shared by api.c, api_policy.c and api_sampler.c. */
#ifndef POLICY_API_H
#define POLICY_API_H
#include "diffusion/denoiser.h"
#include "policy/diffrl.h"
#include <fenv.h>
#include <locale.h>

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

/* ---- the caller's floating-point environment and locale -------------------------------------- */

typedef struct {
  fenv_t floats;
  locale_t locale; /* of this thread */
} ApiCaller;

/* From here to the end of the block: round to nearest, no traps, denormals kept; numbers are read
 * and written with a point (a new "C" locale takes no memory). */
#define AS_GUEST                                                                                   \
  ApiCaller caller __attribute__((cleanup(guest_leave)));                                          \
  guest_enter(&caller)

static inline void guest_enter(ApiCaller *caller) {
  fegetenv(&caller->floats);
  fesetenv(FE_DFL_ENV);
  caller->locale = uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
}
static inline void guest_leave(ApiCaller *caller) {
  fesetenv(&caller->floats);
  uselocale(caller->locale);
}

/* Back to the caller's, for its callback; ours is kept for guest_leave. */
static inline void guest_yield(const ApiCaller *caller, ApiCaller *ours) {
  fegetenv(&ours->floats);
  fesetenv(&caller->floats);
  ours->locale = uselocale(caller->locale);
}

/* The same for calls that read and write no text. */
#define AS_ACTING_GUEST                                                                            \
  fenv_t floats __attribute__((cleanup(guest_leave_floats)));                                      \
  guest_enter_floats(&floats)

static inline void guest_enter_floats(fenv_t *caller) {
  fegetenv(caller);
  fesetenv(FE_DFL_ENV);
}
static inline void guest_leave_floats(fenv_t *caller) { fesetenv(caller); }

#endif
