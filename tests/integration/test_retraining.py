"""Retraining on a real warehouse: who is promoted, who refused, what the table of models says, and when it starts."""

import shutil
from datetime import UTC, datetime

import msgspec
import pytest

from Predictor.forecasting.model_store import current_version, load, save, versions
from Sensor_core.errors import ModelError
from Setup.lifecycle import Heartbeat, Stop
from tests.quick_training import train_quickly
from Training_scripts import fitting, promote, train
from Training_scripts.trainer import Watch, train_once

pytestmark = pytest.mark.integration

# A working week with noise, ten weeks of it.
CONTENT = """
SELECT setseed(0.5), ensure_partitions('2016-06-01', '2016-09-30');
INSERT INTO sites VALUES (0, 'UTC', 51.5, -0.1, 'GB');
INSERT INTO buildings SELECT building, 0, 'Office', 500, 1999, 3 FROM generate_series(1, 4) AS building;
INSERT INTO readings
SELECT building, 0, hour,
       building * 10 * (1 + CASE WHEN extract(isodow FROM hour) < 6 AND extract(hour FROM hour) BETWEEN 7 AND 18
                                 THEN 2 ELSE 0 END) * (0.3 + random() * 1.4),
       hour + interval '1 hour'
FROM generate_series(1, 4) AS building,
     generate_series(timestamptz '2016-06-24 00:00Z', '2016-08-31 23:00Z', interval '1 hour') AS hour;
SELECT rebuild_hourly_totals();
"""
CHAMPION_KNOWS = datetime(2016, 8, 18, tzinfo=UTC)


@pytest.fixture
def trainer(settings, postgres, tmp_path, monkeypatch):
    train_quickly(monkeypatch, trees=30)
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT)
    return settings.model_copy(update={"model_dir": tmp_path / "models"})


def models(postgres, columns="model, status"):
    with postgres.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM models ORDER BY trained_at")
        return cursor.fetchall()


@pytest.fixture(scope="module")
def kept_champion(tmp_path_factory):
    """Where the first champion is kept for the next tests, once one has trained it."""
    return tmp_path_factory.mktemp("champion") / "models"


@pytest.fixture
def first_champion(trainer, postgres, kept_champion):
    """The version trained on what lies before ``CHAMPION_KNOWS``; then the rest of the summer came."""
    row = kept_champion.with_suffix(".json")
    with postgres.cursor() as cursor:
        if row.exists():
            shutil.copytree(kept_champion, trainer.model_dir)
            cursor.execute(
                "INSERT INTO models SELECT * FROM jsonb_populate_record(NULL::models, %s)", (row.read_text(),)
            )
            return current_version(trainer.model_dir)
        cursor.execute(
            'CREATE TEMP TABLE later AS SELECT * FROM readings WHERE "timestamp" >= %s;'
            'DELETE FROM readings WHERE "timestamp" >= %s',
            (CHAMPION_KNOWS, CHAMPION_KNOWS),
        )
        version = train_once(trainer, Heartbeat())
        cursor.execute("INSERT INTO readings SELECT * FROM later")
        cursor.execute("SELECT to_jsonb(m)::text FROM models m")
        row.write_text(cursor.fetchone()[0])
    shutil.copytree(trainer.model_dir, kept_champion)
    return version


@pytest.fixture
def spoilt_champion(trainer, first_champion):
    model = load(trainer.model_dir)
    weights = [[weight * 1.5 + 0.3 for weight in row] for row in model.card.linear]
    return save(trainer.model_dir, msgspec.structs.replace(model.card, linear=weights), model.boosters)


def test_the_first_model_is_in_the_table_with_what_it_was_made_of(trainer, postgres):
    version = train_once(trainer, Heartbeat())
    columns = "model, status, meters, readings, seed, libraries, training_from, training_to, reason, promoted_at"
    ((model, status, meters, readings, seed, libraries, begin, end, reason, promoted_at),) = models(postgres, columns)
    assert (model, status, meters, seed) == (version, "champion", 4, 0)
    assert readings == 4 * 69 * 24
    assert (begin, end) == (datetime(2016, 6, 24, tzinfo=UTC), datetime(2016, 9, 1, tzinfo=UTC))
    assert {"lightgbm", "numpy"} <= libraries.keys()
    assert reason == "trained on schedule: the first"
    assert promoted_at is not None


def test_a_challenger_that_beats_a_spoilt_champion_is_promoted_and_the_comparison_kept(
    trainer, postgres, spoilt_champion
):
    version = train_once(trainer, Heartbeat(), "after drift (of a test)")
    assert version is not None
    assert current_version(trainer.model_dir) == version != spoilt_champion
    rows = {model: (status, reason, comparison) for model, status, reason, comparison in
            models(postgres, "model, status, reason, comparison")}  # fmt: skip
    assert rows[spoilt_champion][0] == "retired"
    status, reason, comparison = rows[version]
    assert status == "champion"
    assert reason.startswith(f"trained after drift (of a test): won against {spoilt_champion} on 1")
    assert comparison["challenger_pinball"] < comparison["champion_pinball"]
    assert comparison["champion"] == spoilt_champion


def test_a_challenger_that_is_no_better_is_refused_and_the_champion_stays(
    trainer, postgres, first_champion, monkeypatch
):
    monkeypatch.setattr(fitting, "TREES", 1)
    assert train_once(trainer, Heartbeat()) is None
    assert current_version(trainer.model_dir) == first_champion
    (first, second) = models(postgres, "model, status, reason")
    assert first[:2] == (first_champion, "champion")
    assert second[1] == "refused"
    assert "lost against" in second[2]
    assert second[0] in versions(trainer.model_dir), "kept: it may be promoted by hand"


def test_a_challenger_knows_nothing_of_the_weeks_that_it_is_judged_by(trainer, postgres, first_champion, monkeypatch):
    monkeypatch.setattr(fitting, "TREES", 1)
    train_once(trainer, Heartbeat())
    _, (training_to, comparison) = models(postgres, "training_to, comparison")
    assert training_to == CHAMPION_KNOWS
    assert 12 <= comparison["days"] <= 14


def test_a_champion_that_has_seen_the_newest_weeks_is_not_challenged_yet(trainer, postgres):
    version = train_once(trainer, Heartbeat())
    with pytest.raises(ModelError, match=f"{version} has seen all but the last 0 h"):
        train_once(trainer, Heartbeat())


def test_old_versions_are_pruned_but_never_the_one_in_use(trainer, postgres, first_champion, monkeypatch):
    monkeypatch.setattr(fitting, "TREES", 1)
    few = trainer.model_copy(update={"training_keep_versions": 1})
    for seed in (1, 2):
        monkeypatch.setitem(fitting._PARAMETERS, "seed", seed)
        train_once(few, Heartbeat())
    assert len(versions(trainer.model_dir)) == 2
    assert first_champion in versions(trainer.model_dir)
    assert len(models(postgres)) == 3, "the table remembers them all"


def test_only_so_many_of_the_newest_readings_are_learned_from(trainer, postgres):
    few = trainer.model_copy(update={"training_max_readings": 4 * 1000})
    train_once(few, Heartbeat())
    assert models(postgres, "readings") == [(4 * 1000,)]


def test_the_commands_keep_the_table_right(trainer, postgres, first_champion, monkeypatch, capsys):
    for module in (train, promote):
        monkeypatch.setattr(module, "load_settings", lambda: trainer)
    assert train.main([]) == 0
    second = current_version(trainer.model_dir)
    assert dict(models(postgres)) == {first_champion: "retired", second: "champion"}
    assert promote.main([first_champion]) == 0
    assert dict(models(postgres)) == {first_champion: "champion", second: "retired"}
    assert dict(models(postgres, "model, reason"))[first_champion] == "energy-promote"
    assert capsys.readouterr().err == ""


def test_what_a_command_did_without_a_database_is_noted_by_the_service(
    trainer, postgres, first_champion, monkeypatch, capsys
):
    model = load(trainer.model_dir)
    second = save(trainer.model_dir, msgspec.structs.replace(model.card, seed=7), model.boosters)
    monkeypatch.setattr(promote, "load_settings", lambda: trainer.model_copy(update={"postgres_port": 1}))
    assert promote.main([second]) == 0
    assert "the trainer service will note it" in capsys.readouterr().err
    assert dict(models(postgres)) == {first_champion: "champion"}
    Watch(trainer, Heartbeat(), Stop()).look()
    assert dict(models(postgres)) == {first_champion: "retired", second: "champion"}


DRIFTED = """
INSERT INTO aggregate_forecasts
SELECT NULL, 0, issued_at, issued_at, %(model)s, 4, a, a, a, a, a, a, a, a, a
FROM generate_series('2016-08-01Z'::timestamptz, '2016-08-31 23:00Z', '1 hour') AS issued_at,
     (SELECT array_fill(1::real, '{48}') AS a) f;
INSERT INTO scores SELECT b, 0, day, 'full', n, n, e, e, s, p, e, e
FROM generate_series(1, 4) b, generate_series('2016-08-24Z'::timestamptz, '2016-08-31Z', '1 day') AS day,
     (SELECT array_fill(24::smallint, '{48}') AS n, array_fill((24 * 100)::real, '{48}') AS e,
             array_fill((24 * 100 * 100 * %(cvrmse)s ^ 2)::real, '{48}') AS s,
             array_fill((24 * 100 * %(pinball)s)::real, '{48}') AS p) v;
"""


@pytest.mark.parametrize("worse_own_found", [(1.2, True, False), (1.3, True, True), (1.3, False, False)])
def test_drift_of_the_scores_calls_for_a_challenger_once(trainer, postgres, first_champion, worse_own_found):
    worse, own, found = worse_own_found
    promised = load(trainer.model_dir).card.scores["model"]["all"]
    values = {metric: promised[metric] * worse for metric in ("pinball", "cvrmse")}
    with postgres.cursor() as cursor:
        cursor.execute(DRIFTED, {"model": first_champion if own else "another", **values})
    watch = Watch(trainer, Heartbeat(), Stop())
    why = watch.look()
    assert (why is not None) == found
    assert watch.look() is None, "until as many new hours have been scored"
    if found:
        assert why.startswith(f"after drift (pinball {values['pinball']:.4f} of the last 168 h")
