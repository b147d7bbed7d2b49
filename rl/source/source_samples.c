/* source_samples.c -- samples are made by the run itself: nothing is opened. */
#include "rl/source/source_samples.h"

static Source *open_samples(const SourceRequest *request, Error *error) {
  Source *source = arena_alloc(request->arena, sizeof *source);
  (void)error;
  /* it is called by what made the generator */
  *source = (Source){ .name = request->init };
  return source;
}

const SourceDef source_samples = {
  .name = "samples",
  .about = "from rewards of its own samples",
  .asks = "learns from its own samples",
  .alone =
      "draws its samples in one process, which ranks cannot share; run it without mpirun, with "
      "--threads",
  .by_init = true,
  .open = open_samples,
};
