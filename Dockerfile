# One file, an image per role: `stream` (setup, sensor, consumers) carries no LightGBM, `forecast` (predictor, trainer) does.
FROM python:3.11.14-slim-bookworm AS base
# config/ has to stand beside the packages (Setup runs its migrations): they are used from here, not from the environment.
ENV PYTHONPATH=/app PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /app


# Dependencies and commands need only the project's metadata: a change of the code leaves this layer as it is.
FROM base AS stream-dependencies
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY pyproject.toml constraints.txt LICENSE ./
RUN touch README.md && pip install --constraint constraints.txt --editable .


FROM base AS stream
COPY --from=stream-dependencies /venv /venv
COPY LICENSE ./
COPY config/postgres-init config/postgres-init
COPY Sensor_core Sensor_core
COPY Setup Setup
COPY Energy_consumption_sensor Energy_consumption_sensor
COPY Consumers Consumers
RUN python -m compileall -q Sensor_core Setup Energy_consumption_sensor Consumers
USER 10001:10001
CMD ["energy-setup"]


FROM stream-dependencies AS forecast-dependencies
RUN pip install --constraint constraints.txt --editable ".[predictor]"


FROM base AS forecast
# LightGBM's OpenMP runtime
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=forecast-dependencies /venv /venv
COPY LICENSE ./
COPY config/postgres-init config/postgres-init
COPY Sensor_core Sensor_core
COPY Setup Setup
COPY Predictor Predictor
COPY Training_scripts Training_scripts
# A new volume mounted here starts with the model dump, owned by who trains the next one.
COPY --chown=10001:10001 Predictor/model /model
RUN python -m compileall -q Sensor_core Setup Predictor Training_scripts
USER 10001:10001
CMD ["energy-predictor"]
