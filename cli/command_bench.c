/* command_bench.c -- diffrl bench: measured speed beside what the machine can do. */
#include "rl/bench/bench.h"
#include "cli/saved.h"

/* what is asked for; 0 leaves the choice to each benchmark */
typedef struct {
  Parsed parsed;
  Arguments act;
  const char *policy;
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
  OPTION_TEXT_ROW(Bench, policy, "policy", "RUN|FILE", "time this run's policy, as it acts"),
  OPTION_WORDS_ROW(Bench, act, "act", "key=value", "change how it acts; may be repeated"),
  OPTION_FLAG_ROW(Bench, profile, "profile", "training steps: where the time goes, by op"),
  OPTION_FLAG_ROW(Bench, json, "json", "one JSON object a line"),
};

/* The benchmarks named on the command line; or that of the policy; or all others, one by one. */
static bool run_all(const Bench *c, const BenchOptions *how, Error *error) {
  const Arguments *given = &c->parsed.arguments;
  size_t count;
  const BenchDef *const *all = bench_list(&count);
  /* an unknown name fails when its turn comes */
  for (int i = 0; i < given->count; i++)
    if (!bench_run(given->word[i], how, error)) return false;
  for (size_t i = 0; i < count && !given->count; i++)
    if (bench_needs_policy(all[i]) == (how->policy != NULL) &&
        !bench_run(bench_name(all[i]), how, error))
      return false;
  return true;
}

static int run(const void *request, Error *error) {
  const Bench *c = request;
  /* each benchmark takes of these what applies to it */
  BenchOptions how = { .threads = (int)c->threads,
                       .seconds = (double)c->seconds,
                       .rate = (int)c->rate,
                       .json = c->json,
                       .profile = c->profile };
  if (c->act.count && !c->policy) {
    error_set(error, FAIL_USAGE, "bench: --act says how a policy acts; give --policy RUN too");
    return FAIL_USAGE;
  }
  Arena *arena = arena_new();
  Saved saved;
  bool done = !c->policy || saved_open(&saved, arena, c->policy, NULL, &c->act, error);
  if (done && c->policy) how.policy = saved.policy;
  done = done && run_all(c, &how, error);
  arena_free(arena);
  return done ? 0 : (int)error->kind;
}

const Command command_bench = {
  .name = "bench",
  .usage =
      "[NAME]... [--threads N] [--seconds N] [--profile] [--rate HZ] [--policy RUN|FILE] [--json]",
  .about = "measured speed beside what this machine can do",
  .examples = "  diffrl bench\n"
              "  diffrl bench diffusion-ql-step --threads 1 --json\n"
              "  diffrl bench diffusion-ql-step --profile\n"
              "  diffrl bench latency --rate 1000\n"
              "  diffrl bench --policy runs/diffusion-ql-hopper-medium-s0 --rate 100\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .most = WORDS_MAX,
  .size = sizeof(Bench),
  .run = run,
};
