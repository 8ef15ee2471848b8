"""The model dump: a folder of LightGBM's own text files beside a card that says what they are.

Layout: ``<root>/current`` names the version in use, ``<root>/<version>/card.json`` and ``*.txt.gz`` are
that version. A version is named after a digest of its card, the card holds a digest of every file: what
was changed by hand or broken on the way is refused. A version is written beside the others and renamed,
then ``current`` is replaced, so that a reader sees the old version or the new one, whole.
"""

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import lightgbm
import msgspec
import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS, Calibration
from Predictor.forecasting.features import FEATURE_NAMES
from Predictor.forecasting.linear import LinearMember
from Predictor.forecasting.total_model import TotalModel
from Sensor_core.errors import ModelError
from Sensor_core.interval import Interval
from Sensor_core.reading import UNDECODABLE

ON_THE_LINE: Final = ("mean", "median", "low", "high")
"""Boosters of each lead group that are trained on what the linear member leaves over."""
PLAIN: Final = ("plain_mean", "plain_median")
"""Boosters that know nothing of the line: they err in other hours, which makes the average better."""
MEMBERS: Final = (*ON_THE_LINE, *PLAIN)

_FORMAT: Final = 1
_POINTER: Final = "current"
_CARD: Final = "card.json"

Boosters = Mapping[tuple[int, str], lightgbm.Booster]
"""By index of lead group and member."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is: everything but the trees.

    Attributes:
        format: Version of this layout.
        created_at: When it was trained, UTC.
        trained_from: Start of the first step that it was trained on, UTC.
        trained_until: End of the last one, UTC.
        interval_s: Metering interval of what it was trained on. [s]
        meters: How many meters it was trained on.
        features: Names of the model inputs, in order.
        lead_groups: First and last hour of each group of lead times.
        linear: Weights of the linear member, by block of lead times.
        calibration: Factors on the interval's halves.
        totals: What is known of totals.
        scores: Validation scores: model, then lead time or ``all``, then metric.
        libraries: Versions of what made it.
        readings: How many readings it was trained on.
        seed: Seed of the draw of training rows.
        files: SHA-256 by file name.
        masked: Readings that were taken out of the training target, by reason.
    """

    format: int = _FORMAT
    created_at: datetime
    trained_from: datetime
    trained_until: datetime
    interval_s: int
    meters: int
    features: tuple[str, ...]
    lead_groups: tuple[tuple[int, int], ...]
    linear: list[list[float]]
    calibration: Calibration
    totals: TotalModel = TotalModel()
    scores: dict[str, dict[str, dict[str, float | None]]]
    libraries: dict[str, str]
    readings: int = 0
    seed: int = 0
    files: dict[str, str]
    masked: dict[str, int] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A trained model in memory."""

    name: str
    card: Card
    linear: LinearMember
    boosters: Boosters


def save(root: Path, card: Card, boosters: Boosters) -> str:
    """Write a version and make it the current one; see ``write``."""
    version = write(root, card, boosters)
    make_current(root, version)
    return version


def write(root: Path, card: Card, boosters: Boosters) -> str:
    """Write a version beside the others.

    Args:
        root: Folder of all versions; made if it does not exist.
        card: The card; its ``files`` are filled in here.
        boosters: The trees.

    Returns:
        The version's name.
    """
    root.mkdir(parents=True, exist_ok=True)
    files = {_file_name(group, member): _packed(booster) for (group, member), booster in boosters.items()}
    card = msgspec.structs.replace(card, files={name: _digest(data) for name, data in files.items()})
    text = msgspec.json.format(msgspec.json.encode(card), indent=1)
    version = _version_of(text)
    if not (root / version).exists():
        _write_folder(root, version, {**files, _CARD: text})
    return version


def prune(root: Path, keep: int) -> list[str]:
    """Remove all versions but the newest ones and the current one.

    Args:
        root: Folder of all versions.
        keep: How many of the newest to keep.

    Returns:
        Names of those that were removed.
    """
    newest_first = sorted(versions(root), key=lambda version: _age(root / version), reverse=True)
    try:
        kept = {*newest_first[:keep], current_version(root)}
    except ModelError:
        kept = set(newest_first[:keep])
    removed = [version for version in newest_first if version not in kept]
    for version in removed:
        shutil.rmtree(root / version, ignore_errors=True)
    return removed


def _age(folder: Path) -> datetime:
    try:
        return read_card(folder).created_at
    except ModelError:  # broken or of an older program: the first to go
        return datetime.min.replace(tzinfo=UTC)


def read_card(folder: Path) -> Card:
    """Read the card of a version's folder alone.

    Raises:
        ModelError: It is missing, was changed since it was written, or was made for other features.
    """
    return _checked_card(folder, _read(folder / _CARD))


def make_current(root: Path, version: str) -> None:
    """Point ``current`` at a version that is there; readers take it over at their next look."""
    if not (root / version / _CARD).is_file():
        raise ModelError(f"{root} has no model {version!r}: it has {', '.join(versions(root)) or 'none'}")
    with tempfile.NamedTemporaryFile("w", dir=root, delete=False, prefix=".current-") as pointer:
        pointer.write(f"{version}\n")
    Path(pointer.name).chmod(0o644)
    Path(pointer.name).replace(root / _POINTER)


def versions(root: Path) -> list[str]:
    """Names of the versions in a folder of models."""
    return sorted(card.parent.name for card in root.glob(f"*/{_CARD}") if not card.parent.name.startswith("."))


def current_version(root: Path) -> str:
    """Name of the version in use.

    Raises:
        ModelError: There is none.
    """
    try:
        return (root / _POINTER).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.reason
        raise ModelError(f"no model at {root} ({reason}): energy-train --data DIR --out {root} makes one") from None


def load(path: Path, interval: Interval | None = None) -> Model:
    """Load a version's folder, or the current version of a folder of models.

    Args:
        path: The folder.
        interval: The metering interval of what it is to forecast; None leaves that unchecked.

    Raises:
        ModelError: It is missing, was changed since it was written, or was made for other features or another interval.
    """
    folder = path if (path / _CARD).is_file() else path / current_version(path)
    text = _read(folder / _CARD)
    card = _checked_card(folder, text)
    if interval is not None and card.interval_s != interval.seconds:
        raise ModelError(
            f"{folder} was trained for readings every {card.interval_s} s, and METER_INTERVAL_S is {interval.seconds}: "
            "train another one with energy-train"
        )
    boosters = {}
    for group in range(len(LEAD_GROUPS)):
        for member in MEMBERS:
            name = _file_name(group, member)
            data = _read(folder / name)
            if _digest(data) != card.files.get(name):
                raise ModelError(f"{folder / name} is not the file that its card describes: restore or retrain")
            boosters[group, member] = _booster(folder / name, data)
    return Model(_version_of(text), card, LinearMember(np.array(card.linear)), boosters)


def _booster(file: Path, data: bytes) -> lightgbm.Booster:
    try:
        return lightgbm.Booster(model_str=gzip.decompress(data).decode())
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
        raise ModelError(f"{file} cannot be read: {error}: restore or retrain") from None


def _checked_card(folder: Path, text: bytes) -> Card:
    if folder.name != _version_of(text):
        raise ModelError(f"{folder / _CARD} was changed after it was written: restore or retrain")
    try:
        card = msgspec.json.decode(text, type=Card)
    except UNDECODABLE as error:
        raise ModelError(f"{folder / _CARD} cannot be read: {error}") from None
    if card.format != _FORMAT or card.features != FEATURE_NAMES or card.lead_groups != LEAD_GROUPS:
        raise ModelError(f"{folder} was trained for other features than this program's: retrain with energy-train")
    return card


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}: restore or retrain") from None


def _file_name(group: int, member: str) -> str:
    first, last = LEAD_GROUPS[group]
    return f"lead_{first:02d}_{last:02d}_{member}.txt.gz"


def _packed(booster: lightgbm.Booster) -> bytes:
    return gzip.compress(booster.model_to_string().encode(), mtime=0)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _version_of(card: bytes) -> str:
    return f"lightgbm-{_digest(card)[:12]}"


def _write_folder(root: Path, version: str, files: Mapping[str, bytes]) -> None:
    folder = Path(tempfile.mkdtemp(dir=root, prefix=".new-"))
    try:
        for name, data in files.items():
            with (folder / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        folder.chmod(0o755)
        folder.rename(root / version)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
