"""A fit that takes a second instead of minutes: few trees, few rows, few origins for the totals."""

import pytest

from Training_scripts import fitting, samples, total_fitting


def train_quickly(patch: pytest.MonkeyPatch, *, trees: int = 10, rows: int = 8_000) -> None:
    patch.setattr(fitting, "TREES", trees)
    patch.setattr(samples, "MAX_ROWS", rows)
    patch.setattr(total_fitting, "MOST_ORIGINS", 40)
