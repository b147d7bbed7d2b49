/* diffrl.h -- diffusion models inside another program: link with `pkg-config --libs diffrl`.
 *
 * C99 and C++11.  One convention throughout: x_t = a(t) x_0 + s(t) eps, lambda = ln(a / s), and
 * everything outside it (betas, sigmas, flow times) is converted by name.
 *
 * The library is a guest: it does not abort on bad input, print, start threads or install handlers,
 * it keeps no state outside the objects it hands out, and it leaves the caller's floating-point
 * environment (rounding, traps, flags, denormals) as found.  Schedules and policies never change
 * and may be shared by threads; a sampler or an actor belongs to one thread at a time.  Objects are
 * freed by their own _free, which takes NULL.
 *
 * Every call that can fail returns a status and, if `error` is not NULL, writes a sentence there:
 * what, where, expected.  What a call was to make or write is then untouched.
 *
 * Structs that may grow begin with their size; start from their _defaults(), in which 0 and NULL
 * stand for what is customary.  Until 1.0 the soname is libdiffrl.so.0 and may change meaning. */
#ifndef DIFFRL_H
#define DIFFRL_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined __GNUC__
#define DIFFRL_API __attribute__((visibility("default")))
#else
#define DIFFRL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  DIFFRL_OK = 0,
  DIFFRL_BAD_ARGUMENT = 1, /* refused before anything was done */
  DIFFRL_NO_MEMORY = 2,
  DIFFRL_STOPPED = 3,    /* the callback asked for it */
  DIFFRL_NOT_FINITE = 4, /* the callback or the policy led to a number that is not finite */
  DIFFRL_BAD_FILE = 5,
  DIFFRL_BAD_OBSERVATION = 6, /* it holds a number that is not finite */
  DIFFRL_NO_PLAN = 7          /* no action is left of the last plan */
} diffrl_status;

typedef struct {
  char text[512];
} diffrl_error;

/* The i-th name of a list, NULL behind the last. */
typedef enum {
  DIFFRL_SCHEDULES,   /* linear cosine vp vp-sde flow edm .. */
  DIFFRL_SAMPLERS,    /* ddpm ddim dpmpp_2m unipc edm_heun euler .. */
  DIFFRL_SPACINGS,    /* linspace leading trailing quadratic lambda karras */
  DIFFRL_PREDICTIONS, /* eps x0 score v velocity edm */
  DIFFRL_CONVENTIONS  /* lambda logsnr snr abar sigma flow flow-data */
} diffrl_list;
DIFFRL_API const char *diffrl_name(diffrl_list list, size_t i);

/* ---- schedules ------------------------------------------------------------------------------- */

typedef struct diffrl_schedule diffrl_schedule;

/* A schedule at one time.  da, ds: derivatives by time; f, g2: the drift and squared diffusion of
 * dx = f x dt + g dw.  Some are infinite, or NAN, where no noise or no signal is left. */
typedef struct {
  double time, a, s, da, ds, lambda, f, g2;
} diffrl_level;

typedef struct {
  size_t size;
  int steps;        /* discrete schedules: their number of steps N; ignored by continuous ones */
  double low, high; /* the two numbers of the family; both 0: as published */
  int rescale;      /* linear, scaled-linear: betas times 1000 / N */
  int zero_snr;     /* discrete: no signal at the last step (Lin et al. 2024) */
  double shift;     /* t -> k t / (1 + (k - 1) t) (Esser et al. 2024); 0: none */
} diffrl_schedule_options;

static inline diffrl_schedule_options diffrl_schedule_defaults(void) {
  diffrl_schedule_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  return options;
}

/* options may be NULL for continuous schedules. */
DIFFRL_API diffrl_status diffrl_schedule_new(diffrl_schedule **made, const char *name,
                                             const diffrl_schedule_options *options,
                                             diffrl_error *error);
/* betas [steps], each between 0 and 1; copied. */
DIFFRL_API diffrl_status diffrl_schedule_from_betas(diffrl_schedule **made, const double *betas,
                                                    int steps, diffrl_error *error);
DIFFRL_API void diffrl_schedule_free(diffrl_schedule *schedule);

/* Where the schedule's times begin and end: 0 and N - 1 for discrete ones, whose number of steps is
 * *steps (0: continuous).  Any of the three may be NULL. */
DIFFRL_API diffrl_status diffrl_schedule_range(const diffrl_schedule *schedule, double *first,
                                               double *last, int *steps, diffrl_error *error);

/* 0 <= time <= last.  Between the steps of a discrete schedule ln a (or ln s) is linear. */
DIFFRL_API diffrl_status diffrl_schedule_level(const diffrl_schedule *schedule, double time,
                                               diffrl_level *level, diffrl_error *error);

/* The time at which ln(a / s) is lambda; first or last for what lies outside. */
DIFFRL_API diffrl_status diffrl_schedule_time(const diffrl_schedule *schedule, double lambda,
                                              double *time, diffrl_error *error);

/* ---- conversions ----------------------------------------------------------------------------- */

/* The same level of noise in another convention: diffrl_convert("abar", 0.5, "sigma", ..) -> 1.
 *   lambda ln(a/s)   logsnr 2 lambda   snr a^2/s^2   abar a^2/(a^2 + s^2)   sigma s/a
 *   flow s/(a + s), noise at 1   flow-data the same path with data at 1 */
DIFFRL_API diffrl_status diffrl_convert(const char *from, double value, const char *to,
                                        double *converted, diffrl_error *error);

/* What one kind of prediction says about another: wanted = to_x x + to_given given.  data_std is
 * read by edm alone (0: 1).  Fails where `given` does not tell, as eps does not where a is 0. */
DIFFRL_API diffrl_status diffrl_prediction(const char *given, const char *wanted,
                                           const diffrl_level *level, double data_std, double *to_x,
                                           double *to_given, diffrl_error *error);

/* ---- a denoiser of your own ------------------------------------------------------------------ */

/* Answer for samples first .. first + count - 1 of a run, all at one level of noise: x and out are
 * [count, dim], dense (out [count, 2 dim] with learns_variance).  A sample's answer may depend on
 * its x, its number and the level, not on its neighbours.  Return 0; anything else stops the run.
 * Must return: no exception, no longjmp. */
typedef int diffrl_ask(void *user, int first, int count, int dim, const float *x,
                       const diffrl_level *at, float *out);

typedef struct {
  size_t size;
  diffrl_ask *ask;
  void *user;
  int dim;              /* numbers of a sample, 1 .. 4096 */
  const char *predicts; /* NULL: eps.  With edm, x comes multiplied by (s^2 + a^2 d^2)^-1/2. */
  double data_std;      /* edm: d, the standard deviation of the data; 0: 1 */
  int learns_variance;  /* the second dim outputs are v of Nichol & Dhariwal 2021, eq. 15 */
} diffrl_denoiser;

static inline diffrl_denoiser diffrl_denoiser_defaults(void) {
  diffrl_denoiser denoiser;
  memset(&denoiser, 0, sizeof denoiser);
  denoiser.size = sizeof denoiser;
  return denoiser;
}

/* ---- samplers -------------------------------------------------------------------------------- */

typedef struct diffrl_sampler diffrl_sampler;

enum {
  DIFFRL_END_AUTO,  /* discrete schedules: clean data, if the method can; continuous ones: last */
  DIFFRL_END_CLEAN, /* a = 1, s = 0 */
  DIFFRL_END_LAST   /* the schedule's first time, or `final` */
};

typedef struct {
  size_t size;
  const char *method; /* a name of DIFFRL_SAMPLERS */
  int steps;          /* 0: as many as a discrete schedule has; a budget for the *_fast methods */
  double eta;         /* ddim: 0 deterministic .. 1 as ddpm; flow_sde, sde_euler: their noise */
  int clip;           /* estimates of x_0 to [low, high]; both 0: [-1, 1] */
  double low, high;
  const char *spacing; /* a name of DIFFRL_SPACINGS; NULL: linspace */
  double from;         /* time to start from, with diffrl_sampler_run_from; 0: the last */
  int end;             /* DIFFRL_END_.. */
  const double *times; /* [steps] times from noise to data instead of a spacing, or NULL; copied */
  double final;        /* with times and DIFFRL_END_LAST: the time to end at */
  int inverse;         /* from data to noise, with diffrl_sampler_run_from */
  int order;           /* unipc 1 .. 3, *_fast 2 .. 3; 0: the highest */
  int taylor;          /* *_2m: exact for linear outputs, instead of "midpoint" */
  int lower_final;     /* multistep: order 2, then 1, at the end; for very few steps */
  int compat;          /* *_3m: as in published code, where it is of order 2 */
  double alpha;        /* edm_heun: where the second slope is taken, (0, 1]; 0: 1 */
  double churn, churn_min, churn_max, churn_noise; /* edm_heun; max 0: infinite, noise 0: 1 */
  double temperature;                              /* factor of all noise but the start; 0: 1 */
  int batch; /* samples a call of the denoiser, at most; 0: 256.  Changes no result. */
} diffrl_sampler_options;

static inline diffrl_sampler_options diffrl_sampler_defaults(void) {
  diffrl_sampler_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  return options;
}

/* All memory that running takes is taken here.  The schedule must outlive the sampler. */
DIFFRL_API diffrl_status diffrl_sampler_new(diffrl_sampler **made, const diffrl_schedule *schedule,
                                            const diffrl_denoiser *denoiser,
                                            const diffrl_sampler_options *options,
                                            diffrl_error *error);
DIFFRL_API void diffrl_sampler_free(diffrl_sampler *sampler);

/* Calls of the denoiser for one sample, and steps between the states that a watcher sees. */
DIFFRL_API int diffrl_sampler_evaluations(const diffrl_sampler *sampler);
DIFFRL_API int diffrl_sampler_steps(const diffrl_sampler *sampler);

/* See every state: x [count, dim] are samples first .. first + count - 1 after `step` steps; 0 is
 * the start, and at the end x is not clipped yet.  Batches follow one another.  NULL: nobody
 * looks. */
typedef void diffrl_watch(void *user, int step, int first, int count, int dim, const float *x);
DIFFRL_API diffrl_status diffrl_sampler_watch(diffrl_sampler *sampler, diffrl_watch *watch,
                                              void *user, diffrl_error *error);

/* x [count, dim]: samples.  Sample i is a function of seed, i, the sampler and the denoiser: the
 * same bits in every run, whatever `count` and `batch` are.  When a run stops early, samples of
 * batches done before are in x and the rest of x is untouched. */
DIFFRL_API diffrl_status diffrl_sampler_run(diffrl_sampler *sampler, uint64_t seed, int count,
                                            float *x, diffrl_error *error);

/* The same from given points: x holds the start, at `from` or the last time (with `inverse`: at the
 * first), and then the result. */
DIFFRL_API diffrl_status diffrl_sampler_run_from(diffrl_sampler *sampler, uint64_t seed, int count,
                                                 float *x, diffrl_error *error);

/* ---- policies -------------------------------------------------------------------------------- */

/* A trained policy: what `diffrl train` saves and `diffrl export` writes. */
typedef struct diffrl_policy diffrl_policy;

/* path: a .safetensors file, or a run's folder for its last one.  act: changes of how it acts as
 * `diffrl act --act` takes them, "candidates=1 choice=sample"; NULL: as the file says. */
DIFFRL_API diffrl_status diffrl_policy_load(diffrl_policy **made, const char *path, const char *act,
                                            diffrl_error *error);
DIFFRL_API void diffrl_policy_free(diffrl_policy *policy);

/* Numbers of an observation and of an action, in the units of the data it was trained on. */
DIFFRL_API int diffrl_policy_obs_dim(const diffrl_policy *policy);
DIFFRL_API int diffrl_policy_act_dim(const diffrl_policy *policy);

/* Observations that it sees, the last ones: 1 for a policy without history. */
DIFFRL_API int diffrl_policy_obs_steps(const diffrl_policy *policy);

/* Actions of a plan: 1 for a policy that answers every observation with one action. */
DIFFRL_API int diffrl_policy_horizon(const diffrl_policy *policy);

/* low, high [act_dim]: no action is outside.  The record of how it acts, as JSON: weights, sampler,
 * steps, candidates, choice and so on.  Both belong to the policy. */
DIFFRL_API const float *diffrl_policy_low(const diffrl_policy *policy);
DIFFRL_API const float *diffrl_policy_high(const diffrl_policy *policy);
DIFFRL_API const char *diffrl_policy_act(const diffrl_policy *policy);

/* ---- acting ---------------------------------------------------------------------------------- */

/* What changes while a policy acts, one for each robot.  The policy must outlive its actors. */
typedef struct diffrl_actor diffrl_actor;

enum {
  DIFFRL_FALL_KEEP,  /* the caller's action is left unchanged */
  DIFFRL_FALL_ZEROS, /* zeros are written */
  DIFFRL_FALL_GIVEN  /* the vector `given` is */
};

typedef struct {
  size_t size;
  int fallback;        /* DIFFRL_FALL_..: in place of an action that is not finite */
  const float *given;  /* [act_dim], with DIFFRL_FALL_GIVEN */
  const float *low;    /* [act_dim] limits on an action beyond the policy's own, or NULL */
  const float *high;   /* [act_dim], or NULL */
  const float *change; /* [act_dim] most that a number differs from the last call's, or NULL */
} diffrl_actor_options;

static inline diffrl_actor_options diffrl_actor_defaults(void) {
  diffrl_actor_options options;
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  return options;
}

/* Bytes of an actor of this policy. */
DIFFRL_API size_t diffrl_actor_size(const diffrl_policy *policy);

/* An actor, reset to seed 0, in `bytes` of the caller's memory, diffrl_actor_size() or more at any
 * alignment, which stay the caller's; memory NULL: in its own.  options may be NULL and are copied.
 * Actors of one policy may be made at the same time. */
DIFFRL_API diffrl_status diffrl_actor_new(diffrl_actor **made, const diffrl_policy *policy,
                                          const diffrl_actor_options *options, void *memory,
                                          size_t bytes, diffrl_error *error);
DIFFRL_API void diffrl_actor_free(diffrl_actor *actor);

/* The next call is number 0 of this seed, without a last action or a plan. */
DIFFRL_API diffrl_status diffrl_actor_reset(diffrl_actor *actor, uint64_t seed);

/* The next call is number `call`; last [act_dim] is what the call before wrote, NULL: nothing.
 * There is no plan. */
DIFFRL_API diffrl_status diffrl_actor_seek(diffrl_actor *actor, uint64_t call, const float *last);

/* obs [obs_dim] -> action [act_dim].  Takes no memory and no lock and calls no system; a function
 * of the file, the seed, the number of the call, obs and, with `change`, the last action.  Limits:
 * first low and high, then change, which the first call is free of.
 *   DIFFRL_BAD_OBSERVATION, DIFFRL_NOT_FINITE (the action): the fallback is in `action`, as it is,
 *   and counts as the last action unless DIFFRL_FALL_KEEP; the call counts.
 *   DIFFRL_BAD_ARGUMENT: a pointer is NULL; nothing is done and the call does not count.
 * A policy that plans does so when act_steps (of its record) actions of the last plan are done, and
 * after a call that failed; in between obs is only looked at.  A policy with history sees the last
 * obs_steps observations of calls that did not fail since the reset; before there were so many, the
 * first stands for those that are missing. */
DIFFRL_API diffrl_status diffrl_actor_act(diffrl_actor *actor, const float *obs, float *action);

/* ---- planning apart from acting -------------------------------------------------------------- */

/* The two halves of a call, for plans that take longer than a tick: `plan` computes, `next` hands
 * out the next action of the newest plan, within the actor's limits, and never waits.  One thread
 * may plan while another calls next; every other call on an actor needs both to be done.  Neither
 * takes memory or a lock or calls the system.
 *
 * seen [obs_steps, obs_dim], the oldest first -> a plan, whose first action is the next one to be
 * handed out.  The number of the call is that of the actions handed out so far, so a plan and
 * act_steps times next are as many calls of act.
 *   DIFFRL_BAD_OBSERVATION, DIFFRL_NOT_FINITE (an action): there is none, the old plan stays. */
DIFFRL_API diffrl_status diffrl_actor_plan(diffrl_actor *actor, const float *seen);

/* The next action of the newest plan -> action [act_dim].
 *   DIFFRL_NO_PLAN: all actions are done, or there was no plan since the last reset; the fallback
 *   is in `action`, as after a failed call of act.  The call counts. */
DIFFRL_API diffrl_status diffrl_actor_next(diffrl_actor *actor, float *action);

#ifdef __cplusplus
}
#endif
#endif
