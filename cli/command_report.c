/* command_report.c -- diffrl report: one page about runs, side by side. */
#include "rl/report/report.h"
#include "cli/command.h"

typedef struct {
  Parsed parsed;
  const char *out;
} Report;

static const Option options[] = {
  OPTION_TEXT_ROW(Report, out, "out", "FILE.html", "the page; an older one is replaced"),
};

/* Several runs make one page, on which they are compared. */
static int run(const void *request, Error *error) {
  const Report *c = request;
  const Arguments *runs = &c->parsed.arguments;
  bool done = c->out ? report_write(runs->word, (size_t)runs->count, c->out, error)
                     : error_set(error, FAIL_USAGE, "report: where to? expected --out FILE.html");
  if (!done) return (int)error->kind;
  command_print(c->out);
  return 0;
}

const Command command_report = {
  .name = "report",
  .usage = "RUN... --out FILE.html",
  .about = "one HTML page about a run, or several side by side",
  .examples = "  diffrl report runs/diffusion-ql-hopper-medium-s0 --out report.html\n"
              "  diffrl report runs/diffusion-ql-hopper-medium-s* --out seeds.html\n",
  .options = options,
  .option_count = OPTION_COUNT(options),
  .least = 1,
  .most = WORDS_MAX,
  .size = sizeof(Report),
  .run = run,
};
