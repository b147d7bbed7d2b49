/* test_kills.c -- a run that is killed, or whose writes fail, at any instant goes on to the files
 * of one that was not.  Promise B9 of docs/design.md.
 *
 * $DIFFRL_KILLS and $DIFFRL_FAULTS say how many (`make soak`: many); $DIFFRL_SEED makes the
 * instants those of another time, as far as a clock can. */
#include "core/checkpoint.h"
#include "core/clock.h"
#include "tests/program.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>

#define OFTEN                                                                                      \
  " --set hidden=8 --set batch=8 --set group=8 --set log_every=7 --set eval_every=20"              \
  " --set save_every=10 --set keep_every=30 --threads 1 --steps 60"

/* algorithms whose state is of different kinds: a model, a simulation and its replay, an average */
static const char *const lines[] = {
  "train toy --data moons --set eval_points=32 --set eval_draws=1 --set pictures=false "
  "--set rate_steps=60" OFTEN,
  "train sac --env point-v0 --set random_steps=20 --set eval_episodes=1" OFTEN,
  "train diffusion-bc --data point.hdf5 --env point-v0 --set diffusion_steps=3 "
  "--set weights=ema --set ema_start=15 --set eval_episodes=1" OFTEN,
};
enum { CASES = sizeof lines / sizeof *lines };

static double calm_seconds[CASES];
static uint64_t seed;
static char memory_folder[sizeof "/dev/shm/diffrl-kills-XXXXXX"]; /* ours; "": none */

static long asked(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

/* One run that is left alone, and how long it takes. */
static void train_calm(int i) {
  char line[1024];
  snprintf(line, sizeof line, "%s --out calm%d", lines[i], i);
  double began = clock_now();
  program_succeed(line);
  calm_seconds[i] = clock_now() - began;
}

/* In memory, where syncing takes no time, if the machine has such a place. */
static int setup(void **state) {
  if (program_enter(state)) return -1;
  char memory[] = "/dev/shm/diffrl-kills-XXXXXX";
  if (mkdtemp(memory)) {
    strcpy(memory_folder, memory);
    if (chdir(memory)) return -1;
  }
  file_make_data("point.hdf5", "point-v0", 12, 1, "{\"env\": \"point-v0\"}");
  seed = (uint64_t)asked("DIFFRL_SEED", (long)time(NULL));
  fprintf(stderr, "test_kills: DIFFRL_SEED=%llu\n", (unsigned long long)seed);
  for (int i = 0; i < CASES; i++) train_calm(i);
  return 0;
}

static int leave(void **state) {
  char command[256];
  snprintf(command, sizeof command, "cd / && rm -rf '%s'", memory_folder);
  int kept = *memory_folder && system(command);
  return program_leave(state) || kept;
}

/* ---- two folders that should be one ---------------------------------------------------------- */

static bool ends_in(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n >= m && !strcmp(name + n - m, end);
}

/* The lines without the members that tell time. */
static char *read_metrics(const char *folder) {
  char path[64];
  size_t n;
  snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
  char *text = file_read(path, &n), *to = text;
  for (const char *from = text; *from;) {
    if (!strncmp(from, "\"time_s\":", 9) || !strncmp(from, "\"steps_per_s\":", 14))
      from += strcspn(from, ",}\n");
    else
      *to++ = *from++;
  }
  *to = '\0';
  return text;
}

static void assert_same_metrics(const char *a, const char *b) {
  char *x = read_metrics(a), *y = read_metrics(b);
  if (strcmp(x, y)) fail_msg("%s/metrics.jsonl: %s; %s/metrics.jsonl: %s", a, x, b, y);
  free(x), free(y);
}

/* The same checkpoints, replay and, if asked, logs; and no file that was only begun. */
static void assert_same_runs(int i, const char *folder, bool logs) {
  char calm[16], name[512];
  int files = 0, expected = 0;
  snprintf(calm, sizeof calm, "calm%d", i);
  DIR *all = opendir(folder);
  for (struct dirent *entry; (entry = readdir(all));) {
    if (ends_in(entry->d_name, ".tmp")) fail_msg("%s/%s stayed behind", folder, entry->d_name);
    files += ends_in(entry->d_name, ".safetensors");
  }
  closedir(all);
  all = opendir(calm);
  for (struct dirent *entry; (entry = readdir(all));) {
    bool state = ends_in(entry->d_name, ".safetensors");
    expected += state;
    snprintf(name, sizeof name, "%s", entry->d_name);
    if (state || !strcmp(name, "replay.bin") || (logs && !strcmp(name, "eval.jsonl")))
      assert_same_files(calm, folder, name);
  }
  closedir(all);
  assert_int_equal(files, expected);
  if (logs) assert_same_metrics(calm, folder);
}

/* so that a thousand do not fill the memory */
static void remove_run(const char *folder) {
  char command[64];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  assert_int_equal(system(command), 0);
}

/* Whatever has happened, a `last` that is there can be loaded. */
static void assert_last_is_whole(const char *folder) {
  char path[64];
  Error error;
  Checkpoint c;
  snprintf(path, sizeof path, "%s/last.safetensors", folder);
  if (file_size(path) < 0) return;
  Arena *arena = arena_new();
  checkpoint_init(&c, arena);
  if (!checkpoint_load(&c, path, NULL, &error)) fail_msg("%s", error.text);
  arena_free(arena);
}

/* ---- kills ----------------------------------------------------------------------------------- */

/* what goes on with this run: its resumption, once it is one */
static void next_line(int i, const char *folder, char line[1024]) {
  char config[64];
  snprintf(config, sizeof config, "%s/config.json", folder);
  if (file_size(config) >= 0)
    snprintf(line, 1024, "train --resume %s", folder);
  else
    snprintf(line, 1024, "%s --out %s", lines[i], folder);
}

static pid_t start(const char *line) {
  FILE *nowhere = fopen("/dev/null", "w");
  pid_t child = program_start(line, -1, fileno(nowhere), fileno(nowhere), 0);
  fclose(nowhere);
  return child;
}

/* Started, and ended after a time that may be longer than it needs; true if it came to its end. */
static bool sit(int i, const char *folder, Rng rng, uint64_t kill_number) {
  char line[1024];
  int status;
  next_line(i, folder, line);
  pid_t child = start(line);
  nap(1.2 * calm_seconds[i] * rng_uniform(rng, kill_number, 0, 0));
  /* most cannot be caught; the others leave a checkpoint where they come */
  kill(child, rng_uniform(rng, kill_number, 1, 0) < 0.8 ? SIGKILL : SIGHUP);
  waitpid(child, &status, 0);
  int code = program_code(status);
  if (code && code != 128 + SIGKILL && code != 128 + SIGHUP) fail_msg("%s: exit %d", line, code);
  assert_last_is_whole(folder);
  return !code;
}

static void kill_often(int i) {
  Rng rng = rng_stream(seed, lines[i]);
  long kills = asked("DIFFRL_KILLS", 100) / CASES + 1;
  char folder[32], line[1024];
  int runs = 0;
  snprintf(folder, sizeof folder, "killed%d-0", i);
  for (long done = 0; done < kills;) {
    bool ended = sit(i, folder, rng, (uint64_t)done + (uint64_t)runs * 1000000);
    done += !ended;
    /* the machine may have more or less time now: most runs are to be killed a few times */
    calm_seconds[i] *= ended ? 0.8 : 1.04;
    if (!ended && done < kills) continue;
    if (!ended) next_line(i, folder, line), program_succeed(line);
    assert_same_runs(i, folder, true);
    remove_run(folder);
    snprintf(folder, sizeof folder, "killed%d-%d", i, ++runs);
  }
}

static void test_kills_at_any_instant_change_no_bit(void **state) {
  (void)state;
  for (int i = 0; i < CASES; i++) kill_often(i);
}

/* ---- calls that fail ------------------------------------------------------------------------- */

/* calls that a run makes, and how often: "open 7" a line */
typedef struct {
  char name[16];
  long count;
} Call;
enum { MOST_CALLS = 16 };

static void use_library(const char *folder) {
  char self[4096], library[4200];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  assert_true(length > 0);
  self[length] = '\0', *strrchr(self, '/') = '\0';
  snprintf(library, sizeof library, "%s/faults.so", self);
  if (access(library, R_OK)) fail_msg("%s is not built", library);
  setenv("FAULT_UNDER", folder, 1), setenv("LD_PRELOAD", library, 1);
}

/* The calls of this line, which is run and left alone. */
static int count_calls(const char *line, const char *folder, Call call[MOST_CALLS]) {
  int status, count = 0;
  setenv("FAULT_COUNTS", "counts", 1);
  use_library(folder);
  pid_t child = start(line);
  unsetenv("LD_PRELOAD"), unsetenv("FAULT_COUNTS");
  waitpid(child, &status, 0);
  assert_int_equal(program_code(status), 0);
  FILE *file = fopen("counts", "r");
  assert_non_null(file);
  while (count < MOST_CALLS && fscanf(file, "%15s %ld", call[count].name, &call[count].count) == 2)
    count += call[count].count > 0;
  fclose(file);
  assert_true(count >= 5);
  return count;
}

/* Its exit code with this call failing. */
static int run_failing(const char *line, const char *folder, const Call *call, int number,
                       bool on) {
  char text[32];
  int status;
  snprintf(text, sizeof text, "%ld", call->count), setenv("FAULT_AT", text, 1);
  snprintf(text, sizeof text, "%d", number), setenv("FAULT_ERRNO", text, 1);
  setenv("FAULT_CALL", call->name, 1);
  if (on) setenv("FAULT_ON", "1", 1);
  use_library(folder);
  pid_t child = start(line);
  unsetenv("LD_PRELOAD"), unsetenv("FAULT_ON"), unsetenv("FAULT_CALL");
  waitpid(child, &status, 0);
  return program_code(status);
}

/* the first 40 steps, if it is to be resumed, and what is run then */
static void begin(int i, const char *folder, bool resumes, char line[1024]) {
  snprintf(line, 1024, "%s --out %s", lines[i], folder);
  if (!resumes) return;
  memcpy(strstr(line, "--steps 60"), "--steps 40", 10);
  program_succeed(line);
  snprintf(line, 1024, "train --resume %s --steps 60", folder);
}

/* One call fails, in a run or in its second part; what it left is resumed. */
static void fail_once(int i, int try, bool resumes, const Call *all, int count, Rng rng) {
  static const int numbers[] = { ENOSPC, EIO, EINTR };
  uint64_t step = (uint64_t)try;
  char folder[32], line[1024];
  Call call = all[rng_below(rng, step, 0, 0, (uint64_t)count)];
  call.count = 1 + (long)rng_below(rng, step, 1, 0, (uint64_t)call.count);
  /* nothing interrupts a rename, and what is interrupted for ever is tried for ever */
  int number = numbers[rng_below(rng, step, 2, 0, strcmp(call.name, "rename") ? 3 : 2)];
  bool on = number != EINTR && rng_below(rng, step, 3, 0, 4) == 0;
  snprintf(folder, sizeof folder, "failed%d-%d-%d", i, resumes, try);
  begin(i, folder, resumes, line);
  int code = run_failing(line, folder, &call, number, on);
  if (code > 1 || (code && number == EINTR))
    fail_msg("%s: exit code %d with errno %d of %s number %ld", line, code, number, call.name,
             call.count);
  assert_last_is_whole(folder);
  next_line(i, folder, line);
  if (resumes) strcat(line, " --steps 60");
  program_succeed(line);
  /* a line of a log that could not be written is lost, and said to be */
  assert_same_runs(i, folder, number == EINTR);
  remove_run(folder);
}

static void fail_often(int i, long faults) {
  Rng rng = rng_stream(seed ^ 1, lines[i]);
  Call call[2][MOST_CALLS];
  int count[2];
  for (int resumes = 0; resumes < 2; resumes++) {
    char folder[32], line[1024];
    snprintf(folder, sizeof folder, "counted%d-%d", i, resumes);
    begin(i, folder, resumes, line);
    count[resumes] = count_calls(line, folder, call[resumes]);
  }
  for (int try = 0; try < faults; try++) {
    int resumes = try % 2;
    fail_once(i, try, resumes, call[resumes], count[resumes], rng);
  }
}

static void test_calls_that_fail_lose_no_state(void **state) {
  (void)state;
  const char *mode = getenv("DIFFRL_UNDER_TEST");
  if (strstr(mode, "san/")) skip(); /* a sanitizer wants to be loaded first */
  long faults = asked("DIFFRL_FAULTS", 60) / CASES + 1;
  for (int i = 0; i < CASES; i++) fail_often(i, faults);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_kills_at_any_instant_change_no_bit),
    cmocka_unit_test(test_calls_that_fail_lose_no_state),
  };
  return cmocka_run_group_tests(tests, setup, leave);
}
