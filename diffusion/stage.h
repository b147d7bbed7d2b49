/* stage.h -- one stage of a sampler: the call of the network and the move after it.
 *
 * The call is recorded here and nowhere else: chains give it the numbers of a stage as constants, a
 * replayed loop as one once-row, a field as a row for every sample. */
#ifndef DIFFUSION_STAGE_H
#define DIFFUSION_STAGE_H
#include "diffusion/denoiser.h"
#include "diffusion/guide.h"

enum { SAMPLER_HISTORY = 4 };

typedef struct {
  Level at;           /* where the network is evaluated */
  double time, scale; /* what it is given: embedded time, factor of x */
  bool evaluates, rebase;
  bool learned; /* noise from the network's own variance, between these logarithms: */
  double log_low, log_high;
  Form x0, back, direct; /* output -> x_0; x_0 -> M; output -> M */
  double base, out[SAMPLER_HISTORY], noise;
} Stage;

/* A stage that evaluates the network at this level for M in this form; it moves nowhere yet and
 * rebases. */
Stage stage_evaluating(const Denoiser *denoiser, Prediction combines, const Level *at);

typedef struct {
  const Denoiser *denoiser;
  const Params *params;
  Tensor *cond;               /* or NULL */
  const Guide *const *guides; /* NULL, or a list that ends with NULL */
  bool data_form;             /* M is x_0 */
  bool clip;                  /* x_0 to [low, high] */
  double low, high;
} NetCall;

/* false and an error (FAIL_USAGE) for more guides than NET_CALL_GUIDES, or two that call. */
enum { NET_CALL_GUIDES = 8 };
bool net_call_check(const Guide *const *guides, Error *error);

/* The numbers of a stage that its call depends on, those of the guides last. */
enum { NET_CALL_OWN = 13, NET_CALL_MOST = NET_CALL_OWN + NET_CALL_GUIDES * GUIDE_NUMBERS };
int net_call_size(const Guide *const *guides);
void net_call_numbers(const Guide *const *guides, const Stage *stage, double *numbers);

/* The same on the tape: constants, with h the embedded time; or the columns of a tensor
 * [1, 1, net_call_size], which embeds the time itself. */
typedef struct {
  Tensor *own[NET_CALL_OWN], *guide[NET_CALL_GUIDES], *h;
} NetCallNumbers;
NetCallNumbers net_call_constants(Graph *g, const NetCall *q, const Stage *stage, Tensor *h);
NetCallNumbers net_call_columns(const NetCall *q, Tensor *numbers);

/* std: of the learned variance, or NULL.  output: the network's, without its variance. */
typedef struct {
  Tensor *M, *std, *output;
} NetOutput;
NetOutput net_call_record(const NetCall *q, const NetCallNumbers *numbers, Tensor *x);

#endif
