/* test_damage.c -- what files say is believed only where it can be so: checkpoints with right
 * checksums and wrong numbers, types and texts, made by whoever else writes such files. */
#include "core/half.h"
#include "core/checkpoint.h"
#include "core/real.h"
#include "tests/program.h"

#define CLONE                                                                                      \
  "train diffusion-bc --data point.hdf5 --env point-v0 --set hidden=16 --set batch=16 --set "      \
  "group=8 --set diffusion_steps=3 --set eval_episodes=1 --set eval_every=20 --set log_every=7 "   \
  "--set normalize_obs=true --threads 1 --steps 20 "
#define ONLINE                                                                                     \
  "train sac --env point-v0 --set hidden=8 --set batch=8 --set group=8 --set random_steps=20 "     \
  "--set eval_episodes=1 --threads 1 --steps 20 "

static int setup(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  program_succeed(CLONE "--out clone");
  program_succeed(ONLINE "--out online");
  return 0;
}

/* ---- changing a file ------------------------------------------------------------------------- */

/* A text (value), or number `at` of a tensor, which first becomes one of `type`; NULL type: stays.
 */
typedef struct {
  const char *run, *key, *value;
  int at;
  double number;
  const char *type;
} Change;

static void set_number(CheckpointTensor *t, int at, double number) {
  switch (t->type) {
  case CHECKPOINT_F32: ((float *)t->data)[at] = (float)number; break;
  case CHECKPOINT_F64: ((double *)t->data)[at] = number; break;
  case CHECKPOINT_I64: ((int64_t *)t->data)[at] = (int64_t)number; break;
  case CHECKPOINT_F16: ((uint16_t *)t->data)[at] = half_from((float)number); break;
  case CHECKPOINT_U8: ((uint8_t *)t->data)[at] = (uint8_t)number; break;
  }
}

/* as many numbers of another type, in one row */
static void retype(Arena *arena, CheckpointTensor *t, const char *type) {
  int64_t count = (int64_t)(checkpoint_bytes(t) / checkpoint_element_size(t->type));
  for (int i = 0; i < 4; i++)
    if (!strcmp(checkpoint_type_name((CheckpointType)i), type)) t->type = (CheckpointType)i;
  t->rank = 1, t->shape[0] = count;
  t->data = arena_alloc(arena, (size_t)count * checkpoint_element_size(t->type));
}

static void change(const Change *c, const char *from, const char *to) {
  Arena *arena = arena_new();
  Checkpoint set;
  Error error;
  checkpoint_init(&set, arena);
  if (!checkpoint_load(&set, from, NULL, &error)) fail_msg("%s", error.text);
  bool found = false;
  for (size_t i = 0; i < set.texts; i++)
    if (!strcmp(set.text[i].key, c->key)) set.text[i].value = c->value, found = true;
  for (size_t i = 0; i < set.tensors; i++) {
    if (strcmp(set.tensor[i].name, c->key)) continue;
    if (c->type) retype(arena, &set.tensor[i], c->type);
    set_number(&set.tensor[i], c->at, c->number), found = true;
  }
  if (!found) fail_msg("%s has no %s", from, c->key);
  if (!checkpoint_save(&set, to, &error)) fail_msg("%s", error.text);
  arena_free(arena);
}

/* ---- checkpoints of runs --------------------------------------------------------------------- */

static const struct {
  Change change;
  const char *says;
} unresumable[] = {
  { { "clone", "step", "later", 0, 0, NULL }, "\"step\"" },
  { { "clone", "step", "", 0, 0, NULL }, "\"step\"" },
  { { "clone", "step", "-1", 0, 0, NULL }, "whole number from 0" },
  { { "clone", "step", "20.5", 0, 0, NULL }, "whole number" },
  { { "clone", "step", "1e30", 0, 0, NULL }, "whole number" },
  { { "clone", "step", "9223372036854775808", 0, 0, NULL }, "whole number" },
  { { "clone", "step", "nan", 0, 0, NULL }, "\"step\"" },
  { { "clone", "step", "20\033[2J", 0, 0, NULL }, "20\\x1b[2J" },
  { { "clone", "evaluated", "21", 0, 0, NULL }, "to 20" },
  { { "clone", "evaluated", "-2", 0, 0, NULL }, "from -1" },
  { { "clone", "best", "nan", 0, 0, NULL }, "\"best\"" },
  { { "clone", "best", "much", 0, 0, NULL }, "\"best\"" },
  { { "clone", "algo", "bc", 0, 0, NULL }, "a checkpoint of bc" },
  { { "clone", "log", "loss/bc loss/bc", 0, 0, NULL }, "log/loss/bc" },
  { { "clone", "log", "loss/\033[2J", 0, 0, NULL }, "log/loss/\\x1b[2J" },
  { { "clone", "log/loss/bc", NULL, 1, -3, NULL }, "sum and count" },
  { { "clone", "log/loss/bc", NULL, 1, NAN, NULL }, "sum and count" },
  { { "clone", "log/loss/bc", NULL, 0, 0, "F32" }, "is F32 [2], expected F64 [2]" },
  { { "clone", "actor/trunk/0/w", NULL, 3, NAN, NULL }, "number 3 of" },
  { { "clone", "actor/trunk/0/b", NULL, 0, INFINITY, NULL }, "finite" },
  { { "clone", "actor_ema/trunk/0/b", NULL, 0, NAN, NULL }, "finite" },
  { { "clone", "actor/trunk/0/b", NULL, 0, 0, "I64" }, "F32 or F64" },
  { { "clone", "actor/trunk/0/b", NULL, 0, 1e300, "F64" }, "finite" },
  { { "clone", "actor_adam/step", NULL, 0, -1, NULL }, "updates done" },
  { { "clone", "actor_adam/step", NULL, 0, 0x1p60, NULL }, "updates done" },
  { { "clone", "actor_adam/step", NULL, 0, 20, "F64" }, "expected I64 [1]" },
  { { "clone", "actor_adam_m/trunk/0/w", NULL, 0, NAN, NULL }, "finite" },
  { { "clone", "actor_adam_v/trunk/0/w", NULL, 0, -1, NULL }, "squares" },
  { { "clone", "actor_adam_v/trunk/0/w", NULL, 0, NAN, NULL }, "squares" },
  { { "online", "temperature/log_alpha", NULL, 0, NAN, NULL }, "temperature" },
  { { "online", "temperature/log_alpha", NULL, 0, 0, "U8" }, "temperature" },
  { { "online", "env/counts", NULL, 2, 1e9, NULL }, "env/counts" },
  { { "online", "env/counts", NULL, 2, -1, NULL }, "env/counts" },
  { { "online", "env/counts", NULL, 0, -5, NULL }, "env/counts" },
  { { "online", "env/counts", NULL, 1, 7, NULL }, "env/counts" },
  { { "online", "env/counts", NULL, 0, 0, "F64" }, "expected I64 [3]" },
  { { "online", "env/obs", NULL, 0, NAN, NULL }, "env/obs" },
  { { "online", "env/obs", NULL, 0, 0, "F64" }, "env/obs" },
  { { "online", "env/returns", NULL, 0, INFINITY, NULL }, "env/returns" },
  { { "online", "env/state", NULL, 7, 0x7f, NULL }, "env/state" }, /* of the steps */
  { { "online", "env/state", NULL, 0, 0, "F32" }, "expected U8" },
};

static void no_run_resumes_from_what_cannot_be(void **state) {
  (void)state;
  char path[64], kept[64], line[128];
  for (size_t i = 0; i < sizeof unresumable / sizeof *unresumable; i++) {
    const char *run = unresumable[i].change.run;
    /* in double precision that is a number */
    if (unresumable[i].change.number == 1e300 && sizeof(real) > sizeof(float)) continue;
    snprintf(path, sizeof path, "%s/last.safetensors", run);
    snprintf(kept, sizeof kept, "%s/kept", run);
    if (access(kept, F_OK)) assert_int_equal(rename(path, kept), 0);
    change(&unresumable[i].change, kept, path);
    snprintf(line, sizeof line, "train --resume %s --steps 25", run);
    program_refuse(3, line, unresumable[i].says);
  }
  assert_int_equal(rename("clone/kept", "clone/last.safetensors"), 0);
  assert_int_equal(rename("online/kept", "online/last.safetensors"), 0);
  program_succeed("train --resume clone --steps 25");
  program_succeed("train --resume online --steps 25");
}

/* ---- policies -------------------------------------------------------------------------------- */

static void no_policy_acts_by_what_cannot_be(void **state) {
  (void)state;
  static const struct {
    Change change;
    int code; /* of eval, and of act, which needs no input to find it */
    const char *says;
  } cases[] = {
    { { "", "step", "later", 0, 0, NULL }, 3, "\"step\"" },
    { { "", "step", "-1", 0, 0, NULL }, 3, "\"step\"" },
    { { "", "actor/trunk/0/w", NULL, 0, NAN, NULL }, 3, "finite" },
    { { "", "actor_ema/trunk/0/w", NULL, 0, NAN, NULL }, 3, "finite" }, /* which does not act */
    { { "", "normalizer/std", NULL, 0, 0, NULL }, 3, "deviation above 0" },
    { { "", "normalizer/std", NULL, 1, -1, NULL }, 3, "deviation above 0" },
    { { "", "normalizer/std", NULL, 1, NAN, NULL }, 3, "deviation above 0" },
    { { "", "normalizer/std", NULL, 1, INFINITY, NULL }, 3, "deviation above 0" },
    { { "", "normalizer/mean", NULL, 1, NAN, NULL }, 3, "finite mean" },
    { { "", "normalizer/mean", NULL, 0, 0, "F64" }, 3, "expected F32" },
    { { "", "action_low", NULL, 0, 2, NULL }, 3, "low <= high" },
    { { "", "action_high", NULL, 0, INFINITY, NULL }, 3, "low <= high" },
    { { "", "action_high", NULL, 0, 0, "I64" }, 3, "expected F32" },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    change(&cases[i].change, "clone/last.safetensors", "odd.safetensors");
    program_refuse(cases[i].code, "eval odd.safetensors --episodes 1", cases[i].says);
    program_refuse(cases[i].code, "act odd.safetensors", cases[i].says);
    program_refuse(cases[i].code, "export odd.safetensors --out odd", cases[i].says);
  }
}

static void run_act(Outcome *o, const char *line, const char *input) {
  file_write("input", input, strlen(input));
  FILE *in = fopen("input", "r"), *out = tmpfile(), *err = tmpfile();
  int status;
  pid_t child = program_start(line, fileno(in), fileno(out), fileno(err), 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  o->code = program_code(status);
  program_read(out, o->out), program_read(err, o->err);
  fclose(in);
}

/* finite, and the square of it is not */
#define LARGE (sizeof(real) == sizeof(double) ? 1e308 : 3e38)

/* Every weight is finite, and what they make of an observation is not. */
static void an_action_that_is_not_finite_is_an_error(void **state) {
  (void)state;
  Outcome o;
  change(&(Change){ "", "actor/trunk/0/w", NULL, 0, LARGE, NULL }, "clone/last.safetensors",
         "a.safetensors");
  change(&(Change){ "", "actor/trunk/0/w", NULL, 1, -LARGE, NULL }, "a.safetensors",
         "b.safetensors");
  for (int i = 0; i < 16; i++)
    change(&(Change){ "", "actor/trunk/1/w", NULL, i, LARGE, NULL }, "b.safetensors",
           "b.safetensors");
  for (int i = 0; i < 16; i++)
    change(&(Change){ "", "actor/trunk/1/w", NULL, 16 + i, -LARGE, NULL }, "b.safetensors",
           "b.safetensors");
  run_act(&o, "act b.safetensors", "1 2 3 4\n");
  if (o.code != 4) fail_msg("act: %d, %s, %s", o.code, o.out, o.err);
  assert_non_null(strstr(o.err, "number 0 of the action is"));
  assert_string_equal(o.out, "");
  program_refuse(4, "eval b.safetensors --episodes 3", "of the action is");
}

static void a_sample_that_is_not_finite_is_an_error(void **state) {
  (void)state;
  program_succeed("train toy --data moons --set hidden=8 --set net=mlp --set batch=16 --set "
                  "eval_points=64 --set pictures=false --steps 2 --out toy");
  change(&(Change){ "", "denoiser_ema/trunk/0/b", NULL, 0, LARGE, NULL }, "toy/last.safetensors",
         "toy.safetensors");
  change(&(Change){ "", "denoiser_ema/trunk/1/w", NULL, 0, LARGE, NULL }, "toy.safetensors",
         "toy.safetensors");
  program_refuse(4, "sample toy.safetensors --steps 100 --out x.csv", "a number is");
  assert_int_equal(file_size("x.csv"), -1);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void no_text_of_a_file_reaches_a_terminal_as_it_is(void **state) {
  (void)state;
  static const char *const keys[] = { "algo", "env", "data_hash", "policy", "act", "step" };
  static const char *const lines[] = { "eval evil.safetensors --env point-v0 --episodes 1",
                                       "act evil.safetensors",
                                       "inspect evil.safetensors",
                                       "inspect evil.safetensors --json",
                                       "sample evil.safetensors --out x.png",
                                       "export evil.safetensors --out evil --format c",
                                       CLONE "--init evil.safetensors --out evil-run" };
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    change(&(Change){ "", keys[i], "{\"kind\":\"\033]0;x\a\xc2\x9b\x9b\"}", 0, 0, NULL },
           "clone/last.safetensors", "evil.safetensors");
    for (size_t k = 0; k < sizeof lines / sizeof *lines; k++) {
      Outcome o;
      program_run(&o, "%s", lines[k]);
      const char *streams[] = { o.out, o.err };
      for (int s = 0; s < 2; s++)
        if (strpbrk(streams[s], "\033\a") || strstr(streams[s], "\xc2\x9b"))
          fail_msg("%s with %s: %s", lines[k], keys[i], streams[s]);
    }
  }
}

/* ---- what stands beside a checkpoint --------------------------------------------------------- */

/* the file with the first `from` replaced, or with a line behind it if from is NULL */
static void rewrite(const char *path, const char *kept, const char *from, const char *to) {
  size_t n, length = strlen(to);
  char *text = file_read(kept, &n), *at = from ? strstr(text, from) : text + n;
  if (!at) fail_msg("%s has no %s", path, from);
  size_t before = (size_t)(at - text), behind = n - before - (from ? strlen(from) : 0);
  char *changed = malloc(n + length + 1);
  assert_non_null(changed);
  memcpy(changed, text, before);
  memcpy(changed + before, to, length);
  memcpy(changed + before + length, text + n - behind, behind);
  file_write(path, changed, before + length + behind);
  free(text), free(changed);
}

static void records_of_runs_are_checked(void **state) {
  (void)state;
  static const struct {
    const char *file, *from, *to;
    int code;
    const char *says;
  } cases[] = {
    { "config.json", "\"seed\":0", "\"seed\":-1", 3, "\"seed\"" },
    { "config.json", "\"seed\":0", "\"seed\":1e300", 3, "\"seed\"" },
    { "config.json", "\"seed\":0", "\"seed\":\"0\"", 3, "\"seed\"" },
    { "config.json", "\"seed\":0", "\"seed\":0.5", 3, "\"seed\"" },
    { "config.json", "\"algo\":\"diffusion-bc\"", "\"algo\":7", 3, "\"algo\"" },
    { "config.json", "\"algo\":\"diffusion-bc\"", "\"algo\":\"\\u001b[2J\"", 2, "\\x1b[2J" },
    { "config.json", "\"env\":\"point-v0\"", "\"env\":[]", 3, "\"env\"" },
    { "config.json", "\"data\":\"point.hdf5\"", "\"data\":{}", 3, "\"data\"" },
    { "config.json", "\"data_hash\":\"", "\"data_hash\":1,\"was\":\"", 3, "\"data_hash\"" },
    { "config.json", "\"preset\":null", "\"preset\":5", 3, "\"preset\"" },
    { "config.json", "\"d4rl_reference\":false", "\"d4rl_reference\":\"no\"", 3,
      "\"d4rl_reference\"" },
    { "config.json", "\"batch\":16", "\"batch\":-16", 3, "config.json" },
    { "config.json", "\"batch\":16", "\"batch\":\"\\u001b[2J\"", 3, "batch" },
    { "config.json", "{", "[", 3, "config.json" },
    /* what is only told ends no run */
    { "metrics.jsonl", NULL, "{\"step\":\"5\"}\n", 0, "" },
    { "metrics.jsonl", NULL, "{\"step\":-5}\n", 0, "" },
    { "metrics.jsonl", NULL, "[1]\n", 0, "" },
    { "eval.jsonl", NULL, "{\"stepp\":5}\n", 0, "" },
    { "eval.jsonl", NULL, "{\"step\":1e300}\n", 0, "" },
    { "figures.jsonl", NULL, "{\"step\":1e300,\"file\":\"a.png\"}\n", 0, "" },
    { "figures.jsonl", NULL, "{\"step\":\"x\",\"file\":\"../a.png\"}\n", 0, "" },
    { "figures.jsonl", NULL, "{\"file\":5}\n", 0, "" },
  };
  file_write("clone/figures.jsonl", "", 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[64];
    Outcome o;
    assert_int_equal(system("rm -rf odd && cp -r clone odd"), 0);
    snprintf(path, sizeof path, "odd/%s", cases[i].file);
    rewrite(path, path, cases[i].from, cases[i].to);
    program_run(&o, "report odd --out odd.html"); /* which shows what it can */
    if (o.code != 0 && o.code != 3) fail_msg("report, case %zu: %d, %s", i, o.code, o.err);
    program_run(&o, "train --resume odd --steps 26");
    if (strchr(o.err, '\033')) fail_msg("case %zu: %s", i, o.err);
    program_expect(&o, cases[i].code, cases[i].says);
  }
}

/* What a clone without git-lfs leaves in place of a file. */
static void a_git_lfs_pointer_is_called_one(void **state) {
  (void)state;
  static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n"
                                "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca2"
                                "4d17e2393\nsize 12345\n";
  file_write("pointer.safetensors", pointer, sizeof pointer - 1);
  file_write("pointer.json", pointer, sizeof pointer - 1);
  program_refuse(3, "act pointer.safetensors", "Git LFS pointer");
  program_refuse(3, "eval pointer.safetensors", "git lfs pull");
  program_refuse(3, "inspect pointer.safetensors", "Git LFS pointer");
  program_refuse(3, CLONE "--init pointer.safetensors --out p", "Git LFS pointer");
  program_refuse(3, CLONE "--config pointer.json --out p", "Git LFS pointer");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_run_resumes_from_what_cannot_be),
    cmocka_unit_test(no_policy_acts_by_what_cannot_be),
    cmocka_unit_test(an_action_that_is_not_finite_is_an_error),
    cmocka_unit_test(a_sample_that_is_not_finite_is_an_error),
    cmocka_unit_test(no_text_of_a_file_reaches_a_terminal_as_it_is),
    cmocka_unit_test(records_of_runs_are_checked),
    cmocka_unit_test(a_git_lfs_pointer_is_called_one),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
