/* td.h -- batches on a tape, and what methods that clone or bootstrap share there.
 *
 * A policy may see a history of observations and answer with a chunk of actions (Li et al. 2025,
 * arXiv 2507.07969): its batches then show windows of the data, and its critics value whole chunks.
 * At the end of an episode a chunk is not all there: `valid` masks what is missing. */
#ifndef RL_TD_H
#define RL_TD_H
#include "core/ops/ops.h"
#include "datasets/batch.h"
#include "rl/algo.h"

/* settings of methods whose policies may have histories and chunks */
#define CHUNK_FIELDS(F)                                                                            \
  F(INT, obs_steps, 1, 1, 64, "observations that the policy sees, the last ones")                  \
  F(INT, chunk, 1, 1, 64, "actions that it answers with at once, done one after the other")

/* ---- batches --------------------------------------------------------------------------------- */

/* The columns that a policy of this shape is cloned on: "obs", "act" and, of chunks, "valid". */
Batch *td_cloned(const AlgoSetup *setup, const Policy *policy);

/* And those of a temporal difference over nstep rewards: "next", "reward" and "live" too.  A chunk
 * of h actions has h rewards, so nstep is 1 beside it (else NULL and FAIL_USAGE).  With `next_act`
 * also the data's actions behind them. */
Batch *td_batch(const AlgoSetup *setup, const Policy *policy, int nstep, bool next_act,
                Error *error);

/* The same with other columns behind them, the last of which has no name. */
Batch *td_batch_with(const AlgoSetup *setup, const Policy *policy, int nstep, bool next_act,
                     const Column *more, Error *error);

/* A column of the batch as an input of the tape: ROW [1, 1, n], called as the column is and bound
 * to its values, which each run of the tape reads. */
Tensor *batch_input(Graph *g, const Batch *batch, const char *column);

/* 1 for the entries of a chunk that are there, else 0: ROW [1, 1, chunk * act_dim]; NULL where a
 * batch has no chunks. */
Tensor *td_entries(Graph *g, const Batch *batch);

/* x times td_entries, or x: of squared errors or log densities of a chunk's entries */
Tensor *td_masked(Graph *g, const Batch *batch, Tensor *x);

/* The denoising loss of a diffusion policy's online weights on the batch's actions, without the
 * entries that are not there; streams "<stream> time" and "<stream> noise". */
Tensor *td_denoising(Graph *g, const Policy *policy, const Batch *batch, const char *stream);
/* That of any denoiser of actions, by these weights. */
Tensor *td_denoising_of(Graph *g, const Denoiser *denoiser, const Params *params,
                        const Batch *batch, const char *stream);

/* ---- temporal differences -------------------------------------------------------------------- */

/* r + gamma live v, of the columns "reward" and "live" */
Tensor *td_target(Graph *g, const Batch *batch, double gamma, Tensor *value);

/* The action of a target policy with a little noise, so that no narrow peak of Q is trusted
 * (Fujimoto et al. 2018): clip(act + clip(std n, +-most), +-1), n ~ N(0, 1) of the stream "target
 * action". */
Tensor *td_smoothed(Tensor *act, double std, double most);

/* sum over the members of mean over rows of (q - y)^2, rows whose chunk is not whole left out; q
 * [1, 1, E], y [1, 1, 1] */
Tensor *td_loss(Graph *g, const Batch *batch, Tensor *q, Tensor *y);

#endif
