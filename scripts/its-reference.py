#!/usr/bin/env python3
"""Reference figures for the effect estimator: interrupted time series on the Nile's annual flow at Aswan, 1871-1970, change at 1899.

The series is public (Durbin & Koopman, Time Series Analysis by State Space Methods; statsmodels.datasets.nile), 100 values in 10^8 m3.
What it prints stands in engine/kernel/src/score/effect/tests/nile.rs. Not needed to build or test Homeostat.

    python3 -m venv /tmp/its && /tmp/its/bin/pip install statsmodels==0.15.0 && /tmp/its/bin/python scripts/its-reference.py

Whole series, one level shift at 1899 (looks at both sides): OLS with HAC errors, GLSAR(1), SARIMAX(1,0,0).
Forecast from 1871-1898 alone, mean over the first years after (what the estimator does): OLS with a level, OLS with level and trend,
and SARIMAX(1,0,0) with a level, whose interval takes its parameters as known.
"""
import warnings

import numpy
import statsmodels.api as sm
from scipy.stats import norm, t as student

FIRST, CHANGE = 1871, 1899
PAST = CHANGE - FIRST


def line(name, effect, low, high):
    print(f"{name:<44} {effect:8.1f} [{low:8.1f}, {high:8.1f}]")


def level_shift(flow):
    step = (numpy.arange(len(flow)) >= PAST).astype(float)
    columns = sm.add_constant(step)
    fitted = sm.OLS(flow, columns).fit(cov_type="HAC", cov_kwds={"maxlags": 4})
    line("level shift, OLS, HAC (4 lags)", fitted.params[1], *fitted.conf_int()[1])
    model = sm.GLSAR(flow, columns, rho=1)
    fitted = model.iterative_fit(maxiter=50)
    line(f"level shift, GLSAR(1), rho {model.rho[0]:.3f}", fitted.params[1], *fitted.conf_int()[1])
    fitted = sm.tsa.SARIMAX(flow, exog=step, order=(1, 0, 0), trend="c").fit(disp=0)
    line(f"level shift, SARIMAX(1,0,0), rho {fitted.params[2]:.3f}", fitted.params[1], *fitted.conf_int()[1])


def forecast(flow, years):
    past, came = flow[:PAST], flow[PAST : PAST + years].mean()
    year = numpy.arange(PAST)
    for name, columns, ahead in [
        ("level", numpy.ones((PAST, 1)), numpy.array([1.0])),
        ("level and trend", sm.add_constant(year), numpy.array([1.0, PAST + (years - 1) / 2])),
    ]:
        fitted = sm.OLS(past, columns).fit()
        effect = came - ahead @ fitted.params
        error = numpy.sqrt(ahead @ fitted.cov_params() @ ahead + fitted.scale / years)
        half = student.ppf(0.975, fitted.df_resid) * error
        line(f"{years} years, OLS, {name}", effect, effect - half, effect + half)
    fitted = sm.tsa.SARIMAX(past, order=(1, 0, 0), trend="c").fit(disp=0)
    effect = came - fitted.get_forecast(years).predicted_mean.mean()
    reach = numpy.cumsum(fitted.params[1] ** numpy.arange(years))
    half = norm.ppf(0.975) * numpy.sqrt(fitted.params[2] * (reach**2).sum()) / years
    line(f"{years} years, SARIMAX(1,0,0), level", effect, effect - half, effect + half)


def main():
    warnings.simplefilter("ignore")
    flow = sm.datasets.nile.load_pandas().data["volume"].to_numpy()
    print("flow:", " ".join(f"{value:.0f}" for value in flow))
    level_shift(flow)
    for years in (8, 16, 32, 72):
        forecast(flow, years)


if __name__ == "__main__":
    main()
