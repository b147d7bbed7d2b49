/* test_cli.c -- the command line: exit codes and messages for what people and files get wrong, and
 * what eval and act say. */
#include "core/checkpoint.h"
#include "core/json.h"
#include "core/real.h"
#include "rl/rollout/task.h"
#include "tests/program.h"
#include <fcntl.h>
#include <sys/file.h>

#define TRAIN "train diffusion-ql --data point.hdf5 --env point-v0" SMALL

static void damage(const char *from, const char *to, size_t keep, long flip) {
  size_t length;
  char *bytes = file_read(from, &length);
  if (flip >= 0) bytes[flip] ^= 1;
  file_write(to, bytes, keep && keep < length ? keep : length);
  free(bytes);
}

/* A small run, and files with everything wrong with them. */
static int setup(void **state) {
  Outcome o;
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  file_make_data("bandit.hdf5", "bandit-v0", 50, 1, "{}");
  file_make_data("alien.hdf5", "point-v0", 3, 1, "{\"env\": \"hopper-v2\"}");
  file_write("text.hdf5", "these are not numbers\n", 22);
  file_write("settings.json", "{\"hiden\": 3}", 12);
  file_write("broken.json", "{\"hidden\": 3", 12);
  file_write("short.csv", "1 2 3 4\n\n1 2 3\n", 15);
  file_write("word.csv", "0,0,0,0\n0,0,zero,0\n", 19);
  damage("point.hdf5", "cut.hdf5", 3000, -1);
  program_run(&o, TRAIN " --steps 40 --out run");
  if (o.code) fprintf(stderr, "%s", o.err);
  damage("run/last.safetensors", "cut.safetensors", 5000, -1);
  damage("run/last.safetensors", "flipped.safetensors", 0, file_size("run/last.safetensors") - 100);
  damage("run/last.safetensors", "header.safetensors", 0, 60);
  return o.code;
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static const struct {
  int code;
  const char *says, *line;
} wrong[] = {
  { 2, "no command", "" },
  { 2, "diffrl train", "trian diffusion-ql" },
  { 2, "diffrl data inspect", "data inspekt x" },
  { 2, "--env is for data", "inspect run --env point-v0" },
  { 2, "is not a run's folder", "inspect point.hdf5 --which best" },
  { 2, "one argument too many", "inspect run point.hdf5" },
  { 3, "no such run or checkpoint", "inspect absent.safetensors" },
  { 3, "no such checkpoint", "inspect . --which last" },
  { 3, "cut short", "inspect cut.safetensors" },
  { 3, "checksum of the header", "inspect header.safetensors" },
  { 3, "text.hdf5", "inspect text.hdf5" },
  { 2, "data make", "data" },
  { 2, "which algorithm", "train" },
  { 2, "did you mean diffusion-ql", "train difusion-ql --data point.hdf5" },
  { 2, "list algos", "train qqqqqqqqqqqq --data point.hdf5" },
  { 2, "did you mean point-v0", "train diffusion-ql --data point.hdf5 --env piont-v0" },
  { 2, "did you mean --threads", "train diffusion-ql --data point.hdf5 --thread 2" },
  { 2, "needs a value", "train diffusion-ql --data" },
  { 2, "takes no value", "train diffusion-ql --dry-run=3" },
  { 2, "not a whole number", "train diffusion-ql --data point.hdf5 --steps many" },
  { 2, "out of range", "train diffusion-ql --data point.hdf5 --threads 0" },
  { 2, "two values", "train diffusion-ql --data point.hdf5 --seed 1 --seed 2" },
  { 2, "two values", TRAIN " --set eta=1 --set eta=2 --out x" },
  { 2, "two values", TRAIN " --steps 10 --set steps=20 --out x" },
  { 2, "did you mean hidden", TRAIN " --set hiden=32 --out x" },
  { 2, "key=value", TRAIN " --set hidden --out x" },
  { 2, "did you mean hidden", TRAIN " --config settings.json --out x" },
  { 2, "did you mean hopper-medium-v2", TRAIN " --preset hopper-meduim-v2 --out x" },
  { 2, "expected d4rl", TRAIN " --reference d5rl --out x" },
  { 2, "--data", "train diffusion-ql --env point-v0" },
  { 2, "--env", "train sac" },
  { 2, "one argument too many", "train diffusion-ql sac --data point.hdf5" },
  { 2, "begin with --", "train -n 3" },
  { 3, "broken.json", TRAIN " --config broken.json --out x" },
  { 3, "no file missing.hdf5", "train diffusion-ql --data missing.hdf5" },
  { 3, "data make hopper-medium", "train diffusion-ql --data hopper-medium" },
  { 3, "D4RL's own file", "train diffusion-ql --data hopper-medium-v2" },
  { 3, "text.hdf5", "train diffusion-ql --data text.hdf5 --env point-v0" },
  { 3, "cut.hdf5", "data inspect cut.hdf5" },
  { 3, "observations have 4", "train diffusion-ql --data point.hdf5 --env hopper-v2" },
  { 3, "made in hopper-v2", "train diffusion-ql --data alien.hdf5 --env point-v0" },
  { 3, "actions 2", "train diffusion-ql --data bandit.hdf5 --env point-v0" },
  { 2, "--resume run", TRAIN " --out run" },
  { 3, "cannot resume", "train --resume ." },
  { 2, "takes --seed from the run", "train --resume run --seed 3" },
  { 2, "omit \"diffusion-ql\"", "train diffusion-ql --resume run" },
  { 2, "keeps its settings", "train --resume run --set hidden=64" },
  { 2, "something is missing", "eval" },
  { 3, "no such run", "eval nowhere" },
  { 3, "no such checkpoint", "eval run --which step-7.safetensors" },
  { 2, "is a file", "eval run/last.safetensors --which best" },
  { 3, "point-v0", "eval run --env hopper-v2" },
  { 2, "did you mean hopper-v2", "eval run --env hoper-v2" },
  { 2, "did you mean sampler", "eval run --act smapler=ddim" },
  { 2, "unknown sampler", "eval run --act sampler=hewn" },
  { 2, "choice=softmax, argmax or average", "eval run --act choice=sample" },
  { 3, "cut.safetensors", "eval cut.safetensors" },
  { 3, "flipped.safetensors", "eval flipped.safetensors" },
  { 3, "header.safetensors", "eval header.safetensors" },
  { 3, "text.hdf5", "eval text.hdf5" },
  { 3, "cut.safetensors", "act cut.safetensors" },
  { 3, "flipped.safetensors", "act flipped.safetensors" },
  { 2, "did you mean hopper-medium", "data make hopper-meduim" },
  { 2, "omit --guidance", "eval run --guidance 2" },
  { 2, "expected 0 to 100", "eval fashion-mnist --guidance -1" },
  { 2, "unknown sampler", "eval fashion-mnist --sampler hewn" },
  { 2, "omit --steps", "eval fashion-mnist --bits 2 --steps 3" },
  { 2, "omit --bits", "eval run --bits 2" },
  { 2, "for models that sample", "export fashion-mnist-judge --out . --half --guidance 2" },
  { 2, "for --half", "export run --out x --guidance 2" },
  { 2, "is not a run's folder", "inspect fashion-mnist --which best" },
  { 2, "did you mean envs", "list env" },
  { 2, "--out FILE.html", "report run" },
  { 3, "nowhere", "report nowhere --out page.html" },
};

static void test_mistakes_are_explained(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    Outcome o;
    program_run_limited(&o, 0, wrong[i].line);
    if (o.code != wrong[i].code || !strstr(o.err, wrong[i].says))
      fail_msg("diffrl %s: exit code %d, expected %d and \"%s\"; stderr: %s", wrong[i].line, o.code,
               wrong[i].code, wrong[i].says, o.err);
    /* the last line is the message, and nothing goes where results go */
    size_t length = strlen(o.err);
    o.err[length - 1] = '\0';
    const char *last = strrchr(o.err, '\n');
    assert_int_equal(strncmp(last ? last + 1 : o.err, "diffrl: ", 8), 0);
    assert_string_equal(o.out, "");
  }
  assert_int_equal(file_size("x"), -1);
}

static void test_a_run_that_is_being_written_is_refused(void **state) {
  (void)state;
  Outcome o;
  int lock = open("run/lock", O_RDWR);
  assert_int_equal(flock(lock, LOCK_EX), 0);
  program_run(&o, "train --resume run --steps 50");
  program_expect(&o, 2, "another process");
  close(lock);
}

static void test_a_damaged_checkpoint_is_not_resumed(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, TRAIN " --steps 20 --out hurt");
  program_expect(&o, 0, "hurt");
  damage("cut.safetensors", "hurt/last.safetensors", 0, -1);
  program_run(&o, "train --resume hurt --steps 40");
  program_expect(&o, 3, "hurt/last.safetensors");
  damage("flipped.safetensors", "hurt/last.safetensors", 0, -1);
  program_run(&o, "train --resume hurt --steps 40");
  program_expect(&o, 3, "checksum");
}

static void test_no_room_for_the_first_file(void **state) {
  (void)state;
  Outcome o;
  program_run_limited(&o, 1000, TRAIN " --steps 20 --out tiny");
  program_expect(&o, 1, "cannot be written");
}

/* ---- what goes right ------------------------------------------------------------------------- */

static void test_help_and_version(void **state) {
  (void)state;
  static const char *const commands[] = { "train", "eval",  "act",    "data make", "data inspect",
                                          "list",  "bench", "report", "doctor",    "inspect" };
  Outcome o;
  program_run(&o, "--version");
  program_expect(&o, 0, "diffrl ");
  program_run(&o, "--help");
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    program_expect(&o, 0, commands[i]);
    Outcome help;
    char usage[64];
    snprintf(usage, sizeof usage, "diffrl %s", commands[i]);
    program_run(&help, "%s --help", commands[i]);
    program_expect(&help, 0, usage);
    program_expect(&help, 0, "\nExamples\n");
    assert_string_equal(help.err, "");
  }
  program_run(&o, "train diffusion-ql --help");
  program_expect(&o, 0, "weight of the Q term");
  program_expect(&o, 0, "Wang");
}

static void test_lists_and_doctor(void **state) {
  (void)state;
  static const char *const lists[][2] = {
    { "algos", "diffusion-ql" },   { "envs", "hopper-v2" }, { "datasets", "hopper-medium" },
    { "datasets", "moons" },       { "samplers", "ddim" },  { "schedules", "cosine" },
    { "presets", "eta=1 clip=9" }, { "kernels", "plain" },
  };
  Outcome o;
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    program_run(&o, "list %s", lists[i][0]);
    program_expect(&o, 0, lists[i][1]);
  }
  program_run(&o, "doctor");
  program_expect(&o, 0, "diffrl-hdf5 wrote a file");
  setenv("XDG_CACHE_HOME", "/proc", 1);
  program_run(&o, "doctor");
  unsetenv("XDG_CACHE_HOME");
  program_expect(&o, 1, "XDG_CACHE_HOME");
}

/* The folder that doctor looks at is the one that `data make` would write to. */
static void test_doctor_looks_where_data_are_made(void **state) {
  (void)state;
  static const char *const set[][2] = { { "HOME", "/no/such/home" },
                                        { "XDG_DATA_HOME", "relative" },
                                        { "XDG_DATA_HOME", "/no/such/data" } };
  char *home = strdup(getenv("HOME"));
  for (int i = 0; i <= 3; i++) {
    if (i < 3)
      setenv(set[i][0], set[i][1], 1);
    else
      unsetenv("XDG_DATA_HOME"), unsetenv("HOME");
    Arena *arena = arena_new();
    char *folder = arena_text(arena, "data folder    %s", task_made_path(arena, "x"));
    *strrchr(folder, '/') = '\n', strrchr(folder, '\n')[1] = '\0';
    Outcome o;
    program_run(&o, "doctor");
    if (!strstr(o.out, folder)) fail_msg("not %s in %s", folder, o.out);
    /* who may write to the root may make these folders */
    const char *bad = access("/", W_OK) && i < 3 ? "BAD   data folder" : "ok    data folder";
    if (!strstr(o.out, bad)) fail_msg("not %s in %s", bad, o.out);
    arena_free(arena);
    if (i == 1) unsetenv("XDG_DATA_HOME"), setenv("HOME", home, 1);
  }
  setenv("HOME", home, 1);
  free(home);
}

static void test_inspect_says_what_is_there(void **state) {
  (void)state;
  Outcome o;
  Error error;
  program_run(&o, "data inspect point.hdf5 --json");
  program_expect(&o, 0, "{");
  Json *found = json_parse(o.out, strlen(o.out), &error);
  assert_true(json_number(json_get(found, "rows"), 0) == 1200);
  assert_true(json_number(json_get(found, "transitions"), 0) == 1188);
  assert_true(json_number(json_get(found, "timeouts"), 0) == 12);
  assert_string_equal(json_text(json_get(found, "env")), "point-v0");
  json_free(found);
}

/* What data inspect says, whether data are named by a file or by their set. */
static void test_inspect_of_data_is_data_inspect(void **state) {
  (void)state;
  Outcome a, b;
  static const char *const options[] = { "", " --json", " --env point-v0" };
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    program_run(&a, "data inspect point.hdf5%s", options[i]);
    program_run(&b, "inspect point.hdf5%s", options[i]);
    program_expect(&b, 0, "transitions");
    assert_string_equal(a.out, b.out);
  }
}

static void test_inspect_shows_a_checkpoint(void **state) {
  (void)state;
  Outcome o;
  Error error;
  program_run(&o, "inspect run");
  program_expect(&o, 0, "algo                   diffusion-ql\n");
  static const char *const says[] = {
    "kind                   policy\n",
    "\nstep                   40\n",
    "candidates=2 choice=softmax",
    "policy                 kind=diffusion obs_dim=4",
    "\nactor_adam_m (optimiser): 12 tensors, ",
    sizeof(real) == sizeof(float)
        ? "  trunk/1/w                        F32 [16, 16]  1024 bytes, checksum good\n"
        : "  trunk/1/w                        F64 [16, 16]  2048 bytes, checksum good\n",
    " good, 0 not\n",
  };
  for (size_t i = 0; i < sizeof says / sizeof *says; i++) program_expect(&o, 0, says[i]);
  program_run(&o, "inspect run/last.safetensors --json");
  program_expect(&o, 0, "{");
  Json *found = json_parse(o.out, strlen(o.out), &error);
  assert_non_null(found);
  double sum = 0, numbers = 0, moments = 0;
  for (const Json *b = json_first(json_get(found, "blocks")); b; b = json_next(b)) {
    double bytes = json_number(json_get(b, "bytes"), NAN);
    sum += bytes, numbers += json_number(json_get(b, "numbers"), NAN);
    if (json_bool(json_get(b, "optimiser"), false)) moments += bytes;
  }
  assert_true(sum > 0 && moments > 0);
  assert_true(sum == json_number(json_get(found, "bytes"), NAN));
  assert_true(numbers == json_number(json_get(found, "numbers"), NAN));
  assert_true(moments == json_number(json_get(found, "optimiser_bytes"), NAN));
  assert_true(json_number(json_get(found, "step"), NAN) == 40);
  assert_string_equal(json_text(json_get(json_get(found, "texts"), "seed")), "0");
  json_free(found);
}

static void test_inspect_names_the_damaged_tensor(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "inspect flipped.safetensors");
  program_expect(&o, 3, "flipped.safetensors: 1 of ");
  program_expect(&o, 3, "checksum WRONG\n");
  program_expect(&o, 3, " good, 1 not\n");
}

/* A file may say anything; a terminal must not obey it. */
static void test_inspect_escapes_what_files_say(void **state) {
  (void)state;
  Outcome o;
  Error error;
  Arena *arena = arena_new();
  Checkpoint c;
  float number = 1;
  checkpoint_init(&c, arena);
  checkpoint_add_text(&c, "algo",
                      "evil\033[2J\x7f\xc2\x9b"
                      "2J caf\xc3\xa9");
  checkpoint_add_text(&c, "act", "{\"sampler\": \"\\u001b[31m\"}");
  checkpoint_add(&c, "block\n/w\r", CHECKPOINT_F32, 0, NULL, &number);
  assert_true(checkpoint_save(&c, "evil.safetensors", &error));
  arena_free(arena);
  program_run(&o, "inspect evil.safetensors");
  program_expect(&o, 0, "evil\\x1b[2J\\x7f\\xc2\\x9b2J caf\xc3\xa9\n");
  program_expect(&o, 0, "sampler=\\x1b[31m\n");
  program_expect(&o, 0, "block\\x0a: 1 tensor, ");
  program_expect(&o, 0, "  w\\x0d ");
  assert_null(strchr(o.out, '\033'));
  program_run(&o, "inspect evil.safetensors --json");
  program_expect(&o, 0, "\\u001b[2J");
  assert_null(strchr(o.out, '\033'));
}

static void test_dry_run_writes_nothing(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, TRAIN " --set eta=0.5 --config run/config.json --out dry --dry-run");
  program_expect(&o, 0, "memory");
  char *eta = strstr(o.out, "\n  eta "), *clip = strstr(o.out, "\n  clip ");
  assert_true(eta && clip);
  assert_non_null(strstr(strtok(eta + 1, "\n"), "--set"));
  assert_non_null(strstr(strtok(clip + 1, "\n"), "--config"));
  assert_int_equal(file_size("dry"), -1);
}

/* What a run would need is said before it begins, and refused where there is not so much. */
static void test_too_much_memory_is_refused_with_the_numbers(void **state) {
  (void)state;
  Outcome o;
  program_run(&o, "train sac --env pendulum-v1 --steps 1000000000000 --out dry --dry-run");
  program_expect(&o, 1, "GB");
  assert_non_null(strstr(o.err, "fewer --steps"));
  program_run(&o, TRAIN " --out dry --dry-run --json");
  program_expect(&o, 0, "\"weights_bytes\"");
  assert_non_null(strstr(o.out, "\"memory_given\""));
  /* seconds are steps by the rate that was measured; what would act is not begun */
  char *rate = strstr(o.out, "\"steps_per_s\":"), *seconds = strstr(o.out, "\"seconds\":");
  char *steps = strstr(o.out, "\"steps\":{\"value\":\"");
  assert_true(rate && seconds && steps);
  double product = atof(rate + 14) * atof(seconds + 10), whole = atof(steps + 18);
  assert_true(whole > 0 && fabs(product - whole) < 1e-3 * whole);
  program_run(&o, "train sac --env pendulum-v1 --steps 100 --out dry --dry-run --json");
  program_expect(&o, 0, "\"seconds\":null");
  assert_int_equal(file_size("dry"), -1);
}

/* ---- eval and act ---------------------------------------------------------------------------- */

static Json *evaluate(const char *line) {
  Outcome o;
  Error error;
  program_run(&o, "%s", line);
  program_expect(&o, 0, "{");
  Json *result = json_parse(o.out, strlen(o.out), &error);
  assert_non_null(result);
  return result;
}

static void assert_same_returns(const Json *a, const Json *b, int count) {
  const Json *x = json_first(json_get(a, "returns")), *y = json_first(json_get(b, "returns"));
  for (int i = 0; i < count; i++, x = json_next(x), y = json_next(y)) {
    assert_true(x && y);
    assert_true(json_number(x, 0) == json_number(y, 1));
  }
}

static void test_eval_does_not_depend_on_threads_or_data(void **state) {
  (void)state;
  assert_int_equal(rename("point.hdf5", "away.hdf5"), 0);
  Json *one = evaluate("eval run --episodes 7 --threads 1 --json");
  Json *four = evaluate("eval run --episodes 7 --threads 4 --json");
  Json *few = evaluate("eval run --episodes 3 --threads 2 --json");
  Json *file = evaluate("eval run/last.safetensors --episodes 7 --json");
  assert_int_equal(rename("away.hdf5", "point.hdf5"), 0);
  assert_same_returns(one, four, 7);
  assert_same_returns(one, file, 7);
  assert_same_returns(one, few, 3);
  assert_string_equal(json_text(json_get(one, "which")), "last");
  assert_true(json_number(json_get(one, "step"), 0) == 40);
  assert_true(json_is_null(json_get(one, "normalized_mean")));
  assert_true(json_number(json_get(one, "action_us"), 0) > 0);
  double share = json_number(json_get(one, "simulator_share"), -1);
  assert_true(share >= 0 && share < 1);
  Json *changed = evaluate("eval run --episodes 7 --act candidates=1 --act choice=sample --json");
  assert_true(json_number(json_get(json_get(changed, "act"), "candidates"), 0) == 1);
  assert_true(json_number(json_get(changed, "return_mean"), 0) !=
              json_number(json_get(one, "return_mean"), 0));
  json_free(one), json_free(four), json_free(few), json_free(file), json_free(changed);
}

/* One episode with `diffrl act` in the loop; returns its return. */
static double act_episode(Env *env, uint64_t seed, uint64_t episode, FILE *to, FILE *from) {
  float obs[4], act[2];
  double total = 0;
  EnvStep step = { 0 };
  env_reset(env, seed, episode, obs);
  while (!step.terminal && !step.timeout) {
    fprintf(to, "%.9g, %.9g %.9g,%.9g\n", (double)obs[0], (double)obs[1], (double)obs[2],
            (double)obs[3]);
    fflush(to);
    assert_int_equal(fscanf(from, "%f %f", &act[0], &act[1]), 2);
    step = env_step(env, act, obs);
    total += (double)step.reward;
  }
  return total;
}

static void test_act_does_what_eval_measures(void **state) {
  (void)state;
  Json *result = evaluate("eval run --episodes 2 --seed 5 --json");
  const Json *first = json_first(json_get(result, "returns"));
  Error error;
  EnvModel *model = env_load(env_find("point-v0"), &error);
  Env *env = env_create(model, &error);
  int there[2], back[2], status;
  assert_int_equal(pipe2(there, O_CLOEXEC) | pipe2(back, O_CLOEXEC), 0);
  pid_t child = program_start("act run --seed 5", there[0], back[1], -1, 0);
  close(there[0]), close(back[1]);
  FILE *to = fdopen(there[1], "w"), *from = fdopen(back[0], "r");
  uint64_t seed = rng_seed(5, "report");
  assert_true(act_episode(env, seed, 0, to, from) == json_number(first, 0));
  fprintf(to, "\n"); /* the next episode */
  assert_true(act_episode(env, seed, 1, to, from) == json_number(json_next(first), 0));
  fclose(to), fclose(from);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(program_code(status), 0);
  env_free(env), env_unload(model), json_free(result);
}

static void check_act_input(const char *file, const char *says, int actions) {
  FILE *out = tmpfile(), *err = tmpfile();
  int in = open(file, O_RDONLY), status, lines = 0;
  pid_t child = program_start("act run", in, fileno(out), fileno(err), 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  Outcome o = { .code = program_code(status) };
  program_read(out, o.out), program_read(err, o.err);
  close(in);
  program_expect(&o, 3, says);
  for (const char *c = o.out; *c; c++) lines += *c == '\n';
  assert_int_equal(lines, actions);
}

static void test_act_names_the_bad_line(void **state) {
  (void)state;
  check_act_input("short.csv", "line 3", 1);
  check_act_input("word.csv", "line 2", 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_mistakes_are_explained),
    cmocka_unit_test(test_a_run_that_is_being_written_is_refused),
    cmocka_unit_test(test_a_damaged_checkpoint_is_not_resumed),
    cmocka_unit_test(test_no_room_for_the_first_file),
    cmocka_unit_test(test_help_and_version),
    cmocka_unit_test(test_lists_and_doctor),
    cmocka_unit_test(test_doctor_looks_where_data_are_made),
    cmocka_unit_test(test_inspect_says_what_is_there),
    cmocka_unit_test(test_inspect_of_data_is_data_inspect),
    cmocka_unit_test(test_inspect_shows_a_checkpoint),
    cmocka_unit_test(test_inspect_names_the_damaged_tensor),
    cmocka_unit_test(test_inspect_escapes_what_files_say),
    cmocka_unit_test(test_dry_run_writes_nothing),
    cmocka_unit_test(test_too_much_memory_is_refused_with_the_numbers),
    cmocka_unit_test(test_eval_does_not_depend_on_threads_or_data),
    cmocka_unit_test(test_act_does_what_eval_measures),
    cmocka_unit_test(test_act_names_the_bad_line),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
