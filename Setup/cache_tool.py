"""Rebuilds the cache in Redis from Postgres and the topics, whatever it holds now.

Nothing has to be stopped: the redis consumer goes on from where the rebuilt cache wants it to, and the predictor waits
for it. An empty Redis is noticed and rebuilt by the services themselves.
"""

import argparse
import sys

from Sensor_core.errors import EnergyError
from Setup.cache_filling import fill_cache
from Setup.redis_client import RedisUser, wait_for_redis
from Setup.settings import load_settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 1 after an error, told in one line on standard error.
    """
    parser = argparse.ArgumentParser(
        prog="energy-cache", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_subparsers(required=True, metavar="rebuild").add_parser("rebuild", help="fill Redis from Postgres")
    parser.parse_args(arguments)
    try:
        settings = load_settings()
        filling = fill_cache(settings, wait_for_redis(settings, RedisUser.ADMIN))
    except EnergyError as error:
        print(f"energy-cache: {error}", file=sys.stderr)
        return 1
    print(f"{filling.readings:,} readings of {filling.meters:,} meters in {filling.took_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
