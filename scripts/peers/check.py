"""Do the peers compute the same? Each takes three updates from the same weights, with the same
batches, noise and coins; every loss must be the eager program's. Later losses depend on the
gradients, clipping, Adam and averages of the updates before them."""

import sys

import jax.numpy as jnp
import numpy as np
import torch

import check_unets
import jax_jitted
import torch_compiled
import torch_published
import torch_scripted
from problem import ACT, BATCH, OBS, T

UPDATES, TOLERANCE = 3, 1e-4

# ---- the same batches and noise, drawn as the eager program draws them ---------------------------


def batch(n):
    draw = np.random.default_rng(n).standard_normal
    columns = [draw((BATCH, width), np.float32) for width in (OBS, ACT, OBS, 1)]
    return [torch.from_numpy(c) for c in (*columns, np.ones((BATCH, 1), np.float32))]


def seed(n):
    torch.manual_seed(n)
    np.random.seed(n)


def chain_noise():
    return torch.stack([torch.randn(BATCH, ACT) for _ in range(T + 1)])[:T]


def bc_noise():
    return torch.randint(0, T, (BATCH,)), torch.randn(BATCH, ACT)


def ql_noise():
    return chain_noise(), *bc_noise(), chain_noise(), int(np.random.uniform() > 0.5)


def sac_noise():
    return torch.randn(BATCH, ACT), torch.randn(BATCH, ACT)


# ---- the same weights ----------------------------------------------------------------------------


def jax_layers(mlp):
    linear = [m for m in mlp if isinstance(m, torch.nn.Linear)]
    return [tuple(jnp.array(p.detach().numpy().T) for p in (m.weight, m.bias)) for m in linear]


def jax_start(**networks):
    moments = {f"{name}_adam": jax_jitted.adam_start(p) for name, p in networks.items()}
    return networks | moments


def jax_denoiser(policy):
    return {name: jax_layers(getattr(policy.denoiser, name)) for name in ("time", "trunk")}


def jax_critics(critics):
    return [jax_layers(critics.q1), jax_layers(critics.q2)]


def jax_ql(published):
    actor, critics = jax_denoiser(published.actor), jax_critics(published.critic)
    return jax_start(actor=actor, critic=critics) | {"average": actor, "target": critics}


def jax_bc(published):
    return jax_start(actor=jax_denoiser(published.actor))


def jax_sac(published):
    actor, critics = jax_layers(published.actor.trunk), jax_critics(published.critic)
    return jax_start(actor=actor, critic=critics, log_alpha=jnp.float32(0)) | {"target": critics}


def jax_ql_update(state, batch, *noise_and_coin):
    """The coin says which of the critics comes first."""
    *noise, coin = noise_and_coin
    state = jax_jitted.exchange(state) if coin else state
    state, losses = jax_jitted.ql_update(state, batch, *noise)
    return jax_jitted.exchange(state) if coin else state, losses


def load(peer, published):
    actor = published.actor
    peer.actor.load_state_dict(getattr(actor, "denoiser", actor).state_dict())
    if hasattr(peer, "critic"):
        peer.critic.load_state_dict(published.critic.state_dict())
    peer.start()
    return peer


# ---- three updates of each -----------------------------------------------------------------------


def published_losses(algorithm):
    for n in range(UPDATES):
        seed(n)
        yield algorithm.update(*batch(n))


def torch_losses(algorithm, noise):
    for n in range(UPDATES):
        seed(n)
        yield [loss.item() for loss in algorithm.update(batch(n), *noise())]


def jax_losses(state, update, noise):
    for n in range(UPDATES):
        seed(n)
        arrays = [z.numpy() if torch.is_tensor(z) else z for z in noise()]
        state, losses = update(state, [c.numpy() for c in batch(n)], *arrays)
        yield [float(loss) for loss in losses]


def compare(name, peer, expected, found):
    expected, found = np.array(list(expected)), np.array(list(found))
    worst = np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)))
    print(f"{name:13} {peer:14} {UPDATES} updates, largest difference of a loss {worst:.1e}")
    return worst < TOLERANCE


def check(name, algorithm, jax_start, jax_update, noise):
    seed(0)
    published = getattr(torch_published, algorithm)(rows=1000)
    state = jax_start(published)
    peers = {m.__name__: load(getattr(m, algorithm)(rows=1000), published)
             for m in (torch_scripted, torch_compiled)}
    expected = list(published_losses(published))
    found = {peer: torch_losses(p, noise) for peer, p in peers.items()}
    found["jax_jitted"] = jax_losses(state, jax_update, noise)
    return all([compare(name, peer, expected, losses) for peer, losses in found.items()])


def main():
    good = [
        check("diffusion-ql", "DiffusionQl", jax_ql, jax_ql_update, ql_noise),
        check("diffusion-bc", "DiffusionBc", jax_bc, jax_jitted.bc_update, bc_noise),
        check("sac", "Sac", jax_sac, jax_jitted.sac_update, sac_noise),
        check_unets.check_all(),
    ]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
