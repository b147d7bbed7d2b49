/* bench.c -- diffrl bench: measured speed beside what the machine can do. */
#include "rl/bench.h"
#include "cli/command.h"
#include "core/parallel.h"

typedef struct {
  Given given;
  int64_t threads;
  bool json;
} Bench;

static const Option options[] = {
  OPTION_NUMBER_ROW(Bench, threads, "threads", "N", 0, 1, 1024,
                    "default: the CPUs this process may use"),
  OPTION_FLAG_ROW(Bench, json, "json", "one JSON object a line"),
};

static int run(const void *request, Error *error) {
  const Bench *c = request;
  const Words *given = &c->given.arguments;
  size_t count = (size_t)given->count;
  const char *const *names = count ? given->word : bench_list(&count);
  int threads = c->threads ? (int)c->threads : pool_cpus();
  for (size_t i = 0; i < count; i++)
    if (!bench_run(names[i], threads, c->json, error)) return (int)error->kind;
  return 0;
}

const Command command_bench = {
  .name = "bench",
  .usage = "[NAME]... [--threads N] [--json]",
  .about = "measured speed beside what this machine can do",
  .examples = "  diffrl bench\n"
              "  diffrl bench diffusion-ql-step --threads 1 --json\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .most = WORDS_MAX,
  .size = sizeof(Bench),
  .run = run,
};
