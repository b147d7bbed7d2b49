/* test_golden_diffusion_ql.c -- Diffusion-QL against PyTorch, with the same weights, batch, noise
 * and coin: samples, targets, losses, gradients, and whole updates with and without an active clip.
 *
 * The tapes are the algorithm's own; their random ops are replaced by inputs.  What the golden
 * tensors are is told in scripts/golden/diffusion_ql.py. */
#include "core/tape/optim.h"
#include "diffusion/loss.h"
#include "rl/algos/diffusion_ql.h"
#include "tests/golden.h"
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 8, OBS = 11, ACT = 3, HIDDEN = 32, STEPS = 5, LD = 16 };

#define TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

/* ---- the file beside our numbers ------------------------------------------------------------- */

typedef void Visit(void *context, real *value, double golden);

/* Every number of a block beside that of "<prefix>/<slot>"; our "q/0/w" is "0/w" there. */
static void each_number(const Golden *golden, const Layout *layout, const real *values,
                        const char *prefix, Visit *visit, void *context) {
  for (int s = 0; s < layout->slots; s++) {
    const Slot *slot = &layout->slot[s];
    char name[128];
    bool critic = !strncmp(slot->name, "q/", 2);
    snprintf(name, sizeof name, "%s/%s", prefix, slot->name + (critic ? 2 : 0));
    const CheckpointTensor *t = golden_tensor(golden, name);
    assert_int_equal(golden_count(t), slot->e * slot->rows * slot->n);
    for (int r = 0; r < slot->e * slot->rows; r++)
      for (int j = 0; j < slot->n; j++)
        visit(context, (real *)(uintptr_t)values + slot->offset + (size_t)(r * slot->ld + j),
              golden_at(t, (size_t)(r * slot->n + j)));
  }
}

static void write_number(void *context, real *value, double golden) {
  (void)context;
  *value = (real)golden;
}

typedef struct {
  double difference, size;
} Worst;
static void compare_number(void *context, real *value, double golden) {
  Worst *worst = context;
  worst->difference = fmax(worst->difference, fabs((double)*value - golden));
  worst->size = fmax(worst->size, fabs(golden));
}

/* relative to the largest number of the block */
static void assert_block(const Golden *golden, const Params *shape, const real *values,
                         const char *prefix) {
  Worst worst = { 0 };
  each_number(golden, shape->layout, values, prefix, compare_number, &worst);
  if (!(worst.difference <= TOLERANCE * worst.size))
    fail_msg("%s: off by %.3g of %.3g", prefix, worst.difference, worst.size);
}

static void assert_close(double value, double expected, const char *name) {
  if (!(fabs(value - expected) <= TOLERANCE * fmax(1, fabs(expected))))
    fail_msg("%s is %.12g, expected %.12g", name, value, expected);
}
static void assert_scalar(const Golden *golden, double value, const char *name) {
  assert_close(value, golden_number(golden, name), name);
}
static void assert_rows(const Golden *golden, const Tensor *t, const char *name) {
  for (int i = 0; i < ROWS * t->n; i++)
    assert_close((double)graph_values(t)[i / t->n * t->ld + i % t->n],
                 golden_at(golden_tensor(golden, name), (size_t)i), name);
}
static double norm(const real *x, const Params *shape) {
  double squares = 0;
  for (size_t i = 0; i < shape->layout->size; i++) squares += (double)x[i] * (double)x[i];
  return sqrt(squares);
}

/* [ROWS, n] numbers of a golden tensor from entry `from` on, in rows of LD */
static real *rows(const Golden *golden, const char *name, int n, int from) {
  real *x = arena_array(golden->arena, real, ROWS * LD);
  const CheckpointTensor *t = golden_tensor(golden, name);
  for (int i = 0; i < ROWS * n; i++) x[i / n * LD + i % n] = (real)golden_at(t, (size_t)(from + i));
  return x;
}

/* ---- tapes whose draws are bound to the file's ----------------------------------------------- */

typedef struct {
  Graph *g;
  Tensor *input[16];
  const real *data[16];
  int inputs;
} Tape;

static void give(Tape *tape, Tensor *input, const real *data) {
  tape->input[tape->inputs] = input, tape->data[tape->inputs++] = data;
}

/* noise [T, B, A]: block i belongs to the i-th step; none is drawn in the last */
static void give_chain(Tape *tape, const Golden *golden, const char *stream, const char *file) {
  char name[64], path[64];
  for (int i = -1; i < STEPS - 1; i++) {
    snprintf(name, sizeof name, i < 0 ? "%s start" : "%s %d", stream, i);
    snprintf(path, sizeof path, "%s/%s", file, i < 0 ? "x_T" : "noise");
    give(tape, graph_override(tape->g, name), rows(golden, path, ACT, i < 0 ? 0 : i * ROWS * ACT));
  }
}
static void give_bc(Tape *tape, const Golden *golden) {
  give(tape, graph_override(tape->g, "bc time"), rows(golden, "bc/t", 1, 0));
  give(tape, graph_override(tape->g, "bc noise"), rows(golden, "bc/eps", ACT, 0));
}

static void seal(Tape *tape) {
  graph_seal(tape->g);
  for (int i = 0; i < tape->inputs; i++) graph_bind(tape->input[i], tape->data[i]);
}

/* ---- the learner ----------------------------------------------------------------------------- */

typedef struct {
  Golden golden;
  Policy *p;
  Sampler *sampler;
  Batch *batch;
  Tape critic_tape, actor_tape;
  CriticObjective critic;
  ActorObjective actor;
  Tensor *coin;
} Learner;

static Tape tape(const Learner *l, Params *trained) {
  Error error;
  const GraphSpec spec = { .trained = trained,
                           .seed = 1,
                           .max_rows = ROWS,
                           .group = 4,
                           .lane = 3,
                           .kernels = kernels_find("own", &error) };
  return (Tape){ .g = graph_new(l->golden.arena, &spec) };
}

static void make_policy(Learner *l) {
  Error error;
  Policy *p = l->p = policy_start(l->golden.arena, &policy_diffusion);
  p->spec.obs_dim = OBS, p->spec.act_dim = ACT, p->spec.hidden = HIDDEN, p->spec.critics = 2;
  if (!policy_build(p, &error) || !blocks_allocate(&p->blocks, &error)) fail_msg("%s", error.text);
  Params *blocks[] = { l->p->actor, l->p->actor_ema, l->p->critics->online, l->p->critics->target };
  for (int i = 0; i < 4; i++) {
    each_number(&l->golden, blocks[i]->layout, blocks[i]->values, blocks[i]->block, write_number,
                NULL);
    params_touch(blocks[i]);
  }
  const SamplerSpec chain = { .method = "ddpm", .clip = true, .low = -1, .high = 1 };
  l->sampler = sampler_new(l->golden.arena, &chain, l->p->model->denoiser, &error);
}

static void make_tapes(Learner *l, double eta) {
  const Golden *golden = &l->golden;
  const DiffusionQlSpec spec = {
    .policy = l->p, .sampler = l->sampler, .gamma = 0.99, .eta = eta, .value = "min"
  };
  l->critic_tape = tape(l, l->p->critics->online), l->actor_tape = tape(l, l->p->actor);
  l->critic = diffusion_ql_critic(l->critic_tape.g, &spec, l->batch);
  give_chain(&l->critic_tape, golden, "target chain", "target_chain");
  graph_keep(l->critic.q), graph_keep(l->critic.target);
  graph_minimise(l->critic.loss);
  l->actor = diffusion_ql_actor(l->actor_tape.g, &spec, l->batch);
  give_chain(&l->actor_tape, golden, "actor chain", "actor_chain");
  give_bc(&l->actor_tape, golden);
  l->coin = graph_override(l->actor_tape.g, "critic coin");
  graph_keep(l->actor.bc), graph_keep(l->actor.q), graph_keep(l->actor.act);
  graph_minimise(l->actor.loss);
  seal(&l->critic_tape), seal(&l->actor_tape);
}

/* a golden table as this column's rows */
static void give_column(Learner *l, const char *name, const char *table) {
  for (int i = 0; i < l->batch->columns; i++) {
    BatchColumn *c = &l->batch->column[i];
    if (!strcmp(c->is.name, name)) c->values = rows(&l->golden, table, c->n, 0);
  }
}

static void learner_open(Learner *l) {
  *l = (Learner){ 0 };
  golden_open(&l->golden, "tests/golden/diffusion_ql.safetensors");
  const Golden *g = &l->golden;
  l->batch = batch_new(g->arena, ROWS, OBS, ACT, (const Column[]){ TRANSITION_COLUMNS(1), { 0 } });
  give_column(l, "obs", "batch/obs"), give_column(l, "next", "batch/next_obs");
  give_column(l, "act", "batch/act"), give_column(l, "reward", "batch/reward");
  give_column(l, "live", "batch/live");
  make_policy(l);
  make_tapes(l, 1);
}
static void learner_close(Learner *l) { golden_close(&l->golden); }

static void toss(const Learner *l, int coin) { graph_give(l->coin, (real[LD]){ (real)coin }); }

/* ---- losses and gradients -------------------------------------------------------------------- */

static void time_is_embedded_alike(void **state) {
  (void)state;
  Learner l;
  learner_open(&l);
  Tape t = tape(&l, NULL);
  Tensor *h = t_timeembed(t_table(t.g, (double[]){ 0, 1, 2, 3, 4 }, STEPS, 1), 16);
  graph_keep(h);
  seal(&t);
  graph_run(t.g, 1, 0, NULL);
  const CheckpointTensor *expected = golden_tensor(&l.golden, "time_embedding");
  for (int i = 0; i < STEPS * 16; i++)
    assert_close((double)graph_values(h)[i], golden_at(expected, (size_t)i), "time_embedding");
  learner_close(&l);
}

/* The slow actor acts in the targets, the online one in its own loss. */
static void samples_agree(void **state) {
  (void)state;
  Learner l;
  learner_open(&l);
  for (int slow = 0; slow < 2; slow++) {
    const char *file = slow ? "target_chain" : "actor_chain";
    Tape t = tape(&l, NULL);
    Tensor *obs = t_input(t.g, "obs", 1, OBS);
    Tensor *x = sampler_record(t.g, l.sampler, l.p->model->denoiser,
                               slow ? l.p->actor_ema : l.p->actor, "act", obs, 1);
    give(&t, obs, batch_column(l.batch, slow ? "next" : "obs")->values);
    give_chain(&t, &l.golden, "act", file);
    graph_keep(x);
    seal(&t);
    graph_run(t.g, ROWS, 0, NULL);
    assert_rows(&l.golden, x, slow ? "target_chain/action" : "actor_chain/action");
  }
  learner_close(&l);
}

static void the_critics_loss_and_gradient_agree(void **state) {
  (void)state;
  Learner l;
  learner_open(&l);
  graph_run(l.critic_tape.g, ROWS, 0, NULL);
  assert_rows(&l.golden, l.critic.target, "target/y");
  assert_rows(&l.golden, l.critic.q, "critic_loss/q");
  assert_scalar(&l.golden, graph_scalar(l.critic.loss), "critic_loss/value");
  const real *gradient = graph_gradient(l.critic_tape.g);
  assert_block(&l.golden, l.p->critics->online, gradient, "grad/critic");
  assert_scalar(&l.golden, norm(gradient, l.p->critics->online), "grad_norm/critic");
  learner_close(&l);
}

static void the_cloning_loss_and_gradient_agree(void **state) {
  (void)state;
  Learner l;
  learner_open(&l);
  Tape t = tape(&l, l.p->actor);
  Tensor *obs = batch_input(t.g, l.batch, "obs"), *act = batch_input(t.g, l.batch, "act");
  Tensor *loss = diffusion_loss(t.g, l.p->model->denoiser, l.p->actor, "bc", act, obs);
  give_bc(&t, &l.golden);
  graph_minimise(loss);
  seal(&t);
  graph_run(t.g, ROWS, 0, NULL);
  assert_scalar(&l.golden, graph_scalar(loss), "bc_loss");
  assert_block(&l.golden, l.p->actor, graph_gradient(t.g), "grad/bc/actor");
  learner_close(&l);
}

static void the_actors_loss_and_gradient_agree_for_both_coins(void **state) {
  (void)state;
  Learner l;
  learner_open(&l);
  for (int coin = 0; coin < 2; coin++) {
    char name[64];
    toss(&l, coin);
    graph_run(l.actor_tape.g, ROWS, 0, NULL);
    assert_rows(&l.golden, l.actor.act, "actor_chain/action");
    assert_scalar(&l.golden, graph_scalar(l.actor.bc), "bc_loss");
    snprintf(name, sizeof name, "actor_loss/q_loss_%d", coin);
    assert_scalar(&l.golden, graph_scalar(l.actor.q), name);
    snprintf(name, sizeof name, "actor_loss/total_%d", coin);
    assert_scalar(&l.golden, graph_scalar(l.actor.loss), name);
    const real *gradient = graph_gradient(l.actor_tape.g);
    snprintf(name, sizeof name, "grad/total_%d/actor", coin);
    assert_block(&l.golden, l.p->actor, gradient, name);
    snprintf(name, sizeof name, "grad_norm/total_%d", coin);
    assert_scalar(&l.golden, norm(gradient, l.p->actor), name);
  }
  learner_close(&l);
}

/* ---- whole updates --------------------------------------------------------------------------- */

static void update_agrees(const Learner *l, const Tape *t, Params *p, double clip) {
  char prefix[64], name[80];
  OptimSpec spec = optim_adam(3e-4);
  spec.clip = clip;
  Optim *optim = optim_new(l->golden.arena, p, &spec);
  const Objective objective = { .graph = t->g, .optim = optim };
  assert_true(objective_step(&objective, ROWS, 0));
  snprintf(prefix, sizeof prefix, "step_clip%g/%s", clip, p->block);
  assert_block(&l->golden, p, p->values, prefix);
  snprintf(name, sizeof name, "%s_grad_norm", prefix);
  assert_scalar(&l->golden, optim->grad_norm, name);
  snprintf(name, sizeof name, "%s_moment_norm", prefix);
  assert_scalar(&l->golden, norm(optim->m->values, p), name);
}

/* The critics first; the actor then sees the new ones; the slow critics follow. */
static void a_whole_update_agrees(void **state) {
  (void)state;
  static const double clips[] = { 9, 0.05 }; /* far away, and active */
  for (int i = 0; i < 2; i++) {
    Learner l;
    learner_open(&l);
    toss(&l, 0);
    update_agrees(&l, &l.critic_tape, l.p->critics->online, clips[i]);
    update_agrees(&l, &l.actor_tape, l.p->actor, clips[i]);
    params_lerp(l.p->critics->target, l.p->critics->online, 0.005);
    if (!i)
      assert_block(&l.golden, l.p->critics->online, l.p->critics->target->values,
                   "step_clip9/critic_target");
    learner_close(&l);
  }
}

/* Weight 0: what is left is cloning, although the chain is still recorded. */
static void without_weight_only_cloning_is_left(void **state) {
  (void)state;
  Learner l;
  learner_open(&l);
  make_tapes(&l, 0);
  toss(&l, 1);
  graph_run(l.actor_tape.g, ROWS, 0, NULL);
  assert_scalar(&l.golden, graph_scalar(l.actor.loss), "bc_loss");
  assert_block(&l.golden, l.p->actor, graph_gradient(l.actor_tape.g), "grad/bc/actor");
  learner_close(&l);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(time_is_embedded_alike),
    cmocka_unit_test(samples_agree),
    cmocka_unit_test(the_critics_loss_and_gradient_agree),
    cmocka_unit_test(the_cloning_loss_and_gradient_agree),
    cmocka_unit_test(the_actors_loss_and_gradient_agree_for_both_coins),
    cmocka_unit_test(a_whole_update_agrees),
    cmocka_unit_test(without_weight_only_cloning_is_left),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
