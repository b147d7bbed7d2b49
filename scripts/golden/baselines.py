"""Losses and gradients of the baselines in PyTorch: tests/golden/baselines.safetensors.

bc, td3_bc (and online td3 on the same networks), iql, rebrac, cql, edac: losses as the papers and
their released codes have them, networks of width 16.  Everything random is in the file.  Weights,
batch and noise are float32 numbers; all tensors are stored, and all results computed, in float64;
the same program in float32 must agree, and so must finite differences.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python scripts/golden/baselines.py

B = 8 rows, S = 5, A = 3.  Weights are [in, out], of an ensemble [E, in, out] (bias [E, out]), in
"<algorithm>/<block>/<slot>", the slots as policy/nets/mlp.c declares them: actor/trunk/0/w,
critic/q/0/b, value/v/2/w.  Gradients are "<algorithm>/grad/<loss>/<block>/<slot>".  All layers but
the last are followed by ReLU.  Every loss and gradient belongs to the weights as given; only
"<algorithm>/step/.." is sequential.  gamma 0.99.  In what follows a' is drawn at s', mean is over
the rows, m = live = 1 - terminal, and a bar marks the slow copy, block "<block>_target".

    batch/{obs,act,next_obs,next_act,reward,live}     next_act: the data's own a', for rebrac
    noise/target_action [B, A]                        N(0, 1), before scale and clip: td3*, rebrac

bc/deterministic    pi(s) = tanh(trunk(s)); loss = mean over rows and dims of (pi(s) - a)^2, of
                    td3_bc/actor.  Read in corl-team/CORL algorithms/offline/any_percent_bc.py
bc/gaussian         loss = -mean log N(a; tanh(trunk(s)), exp(clip(log_std, -5, 2))), summed over
                    dims, of iql/actor; log_std [A] does not depend on s.  IQL's actor loss with
                    all weights 1
bc/squashed         this project's policy_gaussian: loss = -mean log pi(a|s), u = atanh(a),
                    log pi = sum log N(u; mu, std) - log(1 - a^2 + 1e-6), mu and raw the halves of
                    trunk(s), log std = -5 + 3.5 (tanh(raw) + 1)
    action [B, A] (deterministic; gaussian: the mean), log_prob [B], loss

td3_bc, td3         y = r + gamma m min_i Qbar_i(s', clip(pibar(s') + clip(0.2 n, +-0.5), +-1))
                    critic_loss = sum_i mean (Q_i(s, a) - y)^2
                    td3:    actor_loss = -mean Q_1(s, pi(s))
                    td3_bc: actor_loss = -lambda mean Q_1(s, pi(s)) + bc, bc over rows and dims,
                            lambda = 2.5 / mean |Q_1(s, pi(s))|, a constant
                    Fujimoto et al. 2018, algorithm 1; Fujimoto & Gu 2021, eqs. 3 and 5; read in
                    sfujim/TD3 TD3.py and sfujim/TD3_BC TD3_BC.py
    target/{action,q,y}, q [B, 2]; actor/{action,q}: q of both critics; lambda, bc
    td3_bc/step/*: a step with the (delayed) actor: critic; actor against the new critic; then both
    slow copies, slow += tau (new - slow).  Adam 3e-4, tau .005.  step/{critic,actor}_loss
    td3 has td3_bc's networks and critic loss

iql                 value_loss  = mean |tau - 1(u < 0)| u^2, u = min_i Qbar_i(s, a) - V(s), tau .7
                    actor_loss  = -mean min(exp(beta u), 100) log N(a; ..) as bc/gaussian, beta 3
                    critic_loss = sum_i mean (Q_i(s, a) - r - gamma m V(s'))^2
                    Kostrikov et al. 2022, eqs. 5 to 7; read in ikostrikov/implicit_q_learning
                    critic.py, actor.py, policy.py, learner.py.  (CORL halves the critic loss, takes
                    u and V(s') of the V before its update, and clips log_std to [-20, 2].)
    target/{q,y}, v, v_next, advantage (u), weight, log_prob, q
    critic and critic_target are td3_bc's (so are the ones that step/* begins with)
    iql/step/*: V; actor with the new V; Q with the new V; slow Q.  Adam 3e-4 for all (the actor's
    cosine rate begins there), tau .005.  step/{value,actor,critic}_loss

rebrac              y = r + gamma m (min_i Qbar_i(s', a~) - beta_critic |a~ - a'|^2), a~ as in td3
                    critic_loss = sum_i mean (Q_i(s, a) - y)^2
                    actor_loss  = mean (beta_actor |pi(s) - a|^2 - lambda min_i Q_i(s, pi(s))),
                    lambda = 1 / mean |min_i Q_i(s, pi(s))|, a constant; |.|^2 sums over dims
                    beta_actor .25, beta_critic .5.  Three hidden layers; in the critic a layer
                    norm AFTER each ReLU (slots q/norm0/{gain,bias}, .., eps 1e-6: flax's default,
                    not PyTorch's 1e-5)
                    Tarasov et al. 2023; read in tinkoff-ai/ReBRAC src/algorithms/rebrac.py and
                    src/networks.py.  (In its delayed step, taken at steps 0, 2, .., the slow critic
                    follows the new critic but the slow actor the actor from BEFORE its update.)
    target/{action,penalty,q,y}, q; actor/{action,penalty,q}, lambda

cql/{clamp,tanh}    SAC with alpha = exp(log_alpha); three hidden layers
                    y = r + gamma m min_i Qbar_i(s', a'), a' ~ pi: no entropy in the target
                    td_loss = sum_i mean (Q_i(s, a) - y)^2
                    penalty = alpha_cql sum_i mean (log sum_j exp(Q_i(s, a_j) - log p_j) - Q_i(s,a))
                    critic_loss = td_loss + penalty;  alpha_cql 5
                    a_j: N = 4 uniform (log p = -A log 2), 4 of pi(.|s), 4 of pi(.|s'), all judged
                    at s; actions and log p are constants
                    actor_loss = mean (alpha log pi(a|s) - min_i Q_i(s, a)), a ~ pi(.|s)
                    alpha_loss = -mean log_alpha (log pi(a|s) - A)
                    Kumar et al. 2020, CQL(H); read in corl-team/CORL algorithms/offline/cql.py,
                    where N is 10 and alpha_cql 10, and alpha follows alpha_loss.  (That of
                    rl/algos/sac.c has alpha in the place of log_alpha.)
    clamp           log std = clip(k raw + c, -20, 2) and log |da/du| = 2 (log 2 - u -
                    softplus(-2 u)), as CORL.  k = 1, c = -1 are TRAINED there, with the actor:
                    grad/actor_loss/log_std_{multiplier,offset}
    tanh            this project's policy_gaussian, as bc/squashed
    cql/noise/{target,actor} [B, A], policy, next_policy [B, 4, A]: N(0, 1); uniform [B, 4, A]
    target/{action,q,y}, q [B, 2]; proposal/{action,log_p,q} [B, 12, ..]: uniform, pi(.|s),
    pi(.|s'); logsumexp [B, 2]; actor/{action,log_prob,q}

edac/{clamp,tanh}   K = 4 critics of three hidden layers
                    y = r + gamma m (min_i Qbar_i(s', a') - alpha log pi(a'|s')), a' ~ pi
                    td_loss = sum_i mean (Q_i(s, a) - y)^2
                    diversity_loss = mean 1/(K-1) sum_{i != j} <g_i, g_j>,
                    g_i = d_i / (|d_i| + 1e-10), d_i = dQ_i(s, a)/da at the data's action
                    critic_loss = td_loss + eta diversity_loss;  eta 5
                    actor_loss, alpha_loss as cql, over all K critics
                    An et al. 2021, algorithm 1; read in snu-mllab/EDAC lifelong_rl/trainers/
                    q_learning/sac.py, where K is 10 or 50.  All its losses see the weights (and
                    the alpha) of before the step; CORL steps alpha, actor, critics in turn.
    clamp           log std = clip(raw, -5, 2) and log(1 - a^2 + 1e-6), as EDAC;  tanh: as above
    edac/noise/{target,actor} [B, A];  target/{action,log_prob,q,y}, actor/{action,log_prob,q};
    edac/{q,diversity_loss,action_gradient,cosine}, of both: action_gradient [B, K, A] is d_i,
    cosine [B, K, K] has a zero diagonal
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "tests/golden/baselines.safetensors"
B, S, A, HIDDEN, PROPOSALS, ENSEMBLE = 8, 5, 3, 16, 4, 4
GAMMA, TAU, RATE = 0.99, 0.005, 3e-4
TARGET_NOISE, NOISE_CLIP, TD3_BC_ALPHA = 0.2, 0.5, 2.5
EXPECTILE, IQL_BETA, MOST_WEIGHT = 0.7, 3.0, 100.0
BETA_ACTOR, BETA_CRITIC, NORM_EPS = 0.25, 0.5, 1e-6
CQL_ALPHA, EDAC_ETA = 5.0, 5.0
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

# ---- networks: a block is {slot: tensor}, a learner {block: {..}} --------------------------------


def make_mlp(name, inputs, outputs, hidden_layers=2, members=0, norm=False, gain=1.0):
    """PyTorch's first numbers; the last layer's weights gain times as large."""
    widths = [inputs] + hidden_layers * [HIDDEN] + [outputs]
    lead, block = [members] if members else [], {}
    for i, (n, m) in enumerate(zip(widths, widths[1:])):
        bound = (gain if i == hidden_layers else 1) / math.sqrt(n)
        block[f"{name}/{i}/w"] = (2 * torch.rand(lead + [n, m]) - 1) * bound
        block[f"{name}/{i}/b"] = (2 * torch.rand(lead + [m]) - 1) / math.sqrt(n)
        if norm and i < hidden_layers:
            block[f"{name}/norm{i}/gain"] = 1 + 0.3 * torch.randn(lead + [m])
            block[f"{name}/norm{i}/bias"] = 0.3 * torch.randn(lead + [m])
    return block


def centre(critic, batch):
    """No member is the least everywhere, no sign the only one."""
    last = max(k for k in critic if k.endswith("/b"))
    obs = torch.cat([batch["batch/obs"], batch["batch/next_obs"]])
    act = torch.cat([batch["batch/act"], batch["batch/next_act"]])
    critic[last] -= critics(critic, obs, act).mean(0)[:, None]


def slow_copy(block):
    return {k: v + 0.05 * torch.randn_like(v) for k, v in block.items()}


def wide_log_std(block, layer, gain):
    """log std reaches its bounds"""
    for k in (f"trunk/{layer}/w", f"trunk/{layer}/b"):
        block[k][..., A:] *= gain


def mlp(block, name, x):
    """[B, in] -> [B, out], of an ensemble [E, B, out]"""
    layers = sum(k.startswith(f"{name}/") and k.endswith("/w") for k in block)
    for i in range(layers):
        w, b = block[f"{name}/{i}/w"], block[f"{name}/{i}/b"]
        x = x @ w + (b[:, None] if w.dim() == 3 else b)
        if i == layers - 1:
            return x
        x = x.relu()
        if f"{name}/norm{i}/gain" in block:
            x = x - x.mean(-1, keepdim=True)
            x = x / (x.square().mean(-1, keepdim=True) + NORM_EPS).sqrt()
            x = x * block[f"{name}/norm{i}/gain"][:, None] + block[f"{name}/norm{i}/bias"][:, None]


def critics(block, obs, act):
    return mlp(block, "q", torch.cat([obs, act], -1)).squeeze(-1).T  # [B, E]


def deterministic(block, obs):
    return mlp(block, "trunk", obs).tanh()


def gaussian_log_prob(block, obs, act):
    """IQL's actor: not squashed, log std the same in all states"""
    log_std = block["log_std"].clamp(-5, 2)
    z = (act - deterministic(block, obs)) / log_std.exp()
    return (-0.5 * z**2 - log_std - HALF_LOG_2PI).sum(-1)


class Head:
    """Two halves of a network's output -> a squashed Gaussian."""

    def __init__(self, log_std, volume):
        self.log_std, self.volume = log_std, volume

    def density(self, noise, log_std, u):
        return (-0.5 * noise**2 - log_std - HALF_LOG_2PI - self.volume(u)).sum(-1)

    def parameters(self, block, obs):
        mean, raw = mlp(block, "trunk", obs).chunk(2, -1)
        return mean, self.log_std(block, raw)

    def sample(self, block, obs, noise):
        mean, log_std = self.parameters(block, obs)
        u = mean + log_std.exp() * noise
        return u.tanh(), self.density(noise, log_std, u)

    def log_prob(self, block, obs, act):
        mean, log_std = self.parameters(block, obs)
        u = act.atanh()
        return self.density((u - mean) / log_std.exp(), log_std, u)


def volume_eps(u):
    return (1 - u.tanh() ** 2 + 1e-6).log()


def volume_exact(u):
    return 2 * (math.log(2) - u - F.softplus(-2 * u))


def corl_log_std(block, raw):
    k, c = block.get("log_std_multiplier", 1.0), block.get("log_std_offset", -1.0)
    return (k * raw + c).clamp(-20, 2)


OURS = Head(lambda _, raw: -5 + 3.5 * (raw.tanh() + 1), volume_eps)
CORLS = Head(corl_log_std, volume_exact)
EDACS = Head(lambda _, raw: raw.clamp(-5, 2), volume_eps)

# ---- losses: (net, given, held) -> rows and scalars to store, and {loss: (value, trained blocks)} 
# held: constants of the loss that depend on the trained weights, for the finite differences


def td_target(g, value):
    return g["batch/reward"] + GAMMA * g["batch/live"] * value


def td_loss(q, y):
    return ((q - y.detach()[:, None]) ** 2).mean(0).sum()


def bc_deterministic(net, g, _):
    action = deterministic(net["actor"], g["batch/obs"])
    loss = ((action - g["batch/act"]) ** 2).mean()
    return {"action": action}, {"loss": (loss, ["actor"])}


def bc_gaussian(net, g, _):
    log_prob = gaussian_log_prob(net["actor"], g["batch/obs"], g["batch/act"])
    rows = {"action": deterministic(net["actor"], g["batch/obs"]), "log_prob": log_prob}
    return rows, {"loss": (-log_prob.mean(), ["actor"])}


def bc_squashed(net, g, _):
    log_prob = OURS.log_prob(net["actor"], g["batch/obs"], g["batch/act"])
    return {"log_prob": log_prob}, {"loss": (-log_prob.mean(), ["actor"])}


def smoothed_action(net, g):
    """TD3's target policy"""
    noise = (TARGET_NOISE * g["noise/target_action"]).clamp(-NOISE_CLIP, NOISE_CLIP)
    return (deterministic(net["actor_target"], g["batch/next_obs"]) + noise).clamp(-1, 1)


def td3_bc(net, g, held):
    obs, act = g["batch/obs"], g["batch/act"]
    r = {"target/action": smoothed_action(net, g)}
    r["target/q"] = critics(net["critic_target"], g["batch/next_obs"], r["target/action"])
    r["target/y"] = td_target(g, r["target/q"].amin(-1))
    r["q"] = critics(net["critic"], obs, act)
    r["actor/action"] = deterministic(net["actor"], obs)
    r["actor/q"] = critics(net["critic"], obs, r["actor/action"])
    q1 = r["actor/q"][:, 0]
    r["lambda"] = held.get("lambda", TD3_BC_ALPHA / q1.abs().mean().detach())
    r["bc"] = ((r["actor/action"] - act) ** 2).mean()
    return r, {"critic_loss": (td_loss(r["q"], r["target/y"]), ["critic"]),
               "actor_loss": (r["bc"] - r["lambda"] * q1.mean(), ["actor"])}


def td3(net, g, _):
    q = critics(net["critic"], g["batch/obs"], deterministic(net["actor"], g["batch/obs"]))
    return {}, {"actor_loss": (-q[:, 0].mean(), ["actor"])}


def iql(net, g, _):
    obs, act = g["batch/obs"], g["batch/act"]
    r = {"target/q": critics(net["critic_target"], obs, act)}
    r["v"] = mlp(net["value"], "v", obs).squeeze(-1)
    r["v_next"] = mlp(net["value"], "v", g["batch/next_obs"]).squeeze(-1)
    u = r["advantage"] = r["target/q"].amin(-1) - r["v"]
    r["weight"] = (IQL_BETA * u).exp().clamp(max=MOST_WEIGHT).detach()
    r["log_prob"] = gaussian_log_prob(net["actor"], obs, act)
    r["q"] = critics(net["critic"], obs, act)
    r["target/y"] = td_target(g, r["v_next"])
    asymmetry = (EXPECTILE - (u < 0).to(u)).abs()
    return r, {"value_loss": ((asymmetry * u**2).mean(), ["value"]),
               "actor_loss": (-(r["weight"] * r["log_prob"]).mean(), ["actor"]),
               "critic_loss": (td_loss(r["q"], r["target/y"]), ["critic"])}


def rebrac(net, g, held):
    obs, act = g["batch/obs"], g["batch/act"]
    r = {"target/action": smoothed_action(net, g)}
    r["target/penalty"] = ((r["target/action"] - g["batch/next_act"]) ** 2).sum(-1)
    r["target/q"] = critics(net["critic_target"], g["batch/next_obs"], r["target/action"])
    r["target/y"] = td_target(g, r["target/q"].amin(-1) - BETA_CRITIC * r["target/penalty"])
    r["q"] = critics(net["critic"], obs, act)
    r["actor/action"] = deterministic(net["actor"], obs)
    r["actor/penalty"] = ((r["actor/action"] - act) ** 2).sum(-1)
    r["actor/q"] = critics(net["critic"], obs, r["actor/action"])
    least = r["actor/q"].amin(-1)
    r["lambda"] = held.get("lambda", 1 / least.abs().mean().detach())
    actor_loss = (BETA_ACTOR * r["actor/penalty"] - r["lambda"] * least).mean()
    return r, {"critic_loss": (td_loss(r["q"], r["target/y"]), ["critic"]),
               "actor_loss": (actor_loss, ["actor"])}


def soft_actor(head, net, g, algorithm, r):
    """SAC's losses of actor and temperature; the actor's rows to r"""
    action, log_prob = head.sample(net["actor"], g["batch/obs"], g[f"{algorithm}/noise/actor"])
    q = critics(net["critic"], g["batch/obs"], action)
    r |= {"actor/action": action, "actor/log_prob": log_prob, "actor/q": q}
    log_alpha = net["temperature"]["log_alpha"]
    return {"actor_loss": ((log_alpha.exp() * log_prob - q.amin(-1)).mean(), ["actor"]),
            "alpha_loss": (-(log_alpha * (log_prob - A).detach()).mean(), ["temperature"])}


def cql_proposals(head, net, g):
    """[B, 12, A] and [B, 12]"""
    uniform = g["cql/noise/uniform"]
    action, log_p = [uniform], [torch.full_like(uniform[..., 0], -A * math.log(2))]
    for obs, noise in (("batch/obs", "policy"), ("batch/next_obs", "next_policy")):
        each = g[obs][:, None].expand(B, PROPOSALS, S)
        a, p = head.sample(net["actor"], each, g[f"cql/noise/{noise}"])
        action.append(a.detach()), log_p.append(p.detach())
    return torch.cat(action, 1), torch.cat(log_p, 1)


def cql(head, net, g, _):
    obs, count = g["batch/obs"], 3 * PROPOSALS
    a, _ = head.sample(net["actor"], g["batch/next_obs"], g["cql/noise/target"])
    r = {"target/action": a, "target/q": critics(net["critic_target"], g["batch/next_obs"], a)}
    r["target/y"] = td_target(g, r["target/q"].amin(-1))
    q = r["q"] = critics(net["critic"], obs, g["batch/act"])
    r["proposal/action"], r["proposal/log_p"] = cql_proposals(head, net, g)
    each = obs[:, None].expand(B, count, S).reshape(B * count, S)
    r["proposal/q"] = critics(net["critic"], each, r["proposal/action"].reshape(B * count, A))
    r["proposal/q"] = r["proposal/q"].reshape(B, count, 2)
    r["logsumexp"] = (r["proposal/q"] - r["proposal/log_p"][..., None]).logsumexp(1)
    r["td_loss"] = td_loss(q, r["target/y"])
    r["penalty"] = CQL_ALPHA * (r["logsumexp"] - q).mean(0).sum()
    losses = soft_actor(head, net, g, "cql", r)
    return r, losses | {"critic_loss": (r["td_loss"] + r["penalty"], ["critic"])}


def diversity(net, g, r):
    """of the directions in which the critics would change the data's actions"""
    act = g["batch/act"].detach().expand(ENSEMBLE, B, A).requires_grad_()
    obs = g["batch/obs"].expand(ENSEMBLE, B, S)
    q = mlp(net["critic"], "q", torch.cat([obs, act], -1))
    d = torch.autograd.grad(q.sum(), act, create_graph=True)[0].transpose(0, 1)  # [B, K, A]
    unit = d / (d.norm(dim=-1, keepdim=True) + 1e-10)
    cosine = (unit @ unit.transpose(1, 2)) * (1 - torch.eye(ENSEMBLE).to(d))
    r |= {"action_gradient": d, "cosine": cosine}
    return cosine.sum((1, 2)).mean() / (ENSEMBLE - 1)


def edac_diversity(net, g, _):
    r = {"q": critics(net["critic"], g["batch/obs"], g["batch/act"])}
    return r, {"diversity_loss": (diversity(net, g, r), [])}


def edac(head, net, g, _):
    a, log_prob = head.sample(net["actor"], g["batch/next_obs"], g["edac/noise/target"])
    r = {"target/action": a, "target/log_prob": log_prob}
    r["target/q"] = critics(net["critic_target"], g["batch/next_obs"], a)
    alpha = net["temperature"]["log_alpha"].exp()
    r["target/y"] = td_target(g, r["target/q"].amin(-1) - alpha * log_prob)
    r["td_loss"] = td_loss(critics(net["critic"], g["batch/obs"], g["batch/act"]), r["target/y"])
    losses = soft_actor(head, net, g, "edac", r)
    critic_loss = r["td_loss"] + EDAC_ETA * diversity(net, g, {})
    return r, losses | {"critic_loss": (critic_loss, ["critic"])}


CASES = {  # name: (losses, networks)
    "bc/deterministic": (bc_deterministic, "td3_bc"),
    "bc/gaussian": (bc_gaussian, "iql"),
    "bc/squashed": (bc_squashed, "bc/squashed"),
    "td3_bc": (td3_bc, "td3_bc"),
    "td3": (td3, "td3_bc"),
    "iql": (iql, "iql"),
    "rebrac": (rebrac, "rebrac"),
    "cql/clamp": (lambda *x: cql(CORLS, *x), "cql"),
    "cql/tanh": (lambda *x: cql(OURS, *x), "cql"),
    "edac": (edac_diversity, "edac"),
    "edac/clamp": (lambda *x: edac(EDACS, *x), "edac"),
    "edac/tanh": (lambda *x: edac(OURS, *x), "edac"),
}

# the networks of another algorithm, stored there
SHARED = ("iql/critic", "iql/critic_target")

# ---- results -------------------------------------------------------------------------------------


def slots(prefix, block):
    return {f"{prefix}/{k}": v for k, v in block.items()}


def gradients(prefix, loss, net, names):
    r = {}
    for name in names:
        grads = torch.autograd.grad(loss, list(net[name].values()), retain_graph=True,
                                    materialize_grads=True)  # diversity does not see the last bias
        r |= slots(f"{prefix}/{name}", dict(zip(net[name], grads)))
    return r


def case_results(name, net, given):
    rows, losses = CASES[name][0](net, given, {})
    r = slots(name, rows)
    for loss, (value, trained) in losses.items():
        r[f"{name}/{loss}"] = value
        r |= gradients(f"{name}/grad/{loss}", value, net, trained)
    return r


def corl_scalar_gradients(net, given):
    """of the two trained scalars in CORL's actor"""
    k, c = (torch.tensor(v, dtype=given["batch/obs"].dtype, requires_grad=True) for v in (1., -1.))
    actor = net["actor"] | {"log_std_multiplier": k, "log_std_offset": c}
    loss = cql(CORLS, net | {"actor": actor}, given, {})[1]["actor_loss"][0]
    names = ("log_std_multiplier", "log_std_offset")
    return slots("cql/clamp/grad/actor_loss", dict(zip(names, torch.autograd.grad(loss, (k, c)))))


def whole_step(name, net, given, order):
    """One sequential update; order: losses and the block that each trains"""
    net = {k: {s: v.detach().clone().requires_grad_() for s, v in b.items()}
           for k, b in net.items()}
    r = {}
    for loss, block in order:
        optimizer = torch.optim.Adam(net[block].values(), lr=RATE, betas=(0.9, 0.999), eps=1e-8)
        value = r[f"{name}/step/{loss}"] = CASES[name][0](net, given, {})[1][loss][0]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    for block in [k for k in net if f"{k}_target" in net]:
        for s, v in net[f"{block}_target"].items():
            v.data += TAU * (net[block][s].data - v.data)
    for block in net:
        r |= slots(f"{name}/step/{block}", net[block])
    return r


def results(networks, given, dtype):
    given = {k: v.to(dtype) for k, v in given.items()}
    networks = {name: {b: {s: v.to(dtype).clone().requires_grad_() for s, v in block.items()}
                       for b, block in net.items()} for name, net in networks.items()}
    r = {}
    for name, (_, net) in CASES.items():
        r |= case_results(name, networks[net], given)
    r |= corl_scalar_gradients(networks["cql"], given)
    r |= whole_step("td3_bc", networks["td3_bc"], given,
                    [("critic_loss", "critic"), ("actor_loss", "actor")])
    r |= whole_step("iql", networks["iql"], given,
                    [("value_loss", "value"), ("actor_loss", "actor"), ("critic_loss", "critic")])
    return {k: v.detach().reshape(v.shape or (1,)).contiguous() for k, v in r.items()}


# ---- inputs --------------------------------------------------------------------------------------


def actor_and_critic(batch, hidden_layers, members, outputs=A, norm=False, actor_gain=4.0,
                     critic_gain=8.0):
    actor = make_mlp("trunk", S, outputs, hidden_layers, gain=actor_gain)
    critic = make_mlp("q", S + A, 1, hidden_layers, members, norm, gain=critic_gain)
    centre(critic, batch)
    return {"actor": actor, "critic": critic, "critic_target": slow_copy(critic)}


def make_networks(batch):
    net = {"bc/squashed": {"actor": make_mlp("trunk", S, 2 * A)}}
    for name, depth, norm, gain in (("td3_bc", 2, False, 16.0), ("rebrac", 3, True, 2.0)):
        net[name] = actor_and_critic(batch, depth, 2, norm=norm, actor_gain=10.0, critic_gain=gain)
        net[name]["actor_target"] = slow_copy(net[name]["actor"])
    actor, value = make_mlp("trunk", S, A, gain=4.0), make_mlp("v", S, 1, gain=4.0)
    actor["log_std"] = torch.tensor([-0.75, 0.25, 2.5])  # the last one above its bound
    net["iql"] = {"actor": actor, "value": value}
    net["iql"] |= {k: net["td3_bc"][k] for k in ("critic", "critic_target")}
    q = critics(net["iql"]["critic_target"], batch["batch/obs"], batch["batch/act"]).amin(-1)
    value["v/2/b"] += (q - mlp(value, "v", batch["batch/obs"])[:, 0]).mean() - 0.8
    for name, members, alpha, wide in (("cql", 2, -0.5, 5.0), ("edac", ENSEMBLE, -0.75, 12.0)):
        net[name] = actor_and_critic(batch, 3, members, outputs=2 * A, critic_gain=20.0)
        net[name]["temperature"] = {"log_alpha": torch.tensor([alpha])}
        wide_log_std(net[name]["actor"], 3, wide)
    return net


def tame(noise, heads, actor, obs):
    """Halve the noise where an action would be too near its bounds for float32: |u| <= 2.5."""
    obs = obs.reshape(B, -1, S).expand(B, noise[0].numel() // A, S)
    for head in heads:
        mean, log_std = head.parameters(actor, obs)
        assert mean.abs().max() < 2.5
        while ((mean + log_std.exp() * noise.reshape(mean.shape)).abs() > 2.5).any():
            too_far = (mean + log_std.exp() * noise.reshape(mean.shape)).abs() > 2.5
            noise[too_far.reshape(noise.shape)] *= 0.5


def make_batch():
    return {
        "batch/obs": torch.randn(B, S),
        "batch/act": torch.rand(B, A) * 1.9 - 0.95,
        "batch/next_obs": torch.randn(B, S),
        "batch/next_act": torch.rand(B, A) * 2 - 1,
        "batch/reward": torch.randn(B),
        "batch/live": torch.tensor([1.0, 1, 0, 1, 1, 1, 0, 1]),
    }


def make_noise(net, batch):
    g = {"noise/target_action": torch.randn(B, A),
         "cql/noise/uniform": torch.rand(B, PROPOSALS, A) * 2 - 1}
    g["noise/target_action"][0, 0], g["noise/target_action"][3, 1] = 3.0, -2.75  # clipped
    for name, obs in (("target", "next_obs"), ("actor", "obs")):
        for algorithm, head in (("cql", CORLS), ("edac", EDACS)):
            noise = g[f"{algorithm}/noise/{name}"] = torch.randn(B, A)
            tame(noise, (head, OURS), net[algorithm]["actor"], batch[f"batch/{obs}"])
    for name, obs in (("policy", "obs"), ("next_policy", "next_obs")):
        noise = g[f"cql/noise/{name}"] = torch.randn(B, PROPOSALS, A)
        tame(noise, (CORLS, OURS), net["cql"]["actor"], batch[f"batch/{obs}"])
    return g


# ---- checks --------------------------------------------------------------------------------------


def check_coverage(net, g, r):
    """Every minimum, clip and mask decides something."""
    def some(condition):
        assert 0 < condition.double().mean() < 1, "all rows or none"

    for name in ("td3_bc/target", "iql/target", "rebrac/target", "cql/clamp/target",
                 "edac/clamp/target", "rebrac/actor", "cql/clamp/actor", "cql/tanh/actor",
                 "edac/clamp/actor", "edac/tanh/actor"):
        q = r[f"{name}/q"]
        assert q.argmin(-1).unique().numel() > 1, f"{name}: different critics are the least"
    some(r["td3_bc/actor/q"][:, 0] > 0)  # mean |Q| is not |mean Q|
    some(r["rebrac/actor/q"].amin(-1) > 0)
    for name in ("td3_bc", "rebrac"):
        some(r[f"{name}/target/action"].abs() == 1)
    some(0.2 * g["noise/target_action"].abs() > 0.5)
    some(r["iql/advantage"] > 0), some(r["iql/weight"] == MOST_WEIGHT)
    raw = {k: torch.cat([mlp(net[k]["actor"], "trunk", g[f"batch/{o}"])[..., A:]
                         for o in ("obs", "next_obs")]) for k in ("cql", "edac")}
    some(raw["cql"] - 1 > 2), some(raw["edac"] > 2), some(raw["edac"] < -5)
    assert r["iql/grad/actor_loss/actor/log_std"][2] == 0


def check_float32(exact, single):
    worst = max((((exact[k] - single[k].double()).abs().max() / exact[k].abs().max().clamp(1e-30))
                 .item(), k) for k in exact)
    print(f"float32 and float64 agree to {worst[0]:.1e} of a tensor's largest element ({worst[1]})")
    assert worst[0] < 2e-5


def check_differences(networks, given, exact, step=1e-6):
    """Each gradient along a random direction, against the loss at both sides."""
    worst = (0.0, "")
    given = {k: v.double() for k, v in given.items()}
    for name, (losses_of, key) in CASES.items():
        net = {b: {s: v.double() for s, v in block.items()} for b, block in networks[key].items()}
        rows, losses = losses_of(net, given, {})
        for loss, (_, trained) in losses.items():
            for block in trained:
                way = {s: torch.randn_like(v) for s, v in net[block].items()}
                sides = []
                for sign in (1, -1):
                    moved = {s: v + sign * step * way[s] for s, v in net[block].items()}
                    there = losses_of(net | {block: moved}, given, rows)[1]
                    sides.append(there[loss][0].item())
                slope = (sides[0] - sides[1]) / (2 * step)
                grad = [exact[f"{name}/grad/{loss}/{block}/{s}"] for s in way]
                along = sum((d * v.reshape(d.shape)).sum() for d, v in zip(way.values(), grad))
                size = sum((v**2).sum() for v in grad).sqrt()
                worst = max(worst, (((slope - along).abs() / size).item(), f"{name}/{loss}"))
    print(f"finite differences agree to {worst[0]:.1e} of a gradient's norm ({worst[1]})")
    assert worst[0] < 1e-6


def main():
    torch.manual_seed(815)
    torch.set_num_threads(1)
    batch = make_batch()
    networks = make_networks(batch)
    given = batch | make_noise(networks, batch)
    exact = results(networks, given, torch.float64)
    check_coverage(networks, given, exact)
    check_float32(exact, results(networks, given, torch.float32))
    check_differences(networks, given, exact)
    inputs = dict(given)
    for name, net in networks.items():
        for block in net:
            if f"{name}/{block}" not in SHARED:
                inputs |= slots(f"{name}/{block}", net[block])
    tensors = exact | {k: v.double().contiguous() for k, v in inputs.items()}
    assert len(tensors) == len(exact) + len(inputs)
    save_file(tensors, OUT, metadata={"made_by": "scripts/golden/baselines.py"})
    for k, v in exact.items():
        if k.endswith("loss"):
            print(f"{k:28} {v.item():.10f}")
    print(f"{OUT.name}: {len(tensors)} tensors, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
