"""Sampling loops of Hugging Face diffusers: tests/golden/diffusers.safetensors, all in float64.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0 diffusers==0.42.1
    venv/bin/python scripts/golden/diffusers_schedulers.py     # a minute

Formulas are diffusers' own and untouched.  Its float32 became float64 (diffusers_cases.Double), so
every table (betas, abar, sigmas) is double from the start; randn_tensor hands out stored noise.

SHARED  start [4, 3], noise [24, 4, 3].  Step k uses noise[k], at most once.

NETWORK Data N(0.3, 0.5^2) in every dimension, bent so that orders matter; x = a x0 + s e:
    E(x; a, s) = s (x - 0.3 a) / (0.25 a^2 + s^2) + 0.1 sin 2x             the noise, or
    X(x; a, s) = 0.3 + 0.25 a (x - 0.3 a) / (0.25 a^2 + s^2) + 0.1 sin 2x  the data
  What predicts epsilon asks E.  All else asks X and converts it: sample X; v = a e - s X with
  e = (x - a X)/s; flow velocity u = (x - X)/s; edm F = (X - c_skip y)/c_out, sigma_data 0.5.
  The network is told the level's exact (a, s), not its rounded time step.

CASES   FAMILY/VARIANT/...: K = 10 steps of 1000, linear 1e-4..2e-2, epsilon (flow_*: velocity,
    edm_*: F, karras_ve: X), unless the name says more.  E network calls: 2 K - 1 for heun, kdpm2
    and flow_heun, else K.
    times [E]         what diffusers would tell the network
    asked [E, 2]      (a, s) at which the network is asked
    reached [E, 2]    (a, s) of x[k + 1]; mostly asked[k + 1], at the end (1, 0) or n = 0
    x [E + 1, 4, 3]   x[0] and the result of every call of step(), in diffusers' own coordinate:
        x = a x0 + s e, a^2 + s^2 = 1: ddpm ddim ddim_inverse dpm dpm_single unipc sde_vp
        x = a x0 + s e, a = 1 - s:     flow_euler flow_heun
        y = x0 + sigma e = x/a, sigma = s/a: euler euler_ancestral heun kdpm2 edm_euler edm_dpm
              karras_ve sde_ve.  Here too (a, s) and the network are those of x = a y,
              a = 1/sqrt(1 + sigma^2).  y[0] = start sqrt(1 + sigma^2) for edm_* and leading
              spacing, start sigma otherwise; the other two coordinates begin at `start` itself.
    coef [E, 7]       (not for clipping) measured by probing the scheduler with unit vectors:
                      x[k+1] = coef . (x[k], x[k-1], x[k-2], o[k], o[k-1], o[k-2], noise[k]).
                      o is the data estimate made in that call; but the noise e for dpm/eps*,
                      dpm/sde_eps*, dpm_single/eps*, unipc/eps*, ddim_inverse, kdpm2,
                      euler_ancestral and euler/churn*, and u for flow_*.  heun, kdpm2, flow_heun
                      and dpm_single reach back to the x where their step began.
    unipc has, for coef: corrected [K, 4, 3], x[k] after the corrector (x[k] is the prediction and
    o was asked there); predictor [K, 4]: x[k+1] from (corrected[k], o[k], o[k-1], o[k-2]);
    corrector [K, 5]: corrected[k] from (corrected[k-1], o[k], o[k-1], o[k-2], o[k-3]), row 0 zero.
    karras_ve has sigma [K + 1], sigma_hat [K], no times, no coef; x after step and step_correct.
    sde_* have mean [K, 4, 3], the step without its noise (its last row is the sample), no reached,
    no coef; sde_ve also sigma [K] (asked) and ladder [K] (rising); predictor_corrector calls
    step_correct with noise[10 + k], then step, both asked at sigma[k]: x [2 K + 1, 4, 3].

    Words: small large learned_range (variances; the network's variance output is 0.5 sin(x + 1), in
    coef 0); clip: x0 to [-1, 1]; used: use_clipped_model_output; threshold: ratio 0.8, maximum 3;
    pp eps sde sde_eps: dpmsolver++ dpmsolver sde-dpmsolver++ sde-dpmsolver; 1 2 3: order; midpoint
    (if silent) heun bh1 bh2: kind; min: ends at sigma of n = 0 (so do all eps), else at sigma 0;
    full: lower_order_final off; euler_end: euler_at_final; K20: 20 steps; karras lu exponential:
    levels; zsnr: rescale_betas_zero_snr; scaled: 0.00085..0.012; cosine; clipped:
    lambda_min_clipped -5.1; alpha0: set_alpha_to_one off; plain: corrector off; churn: s_churn 4 in
    0.05..50, s_noise 1.003; linspace leading trailing: spacing (if silent linspace; edm_* Karras).

TABLES  schedule/{linear,scaled,cosine}/{abar, zsnr_beta, zsnr_abar} [1000].
    spacing/{ddpm,dpm,euler}_{linspace,leading,trailing}_{5,10,15,20} [K]: time steps of (ddpm
    ddim), (dpm unipc), (euler heun kdpm2); spacing/flow_shift{1,3}_K and edm_K: sigmas [K], without
    the final 0.
    threshold/x [4, 10], a sample a row, ratio 0.9: clip_to_1 (maximum 1, the default), up_to_5.
    guidance/{cond, uncond} [4, 3], cfg = uncond + 7.5 (cond - uncond), rescale_{0.7,1}.

WHERE DIFFUSERS IS NOT THE MATHEMATICS, OR NOT THE PAPERS
  * Third order multistep (dpm/*_3*, edm_dpm/*_3*): the second difference D2 lacks its factor 2, so
    the order is 2.  Single step has the factor (kind heun).
  * Third order of sde (dpm and dpm_single/sde_3_heun): a wrong sign.  D2 has
    a ((1 - e^-2h - 2h)/(2h)^2 - 1/2), which tends to -a; + 1/2 is right and tends to 0 as a h/3.
    Third order of sde_eps and of edm_dpm's sde crash.
  * Single step is one network call a step on a grid of K: orders 1 2 3 1 2 3.., each block from its
    first x.  r1 and r2 come from the grid, not 1/3 and 2/3, and the inner point of order 3 is its
    formula of order 2 (midpoint: phi_1/2, not phi_2).  Ends: order 3, K mod 3 = 0: 1 2 1, 1: 1,
    2: 1 2; order 2, K even: 1 1; and 1 is forced where sigma ends at 0 (pp_3_K11: 1 1).
  * Multistep: the last order is 1 if sigma ends at 0; else orders fall 2, 1 only for K < 15.
  * DDIM steps N//K back from where it is, wherever it asks next: with linspace reached is not
    the next asked.  alpha0 ends at abar_0.  Clipping keeps the unclipped e unless `used`.
  * ddim_inverse steps up to t and asks the network at t, about x at t - N//K (reached[k - 1]; the
    first is abar 1, or abar_0 for alpha0).
  * DDPM leaves noise out at t = 0, not at the last step: with trailing (last t = 99) fixed_small
    adds std 1e-10 (its floor is variance 1e-20) and fixed_large sqrt(1 - abar_99) = 0.32.  Both
    use the beta of the sub-sequence.  learned_range's lower end has that floor, not betatilde_1;
    fixed_small_log is a std, fixed_large_log a logarithm taken for a variance.
  * linspace is K points with both ends for ddpm and ddim (rounded) and for euler, heun and kdpm2
    (not rounded, sigma linear between integers), but the first K of K + 1 points for dpm and unipc;
    leading goes by N//K or N//(K + 1).
  * Karras and its like: the solver has the exact sigma, the network would hear a rounded time step
    (dpm with cosine: cut off, `times` repeat; euler and heun: not rounded).
  * Churn (euler, edm_euler): the network is asked at sigma about y before the noise is added; only
    step() knows sigma_hat (v_prediction not even that: it converts at sigma).  EDM asks at
    sigma_hat about the noised y, as karras_ve does.  heun has no churn.  karras_ve's own levels are
    variances used as sigma; here it is driven with EDM's, rho 7, 0.02..80.
  * edm_* start from sqrt(1 + sigma_max^2), EDM from sigma_max.  edm_euler/min repeats its last
    sigma: a step of length 0, as euler's would be with linspace or leading.
  * euler_ancestral is ddpm's small variance in sigma space, exactly.
  * zsnr: ddpm and ddim keep abar = 0 (epsilon is impossible there); dpm, unipc and euler put 2^-24.
  * unipc at sigma 0: bh1 is NaN (inf times 0), so is full; those cases are min.  The last x is
    never corrected.  The corrector has the order of the predictor it corrects.
  * flow: sigma_min is shifted before the grid shifts it again, shift(shift(1/N)); K points from 1
    to there, then 0.
  * sde_vp: Euler-Maruyama of dt = 1/K on t from 1 to 1e-3, spaced (1 - 1e-3)/(K - 1).  sde_ve asks
    at sigma(t), t from 1 to 1e-5, and steps on the ladder sigma(i/(K - 1)), last to 0; its
    corrector takes norms over the batch.
  * Dynamic thresholding has maximum 1 by default, which makes it static clipping.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers.guiders.guider_utils import rescale_noise_cfg
from diffusers_cases import (
    ABAR, ALGORITHMS, COSINE, DDIM, DDPM, DPM, EDM, EDM_DPM, EDM_EULER, EULER, FAMILY, FLOW,
    FLOW_EULER, INVERSE, KARRAS_VE, KDPM2, LINEAR, N, SCALED, SDE_VE, SDE_VP, SIGMA, UNIPC, Case,
    Noise, cases)
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "tests/golden/diffusers.safetensors"
ROWS, DIM, MU, C = 4, 3, 0.3, 0.5
COLUMNS = 7  # of coef: x[k], x[k-1], x[k-2], o[k], o[k-1], o[k-2], noise[k]

# ---- the network ---------------------------------------------------------------------------------


def noise_estimate(x, a, s):
    return s * (x - a * MU) / (a * a * C * C + s * s) + 0.1 * torch.sin(2 * x)


def data_estimate(x, a, s):
    return MU + a * C * C * (x - a * MU) / (a * a * C * C + s * s) + 0.1 * torch.sin(2 * x)


def output(predicts, x, a, s):
    """What the network says of x = a x0 + s e (for EDM too, a = 1/sqrt(1 + sigma^2))."""
    if predicts == "epsilon":
        return noise_estimate(x, a, s)
    data = data_estimate(x, a, s)
    if predicts == "sample":
        return data
    if predicts == "v_prediction":
        return a * (x - a * data) / s - s * data
    if predicts == "velocity":
        return (x - data) / s
    y, sigma = x / a, s / a
    c_skip = C * C / (sigma * sigma + C * C)
    return (data - c_skip * y) / (sigma * C / (sigma * sigma + C * C).sqrt())


# ---- one loop ------------------------------------------------------------------------------------


def levels(case, scheduler):
    """(a, s) where the network is asked, and where each step ends: two [E, 2]."""
    if case.scheduler in ABAR:
        t = scheduler.timesteps
        abar = torch.cat([scheduler.alphas_cumprod, torch.ones(1)])  # abar[-1]: clean data
        if case.scheduler is DDIM:
            abar[-1] = scheduler.final_alpha_cumprod
        after = {DDPM: torch.cat([t[1:], torch.tensor([-1])]),
                 DDIM: (t - N // case.steps).clamp(min=-1), INVERSE: t}[case.scheduler]
        return tuple(torch.stack([v.sqrt(), (1 - v).sqrt()], 1) for v in (abar[t], abar[after]))
    sigma = scheduler.sigmas.clone()
    if case.scheduler is KDPM2:
        sigma = sigma[:2 * case.steps]
        sigma[1::2] = scheduler.sigmas_interpol[1:2 * case.steps:2]
    a = 1 - sigma if case.scheduler in FLOW else 1 / (1 + sigma**2).sqrt()
    both = torch.stack([a, sigma if case.scheduler in FLOW else sigma * a], 1)
    return both[:-1], both[1:]


def loop(case, start, noise):
    scheduler = case.make()
    asked, reached = levels(case, scheduler)
    x = start
    if case.scheduler in SIGMA:
        x = start * scheduler.init_noise_sigma
    xs, outs, corrected = [x], [], []
    for k, t in enumerate(scheduler.timesteps):
        Noise.now = noise[k]
        a, s = asked[k]
        seen = x
        if case.scheduler in SIGMA:
            seen = scheduler.scale_model_input(x, t)
            if case.scheduler in EDM:  # its c_in is another normalisation
                seen = x * a
            assert torch.allclose(seen, x * a, rtol=1e-13)
        outs.append(output(case.predicts, seen, a, s))
        out = outs[-1]
        if case.config.get("variance_type") == "learned_range":
            out = torch.cat([out, 0.5 * torch.sin(x + 1)], 1)
        x = case.advance(scheduler, k, out, x)
        assert x.dtype == torch.float64 and x.isfinite().all(), (case.name, k)
        xs.append(x)
        if case.scheduler is UNIPC:
            corrected.append(scheduler.last_sample)
    r = {"times": scheduler.timesteps.double(), "asked": asked, "reached": reached,
         "x": torch.stack(xs)}
    if corrected:
        r["corrected"] = torch.stack(corrected)
    return r, outs


# ---- coefficients by probing ---------------------------------------------------------------------


def probe_step(case, scheduler, k, sample, outs, last_noise):
    """Steps 0..k on inputs of our own: sample(i), outs(i) are [rows, 1]; noise in step k only."""
    for i in range(k + 1):
        Noise.now = last_noise if i == k else torch.zeros_like(last_noise)
        out, more = outs(i), {}
        if case.scheduler in SIGMA:
            scheduler.scale_model_input(sample(i), scheduler.timesteps[i])
        if case.scheduler is EDM_EULER:
            more = {"pred_original_sample": out}
        if case.scheduler is EDM_DPM:
            scheduler.convert_model_output = lambda model_output, sample: model_output
        if case.config.get("variance_type") == "learned_range":
            out = torch.cat([out, torch.zeros_like(out)], 1)
        x = case.advance(scheduler, k=i, out=out, x=sample(i), **more)
    return x


def unit(row, rows=COLUMNS + 1):
    return torch.eye(rows)[:, row:row + 1]


def coefficients(case, **more):
    """[E, COLUMNS]: row j of the batch is 1 in column j and 0 elsewhere; the last row is all 0."""
    zero = torch.zeros(COLUMNS + 1, 1)
    table = []
    for k in range(2 * case.steps - 1 if case.two_stage else case.steps):
        x = probe_step(case, case.make(case.native, **more), k,
                       lambda i: unit(k - i) if k - i < 3 else zero,
                       lambda i: unit(3 + k - i) if k - i < 3 else zero, unit(6))
        assert x[-1] == 0, case.name
        table.append(x[:-1, 0])
    return torch.stack(table)


def unipc_tables(case):
    predictor = coefficients(case, disable_corrector=list(range(N)))[:, [0, 3, 4, 5]]
    corrector = [torch.zeros(5)]
    zero = torch.zeros(5, 1)
    for k in range(1, case.steps):
        scheduler = case.make(case.native)
        outs = lambda i: unit(1 + k - i, 5) if k - i < 4 else zero  # noqa: E731
        probe_step(case, scheduler, k - 1, lambda i: zero, outs, zero)
        scheduler.last_sample = unit(0, 5)
        scheduler.step(outs(k), scheduler.timesteps[k], zero)
        corrector.append(scheduler.last_sample[:, 0])
    return {"predictor": predictor, "corrector": torch.stack(corrector)}


def history(case, r, outs):
    """The o of coef, from the loop's x and network outputs."""
    for k, out in enumerate(outs):
        x, (a, s) = r["x"][k], r["asked"][k]
        if case.scheduler in SIGMA:
            x = x * a
        if case.predicts == "epsilon":
            e, data = out, (x - s * out) / a
        elif case.predicts in ("sample", "edm"):
            data = data_estimate(x, a, s)
            e = (x - a * data) / s
        elif case.predicts == "v_prediction":
            e, data = a * out + s * x, a * x - s * out
        else:
            e = data = out
        yield {"epsilon": e, "sample": data, "velocity": out}[case.native]


def check_coefficients(case, r, outs, noise):
    """The measured coefficients reproduce the loop (churned data estimates: inside the step)."""
    if "s_churn" in case.step and (case.predicts != "epsilon"):
        return
    if case.config.get("variance_type") == "learned_range":
        return  # the variance follows the network
    o, zero, x = list(history(case, r, outs)), torch.zeros(ROWS, DIM), r["x"]

    def back(values, k):
        return values[k] if k >= 0 else zero

    for k, c in enumerate(r["coef"] if case.scheduler is not UNIPC else []):
        inputs = [back(x, k - j) for j in range(3)] + [back(o, k - j) for j in range(3)]
        y = sum(w * v for w, v in zip(c, inputs + [noise[k]]))
        assert torch.allclose(y, x[k + 1], rtol=1e-9, atol=1e-9), (case.name, k)
    if case.scheduler is UNIPC:
        x = r["corrected"]
        for k in range(case.steps):
            y = sum(w * v for w, v in zip(r["predictor"][k],
                                          [x[k]] + [back(o, k - j) for j in range(3)]))
            assert torch.allclose(y, r["x"][k + 1], rtol=1e-9, atol=1e-9), (case.name, k)
            if k > 0 and "disable_corrector" not in case.config:
                y = sum(w * v for w, v in zip(r["corrector"][k],
                                              [x[k - 1]] + [back(o, k - j) for j in range(4)]))
                assert torch.allclose(y, x[k], rtol=1e-9, atol=1e-9), (case.name, k)


def record(case, start, noise):
    r, outs = loop(case, start, noise)
    if case.scheduler is UNIPC:
        r |= unipc_tables(case)
    elif case.linear:
        r["coef"] = coefficients(case)
    if case.linear:
        check_coefficients(case, r, outs, noise)
    return {f"{case.name}/{k}": v for k, v in r.items()}


# ---- the stochastic integrators with a protocol of their own ------------------------------------


def stacked(**lists):
    return {k: torch.stack([torch.as_tensor(v) for v in values]) for k, values in lists.items()}


def level_ve(sigma):
    a = 1 / (1 + sigma**2).sqrt()
    return torch.stack([a, sigma * a])


def karras_ve(start, noise, s_churn, steps=10):
    """EDM algorithm 2: scheduler.add_noise_to_input, step, step_correct, at EDM's own levels."""
    scheduler = KARRAS_VE(sigma_min=0.02, sigma_max=80, s_churn=s_churn, s_min=0.05, s_max=50,
                          s_noise=1.003)
    scheduler.num_inference_steps = steps
    i = torch.arange(steps)
    sigmas = (80 ** (1 / 7) + i / (steps - 1) * (0.02 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    sigmas = torch.cat([sigmas, torch.zeros(1)])

    def slope(y, sigma):  # diffusers wants (D - y)/sigma
        a, s = level_ve(sigma)
        return (data_estimate(y * a, a, s) - y) / sigma

    y = start * sigmas[0]
    ys, hats, asked, reached = [y], [], [], []
    for k in range(steps):
        Noise.now = noise[k]
        y, hat = scheduler.add_noise_to_input(y, sigmas[k])
        euler = scheduler.step(slope(y, hat), hat, sigmas[k + 1], y)
        hats.append(hat)
        asked.append(level_ve(hat))
        ys.append(euler.prev_sample)
        if k < steps - 1:
            ys.append(scheduler.step_correct(slope(ys[-1], sigmas[k + 1]), hat, sigmas[k + 1], y,
                                             ys[-1], euler.derivative).prev_sample)
            asked.append(level_ve(sigmas[k + 1]))
            reached.append(level_ve(sigmas[k + 1]))
        reached.append(level_ve(sigmas[k + 1]))
        y = ys[-1]
    return stacked(x=ys, sigma_hat=hats, asked=asked, reached=reached) | {"sigma": sigmas}


def sde_vp(start, noise, steps=10):
    scheduler = SDE_VP()
    scheduler.set_timesteps(steps)
    x, xs, means, asked = start, [start], [], []
    for k, t in enumerate(scheduler.timesteps):
        Noise.now = noise[k]
        log_a = -0.25 * t**2 * 19.9 - 0.05 * t
        a, s = log_a.exp(), (1 - (2 * log_a).exp()).sqrt()
        x, mean = scheduler.step_pred(noise_estimate(x, a, s), x, t)
        asked.append(torch.stack([a, s]))
        xs.append(x)
        means.append(mean)
    return stacked(x=xs, mean=means, asked=asked) | {"times": scheduler.timesteps}


def sde_ve(start, noise, corrected, steps=10):
    scheduler = SDE_VE(num_train_timesteps=steps, sigma_min=0.01, sigma_max=50.0)
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps)

    def score(y, sigma):
        a, s = level_ve(sigma)
        return -noise_estimate(y * a, a, s) / sigma

    y = start * 50
    ys, means, asked = [y], [], []
    for k, t in enumerate(scheduler.timesteps):
        if corrected:
            Noise.now = noise[steps + k]
            y = scheduler.step_correct(score(y, scheduler.sigmas[k]), y).prev_sample
            ys.append(y)
        Noise.now = noise[k]
        out = scheduler.step_pred(score(y, scheduler.sigmas[k]), t, y)
        y = out.prev_sample
        asked.append(level_ve(scheduler.sigmas[k]))
        ys.append(y)
        means.append(out.prev_sample_mean)
    return stacked(x=ys, mean=means, asked=asked) | {
        "times": scheduler.timesteps, "sigma": scheduler.sigmas,
        "ladder": scheduler.discrete_sigmas}


def special(start, noise):
    runs = {"karras_ve/plain": karras_ve(start, noise, 0.0),
            "karras_ve/churn": karras_ve(start, noise, 4.0),
            "sde_vp/euler_maruyama": sde_vp(start, noise),
            "sde_ve/reverse_diffusion": sde_ve(start, noise, False),
            "sde_ve/predictor_corrector": sde_ve(start, noise, True)}
    return {f"{name}/{k}": v for name, r in runs.items() for k, v in r.items()}


# ---- tables --------------------------------------------------------------------------------------


def tables():
    r = {}
    for name, schedule in (("linear", LINEAR), ("scaled", SCALED), ("cosine", COSINE)):
        r[f"schedule/{name}/abar"] = DDPM(**schedule).alphas_cumprod
        zsnr = DDPM(rescale_betas_zero_snr=True, **schedule)
        r[f"schedule/{name}/zsnr_beta"], r[f"schedule/{name}/zsnr_abar"] = (
            zsnr.betas, zsnr.alphas_cumprod)
    for steps in (5, 10, 15, 20):
        for spacing in ("linspace", "leading", "trailing"):
            for scheduler in (DDPM, DPM, EULER):
                made = Case(scheduler, "", dict(timestep_spacing=spacing), steps=steps).make()
                r[f"spacing/{FAMILY[scheduler]}_{spacing}_{steps}"] = made.timesteps.double()
        for shift in (1, 3):
            made = Case(FLOW_EULER, "", dict(shift=shift), steps=steps).make()
            r[f"spacing/flow_shift{shift}_{steps}"] = made.sigmas[:-1]
        r[f"spacing/edm_{steps}"] = Case(EDM_EULER, "", steps=steps).make().sigmas[:-1]
    return r


def guidance():
    cond, uncond, x = torch.randn(ROWS, DIM), torch.randn(ROWS, DIM), 3 * torch.randn(ROWS, 10)
    x[0] /= 10  # a row that needs no clipping
    cfg = uncond + 7.5 * (cond - uncond)
    r = {"guidance/cond": cond, "guidance/uncond": uncond, "guidance/cfg": cfg, "threshold/x": x}
    for phi in (0.7, 1):
        r[f"guidance/rescale_{phi}"] = rescale_noise_cfg(cfg, cond, phi)
    for name, most in (("clip_to_1", 1.0), ("up_to_5", 5.0)):
        scheduler = DDPM(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=most)
        r[f"threshold/{name}"] = scheduler._threshold_sample(x[..., None])[..., 0]
    return r


# ---- the same from the formulas, where they agree and where they do not --------------------------


def multistep(words, kind, order, levels, slips):
    """Coefficients on (x, o0, o1, o2, noise); levels: (a, s) of t, s0, s1, s2."""
    (a, s), (a0, s0) = levels[:2]
    lam = [np.log(u) - np.log(v) if v > 0 else np.inf for u, v in levels]
    h, sde, data = lam[0] - lam[1], words.startswith("sde"), words in ("pp", "sde")
    hh = (-1 if data else 1) * h * (2 if words == "sde" else 1)  # sde_eps: twice the ODE's instead
    twice = 2 if words == "sde_eps" else 1
    scale = -a if data else -s * twice  # of phi_1 = expm1(hh), phi_2, ..
    phi1 = np.expm1(hh)
    phi2 = (phi1 / hh - 1) if np.isfinite(hh) else -1.0
    phi3 = (phi2 / hh - 0.5) if np.isfinite(hh) else -0.5
    base = (s / s0 * (np.exp(-h) if sde else 1)) if data else a / a0
    z = s * np.sqrt(-np.expm1(-2 * h) if data else np.expm1(2 * h)) if sde else 0.0
    o = scale * phi1 * np.array([1.0, 0, 0])
    if order > 1:
        r0 = (lam[1] - lam[2]) / h
        d1 = np.array([1, -1, 0]) / r0
        if order == 2:
            o = o + scale * (phi1 / 2 if kind == "midpoint" else phi2) * d1
        else:
            r1 = (lam[2] - lam[3]) / h
            d11 = np.array([0, 1, -1]) / r1
            d2 = (d1 - d11) / (r0 + r1) * (1 if slips else 2)
            phi3 += 1 if slips and words == "sde" else 0
            d1 = d1 + r0 / (r0 + r1) * (d1 - d11)
            o = o + scale * (phi2 * d1 + phi3 * d2)
    return np.concatenate([[base], o, [z]])


def check_multistep(case, r):
    """coef of dpm from the formulas of the literature, D2 without its 2."""
    words = next(w for w, v in ALGORITHMS.items() if v == case.config["algorithm_type"])
    top, kind, steps = case.config["solver_order"], case.config["solver_type"], case.steps
    zero = case.config.get("final_sigmas_type", "zero") == "zero"
    lower = case.config.get("lower_order_final", True) and steps < 15
    level = np.concatenate([r["asked"].numpy(), r["reached"].numpy()[-1:]])
    for k in range(steps):
        order = min(top, k + 1)
        if k == steps - 1 and (zero or lower or case.config.get("euler_at_final")):
            order = 1
        if k == steps - 2 and lower:
            order = min(order, 2)
        at = [level[max(j, 0)] for j in (k + 1, k, k - 1, k - 2)]
        expected = multistep(words, kind, order, at, slips=True)
        found = r["coef"][k].numpy()[[0, 3, 4, 5, 6]]
        assert np.allclose(found, expected, rtol=1e-9, atol=1e-12), (case.name, k, found, expected)
        if order == 3:
            right = multistep(words, kind, order, at, slips=False)
            assert np.abs(found - right).max() > 1e-4, case.name


def check_first_order(case, r, noise):
    """ddpm and ddim without clipping: x' = a' X + sqrt(s'^2 - std^2) e + std z."""
    eta = case.step.get("eta", 1.0 if case.scheduler is DDPM else 0.0)
    _, outs = loop(case, r["x"][0], noise)
    for k, out in enumerate(outs):
        x, (a, s), (b, u) = r["x"][k], r["asked"][k], r["reached"][k]
        data, e = {"epsilon": lambda: ((x - s * out) / a, out),
                   "sample": lambda: (out, (x - a * out) / s),
                   "v_prediction": lambda: (a * x - s * out, a * out + s * x)}[case.predicts]()
        std = eta * (u / s) * (1 - (a / b) ** 2).sqrt()
        y = b * data + (u**2 - std**2).sqrt() * e + std * noise[k]
        assert torch.allclose(y, r["x"][k + 1], rtol=1e-9, atol=1e-9), (case.name, k)


def check(case, r, noise):
    if not case.linear:
        return
    r = {k.removeprefix(f"{case.name}/"): v for k, v in r.items()}
    if case.scheduler is DPM:
        check_multistep(case, r)
    if case.scheduler is DDIM or (case.scheduler is DDPM and "small" in case.variant):
        check_first_order(case, r, noise)


def main():
    torch.manual_seed(20200619)
    start, noise = torch.randn(ROWS, DIM), torch.randn(24, ROWS, DIM)
    r = {"start": start, "noise": noise}
    names = set()
    for case in cases():
        assert case.name not in names, case.name
        names.add(case.name)
        made = record(case, start, noise)
        check(case, made, noise)
        r |= made
    r |= special(start, noise) | tables() | guidance()
    r = {k: v.double().contiguous().clone() for k, v in r.items()}
    assert all(v.isfinite().all() for v in r.values())
    save_file(r, OUT, metadata={"made_by": "scripts/golden/diffusers_schedulers.py"})
    print(f"{OUT.name}: {len(names)} cases, {len(r)} tensors, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
