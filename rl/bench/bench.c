/* bench.c -- the list of benchmarks, and what they share: timing beside probes, and printing. */
#include "rl/bench/bench.h"
#include "core/check.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/names.h"
#include "core/sort.h"
#include "rl/bench/bench_def.h"
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line a benchmark; its BenchDef is bench_<name>, in a file of its family. */
#define BENCHMARKS(X)                                                                              \
  X(diffusion_ql_step)                                                                             \
  X(diffusion_bc_step)                                                                             \
  X(sac_step)                                                                                      \
  X(unet1d_step)                                                                                   \
  X(plan_64x20)                                                                                    \
  X(unet2d_step)                                                                                   \
  X(unet2d_eval)                                                                                   \
  X(ddpo_epoch)                                                                                    \
  X(action_1)                                                                                      \
  X(action_50)                                                                                     \
  X(startup)                                                                                       \
  X(latency)                                                                                       \
  X(policy)                                                                                        \
  X(env_step)

#define DECLARE(name) extern const BenchDef bench_##name;
#define ENTRY(name)   &bench_##name,

BENCHMARKS(DECLARE)
static const BenchDef *const benches[] = { BENCHMARKS(ENTRY) };
enum { BENCHES = sizeof benches / sizeof *benches };

const BenchDef *const *bench_list(size_t *count) {
  *count = BENCHES;
  return benches;
}

const char *bench_name(const BenchDef *def) { return def->name; }
const char *bench_about(const BenchDef *def) { return def->about; }
bool bench_needs_policy(const BenchDef *def) { return def->needs_policy; }

/* ---- arithmetic ------------------------------------------------------------------------------ */

double bench_macs(const int *width, int layers) {
  double sum = 0;
  for (int i = 0; i < layers; i++) sum += (double)width[i] * width[i + 1];
  return sum;
}

/* The time network counts as if it saw every row, as PyTorch's does. */
double bench_denoiser_macs(void) {
  enum { TIME = 16, H = BENCH_HIDDEN };
  return bench_macs((int[]){ BENCH_ACT + TIME + BENCH_OBS, H, H, H, BENCH_ACT }, 4) +
         bench_macs((int[]){ TIME, 2 * TIME, TIME }, 2);
}

double bench_critic_macs(int hidden_layers) {
  double hidden = (double)BENCH_HIDDEN;
  return (BENCH_OBS + BENCH_ACT + 1 + (hidden_layers - 1) * hidden) * hidden;
}

double bench_seconds(const Bench *bench, double otherwise) {
  return bench->options->seconds > 0 ? bench->options->seconds : otherwise;
}

/* ---- timing ---------------------------------------------------------------------------------- */

enum { LEAST_BLOCKS = 5, MOST_BLOCKS = 1000 };
static const double block_seconds = 0.005;

typedef struct {
  const Bench *bench;
  const BenchWork *work;
  int64_t index; /* of the next call */
  double ms[MOST_BLOCKS], ratio[MOST_BLOCKS];
  double peak, floor_ms; /* best so far */
} Timer;

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double bench_median(double *value, int count) {
  sort(value, (size_t)count, sizeof *value, by_size);
  return value[count / 2];
}

/* Seconds of so many calls; negative if one failed. */
static double time_calls(Timer *t, int64_t calls) {
  double began = clock_now();
  for (int64_t i = 0; i < calls; i++)
    if (!t->work->call(t->work->context, t->index++)) return -1;
  return clock_now() - began;
}

static double floor_ms(const Bench *bench, const BenchWork *work, double peak) {
  double ms = 1e3 * bench->def->gflop() / peak, bytes = (double)work->bytes * work->passes;
  return work->stream ? fmax(ms, 1e-6 * bytes / bench_read(work->stream, work->bytes)) : ms;
}

double bench_floor(const Bench *bench, const BenchWork *work) {
  return floor_ms(bench, work, bench_fma(work->pool, bench->kernels, 50));
}

static double probe(Timer *t, int blocks) {
  double peak = bench_fma(t->work->pool, t->bench->kernels, blocks);
  double ms = floor_ms(t->bench, t->work, peak);
  t->peak = fmax(t->peak, peak), t->floor_ms = fmin(t->floor_ms, ms);
  return ms;
}

/* Calls a block: a multiple of the work's, long enough to be timed; 0 if a call failed. */
static int64_t block_calls(Timer *t) {
  double took = time_calls(t, t->work->block);
  took = took < 0 ? took : time_calls(t, t->work->block);
  return took < 0 ? 0 : t->work->block * (int64_t)fmax(1, ceil(block_seconds / took));
}

/* A probe of reading takes the cache from the work, so its first call after it does not count. */
static bool time_blocks(Timer *t, int64_t calls, int *blocks) {
  double began = clock_now(), before = probe(t, 50);
  for (int b = 0; b < MOST_BLOCKS; *blocks = ++b) {
    if (b >= LEAST_BLOCKS && clock_now() - began > bench_seconds(t->bench, 4)) break;
    if (t->work->stream && time_calls(t, 1) < 0) return false;
    double took = time_calls(t, calls);
    if (took < 0) return false;
    double after = probe(t, 10);
    t->ms[b] = 1e3 * took / (double)calls;
    t->ratio[b] = t->ms[b] / fmin(before, after);
    before = after;
  }
  return true;
}

static size_t allocated(const Bench *bench) {
  return mallinfo2().uordblks + arena_bytes(bench->arena);
}

bool bench_time(const Bench *bench, const BenchWork *work, BenchLine *line) {
  Timer *t = arena_alloc(bench->arena, sizeof *t);
  *t = (Timer){ .bench = bench, .work = work, .floor_ms = INFINITY };
  int64_t calls = block_calls(t);
  int blocks = 0;
  if (bench->profile) profile_clear(bench->profile);
  size_t before = allocated(bench);
  int64_t first = t->index;
  if (!calls || !time_blocks(t, calls, &blocks)) return false;
  bench_fact(line, "allocated_bytes", (double)(allocated(bench) - before));
  line->threads = work->pool ? pool_threads(work->pool) : 1;
  line->calls = t->index - first, line->profiled_ms = 0;
  for (int b = 0; b < blocks; b++) line->profiled_ms += t->ms[b] * (double)calls * line->threads;
  line->p50_ms = bench_median(t->ms, blocks), line->best_ms = t->ms[0];
  line->peak_gflops = t->peak, line->floor_ms = t->floor_ms;
  line->ratio_p50 = bench_median(t->ratio, blocks);
  return true;
}

/* ---- printing -------------------------------------------------------------------------------- */

static void add_fact(BenchLine *line, const char *key, double value, const char *text) {
  CHECK(line->facts < BENCH_FACTS, "bench: more than %d facts", BENCH_FACTS);
  line->fact[line->facts].key = key, line->fact[line->facts].text = text;
  line->fact[line->facts++].value = value;
}

void bench_fact(BenchLine *line, const char *key, double value) {
  add_fact(line, key, value, NULL);
}

void bench_fact_text(BenchLine *line, const char *key, const char *text) {
  add_fact(line, key, 0, text);
}

static double gflop(const Bench *bench) { return bench->def->gflop ? bench->def->gflop() : NAN; }

static void print_text(const Bench *bench, const BenchLine *line) {
  printf("%s, %d thread%s: best %.4g ms, median %.4g ms; ", bench->def->name, line->threads,
         line->threads == 1 ? "" : "s", line->best_ms, line->p50_ms);
  if (bench->def->gflop) printf("needs %.4g GFLOP, ", gflop(bench));
  printf("peak %.0f GFLOP/s, floor %.4g ms, ratio %.2f, median %.2f", line->peak_gflops,
         line->floor_ms, line->best_ms / line->floor_ms, line->ratio_p50);
  for (int i = 0; i < line->facts; i++)
    if (line->fact[i].text)
      printf("; %s %s", line->fact[i].key, line->fact[i].text);
    else
      printf("; %s %.6g", line->fact[i].key, line->fact[i].value);
  puts("");
}

/* the profile with the time outside of it as its last entry */
static int profile_with_rest(const Bench *bench, const BenchLine *line,
                             ProfileEntry entry[PROFILE_NAMES + 1]) {
  int count = bench->profile ? profile_entries(bench->profile, entry) : 0;
  if (!count) return 0;
  double rest = 1e6 * line->profiled_ms;
  for (int i = 0; i < count; i++) rest -= (double)entry[i].ns;
  entry[count] = (ProfileEntry){ .name = "batch, averages, waiting",
                                 .calls = line->calls,
                                 .ns = (int64_t)rest };
  return count + 1;
}

static void print_profile_text(const Bench *bench, const BenchLine *line) {
  ProfileEntry entry[PROFILE_NAMES + 1];
  int count = profile_with_rest(bench, line, entry);
  double calls = (double)line->calls;
  if (count)
    printf("  %-26s %10s %7s %8s %8s\n", "thread time by op", "ms", "share", "calls", "GFLOP/s");
  for (int i = 0; i < count; i++) {
    const ProfileEntry *e = &entry[i];
    printf("  %-26s %10.4f %6.1f%% %8.1f", e->name, 1e-6 * (double)e->ns / calls,
           1e-4 * (double)e->ns / line->profiled_ms, (double)e->calls / calls);
    if (e->flops > 0) printf(" %8.1f", e->flops / (double)e->ns);
    puts("");
  }
}

/* six digits: more were never measured */
static void put_number(JsonText *out, const char *key, double value) {
  char text[32];
  snprintf(text, sizeof text, "%.6g", value);
  json_put_number(out, key, strtod(text, NULL));
}

static void write_profile(const Bench *bench, const BenchLine *line, JsonText *out) {
  ProfileEntry entry[PROFILE_NAMES + 1];
  int count = profile_with_rest(bench, line, entry);
  double calls = (double)line->calls;
  if (!count) return;
  json_open(out, "profile", '[');
  for (int i = 0; i < count; i++) {
    const ProfileEntry *e = &entry[i];
    json_open(out, NULL, '{');
    json_put_text(out, "op", e->name);
    put_number(out, "ms", 1e-6 * (double)e->ns / calls);
    put_number(out, "share", 1e-6 * (double)e->ns / line->profiled_ms);
    put_number(out, "calls", (double)e->calls / calls);
    put_number(out, "gflops", e->flops > 0 ? e->flops / (double)e->ns : NAN);
    json_close(out, '}');
  }
  json_close(out, ']');
}

static void print_json(const Bench *bench, const BenchLine *line) {
  JsonText out = { 0 };
  json_open(&out, NULL, '{');
  json_put_text(&out, "name", bench->def->name);
  json_put_integer(&out, "threads", line->threads);
  put_number(&out, "best_ms", line->best_ms);
  put_number(&out, "p50_ms", line->p50_ms);
  put_number(&out, "needed_gflop", gflop(bench));
  put_number(&out, "peak_gflops", line->peak_gflops);
  put_number(&out, "floor_ms", line->floor_ms);
  put_number(&out, "ratio", line->best_ms / line->floor_ms);
  put_number(&out, "ratio_p50", line->ratio_p50);
  for (int i = 0; i < line->facts; i++)
    if (line->fact[i].text)
      json_put_text(&out, line->fact[i].key, line->fact[i].text);
    else
      put_number(&out, line->fact[i].key, line->fact[i].value);
  write_profile(bench, line, &out);
  json_close(&out, '}');
  puts(out.text);
  json_text_free(&out);
}

void bench_print(const Bench *bench, const BenchLine *line) {
  if (bench->options->json) {
    print_json(bench, line);
  } else {
    print_text(bench, line);
    print_profile_text(bench, line);
  }
  fflush(stdout);
}

/* ---- running --------------------------------------------------------------------------------- */

static const BenchDef *find(const char *name, Error *error) {
  const Names *names = NAMES(benches, BENCHES, .pointers = true, .what = "benchmark",
                             .see = "`diffrl list benchmarks`");
  int i = names_find(names, name, error);
  return i < 0 ? NULL : benches[i];
}

bool bench_run(const char *name, const BenchOptions *options, Error *error) {
  Bench bench = { .def = find(name, error), .options = options };
  bench.kernels = bench.def ? kernels_find("own", error) : NULL;
  if (!bench.kernels) return false;
  if (bench.def->needs_policy && !options->policy)
    return error_set(error, FAIL_USAGE, "bench %s: whose? give --policy RUN or FILE",
                     bench.def->name);
  bench.arena = arena_new();
  bench.pool = pool_new(options->threads ? options->threads : pool_cpus(), error);
  if (!bench.pool) return arena_free(bench.arena), false;
  if (options->profile) bench.profile = profile_new(bench.arena, pool_threads(bench.pool));
  unsigned denormals = denormals_off();
  bool done = bench.def->run(&bench, error);
  denormals_restore(denormals);
  pool_free(bench.pool);
  arena_free(bench.arena);
  return done;
}
