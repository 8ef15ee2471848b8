# make run    the whole pipeline on this machine; options go into ARGS: make run ARGS="--data DIR --hours 48"
# make test   the tests, three files at a time; a selection goes into ARGS: make test ARGS="tests/unit -k replay"
# make soak   half an hour of random kills, checked; shorter: make soak ARGS="--minutes 5"
# make lint   formatting, style, types and the direction of imports
# make sbom   sbom.json: what is installed, with versions and licences; the licences and known vulnerabilities checked
# make secrets, make clean
# All it needs is Python 3.11 or newer, by another name if need be: make run PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
VENV := .venv
AUDIT := .venv-audit
BIN := $(VENV)/bin
PROJECT := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test soak lint sbom secrets clean

run: $(VENV)/installed-run
	@exec $(BIN)/energy-run $(ARGS)

test: $(VENV)/installed-dev
	@exec $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: $(VENV)/installed-dev
	@exec $(BIN)/python -m benchmarks.soak $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tools have an environment of their own, so that they are no part of what they list.
sbom: $(VENV)/installed-run $(AUDIT)/installed
	@$(AUDIT)/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible \
		--of JSON -o sbom.json
	@$(AUDIT)/bin/python .ci/sbom.py sbom.json $(AUDIT)/bin/pip-audit \
		"`$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'`"

$(AUDIT)/installed: constraints.txt | $(BIN)/python
	@$(BIN)/python -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		cyclonedx-bom pip-audit
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is `$(PYTHON) --version 2>&1`." \
			"Name another one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed-run: $(PROJECT) | $(BIN)/python
	@echo "Installing what the pipeline needs into $(VENV), a minute or two ..."
	@$(INSTALL) --editable '.[predictor,backtest,import,embedded]'
	@touch $@

$(VENV)/installed-dev: $(PROJECT) | $(BIN)/python
	@echo "Installing what the pipeline and its tests need into $(VENV), a minute or two ..."
	@$(INSTALL) --editable '.[predictor,backtest,peer,import,embedded,dev]'
	@touch $@ $(VENV)/installed-run

# Every password of .env that .env.local has not got yet: 32 random bytes each, in hexadecimal.
secrets:
	@umask 077 && touch .env.local && chmod 600 .env.local
	@if [ -n "`tail -c 1 .env.local`" ]; then echo >> .env.local; fi
	@for name in `sed -n 's/^\([A-Z_]*_PASSWORD\)=.*/\1/p' .env`; do \
		if grep -q "^$$name=" .env.local; then \
			echo "$$name: kept"; \
		else \
			echo "$$name=`od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'`" >> .env.local && echo "$$name: written"; \
		fi; \
	done
	@echo "They are in .env.local. Databases that exist keep the administrator's old password:" \
		"start anew with make run ARGS=--fresh, or keep POSTGRES_PASSWORD as it was."

# Not the runs' data: that is in .energy.
clean:
	rm -rf $(VENV) $(AUDIT) sbom.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
