/* bench_action.c -- acting: one action, 50 candidates with the critics' choice, and how long single
 * calls take when nothing may be late. */
#include "core/check.h"
#include "core/clock.h"
#include "policy/actor.h"
#include "rl/bench/bench_def.h"
#include <math.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { CANDIDATES = 50, OBSERVATIONS = 256 /* different ones */ };

typedef struct {
  Actor *actor;
  int seen;   /* numbers that an answer looks at */
  float *obs; /* [OBSERVATIONS, seen] */
  float *act; /* of one answer */
} Acting;

/* An actor of this policy, and what it is to see. */
static bool acting_of(Acting *a, const Bench *b, const Policy *policy, Pool *pool, Error *error) {
  a->seen = policy->seen;
  a->act = arena_array(b->arena, float, policy->horizon *(int)policy->spec.act_dim);
  a->obs = arena_array(b->arena, float, OBSERVATIONS * a->seen);
  rng_normals(rng_stream(0, "bench observations"), 0, 0, a->obs, OBSERVATIONS * a->seen);
  a->actor = actor_new(b->arena, policy, 1, 0, pool, b->kernels, error);
  return a->actor != NULL;
}

/* Diffusion-QL's networks with fresh weights. */
static bool acting_open(Acting *a, const Bench *b, int candidates, Pool *pool, Error *error) {
  Policy *policy = policy_start(b->arena, &policy_diffusion);
  policy->spec.obs_dim = BENCH_OBS, policy->spec.act_dim = BENCH_ACT;
  policy->spec.hidden = BENCH_HIDDEN, policy->spec.critics = 2;
  if (!policy_build(policy, error) || !blocks_allocate(&policy->blocks, error)) return false;
  params_init(policy->actor, 0), params_init(policy->critics->target, 1);
  policy->act.candidates = candidates;
  if (candidates > 1) strcpy(policy->act.choice.s, "softmax");
  return acting_of(a, b, policy, pool, error);
}

static bool act(void *context, int64_t index) {
  Acting *a = context;
  const float *obs = a->obs + index % OBSERVATIONS * a->seen;
  actor_answer(a->actor, obs, 1, (uint64_t)index, NULL, a->act, NULL);
  return isfinite(a->act[0]);
}

/* The weights are read anew in every step of the chain: what bounds a batch of one. */
static BenchWork one_action(const Bench *b, Acting *a) {
  size_t bytes = sizeof(real) * (size_t)bench_denoiser_macs();
  real *stream = arena_alloc(b->arena, bytes);
  memset(stream, 1, bytes); /* else all its pages are one page of zeros */
  return (BenchWork){
    .call = act, .context = a, .block = 1, .stream = stream, .bytes = bytes, .passes = BENCH_T
  };
}

static bool fail_nan(const Bench *b, Error *error) {
  return error_set(error, FAIL_DIVERGED, "%s: an action is not finite", b->def->name);
}

static bool run_action(const Bench *b, Error *error) {
  bool one = b->def->spec == NULL;
  Acting a;
  if (!acting_open(&a, b, one ? 1 : *(const int *)b->def->spec, one ? NULL : b->pool, error))
    return false;
  BenchWork one_work = one_action(b, &a);
  BenchWork many = { .call = act, .context = &a, .block = 1, .pool = b->pool };
  BenchLine line = { 0 };
  if (!bench_time(b, one ? &one_work : &many, &line)) return fail_nan(b, error);
  bench_print(b, &line);
  return true;
}

/* ---- single calls ---------------------------------------------------------------------------- */

enum { HOT_CALLS = 100000, WARM_CALLS = 1000, OTHER_WORK = 8 << 20 };

typedef struct {
  Acting acting;
  int calls, misses;
  double *us, *late_us; /* [calls] of a call; from its due time to its start */
  double *machine_us;   /* [calls] of arithmetic in registers that should take as long */
  unsigned char *other; /* [OTHER_WORK] what the rest of a control loop touches */
} Latency;

static bool timed_call(Latency *l, int i) {
  double began = clock_now();
  bool done = act(&l->acting, WARM_CALLS + i);
  l->us[i] = 1e6 * (clock_now() - began);
  return done;
}

static bool run_hot(Latency *l) {
  for (int i = 0; i < l->calls; i++)
    if (!timed_call(l, i)) return false;
  return true;
}

/* What the machine does by itself: as much time in registers, which no cache or memory disturbs. */
static void run_machine(Latency *l, const Kernels *kernels, double us, double peak) {
  const int rounds = (int)(1e3 * us * peak / kernels->fma_flops);
  volatile real kept; /* so that nothing is left out */
  for (int i = 0; i < l->calls; i++) {
    double began = clock_now();
    kept = kernels->fma_probe(rounds);
    l->machine_us[i] = 1e6 * (clock_now() - began);
  }
  (void)kept;
}

static void sleep_until(double due) {
  struct timespec t = { (time_t)due, (long)(1e9 * fmod(due, 1)) };
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)) {}
}

/* Call i is due at i periods and missed if it is not done when the next is due. */
static bool run_paced(Latency *l, int rate) {
  int slack = prctl(PR_GET_TIMERSLACK);
  prctl(PR_SET_TIMERSLACK, 1UL); /* ns: do not wake late to save power */
  double start = clock_now() + 0.01, period = 1.0 / rate;
  bool done = true;
  for (int i = 0; i < l->calls && done; i++) {
    double due = start + i * period;
    sleep_until(due);
    l->late_us[i] = 1e6 * (clock_now() - due);
    done = timed_call(l, i);
    l->misses += clock_now() > due + period;
    for (int j = 0; j < OTHER_WORK; j += 64) l->other[j]++;
  }
  prctl(PR_SET_TIMERSLACK, (unsigned long)slack);
  return done;
}

static double quantile(const double *sorted, int count, double q) {
  int at = (int)(q * count);
  return sorted[at < count ? at : count - 1];
}

static void report(const Bench *b, Latency *l, double floor_ms, double peak) {
  double p50 = bench_median(l->us, l->calls);
  BenchLine line = { .threads = 1,
                     .best_ms = 1e-3 * l->us[0],
                     .p50_ms = 1e-3 * p50,
                     .peak_gflops = peak,
                     .floor_ms = floor_ms,
                     .ratio_p50 = 1e-3 * p50 / floor_ms };
  bench_fact(&line, "p50_us", p50);
  bench_fact(&line, "p99_us", quantile(l->us, l->calls, 0.99));
  bench_fact(&line, "p999_us", quantile(l->us, l->calls, 0.999));
  bench_fact(&line, "max_us", l->us[l->calls - 1]);
  bench_fact(&line, "calls", l->calls);
  if (l->machine_us) {
    run_machine(l, b->kernels, p50, peak);
    bench_fact(&line, "machine_p50_us", bench_median(l->machine_us, l->calls));
    bench_fact(&line, "machine_p999_us", quantile(l->machine_us, l->calls, 0.999));
  }
  if (l->late_us) {
    bench_median(l->late_us, l->calls);
    bench_fact(&line, "rate", b->options->rate);
    bench_fact(&line, "misses", l->misses);
    bench_fact(&line, "late_p99_us", quantile(l->late_us, l->calls, 0.99));
  }
  bench_print(b, &line);
}

/* Places for what is measured of so many calls. */
static void prepare(const Bench *b, Latency *l, int calls) {
  int rate = b->options->rate;
  l->calls = calls;
  l->us = arena_array(b->arena, double, l->calls);
  memset(l->us, 1, sizeof *l->us * (size_t)l->calls); /* no page is new while it counts */
  if (rate) {
    l->late_us = arena_array(b->arena, double, l->calls);
    memset(l->late_us, 1, sizeof *l->us * (size_t)l->calls);
    l->other = arena_alloc(b->arena, OTHER_WORK);
  } else {
    l->machine_us = arena_array(b->arena, double, l->calls);
  }
}

static bool run_latency(const Bench *b, Error *error) {
  int rate = b->options->rate;
  Latency *l = arena_alloc(b->arena, sizeof *l);
  if (!acting_open(&l->acting, b, 1, NULL, error)) return false;
  prepare(b, l, rate ? (int)(rate * bench_seconds(b, 20)) : HOT_CALLS);
  BenchWork work = one_action(b, &l->acting);
  double floor_ms = bench_floor(b, &work), peak = bench_fma(NULL, b->kernels, 50);
  for (int i = 0; i < WARM_CALLS; i++)
    if (!act(&l->acting, i)) return fail_nan(b, error);
  if (rate ? !run_paced(l, rate) : !run_hot(l)) return fail_nan(b, error);
  report(b, l, fmin(floor_ms, bench_floor(b, &work)), fmax(peak, bench_fma(NULL, b->kernels, 50)));
  return true;
}

/* ---- a run's own policy ---------------------------------------------------------------------- */

/* Calls that fit into the time that is asked for, by the time of the first ones. */
static int calls_for(const Bench *b, Acting *a) {
  enum { FIRST = 20 };
  double began = clock_now();
  for (int i = 0; i < FIRST; i++)
    if (!act(a, i)) return 0;
  double calls = bench_seconds(b, 4) * FIRST / (clock_now() - began);
  return (int)fmin(fmax(calls, FIRST), HOT_CALLS);
}

/* As it acts, from file to action; the floor is that its actor's weights are read once. */
static bool run_policy(const Bench *b, Error *error) {
  const Policy *policy = b->options->policy;
  int rate = b->options->rate;
  Latency *l = arena_alloc(b->arena, sizeof *l);
  if (!acting_of(&l->acting, b, policy, NULL, error)) return false;
  int calls = calls_for(b, &l->acting);
  if (!calls) return fail_nan(b, error);
  prepare(b, l, rate ? (int)(rate * bench_seconds(b, 20)) : calls);
  if (rate ? !run_paced(l, rate) : !run_hot(l)) return fail_nan(b, error);
  /* a file that is exported for acting may hold the average alone */
  const Params *weights = policy->actor->values ? policy->actor : policy->actor_ema;
  size_t bytes = sizeof(real) * weights->layout->size;
  double gb = bench_read(weights->values, bytes);
  report(b, l, 1e-6 * (double)bytes / gb, bench_fma(NULL, b->kernels, 50));
  return true;
}

/* ---- what the mathematics needs -------------------------------------------------------------- */

static double one_gflop(void) { return 2e-9 * BENCH_T * bench_denoiser_macs(); }

static double many_gflop(void) {
  return 2e-9 * CANDIDATES * (BENCH_T * bench_denoiser_macs() + 2 * bench_critic_macs(3));
}

const BenchDef bench_action_1 = {
  .name = "action-1",
  .about = "one action of a diffusion policy, 5 steps; floor: its weights read 5 times",
  .gflop = one_gflop,
  .run = run_action,
};
const BenchDef bench_action_50 = {
  .name = "action-50",
  .about = "one of 50 candidates, chosen by twin critics",
  .gflop = many_gflop,
  .run = run_action,
  .spec = &(const int){ CANDIDATES },
};
const BenchDef bench_latency = {
  .name = "latency",
  .about = "single calls of action-1, and the machine by itself: p50 to p99.9; --rate paces them",
  .gflop = one_gflop,
  .run = run_latency,
};
const BenchDef bench_policy = {
  .name = "policy",
  .about = "single calls of a run's own policy, as it acts (--policy RUN); --rate paces them",
  .run = run_policy,
  .needs_policy = true,
};
