"""Autocorrelated noise and thermal lag: first-order filters, applied by their spectrum.

The filters are circular: the end of a series runs into its beginning, which spares a warm-up.
"""

import numpy as np

from Training_scripts.simulation.plan import Floats


def low_pass(values: Floats, tau: float) -> Floats:
    """Smooth a series as a body with heat capacity does.

    Args:
        values: One value a step.
        tau: Time constant, in steps.
    """
    keep = np.exp(-1.0 / tau)
    turns = np.exp(-2j * np.pi * np.fft.rfftfreq(len(values)))
    spectrum = np.fft.rfft(values) * (1 - keep) / (1 - keep * turns)
    return np.asarray(np.fft.irfft(spectrum, len(values)), dtype=np.float64)


def red_noise(random: np.random.Generator, steps: int, tau: float) -> Floats:
    """Gaussian AR(1) noise of mean 0 and variance 1 whose autocorrelation decays with ``tau`` steps."""
    keep = np.exp(-1.0 / tau)
    unit: Floats = low_pass(random.standard_normal(steps), tau) * np.sqrt((1 + keep) / (1 - keep))
    return unit
