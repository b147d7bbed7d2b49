/* bench_startup.c -- from the start of the process to the end of its first training step: this very
 * program, started again and again on a file of a million rows. */
#include "datasets/dataset.h"
#include "core/clock.h"
#include "core/rng.h"
#include "rl/bench/bench_def.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH = 512, LEAST = 5, MOST = 200 };

typedef struct {
  const Bench *bench;
  char folder[64], data[PATH]; /* everything is written in this folder */
  int runs;
  double ms[MOST], step_ms[MOST]; /* of all; of the step alone */
  double rss_mb, data_mb;         /* resident after the step: without and of the mapped data */
} Startup;

/* ---- a file ---------------------------------------------------------------------------------- */

static bool write_rows(DatasetWriter *writer, Error *error) {
  Rng rng = rng_stream(0, "bench data");
  enum { NUMBERS = BENCH_OBS + BENCH_ACT + 1 };
  float now[NUMBERS], next[NUMBERS];
  rng_normals(rng, 0, 0, next, NUMBERS);
  for (int i = 0; i < BENCH_ROWS; i++) {
    /* the next row's observation is what followed this one */
    memcpy(now, next, sizeof now);
    rng_normals(rng, 0, (uint32_t)i + 1, next, NUMBERS);
    float *act = now + BENCH_OBS;
    for (int j = 0; j < BENCH_ACT; j++) act[j] = tanhf(act[j]);
    DatasetStep step = { .obs = now,
                         .act = act,
                         .next = next,
                         .reward = act[BENCH_ACT],
                         .timeout = i % 1000 == 999,
                         .log_prob = NAN };
    if (!dataset_writer_add(writer, &step, error)) return false;
  }
  return true;
}

static bool write_file(Startup *s, Error *error) {
  snprintf(s->folder, sizeof s->folder, "%s/diffrl-bench-XXXXXX", P_tmpdir);
  if (!mkdtemp(s->folder)) {
    *s->folder = 0;
    return error_set(error, FAIL_RUNNING, "no folder can be made in %s", P_tmpdir);
  }
  snprintf(s->data, sizeof s->data, "%s/hopper-bench.hdf5", s->folder);
  DatasetWriter *writer = dataset_writer_open(s->data, BENCH_OBS, BENCH_ACT, 0, 0, error);
  if (!writer) return false;
  if (write_rows(writer, error))
    return dataset_writer_close(writer, "{\"env\":\"hopper-v2\"}", error);
  dataset_writer_abandon(writer);
  return false;
}

static void remove_tree(const char *path) {
  DIR *folder = opendir(path);
  for (struct dirent *entry; folder && (entry = readdir(folder));) {
    char inside[PATH + 256];
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
    if (unlink(inside) && errno == EISDIR) remove_tree(inside);
  }
  if (folder) closedir(folder);
  rmdir(path);
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* A child whose stderr can be read; it will be killed. */
static pid_t start(const Startup *s, int run, FILE **said) {
  char threads[16], out[PATH + 32];
  int pipe_ends[2];
  snprintf(threads, sizeof threads, "%d", pool_threads(s->bench->pool));
  snprintf(out, sizeof out, "%s/run-%d", s->folder, run);
  const char *word[] = {
    "diffrl",  "train", "diffusion-ql", "--data", s->data, "--out",       out,
    "--steps", "2",     "--threads",    threads,  "--set", "log_every=1", NULL
  };
  if (pipe(pipe_ends)) return -1;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], 2), close(pipe_ends[0]), close(pipe_ends[1]);
    dup2(open("/dev/null", O_WRONLY), 1); /* its result is not ours */
    setenv("XDG_CACHE_HOME", s->folder, 1);
    execv("/proc/self/exe", (char *const *)(uintptr_t)word);
    _exit(127);
  }
  close(pipe_ends[1]);
  *said = fdopen(pipe_ends[0], "r");
  return child;
}

/* Resident megabytes by /proc: of the cache of the data, and of everything else. */
static void read_memory(Startup *s, pid_t child) {
  char path[64], line[PATH + 128];
  double data = 0, other = 0, kb;
  bool is_data = false;
  snprintf(path, sizeof path, "/proc/%d/smaps", (int)child);
  FILE *file = fopen(path, "r");
  while (file && fgets(line, sizeof line, file)) {
    if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' ')) /* 7f12-7f34 r--s .. path */
      is_data = strstr(line, ".cache\n") != NULL;
    else if (sscanf(line, "Rss: %lf kB", &kb) == 1)
      *(is_data ? &data : &other) += kb / 1024;
  }
  if (file) fclose(file);
  s->data_mb = data, s->rss_mb = fmax(s->rss_mb, other);
}

/* "step 1 of 2, 0:00 left, 60.3 steps/s, .." comes at the end of the first step; 0: not yet. */
static double rate_in(const char *line) {
  const char *unit = strstr(line, " steps/s"), *number = unit;
  if (!unit || strncmp(line, "step 1 ", 7) != 0) return 0;
  while (number > line && number[-1] != ' ') number--;
  return strtod(number, NULL);
}

static bool run_once(Startup *s, int run, double *ms, double *step_ms, Error *error) {
  FILE *said = NULL;
  char line[1024] = "it cannot be started";
  double began = clock_now(), rate = 0;
  pid_t child = start(s, run, &said);
  while (said && fgets(line, sizeof line, said) && (rate = rate_in(line)) <= 0) {}
  *ms = 1e3 * (clock_now() - began), *step_ms = 1e3 / rate;
  if (child > 0) {
    kill(child, SIGSTOP);
    if (rate > 0) read_memory(s, child);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  if (said) fclose(said);
  line[strcspn(line, "\n")] = '\0';
  return rate > 0 || error_set(error, FAIL_RUNNING, "startup: the run failed: %s", line);
}

static void report(Startup *s, double first_ms, double floor_ms, double peak) {
  double p50 = bench_median(s->ms, s->runs), step = bench_median(s->step_ms, s->runs);
  BenchLine line = { .threads = pool_threads(s->bench->pool),
                     .best_ms = s->ms[0],
                     .p50_ms = p50,
                     .peak_gflops = peak,
                     .floor_ms = floor_ms,
                     .ratio_p50 = p50 / floor_ms };
  bench_fact(&line, "step_ms", step);
  bench_fact(&line, "setup_ms", p50 - step);
  bench_fact(&line, "first_ms", first_ms);
  bench_fact(&line, "rss_mb", s->rss_mb);
  bench_fact(&line, "data_mb", s->data_mb);
  bench_fact(&line, "runs", s->runs);
  bench_print(s->bench, &line);
}

static bool measure(Startup *s, Error *error) {
  const Bench *b = s->bench;
  BenchWork work = { .pool = b->pool };
  double first_ms, ignored, floor_ms = INFINITY, peak = 0;
  if (!write_file(s, error) || !run_once(s, MOST, &first_ms, &ignored, error)) return false;
  s->rss_mb = 0;
  for (double began = clock_now(); s->runs < MOST; s->runs++) {
    if (s->runs >= LEAST && clock_now() - began > bench_seconds(b, 4)) break;
    if (!run_once(s, s->runs, &s->ms[s->runs], &s->step_ms[s->runs], error)) return false;
    peak = fmax(peak, bench_fma(b->pool, b->kernels, 50));
    floor_ms = fmin(floor_ms, bench_floor(b, &work));
  }
  report(s, first_ms, floor_ms, peak);
  return true;
}

static bool run(const Bench *b, Error *error) {
  Startup *s = arena_alloc(b->arena, sizeof *s);
  s->bench = b;
  bool done = measure(s, error);
  if (*s->folder) remove_tree(s->folder);
  return done;
}

extern const BenchDef bench_diffusion_ql_step;
static double step_gflop(void) { return bench_diffusion_ql_step.gflop(); }

const BenchDef bench_startup = {
  .name = "startup",
  .about = "process start to the end of the first step of Diffusion-QL; floor: the step's",
  .gflop = step_gflop,
  .run = run,
};
