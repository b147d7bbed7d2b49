/* diffusion_dpo.h -- the loss of diffusion-dpo, for the algorithm and for tests. */
#ifndef RL_DIFFUSION_DPO_H
#define RL_DIFFUSION_DPO_H
#include "diffusion/loss.h"

typedef struct {
  Tensor *one, *other; /* [1, 1, dim]: two samples .. */
  Tensor *cond;        /* [1, 1, c]: .. of one condition; or NULL */
  Tensor *sign;        /* [1, 1, 1]: 1 where `one` is the better, -1 where the other is, else 0 */
  Tensor *eps, *time;  /* as of LossInputs; NULL: drawn, the same for both */
} DpoInputs;

/* mean -ln sigmoid(margin), a SUM scalar, with the margin [1, 1, 1] (kept)
 *
 *   sign (-beta / 2) [(e_one - e_ref_one) - (e_other - e_ref_other)]
 *
 * where e are errors of the loss by the weights that are trained and by the reference. */
Tensor *dpo_loss(Graph *g, const Loss *loss, const Params *trained, const Params *reference,
                 const DpoInputs *in, double beta, Tensor **margin);

#endif
