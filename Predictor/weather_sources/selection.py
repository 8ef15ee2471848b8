"""The source of weather that the settings name."""

from collections.abc import Sequence

from Predictor.weather_sources.open_meteo import OpenMeteoWeather
from Predictor.weather_sources.replay import ReplayWeather
from Predictor.weather_sources.source import NoWeather, WeatherSource
from Sensor_core.building import Site
from Setup.data_folder import DataFolder
from Setup.settings import Settings


def weather_source(settings: Settings, sites: Sequence[Site]) -> WeatherSource:
    """Open the source of ``WEATHER_SOURCE`` for these sites, in their order.

    Raises:
        DataFolderError: Weather is replayed and the data folder's weather.csv cannot be read.
    """
    if settings.weather_source == "replay":
        folder = DataFolder(settings.data_dir, settings.interval)
        return ReplayWeather([site.site_id for site in sites], folder.weather())
    if settings.weather_source == "open-meteo":
        return OpenMeteoWeather(sites, settings.open_meteo_url)
    return NoWeather(len(sites))
