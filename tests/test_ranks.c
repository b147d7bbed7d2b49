/* test_ranks.c -- training over MPI, started as users start it.
 *
 * `make test-mpi` runs this beside a program built with MPI=1; beside one that was not, it sees
 * that mpirun is answered with a sentence.  How ranks add up is tested without MPI in test_tree.
 * Promises B3 and B9 of docs/design.md. */
#include "core/real.h"
#include "tests/program.h"
#include <dirent.h>
#include <signal.h>

#define TRAIN "train diffusion-ql --data point.hdf5 --env point-v0" SMALL

#define MPIRUN "mpirun --oversubscribe --bind-to none"

static bool has_mpi(void) { return strstr(getenv("DIFFRL_UNDER_TEST"), "-mpi/") != NULL; }

/* As root in a container, on fewer CPUs than ranks. */
static int setup(void **state) {
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1), setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  if (program_enter(state)) return -1;
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  return 0;
}

/* 0: without mpirun */
static void launch_with(int ranks) {
  char launcher[64];
  if (!ranks) {
    unsetenv("DIFFRL_LAUNCHER");
    return;
  }
  snprintf(launcher, sizeof launcher, MPIRUN " -n %d", ranks);
  setenv("DIFFRL_LAUNCHER", launcher, 1);
}

static void train(int ranks, const char *line) {
  Outcome o;
  launch_with(ranks);
  program_run(&o, "%s", line);
  launch_with(0);
  program_expect(&o, 0, "steps");
  if (ranks > 1) {
    char says[32];
    snprintf(says, sizeof says, "ranks=%d", ranks);
    program_expect(&o, 0, says);
  }
}

static void assert_same_run(const char *a, const char *b) {
  assert_same_files(a, b, "last.safetensors best.safetensors eval.jsonl");
}

/* ---- the same bits --------------------------------------------------------------------------- */

/* four groups of rows: also where they do not divide evenly, and where ranks have none */
static void any_number_of_ranks_gives_the_same_files(void **state) {
  (void)state;
  if (!has_mpi()) skip();
  train(0, TRAIN " --steps 100 --threads 1 --out alone");
  train(1, TRAIN " --steps 100 --out one");
  train(2, TRAIN " --steps 100 --threads 2 --out two");
  train(3, TRAIN " --steps 100 --threads 1 --out three");
  train(5, TRAIN " --steps 100 --threads 1 --out five");
  assert_same_run("alone", "one");
  assert_same_run("alone", "two");
  assert_same_run("alone", "three");
  assert_same_run("alone", "five");
}

static void a_run_goes_on_with_any_number_of_ranks(void **state) {
  (void)state;
  if (!has_mpi()) skip();
  train(0, TRAIN " --steps 150 --out whole");
  train(2, TRAIN " --steps 50 --out parts");
  train(0, "train --resume parts --steps 100");
  train(3, "train --resume parts --steps 150");
  assert_same_file("whole/last.safetensors", "parts/last.safetensors");
}

static void points_and_held_out_losses_too(void **state) {
  (void)state;
  if (!has_mpi()) skip();
#define TOY                                                                                        \
  "train toy --data moons --set pairing=ot --set batch=64 --set group=16 --steps 20"               \
  " --set eval_points=256 --set pictures=false"
#define BLIND                                                                                      \
  "train diffusion-bc --data point.hdf5 --env none --set hidden=32 --set batch=64 --set group=16"  \
  " --steps 20"
  train(0, TOY " --out toy"), train(3, TOY " --out toys");
  assert_same_run("toy", "toys");
  train(0, BLIND " --out blind"), train(2, BLIND " --out blinds");
  assert_same_file("blind/last.safetensors", "blinds/last.safetensors");
  assert_same_file("blind/eval.jsonl", "blinds/eval.jsonl");
}

/* ---- the end --------------------------------------------------------------------------------- */

typedef struct {
  pid_t mpirun;
  FILE *out, *err;
} Running;

static Running start(int ranks, const char *line, const char *metrics) {
  Running r = { .out = tmpfile(), .err = tmpfile() };
  launch_with(ranks);
  r.mpirun = program_start(line, -1, fileno(r.out), fileno(r.err), 0);
  launch_with(0);
  for (int wait = 0; wait < 4000 && file_size(metrics) <= 0; wait++) nap(0.005);
  assert_true(file_size(metrics) > 0);
  return r;
}

static void await_end(const Running *r, Outcome *o) {
  int status;
  assert_int_equal(waitpid(r->mpirun, &status, 0), r->mpirun);
  o->code = program_code(status);
  program_read(r->out, o->out), program_read(r->err, o->err);
}

/* the process that this one started as its rank */
static pid_t find_rank(pid_t mpirun, int rank) {
  char path[64], wanted[40], text[1 << 15];
  snprintf(wanted, sizeof wanted, "OMPI_COMM_WORLD_RANK=%d", rank);
  pid_t found = -1;
  DIR *processes = opendir("/proc");
  for (struct dirent *d; found < 0 && (d = readdir(processes));) {
    int pid = atoi(d->d_name), parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = pid ? fopen(path, "r") : NULL;
    bool child = file && fscanf(file, "%*d (%*[^)]) %*c %d", &parent) == 1 && parent == mpirun;
    if (file) fclose(file);
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    file = child ? fopen(path, "r") : NULL;
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    if (size && memmem(text, size, wanted, strlen(wanted) + 1)) found = pid;
  }
  closedir(processes);
  assert_true(found > 0);
  return found;
}

/* Whichever is killed, the others end too, and the run goes on to the bits of one that was not. */
static void a_killed_rank_ends_the_run_with_its_checkpoint(void **state) {
  (void)state;
  if (!has_mpi()) skip();
  train(0, TRAIN " --steps 4000 --out calm");
  for (int rank = 0; rank < 3; rank += 2) {
    Outcome o;
    Running r = start(3, TRAIN " --steps 4000000 --out torn", "torn/metrics.jsonl");
    kill(find_rank(r.mpirun, rank), SIGKILL);
    await_end(&r, &o);
    program_expect(&o, 128 + SIGKILL, "exited on signal 9");
    if (rank) program_expect(&o, 128 + SIGKILL, "the last good state is torn/last.safetensors");
    train(2, "train --resume torn --steps 4000");
    assert_same_file("calm/last.safetensors", "torn/last.safetensors");
    assert_int_equal(system("rm -r torn"), 0);
  }
}

static void a_signal_leaves_a_checkpoint(void **state) {
  (void)state;
  if (!has_mpi()) skip();
  const int numbers[] = { SIGINT, SIGTERM };
  for (int i = 0; i < 2; i++) {
    Outcome o;
    Running r = start(2, TRAIN " --steps 4000000 --out stopped", "stopped/metrics.jsonl");
    kill(r.mpirun, numbers[i]);
    await_end(&r, &o);
    assert_true(o.code != 0); /* mpirun's own: it says 1 whatever its processes say */
    assert_non_null(
        strstr(o.err, "checkpoint written; continue with `diffrl train --resume stopped`"));
    program_run(&o, "eval stopped --episodes 1");
    program_expect(&o, 0, "return");
    assert_int_equal(system("rm -r stopped"), 0);
  }
}

/* one that comes to any rank alone stops all of them, in the order of one process */
static void a_signal_to_one_rank_stops_all(void **state) {
  (void)state;
  if (!has_mpi()) skip();
  Outcome o;
  Running r = start(3, TRAIN " --steps 4000000 --out one-of-them", "one-of-them/metrics.jsonl");
  kill(find_rank(r.mpirun, 1), SIGTERM);
  await_end(&r, &o);
  program_expect(&o, 128 + SIGTERM, "checkpoint written");
}

static void what_rank_0_cannot_write_ends_all(void **state) {
  (void)state;
  if (!has_mpi()) skip();
  Outcome o;
  Running r = start(3, TRAIN " --steps 4000000 --out barred", "barred/metrics.jsonl");
  /* where the draft of a save would be, as soon as there is none */
  while (mkdir("barred/last.safetensors.tmp", 0777)) nap(0.001);
  await_end(&r, &o);
  program_expect(&o, 1, "barred/last.safetensors: cannot be written");
}

/* Observations of 1e30 overflow a float's gradient, not a double's. */
static void numbers_that_diverge_end_all_with_4(void **state) {
  (void)state;
  if (!has_mpi() || sizeof(real) > sizeof(float)) skip();
  Outcome o;
  file_make_data("huge.hdf5", "point-v0", 3, 1e30f, "{}");
  launch_with(3);
  program_run(&o, "train diffusion-ql --data huge.hdf5 --env point-v0" SMALL " --steps 9 --out h");
  launch_with(0);
  program_expect(&o, 4, "no longer finite at step 0; nothing was saved yet");
  assert_null(strstr(strstr(o.err, "no longer") + 1, "no longer")); /* said once */
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void what_ranks_cannot_share_is_refused(void **state) {
  (void)state;
  if (!has_mpi()) skip();
  Outcome o;
  launch_with(2);
  program_run(&o, "train sac --env point-v0 --out online");
  program_expect(&o, 2, "run it without mpirun");
  program_run(&o, "train diffusion-ql --data nowhere.hdf5 --out x");
  launch_with(0);
  program_expect(&o, 3, "no file nowhere.hdf5");
}

/* As on two machines, one of which has another file at the same path. */
static void ranks_with_other_data_are_refused(void **state) {
  (void)state;
  if (!has_mpi()) skip();
#define ODD "train diffusion-bc --env none --steps 5 --out odd --data"
  char two[1024];
  Outcome o;
  file_make_data("other.hdf5", "point-v0", 13, 1, "{}");
  snprintf(two, sizeof two, MPIRUN " -n 1 %s " ODD " point.hdf5 : -n 1",
           getenv("DIFFRL_UNDER_TEST"));
  setenv("DIFFRL_LAUNCHER", two, 1);
  program_run(&o, ODD " other.hdf5");
  launch_with(0);
  program_expect(&o, 1, "rank 1 holds other numbers than rank 0 at step 0");
  assert_int_equal(file_size("odd/last.safetensors"), -1);
}

static void a_program_without_mpi_says_so(void **state) {
  (void)state;
  if (has_mpi()) skip();
  Outcome o;
  setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  program_run(&o, TRAIN " --steps 1 --out four");
  unsetenv("OMPI_COMM_WORLD_SIZE");
  program_expect(&o, 2, "make MPI=1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_number_of_ranks_gives_the_same_files),
    cmocka_unit_test(a_run_goes_on_with_any_number_of_ranks),
    cmocka_unit_test(points_and_held_out_losses_too),
    cmocka_unit_test(a_killed_rank_ends_the_run_with_its_checkpoint),
    cmocka_unit_test(a_signal_leaves_a_checkpoint),
    cmocka_unit_test(a_signal_to_one_rank_stops_all),
    cmocka_unit_test(what_rank_0_cannot_write_ends_all),
    cmocka_unit_test(numbers_that_diverge_end_all_with_4),
    cmocka_unit_test(what_ranks_cannot_share_is_refused),
    cmocka_unit_test(ranks_with_other_data_are_refused),
    cmocka_unit_test(a_program_without_mpi_says_so),
  };
  return cmocka_run_group_tests(tests, setup, program_leave);
}
