/* test_run.c -- a run's folder and what resuming makes of it: whatever ended a run, it goes on to
 * the same bits or is refused before anything is written. */
#include "tests/program.h"
#include <signal.h>

/* the settings of SMALL but for the intervals, which a line may then choose */
#define BARE                                                                                       \
  "train diffusion-ql --data point.hdf5 --env point-v0 --set hidden=16 --set batch=32"             \
  " --set group=8 --set lane=8 --set candidates=2 --set diffusion_steps=3 --set eval_episodes=2"
#define TRAIN "train diffusion-ql --data point.hdf5 --env point-v0" SMALL

static int setup(void **state) {
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  return 0;
}

/* A child that writes nowhere, killed once this file is there. */
static void kill_after(const char *line, const char *path) {
  FILE *nowhere = fopen("/dev/null", "w");
  pid_t child = program_start(line, -1, fileno(nowhere), fileno(nowhere), 0);
  for (int wait = 0; wait < 4000 && file_size(path) < 0; wait++) nap(0.005);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  fclose(nowhere);
}

/* ---- beginning anew -------------------------------------------------------------------------- */

static void test_a_run_killed_between_best_and_last_goes_on(void **state) {
  (void)state;
  Outcome o;
#define LATE BARE " --set save_every=1000000 --set eval_every=20"
  program_succeed(LATE " --steps 60 --out whole");
  kill_after(LATE " --steps 1000000 --out early", "early/best.safetensors");
  assert_int_equal(file_size("early/last.safetensors"), -1);
  program_run(&o, "train --resume early --steps 60");
  program_expect(&o, 0, "early was stopped before its first save, so it begins anew");
  assert_same_files("whole", "early", "last.safetensors best.safetensors eval.jsonl");
}

static void test_a_last_that_is_gone_is_not_begun_anew(void **state) {
  (void)state;
  program_succeed(BARE " --set save_every=20 --set eval_every=30 --steps 60 --out gone");
  assert_int_equal(unlink("gone/last.safetensors"), 0);
  program_refuse(3, "train --resume gone", "gone/last.safetensors is missing, though the run came");
  /* nor are weights that no seed makes again */
  program_succeed(TRAIN " --steps 20 --out old");
  program_succeed(TRAIN " --steps 20 --init old --out young");
  assert_int_equal(unlink("young/last.safetensors"), 0);
  unlink("young/best.safetensors");
  program_refuse(3, "train --resume young", "the run began with the weights of old");
}

static void test_a_new_run_has_no_file_of_an_older_one(void **state) {
  (void)state;
  program_succeed(TRAIN " --steps 20 --out orphan");
  program_succeed(TRAIN " --steps 20 --out fresh");
  assert_int_equal(unlink("orphan/config.json"), 0);
  program_refuse(2, TRAIN " --steps 20 --out orphan", "without the config.json of its run");
  assert_int_equal(unlink("orphan/best.safetensors"), 0);
  program_refuse(2, TRAIN " --steps 20 --out orphan", "orphan/last.safetensors lies there");
  assert_int_equal(unlink("orphan/last.safetensors"), 0);
  program_succeed(TRAIN " --steps 20 --out orphan");
  assert_same_files("fresh", "orphan", "last.safetensors best.safetensors eval.jsonl");
}

/* Whatever refuses a new run after its folder was made leaves nothing of it. */
static void test_a_refused_run_leaves_nothing(void **state) {
  (void)state;
  Outcome o;
  /* by the checkpoint it is to begin with, by the sampler, and by the network */
  const char *const refused[] = { TRAIN " --steps 1 --out none --init point.hdf5",
                                  "train toy --data moons --steps 1 --out none --set sampler=hewn",
                                  TRAIN " --steps 1 --out none --set sampler=hewn" };
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    program_run(&o, refused[i]);
    assert_int_not_equal(o.code, 0);
    assert_int_equal(access("none", F_OK), -1);
  }
  /* a folder that was there stays, and so does what is in it */
  program_succeed(TRAIN " --steps 20 --out before");
  assert_int_equal(unlink("before/config.json"), 0);
  program_refuse(2, TRAIN " --steps 20 --out before", "without the config.json of its run");
  assert_int_equal(access("before/lock", F_OK), -1);
  assert_int_equal(access("before/best.safetensors", F_OK), 0);
  /* and a run that is refused because one is there takes nothing from it */
  program_succeed(TRAIN " --steps 20 --out there");
  program_refuse(2, TRAIN " --steps 20 --out there", "holds a run already");
  assert_int_equal(access("there/lock", F_OK), 0);
}

/* ---- who listens ----------------------------------------------------------------------------- */

/* Its stderr, or stdout too, is a pipe of which nobody holds the other end. */
static int train_into_a_closed_pipe(const char *line, bool out) {
  int ends[2], status;
  FILE *nowhere = fopen("/dev/null", "w");
  assert_int_equal(pipe(ends), 0);
  close(ends[0]);
  pid_t child = program_start(line, -1, out ? ends[1] : fileno(nowhere), ends[1], 0);
  close(ends[1]);
  fclose(nowhere);
  waitpid(child, &status, 0);
  return program_code(status);
}

static void test_progress_that_nobody_reads_ends_no_run(void **state) {
  (void)state;
  program_succeed(TRAIN " --steps 100 --out heard");
  assert_int_equal(train_into_a_closed_pipe(TRAIN " --steps 100 --out unheard", false), 0);
  assert_same_files("heard", "unheard", "last.safetensors best.safetensors eval.jsonl");
  /* the result is lost, and the exit code says so */
  assert_int_equal(train_into_a_closed_pipe(TRAIN " --steps 100 --out untold", true), 1);
  assert_same_files("heard", "untold", "last.safetensors best.safetensors eval.jsonl");
}

static void test_act_into_a_closed_pipe_ends_quietly(void **state) {
  (void)state;
  program_succeed(TRAIN " --steps 20 --out acts");
  char line[4500];
  snprintf(line, sizeof line,
           "yes '0 0 0 0' | { '%s' act acts 2>err; echo $? >code; } | head -n 1 >answer",
           getenv("DIFFRL_UNDER_TEST"));
  assert_int_equal(system(line), 0);
  assert_int_equal(file_size("err"), 0);
  size_t n;
  char *code = file_read("code", &n);
  assert_string_equal(code, "141\n");
  free(code);
}

/* nohup ignores SIGHUP before the program starts */
static void test_a_run_under_nohup_outlives_the_terminal(void **state) {
  (void)state;
  int status;
  FILE *nowhere = fopen("/dev/null", "w");
  signal(SIGHUP, SIG_IGN);
  pid_t child =
      program_start(TRAIN " --steps 400 --out nohup", -1, fileno(nowhere), fileno(nowhere), 0);
  signal(SIGHUP, SIG_DFL);
  for (int wait = 0; wait < 4000 && file_size("nohup/metrics.jsonl") <= 0; wait++) nap(0.005);
  kill(child, SIGHUP);
  waitpid(child, &status, 0);
  fclose(nowhere);
  assert_int_equal(program_code(status), 0);
}

/* A shell's `>&-` closes a stream; the next file that is opened would get its number. */
static void test_a_closed_stream_is_no_file_of_the_run(void **state) {
  (void)state;
  static const struct {
    const char *closed;
    int code; /* the result is on stdout */
  } cases[] = {
    { "<&-", 0 }, { ">&-", 1 }, { "2>&-", 0 }, { "<&- 2>&-", 0 }, { "<&- >&- 2>&-", 1 }
  };
  const char *diffrl = getenv("DIFFRL_UNDER_TEST");
  char line[4600], folder[32], lock[48];
  program_succeed(TRAIN " --steps 40 --out open");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(folder, sizeof folder, "closed%zu", i), snprintf(lock, sizeof lock, "%s/lock", folder);
    snprintf(line, sizeof line, "exec '%s' " TRAIN " --steps 40 --out %s >said 2>&1 %s", diffrl,
             folder, cases[i].closed);
    assert_int_equal(program_code(system(line)), cases[i].code);
    assert_same_files("open", folder, "last.safetensors best.safetensors eval.jsonl");
    assert_int_equal(file_size(lock), 0);
    snprintf(line, sizeof line,
             "exec '%s' data make hopper-medium --transitions 300 --out %s.hdf5 >said 2>&1 %s",
             diffrl, folder, cases[i].closed);
    assert_int_equal(program_code(system(line)), cases[i].code);
    snprintf(lock, sizeof lock, "%s.hdf5", folder);
    assert_true(file_size(lock) > 1000);
  }
  snprintf(line, sizeof line, "exec '%s' act open <&- >said 2>&1", diffrl);
  assert_int_equal(program_code(system(line)), 1);
}

/* ---- what is only told ----------------------------------------------------------------------- */

/* Logs, figures and the report are on a full disk, are pipes that nobody reads, or folders. */
static void test_what_is_only_told_ends_no_run(void **state) {
  (void)state;
  Outcome o;
  const char *spoil[] = {
    "ln -sf /dev/full %s/metrics.jsonl; mkfifo %s/eval.jsonl.new; mv -f %s/eval.jsonl.new "
    "%s/eval.jsonl",
    "rm %s/metrics.jsonl %s/eval.jsonl; mkdir %s/metrics.jsonl; ln -s nowhere/x %s/eval.jsonl",
  };
  const char *figures = "cd %s; rm -f figures.jsonl samples.png report.html; mkdir samples.png "
                        "report.html; mkfifo figures.jsonl report.html.tmp field.png.tmp";
#define TOY                                                                                        \
  "train toy --data moons --set hidden=8 --set eval_points=64 --set eval_draws=1"                  \
  " --set eval_every=10 --set save_every=10 --set log_every=10 --threads 1"
  program_succeed(TOY " --steps 40 --set rate_steps=40 --out told");
  for (int i = 0; i < 2; i++) {
    char line[512], folder[16];
    snprintf(folder, sizeof folder, "spoilt%d", i);
    program_run(&o, TOY " --steps 20 --set rate_steps=40 --out %s", folder);
    program_expect(&o, 0, "steps=20");
    snprintf(line, sizeof line, spoil[i], folder, folder, folder, folder);
    assert_int_equal(system(line), 0);
    snprintf(line, sizeof line, figures, folder);
    assert_int_equal(system(line), 0);
    program_run(&o, "train --resume %s --steps 40", folder);
    program_expect(&o, 0, "metrics.jsonl: cannot be ");
    const char *said = strstr(o.err, "metrics.jsonl: cannot be ");
    assert_null(strstr(said + 1, "metrics.jsonl: cannot be written")); /* once */
    assert_non_null(strstr(o.err, "no report"));
    assert_same_files("told", folder, "last.safetensors best.safetensors");
  }
}

/* A draft of a file that this sitting would not write. */
static void test_a_killed_draft_does_not_stay(void **state) {
  (void)state;
  program_succeed(TRAIN " --steps 20 --out drafts");
  assert_int_equal(system("cd drafts && touch step-7.safetensors.tmp plans.png.tmp own.tmp"), 0);
  program_succeed("train --resume drafts --steps 40");
  assert_int_equal(file_size("drafts/step-7.safetensors.tmp"), -1);
  assert_int_equal(file_size("drafts/plans.png.tmp"), -1);
  assert_int_equal(file_size("drafts/own.tmp"), 0);
}

/* ---- fewer steps than are done --------------------------------------------------------------- */

static void test_fewer_steps_than_are_done_are_refused(void **state) {
  (void)state;
  static const char *const lines[] = {
    TRAIN " --steps 40 --out fewer0",
    "train sac --env point-v0 --set hidden=8 --set batch=8 --set group=8 --set random_steps=20 "
    "--set eval_episodes=1 --steps 40 --out fewer1",
  };
  for (int i = 0; i < 2; i++) {
    char line[128], copy[32];
    program_succeed(lines[i]);
    snprintf(line, sizeof line, "cp -rp fewer%d copy%d", i, i);
    assert_int_equal(system(line), 0);
    snprintf(line, sizeof line, "train --resume fewer%d --steps 3", i);
    program_refuse(2, line, "40 steps are done, more than the 3");
    snprintf(line, sizeof line, "diff -r fewer%d copy%d", i, i);
    assert_int_equal(system(line), 0);
    snprintf(copy, sizeof copy, "train --resume fewer%d", i);
    program_succeed(copy);
  }
}

/* ---- seeds ----------------------------------------------------------------------------------- */

static void test_the_largest_seed_is_resumed(void **state) {
  (void)state;
#define SEEDED TRAIN " --seed 9007199254740992"
  program_succeed(SEEDED " --steps 40 --out seeded");
  program_succeed(SEEDED " --steps 20 --out seeds");
  program_succeed("train --resume seeds --steps 40");
  assert_same_file("seeded/last.safetensors", "seeds/last.safetensors");
  /* JSON would not carry the next one */
  program_refuse(2, TRAIN " --seed 9007199254740993", "out of range");
  static const char *const edits[] = { "-1", "0.5", "\\\"0\\\"", "1e17", "null" };
  for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
    char line[256];
    snprintf(line, sizeof line, "sed -i 's/\"seed\":[^,]*,/\"seed\":%s,/' seeds/config.json",
             edits[i]);
    assert_int_equal(system(line), 0);
    program_refuse(3, "train --resume seeds",
                   "seeds/config.json: \"seed\": expected a whole number");
  }
}

/* ---- files that are one state ---------------------------------------------------------------- */

#define SAC                                                                                        \
  "train sac --env point-v0 --set hidden=8 --set batch=8 --set group=8 --set random_steps=20"      \
  " --set eval_episodes=1 --set save_every=10 --set keep_every=20"

/* with `bytes` zeros at `at` */
static void zero(const char *path, long at, long bytes) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  fseek(file, at, SEEK_SET);
  while (bytes--) fputc(0, file);
  assert_int_equal(fclose(file), 0);
}

static void test_a_replay_that_is_not_the_counted_one_is_found(void **state) {
  (void)state;
  program_succeed(SAC " --steps 60 --out sac");
  program_succeed(SAC " --steps 40 --out torn");
  long size = file_size("torn/replay.bin");
  /* a block that a power cut left unwritten: in the middle, at the end, a single byte */
  const long at[] = { size / 2, size - 4, 0 }, bytes[] = { 100, 4, 1 };
  for (int i = 0; i < 3; i++) {
    assert_int_equal(system("cp torn/replay.bin whole.bin"), 0);
    zero("torn/replay.bin", at[i], bytes[i]);
    assert_int_equal(system("cp torn/replay.bin torn.bin"), 0);
    program_refuse(3, "train --resume torn --steps 60", "torn/replay.bin was changed or damaged");
    assert_same_file("torn.bin", "torn/replay.bin");
    assert_int_equal(system("cp whole.bin torn/replay.bin"), 0);
  }
  assert_int_equal(truncate("torn/replay.bin", size - 1), 0);
  program_refuse(3, "train --resume torn --steps 60", "torn/replay.bin is cut short");
  /* the way out that the message names: an older state counts fewer rows */
  assert_int_equal(system("cp torn/step-20.safetensors torn/last.safetensors"), 0);
  program_succeed("train --resume torn --steps 60");
  assert_same_files("sac", "torn", "last.safetensors step-40.safetensors replay.bin");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_run_killed_between_best_and_last_goes_on),
    cmocka_unit_test(test_a_last_that_is_gone_is_not_begun_anew),
    cmocka_unit_test(test_a_new_run_has_no_file_of_an_older_one),
    cmocka_unit_test(test_a_refused_run_leaves_nothing),
    cmocka_unit_test(test_progress_that_nobody_reads_ends_no_run),
    cmocka_unit_test(test_act_into_a_closed_pipe_ends_quietly),
    cmocka_unit_test(test_a_run_under_nohup_outlives_the_terminal),
    cmocka_unit_test(test_a_closed_stream_is_no_file_of_the_run),
    cmocka_unit_test(test_what_is_only_told_ends_no_run),
    cmocka_unit_test(test_a_killed_draft_does_not_stay),
    cmocka_unit_test(test_fewer_steps_than_are_done_are_refused),
    cmocka_unit_test(test_the_largest_seed_is_resumed),
    cmocka_unit_test(test_a_replay_that_is_not_the_counted_one_is_found),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
