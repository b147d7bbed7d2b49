/* test_export.c -- a policy in C acts as the library does: every way of acting and every sampler,
 * each an export of its own, linked into one program that a compiler here makes.
 *
 *   test_export DIR   writes two exports to DIR, for tests/exported.sh */
#include "core/check.h"
#include "diffusion/method.h"
#include "policy/export/export.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  OBS = 11,
  ACT = 3,
  CALLS = 40,
  BAD_CALL = 20,
  MOST_CASES = 80,
  MOST_SEEN = 3,
  MOST_CHUNK = 4
};
static const uint64_t seed = 3;
static const uint32_t row = 2;

typedef struct {
  const char *name;
  const PolicyDef *kind;
  int hidden, critics; /* widths that are no multiple of 16 or 64, one that is */
  bool normal;
  const char *settings, *act;
  int obs_steps, chunk; /* 0: 1 */
} Case;

static const Case ways[] = {
  { "one", &policy_diffusion, 64, 0, false, "", "sampler=ddpm", 0, 0 },
  { "normal", &policy_diffusion, 72, 0, true, "predicts=x0", "sampler=ddim eta=0.5 steps=3", 0, 0 },
  { "ema", &policy_diffusion, 24, 0, true, "", "weights=ema", 0, 0 },
  { "best", &policy_diffusion, 24, 3, true, "", "candidates=6 choice=argmax", 0, 0 },
  { "drawn", &policy_diffusion, 136, 2, false, "", "candidates=50 choice=softmax temperature=0.01",
    0, 0 },
  { "mean", &policy_diffusion, 24, 2, true, "", "candidates=50 choice=average", 0, 0 },
  { "past", &policy_diffusion, 24, 2, true, "", "candidates=6 choice=average", 3, 0 },
  { "chunk", &policy_diffusion, 24, 0, true, "", "", 2, 4 },
  { "often", &policy_diffusion, 24, 2, false, "", "candidates=4 choice=softmax act_steps=3", 0, 4 },
  { "tilted", &policy_diffusion, 40, 0, true, "predicts=x0 schedule=vp-sde energy_layers=3",
    "sampler=dpmpp_2m steps=4 guidance=2", 0, 0 },
  { "chosen", &policy_diffusion, 24, 2, false, "predicts=x0 energy_layers=2",
    "guidance=1 candidates=6 choice=argmax", 2, 3 },
  { "normed", &policy_diffusion, 40, 2, true, "predicts=x0 layernorm=after critic_layers=2",
    "candidates=6 choice=argmax", 0, 0 },
  { "before", &policy_diffusion, 72, 3, false, "predicts=x0 layernorm=before",
    "candidates=5 choice=average", 0, 0 },
  { "gauss", &policy_gaussian, 40, 2, true, "", "choice=sample", 0, 0 },
  { "centre", &policy_gaussian, 64, 0, true, "", "choice=mean", 2, 2 },
  { "free", &policy_gaussian, 64, 0, true, "deviation=free", "choice=sample", 0, 3 },
  { "noise", &policy_one_step, 40, 2, true, "", "", 2, 2 },
  { "point", &policy_deterministic, 40, 2, true, "", "", 2, 2 },
};

typedef struct {
  Arena *arena;
  char folder[64];
  Policy *policy[MOST_CASES];
  const char *name[MOST_CASES];
  float obs[CALLS][OBS];
  int count;
  Error error;
} Fixture;

/* ---- policies -------------------------------------------------------------------------------- */

static const Normalizer *random_normalizer(Arena *arena) {
  Normalizer *n = arena_alloc(arena, sizeof *n);
  *n = normalizer_new(arena, OBS);
  for (int j = 0; j < OBS; j++)
    n->mean[j] = 0.3f * (float)j - 1, n->std[j] = 0.1f + 0.2f * (float)j;
  return n;
}

/* its last layer begins at 0, and so does its gradient */
static void learn_something(Params *energy) {
  params_init(energy, 4);
  Rng rng = rng_stream(4, "energy");
  for (int i = 0; i < energy->layout->slots; i++) {
    const Slot *slot = &energy->layout->slot[i];
    for (int r = 0; r < slot->rows && !strcmp(slot->name, "last/w"); r++)
      energy->values[slot->offset + (size_t)(r * slot->ld)] =
          (real)rng_normal(rng, (uint64_t)r, 0, 0);
  }
  params_touch(energy);
}

static Policy *make_policy(Fixture *f, const Case *c) {
  Policy *p = policy_start(f->arena, c->kind);
  p->spec.obs_dim = OBS, p->spec.act_dim = ACT, p->spec.hidden = c->hidden;
  p->spec.critics = c->critics;
  if (c->obs_steps) p->spec.obs_steps = c->obs_steps;
  if (c->chunk) p->spec.chunk = c->chunk;
  if (!policy_set_all(p, c->settings, &f->error) || !policy_build(p, &f->error) ||
      !blocks_allocate(&p->blocks, &f->error))
    fail_msg("%s", f->error.text);
  Params *blocks[] = { p->actor, p->actor_ema, p->critics ? p->critics->online : NULL,
                       p->critics ? p->critics->target : NULL };
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    if (blocks[i]) params_init(blocks[i], i);
  if (p->energy) learn_something(p->energy);
  const float low[ACT] = { -1, -0.4f, 2 }, high[ACT] = { 1, 0.1f, 7 };
  memcpy(p->low, low, sizeof low), memcpy(p->high, high, sizeof high);
  if (c->normal) p->units.obs = random_normalizer(f->arena);
  if (!policy_set_act(p, c->act, "test", &f->error)) fail_msg("%s", f->error.text);
  return p;
}

static bool write_c(Fixture *f, const Policy *p, const char *name) {
  ExportSpec spec = { .folder = f->folder,
                      .name = name,
                      .origin = "a test */\n#error \"what a checkpoint says is no C\"\n/*",
                      .acts = "as it should" };
  return export_c(p, &spec, &f->error);
}

/* a case more, if it can act; false if the record asks for what the policy has not */
static bool add_case(Fixture *f, const Case *c, const char *name) {
  Policy *p = make_policy(f, c);
  const Kernels *kernels = kernels_find("own", &f->error);
  if (!actor_new(f->arena, p, 1, seed, NULL, kernels, &f->error)) return false;
  if (!write_c(f, p, name)) fail_msg("%s: %s", name, f->error.text);
  CHECK(f->count < MOST_CASES, "test: more than %d cases", MOST_CASES);
  f->policy[f->count] = p, f->name[f->count++] = name;
  return true;
}

/* ---- the program that links them all --------------------------------------------------------- */

static FILE *create(const Fixture *f, const char *name) {
  FILE *out = fopen(arena_text(f->arena, "%s/%s", f->folder, name), "w");
  assert_non_null(out);
  return out;
}

/* Every call prints its status and the bits of the action. */
static void write_program(Fixture *f) {
  FILE *out = create(f, "main.c");
  for (int i = 0; i < f->count; i++) fprintf(out, "#include \"%s.h\"\n", f->name[i]);
  fputs("#include <stdio.h>\n#include <string.h>\n", out);
  fprintf(out, "static const float obs[%d][%d] = {\n", CALLS, OBS);
  for (int i = 0; i < CALLS; i++) {
    fputs("  {", out);
    for (int j = 0; j < OBS; j++) fprintf(out, " %.9g,", (double)f->obs[i][j]);
    fputs(" },\n", out);
  }
  fprintf(out,
          "};\n"
          "#define RUN(name) do { \\\n"
          "  static name##_state state; \\\n"
          "  name##_reset(&state, %d); \\\n"
          "  state.row = %d; \\\n"
          "  for (int i = 0; i < %d; i++) { \\\n"
          "    float act[%d] = { 9, 9, 9 }, at[%d]; \\\n"
          "    unsigned bits[%d]; \\\n"
          "    memcpy(at, obs[i], sizeof at); \\\n"
          "    if (i == %d) at[3] = (at[3] - at[3]) / (at[3] - at[3]); \\\n"
          "    int status = name##_act(&state, at, act); \\\n"
          "    memcpy(bits, act, sizeof bits); \\\n"
          "    printf(\"%%d %%x %%x %%x\\n\", status, bits[0], bits[1], bits[2]); \\\n"
          "  } } while (0)\n"
          "int main(void) {\n",
          (int)seed, (int)row, CALLS, ACT, OBS, ACT, BAD_CALL);
  for (int i = 0; i < f->count; i++) fprintf(out, "  RUN(%s);\n", f->name[i]);
  fputs("  return 0;\n}\n", out);
  assert_int_equal(fclose(out), 0);
}

static const char *compiler(void) { return getenv("CC") ? getenv("CC") : "gcc"; }

static void shell(const Fixture *f, const char *command) {
  if (system(arena_text(f->arena, "cd '%s' && %s", f->folder, command))) fail_msg("%s", command);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Its bits, where the compiler has the fused multiply-add of the library's products. */
static bool agrees(float got, double expected, const Policy *p, int j) {
#ifdef __x86_64__
  (void)p, (void)j;
  return (double)got == expected;
#else
  return fabs((double)got - expected) <= 1e-6 * ((double)p->high[j] - (double)p->low[j]);
#endif
}

static void compare_call(const char *name, const Policy *p, int call, FILE *said,
                         const float *act) {
  int status;
  unsigned bits[ACT];
  assert_int_equal(fscanf(said, "%d %x %x %x", &status, &bits[0], &bits[1], &bits[2]), 4);
  float got[ACT];
  memcpy(got, bits, sizeof got);
  assert_int_equal(status, call == BAD_CALL); /* WALK_BAD_OBSERVATION is 1 */
  for (int j = 0; j < ACT; j++) {
    double expected = call == BAD_CALL ? 9 : (double)act[j];
    if (!agrees(got[j], expected, p, j))
      fail_msg("%s, call %d: action %d is %.9g, the library's is %.9g", name, call, j,
               (double)got[j], expected);
  }
}

/* The library's answers of the same seed, row and steps to the last observations.  A call with a
 * bad observation is a step, ends the answer and is not remembered. */
static void compare_case(Fixture *f, int i, FILE *said) {
  const Policy *p = f->policy[i];
  const Kernels *kernels = kernels_find("own", &f->error);
  Actor *actor = actor_new(f->arena, p, 1, seed, NULL, kernels, &f->error);
  float seen[MOST_SEEN][OBS], answer[MOST_CHUNK][ACT];
  int inside = 0, left = 0, steps = (int)p->spec.obs_steps;
  for (int call = 0; call < CALLS; call++) {
    for (int t = 0; t < steps && call != BAD_CALL; t++)
      memcpy(seen[t], call && t + 1 < steps ? seen[t + 1] : f->obs[call], sizeof seen[t]);
    if (!left) {
      actor_answer(actor, *seen, 1, (uint64_t)call, &row, *answer, NULL);
      left = (int)p->act.act_steps;
    }
    const float *act = answer[p->act.act_steps - left];
    for (int j = 0; j < ACT; j++) inside += act[j] > p->low[j] && act[j] < p->high[j];
    compare_call(f->name[i], p, call, said, act);
    left = call == BAD_CALL ? 0 : left - 1;
  }
  if (inside < 10) fail_msg("%s: but %d numbers are inside the bounds", f->name[i], inside);
}

static void acts_as_the_library(void **state) {
  Fixture *f = *state;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    if (!add_case(f, &ways[i], ways[i].name)) fail_msg("%s: %s", ways[i].name, f->error.text);
  size_t methods;
  const Method *method = method_list(&methods);
  for (size_t i = 0; i < methods; i++) {
    const char *act = arena_text(f->arena, "sampler=%s", method[i].name);
    Case c = { method[i].name, &policy_diffusion, 24, 0, false, "predicts=x0", act, 0, 0 };
    add_case(f, &c, arena_text(f->arena, "by_%s", method[i].name));
  }
  assert_true((size_t)f->count > methods / 2); /* flows have schedules of their own */
  write_program(f);
  shell(f, "rm *_check.c");
  shell(f, arena_text(f->arena, "%s -Wall -Wextra -Werror -o acts *.c", compiler()));
  FILE *said = popen(arena_text(f->arena, "%s/acts", f->folder), "r");
  for (int i = 0; i < f->count; i++) compare_case(f, i, said);
  assert_int_equal(pclose(said), 0);
}

/* The check that is exported says so, and notices another policy. */
static void check_agrees_or_not(void **state) {
  Fixture *f = *state;
  Policy *p = make_policy(f, &ways[3]);
  assert_true(write_c(f, p, "walk"));
  const char *build = arena_text(f->arena, "%s -O1 -o walk_check walk.c walk_check.c", compiler());
  shell(f, build);
  shell(f, "./walk_check | grep -q '^100 calls agree'");
  shell(f, "cp walk_check.c recorded");
  params_init(p->critics->target, 99);
  assert_true(write_c(f, p, "walk"));
  shell(f, "mv recorded walk_check.c");
  shell(f, build);
  shell(f, "! ./walk_check >said && grep -q 'DO NOT AGREE' said");
}

/* What cannot be exported is refused with a sentence, and no file is left. */
static void refuses(void **state) {
  Fixture *f = *state;
  Policy *p = make_policy(f, &ways[0]);
  const char *const bad[] = {
    "", "Walk", "2walk", "_walk", "walk-2", "walk me", "a_name_of_more_than_forty_letters_in_total"
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_false(write_c(f, p, bad[i]));
    assert_int_equal(f->error.kind, FAIL_USAGE);
  }
  strcpy(p->act.choice.s, "mean");
  assert_false(write_c(f, p, "refused"));
  assert_non_null(strstr(f->error.text, "a diffusion policy has no mean action"));
  strcpy(p->act.choice.s, "sample");
  params_at(p->actor, 2)[0] = NAN;
  assert_false(write_c(f, p, "refused"));
  assert_int_equal(f->error.kind, FAIL_DIVERGED);
  shell(f, "! ls | grep -q refused");
}

/* ---- the folder ------------------------------------------------------------------------------ */

static int enter(void **state) {
  Fixture *f = calloc(1, sizeof *f);
  if (!f) return -1;
  strcpy(f->folder, "/tmp/diffrl-export-XXXXXX");
  f->arena = arena_new();
  for (int i = 0; i < CALLS; i++)
    rng_normals(rng_stream(1, "observations"), (uint64_t)i, 0, f->obs[i], OBS);
  *state = f;
  return mkdtemp(f->folder) ? 0 : -1;
}

static int leave(void **state) {
  Fixture *f = *state;
  int status = system(arena_text(f->arena, "rm -rf '%s'", f->folder));
  arena_free(f->arena);
  free(f);
  return status;
}

static int write_examples(const char *folder) {
  static const Case walk = {
    "walk", &policy_diffusion, 128, 2, true, "", "candidates=20 choice=softmax temperature=0.01", 0,
    0
  };
  static const Case gauss = { "gauss", &policy_gaussian, 40, 2, true, "", "choice=sample", 0, 0 };
  Fixture f = { .arena = arena_new() };
  snprintf(f.folder, sizeof f.folder, "%s", folder);
  bool done =
      write_c(&f, make_policy(&f, &walk), "walk") && write_c(&f, make_policy(&f, &gauss), "gauss");
  if (!done) fprintf(stderr, "%s\n", f.error.text);
  arena_free(f.arena);
  return !done;
}

int main(int count, char **word) {
  if (count > 1) return write_examples(word[1]);
#ifdef DIFFRL_DOUBLE
  return 0; /* what is exported is float: it agrees with the library that acts in float */
#endif
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(acts_as_the_library, enter, leave),
    cmocka_unit_test_setup_teardown(check_agrees_or_not, enter, leave),
    cmocka_unit_test_setup_teardown(refuses, enter, leave),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
