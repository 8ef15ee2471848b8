"""The registry of models: a table that says what was trained on what, how good it was, and what became of it.

The folder of models is what counts; the table follows it. So it is right after a command that had no database, too.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case
from psycopg2.extras import Json

from Predictor.forecasting.model_store import Card, current_version, read_card, versions
from Sensor_core.errors import ModelError, RetriableError
from Setup.postgres import Role, connect, curable_errors
from Setup.settings import Settings
from Training_scripts.challenge import Comparison

_INSERT: Final = """
INSERT INTO models (model, trained_at, training_from, training_to, meters, readings, seed, libraries, scores, card,
                    status, reason, comparison)
VALUES (%(model)s, %(trained_at)s, %(training_from)s, %(training_to)s, %(meters)s, %(readings)s, %(seed)s,
        %(libraries)s, %(scores)s, %(card)s, %(status)s, %(reason)s, %(comparison)s)
ON CONFLICT (model) DO NOTHING
"""
_RETIRE: Final = "UPDATE models SET status = 'retired' WHERE status = 'champion' AND model <> %s"
_PROMOTE: Final = """
UPDATE models SET status = 'champion', promoted_at = now(), reason = coalesce(%(reason)s, 'found in use'),
                  comparison = coalesce(%(comparison)s, comparison)
WHERE model = %(model)s AND (status <> 'champion' OR %(reason)s IS NOT NULL)
"""


def refuse(connection: Connection, version: str, card: Card, reason: str, comparison: Comparison | None) -> None:
    """Note a model that was no gain."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_INSERT, _row(version, card) | _news("refused", reason, comparison))


def follow(connection: Connection, root: Path, reason: str | None = None, comparison: Comparison | None = None) -> None:
    """Note every version of a folder of models, and which one is in use.

    Args:
        connection: As the trainer.
        root: The folder.
        reason: Why the version in use was promoted, if that is new.
        comparison: How it did against its predecessor.
    """
    cards = {version: card for version in versions(root) if (card := _card(root / version)) is not None}
    try:
        current = current_version(root)
    except ModelError:
        current = ""
    with connection, connection.cursor() as cursor:
        for version, card in cards.items():
            cursor.execute(_INSERT, _row(version, card) | _news("retired", "never in use", None))
        if current in cards:
            cursor.execute(_RETIRE, (current,))
            cursor.execute(_PROMOTE, {"model": current} | _news("champion", reason, comparison))


def tell_registry(settings: Settings, root: Path, reason: str) -> str | None:
    """Let the table follow what a command did.

    Returns:
        None, or in a few words why it could not: the trainer service makes up for it.
    """
    if root.resolve() != settings.model_dir.resolve():
        return None
    try:
        with curable_errors():
            connection = connect(settings, Role.TRAINER)
            try:
                follow(connection, root, reason)
            finally:
                connection.close()
    except RetriableError as error:
        return f"not in the table of models yet, the trainer service will note it ({error})"
    return None


def _card(folder: Path) -> Card | None:
    try:
        return read_card(folder)
    except ModelError:
        return None


def _row(version: str, card: Card) -> dict[str, Any]:
    return {
        "model": version, "trained_at": card.created_at, "training_from": card.trained_from,
        "training_to": card.trained_until, "meters": card.meters, "readings": card.readings, "seed": card.seed,
        "libraries": Json(card.libraries), "scores": Json(card.scores), "card": Json(msgspec.to_builtins(card)),
    }  # fmt: skip


def _news(status: str, reason: str | None, comparison: Comparison | None) -> dict[str, Any]:
    details = None if comparison is None else Json(msgspec.to_builtins(comparison))
    return {"status": status, "reason": reason, "comparison": details}
