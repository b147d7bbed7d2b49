/* stage.h -- one stage of a sampler: the question to the network and the move after it.
 *
 * The question is recorded here and nowhere else: chains give it the numbers of a stage as
 * constants, a replayed loop as one once-row, a field as a row for every sample. */
#ifndef DIFFUSION_STAGE_H
#define DIFFUSION_STAGE_H
#include "diffusion/denoiser.h"
#include "diffusion/guide.h"

enum { SAMPLER_HISTORY = 4 };

typedef struct {
  Level at;           /* where the network is asked */
  double time, scale; /* what it is given: embedded time, factor of x */
  bool ask, rebase;
  bool learned; /* noise from the network's own variance, between these logarithms: */
  double log_low, log_high;
  Form x0, back, direct; /* output -> x_0; x_0 -> M; output -> M */
  double base, out[SAMPLER_HISTORY], noise;
} Stage;

/* A stage that asks at this level for M in this form; it moves nowhere yet and rebases. */
Stage stage_asking(const Denoiser *denoiser, Prediction combines, const Level *at);

typedef struct {
  const Denoiser *denoiser;
  const Params *params;
  Tensor *cond;               /* or NULL */
  const Guide *const *guides; /* NULL, or a list that ends with NULL */
  bool data_form;             /* M is x_0 */
  bool clip;                  /* x_0 to [low, high] */
  double low, high;
} Question;

/* false and an error (FAIL_USAGE) for more guides than QUESTION_GUIDES, or two that ask. */
enum { QUESTION_GUIDES = 8 };
bool question_check(const Guide *const *guides, Error *error);

/* The numbers of a stage that its question depends on, those of the guides last. */
enum { QUESTION_OWN = 13, QUESTION_MOST = QUESTION_OWN + QUESTION_GUIDES * GUIDE_NUMBERS };
int question_size(const Guide *const *guides);
void question_numbers(const Guide *const *guides, const Stage *stage, double *numbers);

/* The same on the tape: constants, with h the embedded time; or the columns of a tensor
 * [1, 1, question_size], which embeds the time itself. */
typedef struct {
  Tensor *own[QUESTION_OWN], *guide[QUESTION_GUIDES], *h;
} QuestionNumbers;
QuestionNumbers question_constants(Graph *g, const Question *q, const Stage *stage, Tensor *h);
QuestionNumbers question_columns(const Question *q, Tensor *numbers);

/* std: of the learned variance, or NULL.  output: the network's, without its variance. */
typedef struct {
  Tensor *M, *std, *output;
} Answer;
Answer question_record(const Question *q, const QuestionNumbers *numbers, Tensor *x);

#endif
