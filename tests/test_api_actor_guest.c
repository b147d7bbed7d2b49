/* test_api_actor_guest.c -- acting in another program: nothing is allocated, locked or asked of the
 * system, the floating-point state stays as it is, and no file can end the program.  Promise B8
 * of docs/design.md. */
#include "policy/diffrl.h"
#include "tests/address_space.h"
#include "tests/saved_policy.h"
#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <linux/seccomp.h>
#include <locale.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define OK(call)                                                                                   \
  do {                                                                                             \
    if ((call) != DIFFRL_OK) fail_msg("%s: %s", #call, error.text);                                \
  } while (0)

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define WATCHED 1 /* by a sanitizer, which allocates, locks and needs address space of its own */
#else
#define WATCHED 0
#endif

static diffrl_error error;

static diffrl_policy *load(const char *path, const char *act) {
  diffrl_policy *policy = NULL;
  OK(diffrl_policy_load(&policy, path, act, &error));
  return policy;
}

static diffrl_actor *actor_of(const diffrl_policy *policy) {
  diffrl_actor *actor = NULL;
  OK(diffrl_actor_new(&actor, policy, NULL, NULL, 0, &error));
  return actor;
}

/* ---- every allocation and lock of the process is counted ------------------------------------- */

static atomic_int allocations, locks;

#if !WATCHED
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
static size_t counted_once(size_t size) {
  allocations++;
  return size;
}
void *malloc(size_t size) { return __libc_malloc(counted_once(size)); }
void *calloc(size_t n, size_t size) { return __libc_calloc(n, counted_once(size)); }
void *realloc(void *p, size_t size) { return __libc_realloc(p, counted_once(size)); }
void *aligned_alloc(size_t align, size_t size) {
  return __libc_memalign(align, counted_once(size));
}
int posix_memalign(void **p, size_t align, size_t size) {
  *p = __libc_memalign(align, counted_once(size));
  return *p ? 0 : ENOMEM;
}
int pthread_mutex_lock(pthread_mutex_t *mutex) {
  static int (*lock)(pthread_mutex_t *);
  if (!lock) *(void **)&lock = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  locks++;
  return lock(mutex);
}
#endif

/* ---- what acting asks for -------------------------------------------------------------------- */

/* the last two are of a policy that plans */
static const char *const ways[] = { NULL, "candidates=9 choice=softmax", "sampler=unipc",
                                    "act_steps=3", "act_steps=1 sampler=ddim" };
enum { WAYS = sizeof ways / sizeof *ways, CALLS = 50 };

static diffrl_policy *load_way(const Folder *folder, int w) {
  bool plans = ways[w] && strstr(ways[w], "act_steps");
  return load(plans ? saved_planner(folder, "p", NULL) : saved_diffusion(folder, "d", NULL),
              ways[w]);
}

/* CALLS actions at once and in two halves, good and bad ones, and a reset in between */
static bool act_often(diffrl_actor *actor) {
  float obs[OBS], action[ACT];
  for (uint64_t n = 0; n < CALLS; n++) {
    bool bad = n % 10 == 3;
    diffrl_status seen = bad ? DIFFRL_BAD_OBSERVATION : DIFFRL_OK;
    draw_obs(n, obs);
    if (bad) obs[1] = NAN;
    if (diffrl_actor_act(actor, obs, action) != seen) return false;
    if (diffrl_actor_plan(actor, obs) != seen) return false;
    if (diffrl_actor_next(actor, action) != (bad ? DIFFRL_NO_PLAN : DIFFRL_OK)) return false;
    if (n == CALLS / 2) diffrl_actor_reset(actor, n);
  }
  return true;
}

static void acting_allocates_and_locks_nothing(void **state) {
  if (WATCHED) skip();
  for (int w = 0; w < WAYS; w++) {
    diffrl_policy *policy = load_way(*state, w);
    diffrl_actor *actor = actor_of(policy);
    assert_true(allocations > 0); /* they are counted */
    allocations = 0;
    locks = 0;
    assert_true(act_often(actor));
    assert_int_equal(allocations, 0);
    assert_int_equal(locks, 0);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex); /* and so are locks */
    assert_int_equal(locks, 1);
    pthread_mutex_unlock(&mutex);
    diffrl_actor_free(actor);
    diffrl_policy_free(policy);
  }
}

/* Under strict seccomp the first system call but _exit kills. */
static void acting_calls_no_system(void **state) {
  if (WATCHED) skip();
  for (int w = 0; w <= WAYS; w++) {
    diffrl_policy *policy = load_way(*state, w % WAYS);
    diffrl_actor *actor = actor_of(policy);
    pid_t child = fork();
    if (!child) {
      if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) _exit(2);
      if (w == WAYS) getppid(); /* it does kill */
      syscall(SYS_exit, act_often(actor) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) skip(); /* a kernel without it */
    assert_int_equal(status, w == WAYS ? SIGKILL : 0);
    diffrl_actor_free(actor);
    diffrl_policy_free(policy);
  }
}

static void act_with(const char *path, float obs[CALLS][OBS], float action[CALLS][ACT]) {
  diffrl_policy *policy = load(path, "candidates=4 choice=softmax");
  diffrl_actor *actor = actor_of(policy);
  for (int n = 0; n < CALLS; n++) OK(diffrl_actor_act(actor, obs[n], action[n]));
  diffrl_actor_free(actor);
  diffrl_policy_free(policy);
}

/* The caller's rounding, traps and denormals are as they were, no flag is raised for it, and its
 * settings change no bit. */
static void floating_point_is_left_as_found(void **state) {
  enum { TRAPS = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW };
  const char *path = saved_diffusion(*state, "d", NULL);
  static float obs[CALLS][OBS], action[2][CALLS][ACT];
  for (uint64_t n = 0; n < CALLS; n++) draw_obs(n, obs[n]);
  act_with(path, obs, action[0]);
  feclearexcept(FE_ALL_EXCEPT);
  const int trapped = feenableexcept(TRAPS) < 0 ? 0 : TRAPS; /* few ARM processors trap */
  fesetround(FE_UPWARD);
  act_with(path, obs, action[1]);
  volatile double least = 5e-324; /* 0 where denormals are off */
  bool denormals = least * 1 > 0;
  int rounding = fegetround(), traps = fegetexcept(), raised = fetestexcept(FE_ALL_EXCEPT);
  fedisableexcept(FE_ALL_EXCEPT), fesetround(FE_TONEAREST);
  assert_int_equal(rounding, FE_UPWARD);
  assert_int_equal(traps, trapped);
  assert_int_equal(raised & TRAPS, 0);
  assert_true(denormals);
  assert_memory_equal(action[0], action[1], sizeof action[0]);
}

/* ---- nonsense -------------------------------------------------------------------------------- */

static void refused(diffrl_status status, diffrl_status expected, const char *says) {
  if (status != expected || !strstr(error.text, says))
    fail_msg("status %d and \"%s\", expected %d and \"%s\"", (int)status, error.text, (int)expected,
             says);
}

static void nonsense_is_refused_with_a_sentence(void **state) {
  const float one[ACT] = { 1, 1 }, two[ACT] = { 2, 2 }, bad[ACT] = { 0, NAN };
  const char *path = saved_diffusion(*state, "d", NULL);
  diffrl_policy *policy = load(path, NULL), *none = NULL;
  diffrl_actor *made = NULL;
  refused(diffrl_policy_load(NULL, path, NULL, &error), DIFFRL_BAD_ARGUMENT, "made");
  refused(diffrl_policy_load(&none, NULL, NULL, &error), DIFFRL_BAD_ARGUMENT, "path");
  refused(diffrl_policy_load(&none, path, "candidats=3", &error), DIFFRL_BAD_ARGUMENT,
          "did you mean candidates");
  refused(diffrl_policy_load(&none, path, "sampler=dpmpp2m", &error), DIFFRL_BAD_ARGUMENT,
          "dpmpp_2m");
  refused(diffrl_policy_load(&none, path, "candidates=3", &error), DIFFRL_BAD_ARGUMENT, "choice");
  refused(diffrl_policy_load(&none, path, "weights=ema", &error), DIFFRL_BAD_ARGUMENT, "averaged");
  assert_null(none);
#define REFUSED(says, changes)                                                                     \
  do {                                                                                             \
    diffrl_actor_options options = diffrl_actor_defaults();                                        \
    changes;                                                                                       \
    refused(diffrl_actor_new(&made, policy, &options, NULL, 0, &error), DIFFRL_BAD_ARGUMENT,       \
            says);                                                                                 \
    assert_null(made);                                                                             \
  } while (0)
  REFUSED("diffrl_actor_defaults", options.size = 1);
  REFUSED("fallback", options.fallback = 3);
  REFUSED("given", options.fallback = DIFFRL_FALL_GIVEN);
  REFUSED("given", (options.fallback = DIFFRL_FALL_GIVEN, options.given = bad));
  REFUSED("number 0", (options.low = two, options.high = one));
  REFUSED("number 1", options.high = bad);
  REFUSED("number 1", options.change = bad);
#undef REFUSED
  refused(diffrl_actor_new(NULL, policy, NULL, NULL, 0, &error), DIFFRL_BAD_ARGUMENT, "made");
  refused(diffrl_actor_new(&made, NULL, NULL, NULL, 0, &error), DIFFRL_BAD_ARGUMENT, "policy");
  assert_int_equal(diffrl_actor_reset(NULL, 0), DIFFRL_BAD_ARGUMENT);
  assert_int_equal(diffrl_actor_seek(NULL, 0, NULL), DIFFRL_BAD_ARGUMENT);
  assert_int_equal(diffrl_actor_act(NULL, one, NULL), DIFFRL_BAD_ARGUMENT);
  assert_int_equal(diffrl_actor_plan(NULL, one), DIFFRL_BAD_ARGUMENT);
  assert_int_equal(diffrl_actor_next(NULL, NULL), DIFFRL_BAD_ARGUMENT);
  assert_int_equal(diffrl_actor_size(NULL), 0);
  diffrl_actor_free(NULL);
  diffrl_policy_free(NULL);
  diffrl_policy_free(policy);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Replace the first `from` in the text of this key; "" is all of it. */
static void draft_say(Draft *draft, const char *key, const char *from, const char *to) {
  for (size_t i = 0; i < draft->checkpoint.texts; i++) {
    CheckpointText *text = &draft->checkpoint.text[i];
    if (strcmp(text->key, key)) continue;
    const char *at = *from ? strstr(text->value, from) : text->value;
    if (!at) fail_msg("%s does not say %s: %s", key, from, text->value);
    const char *rest = *from ? at + strlen(from) : "";
    text->value = arena_text(draft->checkpoint.arena, "%.*s%s%s", (int)(at - text->value),
                             text->value, to, rest);
  }
}

/* What it is asked for, and what not: key, from, to, what the refusal says. */
typedef const char *const Hostile[4];

static void refuse_draft(const Folder *folder, Draft *draft, Hostile c) {
  diffrl_policy *none = NULL;
  draft_say(draft, c[0], c[1], c[2]);
  const char *path = draft_write(draft, folder, "hostile");
  refused(diffrl_policy_load(&none, path, NULL, &error), DIFFRL_BAD_FILE, c[3]);
  assert_non_null(strstr(error.text, "hostile.safetensors"));
  assert_null(none);
}

static void hostile_texts_are_refused(void **state) {
  static Hostile cases[] = {
    { "policy", "", "", "policy" },
    { "policy", "", "{", "policy" },
    { "policy", "", "[]", "object" },
    { "policy", "", "{\"obs_dim\":{}}", "obs_dim" },
    { "policy", "\"obs_dim\":5", "\"obs_dim\":4096", "[4096]" },
    { "policy", "\"obs_dim\":5", "\"obs_dim\":6", "[6]" },
    { "policy", "\"obs_dim\":5", "\"obs_dim\":0", "obs_dim" },
    { "policy", "\"obs_dim\":5", "\"obs_dim\":-5", "obs_dim" },
    { "policy", "\"obs_dim\":5", "\"obs_dim\":1e300", "obs_dim" },
    { "policy", "\"obs_dim\":5", "\"obs_dim\":5.5", "obs_dim" },
    { "policy", "\"act_dim\":2", "\"act_dim\":64", "action_low" },
    { "policy", "\"act_dim\":2", "\"act_dim\":65", "act_dim" },
    { "policy", "\"hidden\":24", "\"hidden\":4096", "numbers" },
    { "policy", "\"kind\":\"diffusion\"", "\"kind\":\"gaussian\"", "energy_layers" },
    { "policy", "\"kind\":\"diffusion\"", "\"kind\":\"x\"", "kind" },
    { "policy", "\"schedule\":\"vp\"", "\"schedule\":\"pv\"", "pv" },
    { "policy", "\"diffusion_steps\":5", "\"diffusion_steps\":0", "steps" },
    { "policy", "\"diffusion_steps\":5", "\"diffusion_steps\":100000", "2000" },
    { "policy", "\"critics\":2", "\"critics\":3", "critic_target" },
    { "act", "\"steps\":0", "\"steps\":100000", "1 to 5" },
    { "act", "\"sampler\":\"ddpm\"", "\"sampler\":\"edm\"", "edm" },
    { "act", "\"spacing\":\"linspace\"", "\"spacing\":\"linear\"", "linspace" },
    { "act", "\"candidates\":1", "\"candidates\":4096", "choice" },
    { "act", "\"candidates\":1", "\"candidates\":4097", "candidates" },
    { "act", "\"horizon\":1", "\"horizon\":2", "horizon" },
    { "act", "\"eta\":0", "\"eta\":0.5", "eta" },
    { "act", "\"weights\":\"online\"", "\"weights\":\"ema\"", "averaged" },
    { "act", "", "\x01", "JSON" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Draft draft = draft_policy(((const Folder *)*state)->arena, "diffusion");
    draft_fill(&draft);
    refuse_draft(*state, &draft, cases[i]);
  }
  Draft draft = draft_policy(((const Folder *)*state)->arena, "gaussian");
  draft_fill(&draft); /* of this kind some keys of old files are passed over */
  refuse_draft(*state, &draft, (Hostile){ "policy", "{", "{\"\":1,", "setting" });
}

static void hostile_plans_are_refused(void **state) {
  static Hostile cases[] = {
    { "diffuser", "", "", "JSON" },
    { "diffuser", "\"horizon\":8", "\"horizon\":1024", "4096 numbers" },
    { "diffuser", "\"horizon\":8", "\"horizon\":9", "cannot be halved" },
    { "diffuser", "\"hidden\":8", "\"hidden\":512", "numbers" },
    { "diffuser", "\"hidden\":8", "\"hidden\":16", "numbers" },
    { "diffuser", "\"hidden\":8", "\"hidden\":1", "groups" },
    { "diffuser", "\"1,2\"", "\"1,2,4,8,16\"", "cannot be halved" },
    { "diffuser", "\"1,2\"", "\"1,2,\"", "mults" },
    { "diffuser", "\"attention\":false", "\"attention\":true", "tensor" },
    { "diffuser", "\"obs_dim\":5", "\"obs_dim\":4", "normalizer" },
    { "diffuser", "\"obs_dim\":5", "\"obs_dim\":4096", "4096 numbers" },
    { "diffuser", "\"act_dim\":2", "\"act_dim\":65", "expected F32 [70]" },
    { "diffuser", "\"schedule\":\"cosine\"", "\"schedule\":\"cosin\"", "cosine" },
    { "diffuser", "\"diffusion_steps\":5", "\"diffusion_steps\":100000", "at most 100" },
    { "diffuser", "\"sampler\":\"ddpm\"", "\"sampler\":\"ddp\"", "ddpm" },
    { "diffuser", "\"sample_steps\":0", "\"sample_steps\":50", "1 to 5" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Arena *arena = ((const Folder *)*state)->arena;
    Draft draft = draft_planner(arena, draft_model(arena));
    refuse_draft(*state, &draft, cases[i]);
  }
}

static void hostile_numbers_are_refused(void **state) {
  static const char *const says[] = { "low <= high", "low <= high", "low <= high", "deviation",
                                      "deviation",   "finite mean", "finite",      "finite" };
  for (int i = 0; i < 8; i++) {
    Draft draft = draft_policy(((const Folder *)*state)->arena, "diffusion");
    Policy *p = draft.policy;
    diffrl_policy *policy = NULL;
    if (i == 0) p->low[1] = NAN;
    if (i == 1) p->high[0] = INFINITY;
    if (i == 2) p->low[0] = 2;
    if (i == 3) p->units.obs->std[2] = 0;
    if (i == 4) p->units.obs->std[2] = -1;
    if (i == 5) p->units.obs->mean[2] = NAN;
    if (i == 6) params_at(p->actor, 4)[0] = NAN;
    if (i == 7) params_at(p->critics->target, 0)[0] = INFINITY; /* which nobody asks */
    draft_fill(&draft);
    const char *path = draft_write(&draft, *state, "numbers");
    refused(diffrl_policy_load(&policy, path, NULL, &error), DIFFRL_BAD_FILE, says[i]);
  }
}

static void hostile_numbers_of_plans_are_refused(void **state) {
  static const char *const says[] = { "low <= high", "low <= high", "low <= high",
                                      "deviation",   "finite mean", "finite" };
  for (int i = 0; i < 6; i++) {
    Arena *arena = ((const Folder *)*state)->arena;
    PlansModel *m = draft_model(arena);
    diffrl_policy *policy = NULL;
    if (i == 0) m->low[1] = NAN;
    if (i == 1) m->low[0] = INFINITY, m->high[0] = INFINITY;
    if (i == 2) m->low[0] = 2;
    if (i == 3) m->step.std[2] = 0;
    if (i == 4) m->step.mean[2] = INFINITY;
    if (i == 5) params_at(m->base.average, 4)[0] = NAN;
    Draft draft = draft_planner(arena, m);
    const char *path = draft_write(&draft, *state, "numbers");
    refused(diffrl_policy_load(&policy, path, NULL, &error), DIFFRL_BAD_FILE, says[i]);
  }
}

/* The host prints what the library says. */
static void a_text_of_a_file_is_escaped(void **state) {
  Draft draft = draft_policy(((const Folder *)*state)->arena, "diffusion");
  diffrl_policy *policy = NULL;
  draft_fill(&draft);
  for (size_t i = 0; i < draft.checkpoint.texts; i++)
    if (!strcmp(draft.checkpoint.text[i].key, "policy"))
      draft.checkpoint.text[i].value = "{\"kind\":\"\\u001b]0;x\\u0007\"}";
  const char *path = draft_write(&draft, *state, "texts");
  refused(diffrl_policy_load(&policy, path, NULL, &error), DIFFRL_BAD_FILE, "\\x1b]0;x\\x07");
}

static char *read_bytes(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  struct stat info;
  assert_true(file && !fstat(fileno(file), &info));
  char *bytes = malloc(*size = (size_t)info.st_size);
  assert_int_equal(fread(bytes, 1, *size, file), *size);
  fclose(file);
  return bytes;
}

static diffrl_status load_bytes(const char *path, const char *bytes, size_t size) {
  diffrl_policy *policy = NULL;
  FILE *file = fopen(path, "wb");
  assert_true(file && fwrite(bytes, 1, size, file) == size && !fclose(file));
  diffrl_status status = diffrl_policy_load(&policy, path, NULL, &error);
  diffrl_policy_free(policy);
  return status;
}

/* Cut short anywhere or with any byte changed; and what is no policy at all. */
static void damaged_files_are_refused(void **state) {
  const Folder *folder = *state;
  size_t size;
  char *bytes = read_bytes(saved_diffusion(folder, "d", NULL), &size);
  const char *path = arena_text(folder->arena, "%s/damaged", folder->path);
  Rng rng = rng_stream(2, "damage");
  for (uint64_t i = 0; i < 60; i++)
    assert_int_equal(load_bytes(path, bytes, rng_below(rng, i, 0, 0, size)), DIFFRL_BAD_FILE);
  for (uint64_t i = 0; i < 300; i++) {
    size_t at = rng_below(rng, i, 1, 0, i % 2 ? size : 4096);
    bytes[at] ^= (char)(1 << rng_below(rng, i, 2, 0, 8));
    assert_int_equal(load_bytes(path, bytes, size), DIFFRL_BAD_FILE);
    free(bytes), bytes = read_bytes(saved_diffusion(folder, "d", NULL), &size);
  }
  free(bytes);
  diffrl_policy *none = NULL;
  const char *const others[] = { "/dev/null", "/dev/zero", "/nowhere", folder->path, "" };
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    refused(diffrl_policy_load(&none, others[i], NULL, &error), DIFFRL_BAD_FILE, others[i]);
}

/* ---- the language of the caller -------------------------------------------------------------- */

/* A comma in numbers, as in a German desktop; false: such a locale cannot be made here. */
static bool speak_german(const Folder *folder) {
  char command[200];
  snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8 >/dev/null 2>&1",
           folder->path);
  if (system(command) || setenv("LOCPATH", folder->path, 1)) return false;
  return setlocale(LC_ALL, "de_DE.UTF-8") && *localeconv()->decimal_point == ',';
}

static int see_comma(void *user, int first, int count, int dim, const float *x,
                     const diffrl_level *at, float *out) {
  (void)first, (void)at;
  *(bool *)user = *localeconv()->decimal_point == ',';
  memcpy(out, x, (size_t)count * (size_t)dim * sizeof *out);
  return 0;
}

static void numbers_have_a_point_whatever_the_caller_speaks(void **state) {
  const char *path = saved_diffusion(*state, "d", NULL);
  bool comma = false;
  float x[2];
  diffrl_schedule *vp = NULL;
  diffrl_sampler *sampler = NULL;
  diffrl_denoiser denoiser = diffrl_denoiser_defaults();
  diffrl_sampler_options options = diffrl_sampler_defaults();
  diffrl_level level;
  if (!speak_german(*state)) skip();
  diffrl_policy *policy = load(path, "temperature=0.25");
  assert_non_null(strstr(diffrl_policy_act(policy), "\"temperature\":0.25"));
  OK(diffrl_schedule_new(&vp, "flow", NULL, &error));
  refused(diffrl_schedule_level(vp, 2.5, &level, &error), DIFFRL_BAD_ARGUMENT, "2.5");
  refused(diffrl_convert("abar", -0.5, "sigma", &level.a, &error), DIFFRL_BAD_ARGUMENT, "-0.5");
  denoiser.ask = see_comma, denoiser.user = &comma, denoiser.dim = 2,
  denoiser.predicts = "velocity";
  options.method = "euler", options.steps = 2;
  OK(diffrl_sampler_new(&sampler, vp, &denoiser, &options, &error));
  OK(diffrl_sampler_run(sampler, 1, 1, x, &error));
  assert_true(comma && *localeconv()->decimal_point == ',');
  diffrl_sampler_free(sampler), diffrl_schedule_free(vp), diffrl_policy_free(policy);
  setlocale(LC_ALL, "C");
}

/* Where the address space is used up. */
static void too_little_memory_is_said(void **state) {
  if (WATCHED) skip();
  const char *path = saved_diffusion(*state, "d", NULL);
  diffrl_policy *policy = load(path, NULL);
  pid_t child = fork();
  if (!child) {
    diffrl_policy *none = NULL;
    diffrl_actor *actor = NULL;
    if (!address_space_limit(1u << 20)) _exit(NOT_LIMITED);
    int first = diffrl_policy_load(&none, path, NULL, &error);
    int second = diffrl_actor_new(&actor, policy, NULL, NULL, 0, &error);
    _exit(first == DIFFRL_NO_MEMORY && second == DIFFRL_NO_MEMORY ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  diffrl_policy_free(policy);
  if (WEXITSTATUS(status) == NOT_LIMITED) skip();
  assert_int_equal(status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(acting_allocates_and_locks_nothing),
    cmocka_unit_test(acting_calls_no_system),
    cmocka_unit_test(floating_point_is_left_as_found),
    cmocka_unit_test(nonsense_is_refused_with_a_sentence),
    cmocka_unit_test(hostile_texts_are_refused),
    cmocka_unit_test(hostile_plans_are_refused),
    cmocka_unit_test(hostile_numbers_are_refused),
    cmocka_unit_test(hostile_numbers_of_plans_are_refused),
    cmocka_unit_test(a_text_of_a_file_is_escaped),
    cmocka_unit_test(damaged_files_are_refused),
    cmocka_unit_test(numbers_have_a_point_whatever_the_caller_speaks),
    cmocka_unit_test(too_little_memory_is_said),
  };
  return cmocka_run_group_tests(tests, folder_open, folder_close);
}
