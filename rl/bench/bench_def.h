/* bench_def.h -- what a benchmark is, for those who write one.
 *
 * One const BenchDef and a line in bench.c.  `run` sets up its work, measures it with bench_time
 * (or by itself) and prints each result with bench_print. */
#ifndef RL_BENCH_DEF_H
#define RL_BENCH_DEF_H
#include "core/kernels/kernels.h"
#include "core/parallel.h"
#include "core/tape/profile.h"
#include "rl/bench/bench.h"

/* the sizes of published comparisons: hopper, Diffusion-QL's networks */
enum { BENCH_OBS = 11, BENCH_ACT = 3, BENCH_HIDDEN = 256, BENCH_T = 5, BENCH_BATCH = 256 };
enum { BENCH_ROWS = 1000000 }; /* that batches are sampled from */

typedef struct {
  const BenchDef *def;
  const BenchOptions *options;
  Arena *arena;
  Pool *pool; /* of the threads asked for */
  const Kernels *kernels;
  Profile *profile; /* NULL unless it is asked for */
} Bench;

struct BenchDef {
  const char *name, *about;
  double (*gflop)(void); /* that the mathematics of one call needs, in 1e9; NULL: not arithmetic */
  bool (*run)(const Bench *bench, Error *error);
  const void *spec; /* the file's own */
  bool needs_policy;
};

/* ---- results --------------------------------------------------------------------------------- */

enum { BENCH_FACTS = 12 };

typedef struct {
  int threads;
  double best_ms, p50_ms; /* of one call */
  double peak_gflops;     /* of these threads */
  double floor_ms, ratio_p50;
  struct {
    const char *key, *text; /* text NULL: a number */
    double value;
  } fact[BENCH_FACTS]; /* what belongs to this benchmark alone */
  int facts;
  double profiled_ms; /* thread time that the profile covers; 0: none */
  int64_t calls;
} BenchLine;

void bench_fact(BenchLine *line, const char *key, double value);
void bench_fact_text(BenchLine *line, const char *key, const char *text);
void bench_print(const Bench *bench, const BenchLine *line);

/* ---- measuring ------------------------------------------------------------------------------- */

/* What is called again and again. */
typedef struct {
  bool (*call)(void *context, int64_t index); /* false: it failed */
  void *context;
  Pool *pool; /* that it uses; NULL: one thread */
  int block;  /* a block is a multiple of so many calls */
  /* bytes that a call reads `passes` times, if that may bound it; NULL: its arithmetic does */
  const void *stream;
  size_t bytes;
  int passes;
} BenchWork;

/* Time blocks of calls with probes between them; false if a call failed. */
bool bench_time(const Bench *bench, const BenchWork *work, BenchLine *line);

/* Milliseconds of a call that its bound allows at this moment. */
double bench_floor(const Bench *bench, const BenchWork *work);

double bench_seconds(const Bench *bench, double otherwise); /* how long to measure */
double bench_median(double *value, int count);              /* sorts them */

/* GFLOP/s of fused multiply-adds on all threads of the pool (NULL: one), best of a few blocks of
 * some 50 us. */
double bench_fma(Pool *pool, const Kernels *kernels, int blocks);

/* GB/s at which one thread reads these bytes again and again: from the cache that holds them. */
double bench_read(const void *data, size_t bytes);

/* Multiply-adds of one row through layers of these widths. */
double bench_macs(const int *width, int layers);
double bench_denoiser_macs(void); /* Diffusion-QL's noise network with its time network */
double bench_critic_macs(int hidden_layers);
double bench_unet1d_gflop(void); /* a training step of the temporal U-Net */

/* A U-Net for pictures of one channel, attention at its deepest level. */
enum { BENCH_LEVELS = 3 };
typedef struct {
  int side, channels, mults[BENCH_LEVELS], blocks;
  int labels; /* that it is conditioned on */
} BenchUnet;
double bench_unet_macs(const BenchUnet *unet); /* of one picture */

#endif
