"""Noise schedules from their formulas in 50 digits.

    python3 -m venv venv
    venv/bin/pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    venv/bin/pip install mpmath==1.3.0
    venv/bin/python scripts/golden/schedules.py

tests/golden/schedules.safetensors, float64, each number rounded once.  With n = 1..T:

    vp            beta_n = 1 - exp(-bmin/T - (bmax-bmin)(2n-1)/(2 T^2)), bmin 0.1, bmax 10
    linear        beta_n evenly spaced from 1e-4 to 2e-2
    linear_scaled the same with both ends multiplied by 1000/T (T = 100)
    cosine        beta_n = min(0.999, 1 - f(n/T)/f((n-1)/T)), f(u) = cos^2((u+.008)/1.008 pi/2)

    NAME_T/beta, abar = prod (1-beta), and the posterior q(x_{n-1} | x_n, x0) with abar_0 = 1:
    NAME_T/c1 = beta sqrt(abar_{n-1})/(1-abar)      mean = c1 x0 + c2 x_n
    NAME_T/c2 = (1-abar_{n-1}) sqrt(1-beta)/(1-abar)
    NAME_T/variance = beta (1-abar_{n-1})/(1-abar), log_variance = log(max(variance, 1e-20))

    vp_sde/{t,a,s,lambda}   ln a = -(b1-b0) t^2/4 - b0 t/2, s = sqrt(1-a^2), lambda = ln(a/s),
                            b0 0.1, b1 20
"""

from pathlib import Path

import numpy as np
import torch
from mpmath import cos, exp, expm1, log, mp, mpf, pi, sqrt
from safetensors.torch import save_file

GOLDEN = Path(__file__).resolve().parents[2] / "tests/golden"
mp.dps = 50


def vp(T):
    bmin, bmax = mpf("0.1"), mpf(10)
    return [-expm1(-bmin / T - (bmax - bmin) * (2 * n - 1) / (2 * mpf(T) ** 2))
            for n in range(1, T + 1)]


def linear(T, scale=1):
    first, last = scale * mpf("1e-4"), scale * mpf("2e-2")
    return [first + (last - first) * n / (T - 1) for n in range(T)]


def cosine(T):
    def f(u):
        return cos((u + mpf("0.008")) / mpf("1.008") * pi / 2) ** 2

    return [min(mpf("0.999"), 1 - f(mpf(n) / T) / f(mpf(n - 1) / T)) for n in range(1, T + 1)]


def posterior(beta):
    """One row per level: beta, abar, c1, c2, variance, log variance."""
    rows, before = [], mpf(1)
    for b in beta:
        abar = before * (1 - b)
        variance = b * (1 - before) / (1 - abar)
        rows.append((b, abar, b * sqrt(before) / (1 - abar),
                     (1 - before) * sqrt(1 - b) / (1 - abar), variance,
                     log(max(variance, mpf("1e-20")))))
        before = abar
    return rows


def double(values):
    return torch.tensor([float(v) for v in values], dtype=torch.float64)


def schedules():
    beta = {f"vp_{T}": vp(T) for T in (5, 10, 50)}
    beta |= {f"linear_{T}": linear(T) for T in (100, 1000)}
    beta |= {"linear_scaled_100": linear(100, scale=10)}
    beta |= {f"cosine_{T}": cosine(T) for T in (5, 20, 1000)}
    columns = ("beta", "abar", "c1", "c2", "variance", "log_variance")
    r = {f"{name}/{column}": double(values)
         for name, b in beta.items() for column, values in zip(columns, zip(*posterior(b)))}
    t = [mpf(v) for v in ("0.001", "0.1", "0.5", "1")]
    log_a = [-(20 - mpf("0.1")) * u**2 / 4 - mpf("0.1") * u / 2 for u in t]
    log_s = [log(-expm1(2 * v)) / 2 for v in log_a]
    r |= {"vp_sde/t": double(t), "vp_sde/a": double(map(exp, log_a)),
          "vp_sde/s": double(map(exp, log_s)),
          "vp_sde/lambda": double(a - s for a, s in zip(log_a, log_s))}
    return r


def check_schedules(r):
    """The figures that papers' code and earlier measurements gave, to the digits quoted."""
    def quoted(name, values, tolerance=6e-9, at=slice(None)):
        assert (np.abs(r[name].numpy()[at] - values) < tolerance).all(), name

    quoted("vp_5/beta", [.19587456, .45881819, .63578102, .75487819, .83503138])
    quoted("vp_5/abar", [.80412544, .43517806, .15850011, .03885183, .00640933])
    quoted("vp_5/variance", [0, .15911353, .42674167, .66090738, .80776612])
    quoted("vp_10/beta", [.05776447, .36586918], at=[0, 4])
    quoted("vp_50/beta", [.00397209, .17964655], at=[0, -1])
    quoted("linear_1000/abar", [.9999, .52408537, .07858724, .00335055, 4.03582977e-5],
           at=[0, 249, 499, 749, 999])
    quoted("cosine_1000/abar", [.99995872, .84701216, .49384359, .14427210],
           at=[0, 249, 499, 749])
    quoted("cosine_1000/abar", [2.42876691e-6], 6e-15, at=[998])
    quoted("cosine_1000/abar", [2.42876691e-9], 6e-18, at=[999])
    quoted("cosine_1000/beta", [4.12842e-5, .74999939, .999], at=[0, 998, 999])
    quoted("cosine_5/beta", [.10129408, .27954385, .47363535, .72405237, .999])
    quoted("cosine_20/beta", [.00799272, .020075, .03225385, .55102371, .74847609, .999],
           at=[0, 1, 2, -3, -2, -1])
    quoted("vp_sde/a", [.99994503, .94672180, .28118288, .00657159])
    quoted("vp_sde/s", [.01048542, .32205254, .95965420, .99997841])
    quoted("vp_sde/lambda", [4.55771493, 1.07829059, -1.22756773, -5.02497841])
    beta = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    assert torch.allclose(torch.cumprod(1 - beta, 0), r["linear_1000/abar"], rtol=1e-12)


def write(path, tensors):
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    save_file(tensors, path, metadata={"made_by": "scripts/golden/schedules.py"})
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def main():
    exact = schedules()
    check_schedules(exact)
    write(GOLDEN / "schedules.safetensors", exact)


if __name__ == "__main__":
    main()
