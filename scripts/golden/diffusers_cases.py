"""diffusers' schedulers in double precision, and the configurations diffusers_schedulers.py runs.

Imported, not run.  The words in a variant's name are explained there.
"""

import importlib
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch

N = 1000
LINEAR = dict(beta_start=1e-4, beta_end=2e-2, beta_schedule="linear")
SCALED = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
COSINE = dict(beta_schedule="squaredcos_cap_v2")

# ---- diffusers in double, with our noise ---------------------------------------------------------


class Double:
    """A module whose float32 is float64."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, "float64" if name == "float32" else name)


class Noise:
    now = None

    @classmethod
    def draw(cls, *_, **__):
        return cls.now


def load(module, name):
    scheduling = importlib.import_module(f"diffusers.schedulers.{module}")
    scheduling.torch = Double(torch)
    scheduling.randn_tensor = Noise.draw
    if hasattr(scheduling, "np"):
        scheduling.np = Double(np)
    return getattr(scheduling, name)


warnings.simplefilter("ignore", FutureWarning)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
DDPM = load("scheduling_ddpm", "DDPMScheduler")
DDIM = load("scheduling_ddim", "DDIMScheduler")
INVERSE = load("scheduling_ddim_inverse", "DDIMInverseScheduler")
DPM = load("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler")
SINGLE = load("scheduling_dpmsolver_singlestep", "DPMSolverSinglestepScheduler")
UNIPC = load("scheduling_unipc_multistep", "UniPCMultistepScheduler")
EULER = load("scheduling_euler_discrete", "EulerDiscreteScheduler")
ANCESTRAL = load("scheduling_euler_ancestral_discrete", "EulerAncestralDiscreteScheduler")
HEUN = load("scheduling_heun_discrete", "HeunDiscreteScheduler")
KDPM2 = load("scheduling_k_dpm_2_discrete", "KDPM2DiscreteScheduler")
EDM_EULER = load("scheduling_edm_euler", "EDMEulerScheduler")
EDM_DPM = load("scheduling_edm_dpmsolver_multistep", "EDMDPMSolverMultistepScheduler")
KARRAS_VE = load("deprecated.scheduling_karras_ve", "KarrasVeScheduler")
FLOW_EULER = load("scheduling_flow_match_euler_discrete", "FlowMatchEulerDiscreteScheduler")
FLOW_HEUN = load("scheduling_flow_match_heun_discrete", "FlowMatchHeunDiscreteScheduler")
SDE_VP = load("deprecated.scheduling_sde_vp", "ScoreSdeVpScheduler")
SDE_VE = load("scheduling_sde_ve", "ScoreSdeVeScheduler")

ABAR = (DDPM, DDIM, INVERSE)  # levels from alphas_cumprod; the others keep sigmas
EDM = (EDM_EULER, EDM_DPM)
FLOW = (FLOW_EULER, FLOW_HEUN)
SIGMA = (EULER, ANCESTRAL, HEUN, KDPM2, *EDM)  # their x is y = x0 + sigma e
FAMILY = {DDPM: "ddpm", DDIM: "ddim", INVERSE: "ddim_inverse", DPM: "dpm", SINGLE: "dpm_single",
          UNIPC: "unipc", EULER: "euler", ANCESTRAL: "euler_ancestral", HEUN: "heun",
          KDPM2: "kdpm2", EDM_EULER: "edm_euler", EDM_DPM: "edm_dpm", FLOW_EULER: "flow_euler",
          FLOW_HEUN: "flow_heun"}


# ---- the cases -----------------------------------------------------------------------------------


@dataclass
class Case:
    scheduler: type
    variant: str
    config: dict = field(default_factory=dict)
    predicts: str = "epsilon"
    steps: int = 10
    step: dict = field(default_factory=dict)  # arguments of step()

    @property
    def name(self):
        return f"{FAMILY[self.scheduler]}/{self.variant}"

    @property
    def two_stage(self):
        return self.scheduler in (HEUN, KDPM2, FLOW_HEUN)

    @property
    def linear(self):
        config = self.config
        return not (config.get("clip_sample") or config.get("thresholding"))

    @property
    def native(self):
        """What the columns o of coef are."""
        if self.scheduler in FLOW:
            return "velocity"
        noise_form = (self.scheduler in (INVERSE, KDPM2, ANCESTRAL)
                      or self.config.get("algorithm_type") in ("dpmsolver", "sde-dpmsolver")
                      or not self.config.get("predict_x0", True)
                      or (self.scheduler is EULER and "s_churn" in self.step))
        return "epsilon" if noise_form else "sample"

    def make(self, predicts=None, **more):
        """A scheduler about to take its first step."""
        config = dict(self.config) | more
        if self.scheduler not in (*EDM, *FLOW):
            config = {"num_train_timesteps": N} | LINEAR | config
            config["prediction_type"] = predicts or self.predicts
        scheduler = self.scheduler(**config)
        scheduler.set_timesteps(self.steps)
        return scheduler

    def advance(self, scheduler, k, out, x, **more):
        if self.config.get("thresholding"):  # which wants three dimensions
            step = scheduler.step(out[..., None], scheduler.timesteps[k], x[..., None])
            return step.prev_sample[..., 0]
        return scheduler.step(out, scheduler.timesteps[k], x, **self.step, **more).prev_sample


def ddpm_cases():
    small = dict(variance_type="fixed_small", clip_sample=False)
    large = dict(variance_type="fixed_large", clip_sample=False)
    for spacing in ("linspace", "leading", "trailing"):
        spaced = dict(timestep_spacing=spacing)
        yield Case(DDPM, f"small_{spacing}", small | spaced)
        yield Case(DDPM, f"large_{spacing}", large | spaced)
    leading = dict(timestep_spacing="leading")
    for name, variance in (("small", small), ("large", large)):
        yield Case(DDPM, f"{name}_clip_leading", variance | leading | dict(clip_sample=True))
    yield Case(DDPM, "learned_range_leading", leading | dict(variance_type="learned_range",
                                                             clip_sample=False))
    for predicts in ("sample", "v_prediction"):
        yield Case(DDPM, f"small_{predicts}_leading", small | leading, predicts)
    yield Case(DDPM, "small_scaled_leading", small | leading | SCALED)
    yield Case(DDPM, "small_cosine_leading", small | leading | COSINE)
    yield Case(DDPM, "small_cosine_v_prediction_trailing",
               small | COSINE | dict(timestep_spacing="trailing"), "v_prediction")
    yield Case(DDPM, "small_zsnr_v_prediction_trailing",
               small | dict(timestep_spacing="trailing", rescale_betas_zero_snr=True),
               "v_prediction")


def ddim_cases():
    free = dict(clip_sample=False)
    for spacing in ("leading", "trailing", "linspace"):
        for eta in (0.0, 0.5, 1.0):
            yield Case(DDIM, f"eta{eta:g}_{spacing}", free | dict(timestep_spacing=spacing),
                       step=dict(eta=eta))
    for eta in (0.0, 0.5):
        clip = dict(clip_sample=True)
        yield Case(DDIM, f"eta{eta:g}_clip_leading", clip, step=dict(eta=eta))
        yield Case(DDIM, f"eta{eta:g}_clip_used_leading", clip,
                   step=dict(eta=eta, use_clipped_model_output=True))
        yield Case(DDIM, f"eta{eta:g}_alpha0_leading", free | dict(set_alpha_to_one=False),
                   step=dict(eta=eta))
    yield Case(DDIM, "eta0_threshold_leading",
               free | dict(thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=3))
    for predicts in ("sample", "v_prediction"):
        yield Case(DDIM, f"eta0_{predicts}_leading", free, predicts)
    yield Case(DDIM, "eta0_scaled_alpha0_leading", free | SCALED | dict(set_alpha_to_one=False))
    yield Case(DDIM, "eta0_cosine_leading", free | COSINE)
    trailing = free | dict(timestep_spacing="trailing")
    yield Case(DDIM, "eta0_cosine_v_prediction_trailing", trailing | COSINE, "v_prediction")
    yield Case(DDIM, "eta0_zsnr_v_prediction_trailing",
               trailing | dict(rescale_betas_zero_snr=True), "v_prediction")
    for spacing in ("leading", "trailing"):
        yield Case(INVERSE, spacing, free | dict(timestep_spacing=spacing))
    yield Case(INVERSE, "alpha0_leading", free | dict(set_alpha_to_one=False))


ALGORITHMS = {"pp": "dpmsolver++", "eps": "dpmsolver", "sde": "sde-dpmsolver++",
              "sde_eps": "sde-dpmsolver"}


def solver(words, order, kind="midpoint", **more):
    """Options of a DPM solver; the noise forms cannot end at sigma 0."""
    ends = {} if words in ("pp", "sde") else dict(final_sigmas_type="sigma_min")
    chosen = dict(algorithm_type=ALGORITHMS[words], solver_order=order, solver_type=kind)
    return chosen | ends | more


def dpm_cases():
    for words in ALGORITHMS:
        for order in (1, 2, 3):
            for kind in ("midpoint", "heun"):
                if (order == 1 and kind == "heun") or (order == 3 and words == "sde_eps"):
                    continue  # (order 3 of sde-dpmsolver does not exist)
                yield Case(DPM, f"{words}_{order}_{kind}", solver(words, order, kind))
    to_min = dict(final_sigmas_type="sigma_min")
    for order in (2, 3):
        for spacing in ("leading", "trailing"):
            yield Case(DPM, f"pp_{order}_{spacing}", solver("pp", order, timestep_spacing=spacing))
        yield Case(DPM, f"pp_{order}_min", solver("pp", order, **to_min))
        yield Case(DPM, f"pp_{order}_min_full",
                   solver("pp", order, lower_order_final=False, **to_min))
        yield Case(DPM, f"eps_{order}_full", solver("eps", order, lower_order_final=False))
        yield Case(DPM, f"pp_{order}_min_euler_end", solver(
            "pp", order, lower_order_final=False, euler_at_final=True, **to_min))
        yield Case(DPM, f"pp_{order}_K20", solver("pp", order), steps=20)
        yield Case(DPM, f"pp_{order}_karras", solver("pp", order, use_karras_sigmas=True))
        yield Case(DPM, f"pp_{order}_lu", solver("pp", order, use_lu_lambdas=True))
    yield Case(DPM, "sde_3_full", solver("sde", 3, lower_order_final=False))
    yield Case(DPM, "pp_2_exponential", solver("pp", 2, use_exponential_sigmas=True))
    for predicts in ("sample", "v_prediction"):
        yield Case(DPM, f"pp_2_{predicts}", solver("pp", 2), predicts)
        yield Case(DPM, f"eps_2_{predicts}", solver("eps", 2), predicts)
    yield Case(DPM, "pp_2_scaled", solver("pp", 2, **SCALED))
    yield Case(DPM, "pp_2_cosine_clipped", solver("pp", 2, lambda_min_clipped=-5.1, **COSINE))
    yield Case(DPM, "pp_2_cosine_karras_v_prediction",
               solver("pp", 2, use_karras_sigmas=True, **COSINE), "v_prediction")
    yield Case(DPM, "pp_2_zsnr_v_prediction_trailing", solver(
        "pp", 2, rescale_betas_zero_snr=True, timestep_spacing="trailing"), "v_prediction")
    yield Case(DPM, "pp_2_threshold", solver(
        "pp", 2, thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=3.0))


def single_cases():
    for words in ("pp", "eps", "sde"):
        for order in (1, 2, 3):
            for kind in ("midpoint", "heun"):
                if order == 1 and kind == "heun":
                    continue
                yield Case(SINGLE, f"{words}_{order}_{kind}",
                           solver(words, order, kind, lower_order_final=True))
    for words in ("pp", "eps"):
        for kind in ("midpoint", "heun"):
            yield Case(SINGLE, f"{words}_3_{kind}_min_full_K12", solver(
                words, 3, kind, lower_order_final=False, final_sigmas_type="sigma_min"), steps=12)
        yield Case(SINGLE, f"{words}_2_min_full_K12", solver(
            words, 2, lower_order_final=False, final_sigmas_type="sigma_min"), steps=12)
    for steps in (11, 12):
        yield Case(SINGLE, f"pp_3_K{steps}", solver("pp", 3, lower_order_final=True), steps=steps)
    yield Case(SINGLE, "pp_2_karras",
               solver("pp", 2, lower_order_final=True, use_karras_sigmas=True))


def unipc_cases():
    for order in (1, 2, 3):
        yield Case(UNIPC, f"bh2_{order}", dict(solver_order=order))
        yield Case(UNIPC, f"bh2_{order}_plain",
                   dict(solver_order=order, disable_corrector=list(range(N))))
        for kind in ("bh1", "bh2"):
            to_min = dict(solver_order=order, solver_type=kind, final_sigmas_type="sigma_min")
            yield Case(UNIPC, f"{kind}_{order}_min", to_min)
            yield Case(UNIPC, f"{kind}_{order}_min_full", to_min | dict(lower_order_final=False))
            yield Case(UNIPC, f"eps_{kind}_{order}_min", to_min | dict(predict_x0=False))
    yield Case(UNIPC, "bh2_2_v_prediction", dict(solver_order=2), "v_prediction")
    yield Case(UNIPC, "bh2_2_trailing", dict(solver_order=2, timestep_spacing="trailing"))
    yield Case(UNIPC, "bh2_2_karras", dict(solver_order=2, use_karras_sigmas=True))


def sigma_cases():
    for scheduler in (EULER, ANCESTRAL, HEUN, KDPM2):
        for spacing in ("linspace", "leading", "trailing"):
            yield Case(scheduler, spacing, dict(timestep_spacing=spacing))
        yield Case(scheduler, "v_prediction_linspace", {}, "v_prediction")
        yield Case(scheduler, "scaled_linspace", SCALED)
        if scheduler is not ANCESTRAL:
            yield Case(scheduler, "karras", dict(use_karras_sigmas=True))
    for scheduler in (EULER, HEUN):
        yield Case(scheduler, "sample_linspace", {}, "sample")
    yield Case(HEUN, "clip_linspace", dict(clip_sample=True))
    yield Case(HEUN, "cosine_karras", dict(use_karras_sigmas=True) | COSINE)
    for predicts in ("epsilon", "v_prediction"):
        yield Case(EULER, f"churn_{predicts}_linspace", {}, predicts,
                   step=dict(s_churn=4.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.003))
    yield Case(EULER, "trailing_min", dict(timestep_spacing="trailing",
                                           final_sigmas_type="sigma_min"))
    yield Case(EULER, "zsnr_v_prediction_trailing", dict(
        timestep_spacing="trailing", rescale_betas_zero_snr=True), "v_prediction")


def edm_cases():
    yield Case(EDM_EULER, "karras", {}, "edm")
    yield Case(EDM_EULER, "karras_K18", {}, "edm", 18)
    yield Case(EDM_EULER, "exponential", dict(sigma_schedule="exponential"), "edm")
    yield Case(EDM_EULER, "min", dict(final_sigmas_type="sigma_min"), "edm")
    yield Case(EDM_EULER, "churn", {}, "edm",
               step=dict(s_churn=4.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.003))
    for words, order, kind in (("pp", 1, "midpoint"), ("pp", 2, "midpoint"), ("pp", 2, "heun"),
                               ("pp", 3, "midpoint"), ("sde", 1, "midpoint"),
                               ("sde", 2, "midpoint"), ("sde", 2, "heun")):
        yield Case(EDM_DPM, f"{words}_{order}_{kind}", solver(words, order, kind), "edm")
    yield Case(EDM_DPM, "pp_3_exponential", solver("pp", 3, sigma_schedule="exponential"), "edm")


def flow_cases():
    for shift in (1, 3):
        yield Case(FLOW_EULER, f"shift{shift}", dict(shift=shift), "velocity")
        yield Case(FLOW_HEUN, f"shift{shift}", dict(shift=shift), "velocity")
    yield Case(FLOW_EULER, "stochastic", dict(stochastic_sampling=True), "velocity")
    yield Case(FLOW_EULER, "karras", dict(use_karras_sigmas=True), "velocity")


def cases():
    for family in (ddpm_cases, ddim_cases, dpm_cases, single_cases, unipc_cases, sigma_cases,
                   edm_cases, flow_cases):
        yield from family()
