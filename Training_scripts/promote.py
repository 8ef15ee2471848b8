"""``energy-promote``: makes a model version the one that the predictor uses."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from Predictor.forecasting.model_store import current_version, load, make_current, versions
from Sensor_core.errors import EnergyError
from Setup.settings import load_settings
from Training_scripts.registry import tell_registry


def main(argv: Sequence[str] | None = None) -> int:
    """Check a version and point the predictor at it, or list what there is.

    Returns:
        0, or 1 after an error, told in one line on standard error.
    """
    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings()
        root = arguments.models or settings.model_dir
        if arguments.version is not None:
            load(root / arguments.version, settings.interval)
            make_current(root, arguments.version)
            note = tell_registry(settings, root, "energy-promote")
            if note:
                print(f"energy-promote: {note}", file=sys.stderr)
        _list(root)
    except (EnergyError, OSError) as error:
        print(f"energy-promote: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-promote",
        description="Check a model version and let the predictor take it over; without one, list them.",
    )
    parser.add_argument("version", nargs="?", help="name of the version's folder")
    parser.add_argument("--models", type=Path, metavar="DIR", help="folder of model versions (MODEL_DIR)")
    return parser


def _list(root: Path) -> None:
    current = current_version(root)
    for version in versions(root):
        print(f"{'*' if version == current else ' '} {version}")


if __name__ == "__main__":
    sys.exit(main())
