"""JAX: a whole training step, from the draw of the batch to the averages, is one program that XLA
compiles; so is acting."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

import problem
import stopwatch
from problem import ACT, BATCH, CLIP, GAMMA, HIDDEN, OBS, RATE, T, TAU

tree_map = jax.tree_util.tree_map

# ---- networks ------------------------------------------------------------------------------------


def mish(x):
    """x tanh(softplus(x)) with one exponential"""
    e = jnp.exp(jnp.minimum(x, 20.0))
    n = e * (e + 2)
    return x * n / (n + 2)


def init(key, *widths):
    layers = []
    for k, inputs, outputs in zip(jax.random.split(key, len(widths) - 1), widths, widths[1:]):
        w = jax.random.uniform(k, (inputs, outputs), minval=-1, maxval=1) / np.sqrt(inputs)
        layers.append((w, jnp.zeros(outputs)))
    return layers


def mlp(layers, x, activation=mish):
    for w, b in layers[:-1]:
        x = activation(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def init_denoiser(key):
    time, trunk = jax.random.split(key)
    hidden = (HIDDEN,) * 3
    return {"time": init(time, 16, 32, 16), "trunk": init(trunk, ACT + 16 + OBS, *hidden, ACT)}


def init_critics(key, hidden=3):
    widths = (OBS + ACT, *[HIDDEN] * hidden, 1)
    return [init(k, *widths) for k in jax.random.split(key)]


def embeddings(actor):
    """One row for each step of the chain, [T, 16]."""
    angle = jnp.arange(T, dtype=jnp.float32)[:, None] * jnp.float32(problem.FREQUENCY)
    return mlp(actor["time"], jnp.concatenate((jnp.sin(angle), jnp.cos(angle)), 1))


def denoise(actor, x, embedding, s):
    return mlp(actor["trunk"], jnp.concatenate((x, embedding, s), 1))


def critic(layers, s, a, activation=mish):
    return mlp(layers, jnp.concatenate((s, a), 1), activation)


def sample(actor, s, noise):
    """The chain from noise[0]; noise[T - k] is added by step k > 0.  noise [T, len(s), ACT]"""
    embedding, x = embeddings(actor), noise[0]
    for k in reversed(range(T)):
        eps = denoise(actor, x, jnp.broadcast_to(embedding[k], (len(s), 16)), s)
        x0 = jnp.clip((x - problem.NOISE[k] * eps) / problem.SIGNAL[k], -1, 1)
        x = problem.FROM_X0[k] * x0 + problem.FROM_X[k] * x
        if k:
            x = x + problem.SPREAD[k] * noise[T - k]
    return jnp.clip(x, -1, 1)


def bc_loss(actor, s, a, t, eps):
    signal, noise = (jnp.float32(c)[t][:, None] for c in (problem.SIGNAL, problem.NOISE))
    predicted = denoise(actor, signal * a + noise * eps, embeddings(actor)[t], s)
    return jnp.mean((predicted - eps) ** 2)


def td_loss(critics, s, a, y, activation=mish):
    return sum(jnp.mean((critic(c, s, a, activation) - y) ** 2) for c in critics)


# ---- optimiser -----------------------------------------------------------------------------------


def adam_start(params):
    zero = tree_map(jnp.zeros_like, params)
    return {"m": zero, "v": tree_map(jnp.zeros_like, params), "n": jnp.float32(0)}


def adam(params, grads, moments, rate=RATE):
    n = moments["n"] + 1
    m = tree_map(lambda m, g: 0.9 * m + 0.1 * g, moments["m"], grads)
    v = tree_map(lambda v, g: 0.999 * v + 0.001 * g * g, moments["v"], grads)
    c1, c2 = 1 - 0.9**n, 1 - 0.999**n
    new = lambda p, m, v: p - rate * (m / c1) / (jnp.sqrt(v / c2) + 1e-8)
    return tree_map(new, params, m, v), {"m": m, "v": v, "n": n}


def clip(grads):
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree_util.tree_leaves(grads)))
    return tree_map(lambda g: g * jnp.minimum(1.0, CLIP / (norm + 1e-6)), grads)


def follow(target, params, rate=TAU):
    return tree_map(lambda t, p: t + rate * (p - t), target, params)


# ---- diffusion-ql and diffusion-bc ---------------------------------------------------------------


def draw(data, key):
    rows = jax.random.randint(key, (BATCH,), 0, len(data))
    return jnp.split(data[rows], problem.CUTS, 1)  # s, a, s', r, live


def init_ql(key):
    actor, critics = (f(k) for f, k in zip((init_denoiser, init_critics), jax.random.split(key)))
    copy = lambda params: tree_map(jnp.array, params)
    return {"actor": actor, "critic": critics, "average": copy(actor), "target": copy(critics),
            "actor_adam": adam_start(actor), "critic_adam": adam_start(critics)}


def ql_update(state, batch, chain2, t, eps, chain):
    """The actor climbs the first critic, scaled by the second."""
    s, a, s2, r, live = batch
    a2 = sample(state["average"], s2, chain2)
    y = r + live * GAMMA * jnp.minimum(*(critic(c, s2, a2) for c in state["target"]))
    critic_loss, grads = jax.value_and_grad(td_loss)(state["critic"], s, a, y)
    critics, critic_adam = adam(state["critic"], clip(grads), state["critic_adam"])

    def actor_loss(actor):
        bc = bc_loss(actor, s, a, t, eps)
        pi = sample(actor, s, chain)
        scale = jnp.mean(jnp.abs(critic(critics[1], s, pi)))
        q = -jnp.mean(critic(critics[0], s, pi)) / jax.lax.stop_gradient(scale)
        return bc + q, (bc, q)

    grads, (bc, q) = jax.grad(actor_loss, has_aux=True)(state["actor"])
    actor, actor_adam = adam(state["actor"], clip(grads), state["actor_adam"])
    target = follow(state["target"], critics)
    return state | {"actor": actor, "critic": critics, "target": target, "actor_adam": actor_adam,
                    "critic_adam": critic_adam}, (critic_loss, bc, q)


@functools.partial(jax.jit, donate_argnums=0)
def ql_step(state, data, key, n):
    rows, times, normals = jax.random.split(jax.random.fold_in(key, n), 3)
    z = jax.random.normal(normals, (2 * T + 1, BATCH, ACT))
    t = jax.random.randint(times, (BATCH,), 0, T)
    return ql_update(state, draw(data, rows), z[:T], t, z[T], z[T + 1 :])


def exchange(state):
    """The critics are alike but for their use in the actor's loss: a coin exchanges them, here."""
    adam = {k: v if k == "n" else v[::-1] for k, v in state["critic_adam"].items()}
    return state | {"critic": state["critic"][::-1], "target": state["target"][::-1],
                    "critic_adam": adam}


def bc_update(state, batch, t, eps):
    s, a, *_ = batch
    loss, grads = jax.value_and_grad(bc_loss)(state["actor"], s, a, t, eps)
    actor, moments = adam(state["actor"], grads, state["actor_adam"])
    return state | {"actor": actor, "actor_adam": moments}, (loss,)


@functools.partial(jax.jit, donate_argnums=0)
def bc_step(state, data, key, n):
    rows, times, normals = jax.random.split(jax.random.fold_in(key, n), 3)
    t = jax.random.randint(times, (BATCH,), 0, T)
    return bc_update(state, draw(data, rows), t, jax.random.normal(normals, (BATCH, ACT)))


follow_compiled = jax.jit(follow)


def average_actor(state, n):
    if n < problem.EMA_START or n % problem.EMA_EVERY:
        return state
    return state | {"average": follow_compiled(state["average"], state["actor"])}


# ---- sac -----------------------------------------------------------------------------------------


def init_sac(key):
    actor_key, critic_key = jax.random.split(key)
    actor = init(actor_key, OBS, HIDDEN, HIDDEN, 2 * ACT)
    critics, log_alpha = init_critics(critic_key, 2), jnp.float32(0)
    trained = {"actor": actor, "critic": critics, "log_alpha": log_alpha}
    moments = {f"{name}_adam": adam_start(params) for name, params in trained.items()}
    return trained | moments | {"target": tree_map(jnp.array, critics)}


def gaussian(actor, s, noise):
    """A squashed Gaussian: an action and its log-density."""
    mean, log_std = jnp.split(mlp(actor, s, jax.nn.relu), 2, 1)
    log_std = jnp.clip(log_std, -20, 2)
    u = mean + jnp.exp(log_std) * noise
    volume = 2 * (np.log(2) - u - jax.nn.softplus(-2 * u))
    density = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi)
    return jnp.tanh(u), jnp.sum(density - volume, 1, keepdims=True)


def least_q(critics, s, a):
    return jnp.minimum(*(critic(c, s, a, jax.nn.relu) for c in critics))


def sac_update(state, batch, noise2, noise):
    s, a, s2, r, live = batch
    alpha, rate = jnp.exp(state["log_alpha"]), problem.SAC_CRITIC_RATE
    a2, log_prob = gaussian(state["actor"], s2, noise2)
    y = r + live * GAMMA * (least_q(state["target"], s2, a2) - alpha * log_prob)
    critic_grad = jax.value_and_grad(functools.partial(td_loss, activation=jax.nn.relu))
    critic_loss, grads = critic_grad(state["critic"], s, a, y)
    critics, critic_adam = adam(state["critic"], grads, state["critic_adam"], rate)

    def actor_loss(actor):
        pi, log_prob = gaussian(actor, s, noise)
        return jnp.mean(alpha * log_prob - least_q(critics, s, pi)), log_prob

    (loss, log_prob), grads = jax.value_and_grad(actor_loss, has_aux=True)(state["actor"])
    actor, actor_adam = adam(state["actor"], grads, state["actor_adam"])

    alpha_loss = lambda log_alpha: -jnp.mean(jnp.exp(log_alpha) * (log_prob - ACT))
    value, grads = jax.value_and_grad(alpha_loss)(state["log_alpha"])
    log_alpha, alpha_adam = adam(state["log_alpha"], grads, state["log_alpha_adam"], rate)
    return {"actor": actor, "actor_adam": actor_adam, "critic": critics,
            "critic_adam": critic_adam, "log_alpha": log_alpha, "log_alpha_adam": alpha_adam,
            "target": follow(state["target"], critics)}, (critic_loss, loss, value)


@functools.partial(jax.jit, donate_argnums=0)
def sac_step(state, data, key, n):
    rows, normals = jax.random.split(jax.random.fold_in(key, n))
    z = jax.random.normal(normals, (2, BATCH, ACT))
    return sac_update(state, draw(data, rows), z[0], z[1])


# ---- timing --------------------------------------------------------------------------------------


class Training:
    """A state and the compiled step that replaces it."""

    def __init__(self, init, step, between=lambda state, n: state, rows=problem.ROWS):
        self.key = jax.random.key(0)
        self.state, self.compiled, self.between = init(self.key), step, between
        self.data = jnp.asarray(problem.packed_transitions(rows))
        self.steps = 0

    def step(self):
        self.state, self.losses = self.compiled(self.state, self.data, self.key, self.steps)
        self.state = self.between(self.state, self.steps)
        self.steps += 1

    def wait(self):
        jax.block_until_ready(self.state)

    def first_step(self):
        self.step()
        self.wait()

    def time(self):
        stopwatch.time_blocks(self.step, self.wait)


def between_ql_steps(state, n):
    state = average_actor(state, n)
    return exchange(state) if np.random.uniform() > 0.5 else state


@jax.jit
def act_once(actor, obs, key, n):
    noise = jax.random.normal(jax.random.fold_in(key, n), (T, 1, ACT))
    return sample(actor, obs[None], noise)[0]


@jax.jit
def act_by_q(policy, obs, key, n):
    actor, critics = policy
    normals, choice = jax.random.split(jax.random.fold_in(key, n))
    s = jnp.broadcast_to(obs, (problem.CANDIDATES, OBS))
    a = sample(actor, s, jax.random.normal(normals, (T, problem.CANDIDATES, ACT)))
    q = jnp.minimum(*(critic(c, s, a) for c in critics))
    return a[jax.random.categorical(choice, q[:, 0])]


def acting(program, policy):
    key, obs, calls = jax.random.key(0), np.zeros(OBS, np.float32), itertools.count()
    return lambda: np.asarray(program(policy, obs, key, next(calls)))


def ql_training(rows=problem.ROWS):
    return Training(init_ql, ql_step, between_ql_steps, rows)


def one_action():
    return acting(act_once, init_ql(jax.random.key(0))["actor"])


def action_by_q():
    state = init_ql(jax.random.key(0))
    return acting(act_by_q, (state["actor"], state["target"]))


WORKLOADS = {
    "diffusion-ql-step": lambda: ql_training().time(),
    "diffusion-bc-step": lambda: Training(init_ql, bc_step, average_actor).time(),
    "sac-step": lambda: Training(init_sac, sac_step).time(),
    "action-1": lambda: stopwatch.time_blocks(one_action()),
    "action-50": lambda: stopwatch.time_blocks(action_by_q()),
    "latency": lambda: stopwatch.time_single(one_action()),
    "startup": lambda: stopwatch.time_start(lambda: ql_training(rows=10_000).first_step()),
}

if __name__ == "__main__":
    stopwatch.main(WORKLOADS)
