"""Metadata of all sites and buildings, as Redis has it now; a building without any stands on a site of its own."""

from collections.abc import Sequence
from datetime import datetime

from Predictor.forecasting.snapshot import NOWHERE, Meters, Sites
from Sensor_core.building import Building, Site
from Sensor_core.errors import RetriableError
from Setup.buildings_info import Metadata
from Setup.redis_client import METADATA_KEY, Client, curable_errors


class BuildingDirectory:
    """Sites and meters as the forecaster wants them, made anew only when metadata or meters change."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._document: bytes | None = None
        self._buildings: dict[int, Building] = {}
        self._retired: dict[tuple[int, int], datetime] = {}
        self._keys: list[tuple[int, int]] | None = None
        self._meters: Meters | None = None
        self.known_sites: list[Site] = []
        self.sites = Sites.of([])

    def refresh(self) -> bool:
        """Look for new metadata.

        Returns:
            Whether there was any.

        Raises:
            RetriableError: Redis does not answer, or has not been filled yet.
        """
        with curable_errors():
            document = self._client.get(METADATA_KEY)
        if document is None:
            raise RetriableError("Redis has no metadata yet")
        is_new: bool = document != self._document
        if is_new:
            metadata = Metadata.model_validate_json(document)
            self.known_sites = metadata.sites
            self.sites = Sites.of([*metadata.sites, NOWHERE])
            self._buildings = {building.building_id: building for building in metadata.buildings}
            self._retired = {(building_id, meter): at for building_id, meter, at in metadata.retired}
            self._document, self._keys = document, None
        return is_new

    def meters_of(self, keys: Sequence[tuple[int, int]]) -> Meters:
        """Look up the meters' buildings."""
        if self._meters is None or keys != self._keys:
            nowhere = NOWHERE.site_id
            buildings = {
                building_id: self._buildings.get(building_id) or Building(building_id=building_id, site_id=nowhere)
                for building_id, _ in keys
            }
            self._keys, self._meters = list(keys), Meters.of(keys, buildings, self.sites)
        return self._meters

    def retired(self, moment: datetime) -> set[tuple[int, int]]:
        """Meters of which no readings are expected from this moment on."""
        return {meter for meter, at in self._retired.items() if at <= moment}

    @property
    def limits_kw(self) -> dict[int, float]:
        """Limits [kW] of the sites that have one, by site id."""
        return {site.site_id: site.limit_kw for site in self.known_sites if site.limit_kw is not None}
