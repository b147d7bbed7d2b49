/* command_bench.c -- diffrl bench: measured speed beside what the machine can do. */
#include "rl/bench/bench.h"
#include "cli/command.h"

/* what is asked for; 0 leaves the choice to each benchmark */
typedef struct {
  Parsed parsed;
  int64_t threads, seconds, rate;
  bool json, profile;
} Bench;

static const Option options[] = {
  OPTION_NUMBER_ROW(Bench, threads, "threads", "N", 0, 1, 1024,
                    "default: the CPUs this process may use"),
  OPTION_NUMBER_ROW(Bench, seconds, "seconds", "N", 0, 1, 3600,
                    "about how long each is timed (default 4; latency --rate: 20)"),
  OPTION_NUMBER_ROW(Bench, rate, "rate", "HZ", 0, 1, 100000,
                    "latency: calls a second, 8 MiB of other work between them (default: hot)"),
  OPTION_FLAG_ROW(Bench, profile, "profile", "training steps: where the time goes, by op"),
  OPTION_FLAG_ROW(Bench, json, "json", "one JSON object a line"),
};

/* The benchmarks named on the command line, or all of them, one after another. */
static int run(const void *request, Error *error) {
  const Bench *c = request;
  const Arguments *given = &c->parsed.arguments;
  /* each benchmark takes of these what applies to it */
  BenchOptions how = { .threads = (int)c->threads,
                       .seconds = (double)c->seconds,
                       .rate = (int)c->rate,
                       .json = c->json,
                       .profile = c->profile };
  size_t count;
  const BenchDef *const *all = bench_list(&count);
  /* names take the place of the list; an unknown one fails when its turn comes */
  if (given->count) count = (size_t)given->count;
  for (size_t i = 0; i < count; i++) {
    const char *name = given->count ? given->word[i] : bench_name(all[i]);
    if (!bench_run(name, &how, error)) return (int)error->kind;
  }
  return 0;
}

const Command command_bench = {
  .name = "bench",
  .usage = "[NAME]... [--threads N] [--seconds N] [--profile] [--rate HZ] [--json]",
  .about = "measured speed beside what this machine can do",
  .examples = "  diffrl bench\n"
              "  diffrl bench diffusion-ql-step --threads 1 --json\n"
              "  diffrl bench diffusion-ql-step --profile\n"
              "  diffrl bench latency --rate 1000\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .most = WORDS_MAX,
  .size = sizeof(Bench),
  .run = run,
};
