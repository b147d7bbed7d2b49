/* test_api_memory.c -- the library in a process that runs out of memory at the n-th allocation, for
 * every n: a status each time, nothing kept, and then it works.  Acting needs none at all. */
#include "policy/diffrl.h"
#include "tests/saved_policy.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
int main(void) { return 0; } /* they allocate themselves */
#else

/* ---- the system ------------------------------------------------------------------------------ */

static atomic_long left = -1; /* allocations until one is refused; -1: none is */
static atomic_long held;      /* blocks and pages that were not given back */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), __libc_free(void *);

static bool refused_now(void) { return left >= 0 && atomic_fetch_sub(&left, 1) == 0; }
static void *kept(void *block, long count) {
  held += block ? count : 0;
  return block;
}
static __attribute__((noinline)) void *none(void) {
  errno = ENOMEM;
  return NULL;
}

__attribute__((noinline)) void *malloc(size_t size) {
  return refused_now() ? none() : kept(__libc_malloc(size), 1);
}
__attribute__((noinline)) void *calloc(size_t n, size_t size) {
  return refused_now() ? none() : kept(__libc_calloc(n, size), 1);
}
__attribute__((noinline)) void *realloc(void *p, size_t size) {
  return refused_now() ? none() : kept(__libc_realloc(p, size), !p);
}
void free(void *p) {
  held -= p != NULL;
  __libc_free(p);
}
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
  if (refused_now()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void *pages = (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
  held += pages == MAP_FAILED ? 0 : (long)(size / 4096);
  return pages;
}
int munmap(void *at, size_t size) {
  held -= (long)(size / 4096);
  return (int)syscall(SYS_munmap, at, size);
}

/* ---- every allocation in turn ---------------------------------------------------------------- */

static diffrl_error error;

typedef diffrl_status Try(const void *what);

/* Refuse the n-th allocation of `attempt`, for every n until none is left; how many it takes. */
static long refuse_each(Try *attempt, const void *what) {
  int open = 0;
  for (long n = 0;; n++) {
    int before = dup(0);
    long old = held;
    left = n;
    error.text[0] = '\0';
    diffrl_status status = attempt(what);
    bool wanted_more = left >= 0;
    left = -1;
    if (held != old) fail_msg("allocation %ld refused: %ld are kept", n, held - old);
    int after = dup(before);
    if (n && after - before != open) fail_msg("allocation %ld refused: a file stays open", n);
    open = after - before;
    close(before), close(after);
    if (status == DIFFRL_OK && wanted_more) return n;
    if (status == DIFFRL_OK) continue; /* it did without */
    if (status != DIFFRL_NO_MEMORY || !strstr(error.text, "memory"))
      fail_msg("allocation %ld refused: status %d, \"%s\"", n, (int)status, error.text);
  }
}

static diffrl_status load_it(const void *path) {
  diffrl_policy *policy = NULL;
  diffrl_status status = diffrl_policy_load(&policy, path, "temperature=0.5", &error);
  diffrl_policy_free(policy);
  return status;
}

static diffrl_status load_plainly(const void *path) {
  diffrl_policy *policy = NULL;
  diffrl_status status = diffrl_policy_load(&policy, path, NULL, &error);
  diffrl_policy_free(policy);
  return status;
}

static diffrl_status start_acting(const void *policy) {
  float obs[OBS] = { 0.5f }, action[ACT];
  diffrl_actor *actor = NULL;
  diffrl_status status = diffrl_actor_new(&actor, policy, NULL, NULL, 0, &error);
  if (!status) status = diffrl_actor_reset(actor, 3);
  if (!status) status = diffrl_actor_act(actor, obs, action);
  diffrl_actor_free(actor);
  return status;
}

static int halves(void *user, int first, int count, int dim, const float *x, const diffrl_level *at,
                  float *out) {
  (void)user, (void)first, (void)at;
  for (int i = 0; i < count * dim; i++) out[i] = 0.5f * x[i];
  return 0;
}

static diffrl_status sample(const void *nothing) {
  (void)nothing;
  diffrl_schedule *schedule = NULL;
  diffrl_sampler *sampler = NULL;
  diffrl_denoiser denoiser = diffrl_denoiser_defaults();
  diffrl_sampler_options options = diffrl_sampler_defaults();
  diffrl_schedule_options steps = diffrl_schedule_defaults();
  float x[12];
  denoiser.ask = halves, denoiser.dim = 3, options.method = "unipc", options.steps = 5;
  steps.steps = 100;
  diffrl_status status = diffrl_schedule_new(&schedule, "cosine", &steps, &error);
  if (!status) status = diffrl_sampler_new(&sampler, schedule, &denoiser, &options, &error);
  if (!status) status = diffrl_sampler_run(sampler, 1, 4, x, &error);
  diffrl_sampler_free(sampler);
  diffrl_schedule_free(schedule);
  return status;
}

static void every_allocation_of_a_load_may_fail(void **state) {
  const char *diffusion = saved_diffusion(*state, "d", NULL);
  assert_true(refuse_each(load_it, diffusion) > 20);
  assert_true(refuse_each(load_plainly, saved_gaussian(*state, "g")) > 20);
  assert_true(refuse_each(load_plainly, saved_planner(*state, "p", NULL)) > 20);
}

/* of files with the texts of a run, too */
static void every_allocation_of_a_runs_file_may_fail(void **state) {
  (void)state;
  static const char *const files[] = { "diffusion-ql", "diffusion-bc", "diffuser", "sac" };
  for (int i = 0; i < 4; i++) {
    char path[64];
    snprintf(path, sizeof path, "tests/golden/0.1/%s.safetensors", files[i]);
    assert_true(refuse_each(load_plainly, path) > 20);
  }
}

static void every_allocation_of_an_actor_may_fail(void **state) {
  diffrl_policy *policy = NULL;
  assert_int_equal(diffrl_policy_load(&policy, saved_diffusion(*state, "d", NULL), NULL, &error),
                   0);
  assert_true(refuse_each(start_acting, policy) > 1);
  diffrl_policy_free(policy);
}

static void every_allocation_of_a_sampler_may_fail(void **state) {
  (void)state;
  assert_true(refuse_each(sample, NULL) > 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_allocation_of_a_load_may_fail),
    cmocka_unit_test(every_allocation_of_a_runs_file_may_fail),
    cmocka_unit_test(every_allocation_of_an_actor_may_fail),
    cmocka_unit_test(every_allocation_of_a_sampler_may_fail),
  };
  return cmocka_run_group_tests(tests, folder_open, folder_close);
}
#endif
