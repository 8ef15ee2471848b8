"""The state folder of one data folder: where it is, whose it is, and what a first start puts into it."""

import hashlib
import shutil
from pathlib import Path
from typing import Final

import msgspec

from Sensor_core.errors import EnergyError
from Setup.embedded.state_folder import StateFolder
from Setup.postgres import MIGRATIONS

DEFAULT_PARENT: Final = Path(".energy")
DEMONSTRATION: Final = MIGRATIONS.parent.parent / "New_data"
"""The data folder that the shipped history goes with."""
_MARKER: Final = "energy-run.json"
_LOCK: Final = "lock"


class _Marker(msgspec.Struct):
    """What a state folder says about itself."""

    data: str
    history_readings: int | None = None


class RunFolder:
    """A state folder that ``energy-run`` made, or may make, for one data folder.

    Args:
        path: The state folder; None for the default one of the data folder.
        data: The data folder.

    Raises:
        EnergyError: The folder holds something else.
    """

    def __init__(self, path: Path | None, data: Path) -> None:
        self.data = data.resolve()
        self.path = (path or default_state(self.data)).resolve()
        self._marker_file = self.path / _MARKER
        if not self._marker_file.exists() and self.path.exists() and any(self.path.iterdir()):
            raise EnergyError(f"{self.path} has files in it and was not made by energy-run: name another state folder")

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.path / "logs"

    @property
    def model(self) -> Path:
        """Folder of the model that this run's predictor uses and its trainer replaces."""
        return self.path / "model"

    @property
    def sensor_end(self) -> Path:
        """Where this run's sensor keeps the end of its hours, for when it has to be started again."""
        return self.path / "sensor-end"

    @property
    def is_demonstration(self) -> bool:
        """Whether the data folder is the one that the shipped history goes with."""
        return self.data == DEMONSTRATION

    def wipe(self) -> None:
        """Remove everything that earlier runs left.

        Raises:
            EnergyError: A run is using the folder.
        """
        if not self._marker_file.exists():
            return
        folder = StateFolder(self.path)
        folder.claim()
        try:
            for entry in self.path.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name not in {_LOCK, _MARKER}:
                    entry.unlink()
            self._marker_file.unlink()  # last: a wipe that was interrupted can be repeated
            (self.path / _LOCK).unlink()
        finally:
            folder.release()

    def prepare(self, shipped_model: Path) -> None:
        """Mark the folder as this data folder's, and give it a model of its own.

        Raises:
            EnergyError: It was made for another data folder.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._marker_file.exists():
            self._write(_Marker(str(self.data)))
        marker = self._read()
        if marker.data != str(self.data):
            raise EnergyError(
                f"the state folder {self.path} belongs to the data folder {marker.data}: name another one, "
                "or give --fresh to start over in it"
            )
        if shipped_model.is_dir() and not self.model.exists():
            unfinished = self.path / "model.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(shipped_model, unfinished)
            unfinished.rename(self.model)

    @property
    def history_readings(self) -> int | None:
        """How many readings were stored before the first replay began."""
        return self._read().history_readings

    @history_readings.setter
    def history_readings(self, count: int) -> None:
        self._write(_Marker(str(self.data), count))

    def _read(self) -> _Marker:
        return msgspec.json.decode(self._marker_file.read_bytes(), type=_Marker)

    def _write(self, marker: _Marker) -> None:
        unfinished = self._marker_file.with_suffix(".unfinished")
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(marker)))
        unfinished.replace(self._marker_file)


def default_state(data: Path) -> Path:
    """The state folder of a data folder, below the working directory."""
    digest = hashlib.sha256(str(data.resolve()).encode()).hexdigest()
    return DEFAULT_PARENT / f"{data.resolve().name}-{digest[:8]}"
