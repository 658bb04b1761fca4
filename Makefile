# Two commands on a fresh machine: `make demo` and `make test`. They need python3 (3.11 or newer) with venv and
# pip, and make; everything else is made in .venv. ARGS is passed on: make demo ARGS="--for 20s --json"

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
NODE_READY := tests/interop/node/node_modules/.ready

.PHONY: demo test torture powercut image image-test boot-test check cover bench format lock reference run clean \
	gsoap prometheus chromium dashboards screenshots

demo: $(READY)
	@$(BIN)/wattbridge demo $(ARGS)

# On as many cores as there are, up to four; make test ARGS="-n 0" takes one, and prints what it tests.
test: $(READY) $(NODE_READY) gsoap prometheus chromium
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# Kill a gateway a few hundred times, and compare what both sides know: make torture ARGS="--seed 7 --kills 500"
torture: $(READY)
	@$(BIN)/python -m tests.torture $(ARGS)

# Longer than `make test` does: a thousand power cuts, fifty kills.
powercut: $(READY)
	WATTBRIDGE_CUTS=1000 WATTBRIDGE_KILLS=50 $(BIN)/python -m pytest -q -s tests/store/test_power_cut.py \
		tests/store/test_kill.py $(ARGS)

# The container image, and the proof that it does what deploy/README.md says; the same of the unit file, in a
# systemd that boots. They need root and Debian, whose packages they install: half a minute each, the first
# time one more.
DEPLOY_READY := .venv/.deploy-ready

$(DEPLOY_READY): $(READY) deploy/container/tools.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r deploy/container/tools.lock
	@touch $@

image:
	@deploy/container/tools.sh
	@deploy/container/image.sh

image-test: image $(DEPLOY_READY)
	$(BIN)/python -m pytest tests/deploy/prove_image.py $(ARGS)

boot-test: $(READY)
	@deploy/container/tools.sh
	$(BIN)/python -m pytest tests/deploy/prove_boot.py $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

# Each module of ocpp/ is covered whole by its own test file.
cover: $(READY)
	$(BIN)/python -m tests.coverage_by_module

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

run: $(READY)
	@$(BIN)/wattbridge run $(ARGS)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

LOCKED := --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links -q

# Write requirements.lock anew from the ranges of pyproject.toml (versions and hashes, no addresses). What
# still fits stays as it is; `make lock ARGS=--upgrade` takes the newest. The image has the same versions.
lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --group dev $(ARGS) $(LOCKED) -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra otel -c requirements.lock $(LOCKED) -o deploy/container/requirements.lock
	$(BIN)/uv pip compile --group deploy -c requirements.lock $(LOCKED) -o deploy/container/tools.lock
	echo "hatchling" | $(BIN)/uv pip compile - -c requirements.lock $(LOCKED) -o deploy/container/build.lock

# The pages of docs/reference, which are made from the program.
reference: $(READY)
	$(BIN)/wattbridge config reference > docs/reference/configuration.md
	$(BIN)/python -m wattbridge.operation.families > docs/reference/metrics.md
	$(BIN)/python -m wattbridge.cli.pages translation > docs/reference/translation.md
	$(BIN)/python -m wattbridge.cli.pages commands > docs/reference/commands.md
	$(BIN)/python -m wattbridge.cli.pages profiles > docs/reference/profiles.md

# The files of grafana/dashboards, which are made by grafana/src, and the rules once more for Prometheus Operator.
dashboards: $(READY)
	$(BIN)/python -m grafana.src
	cd deploy/prometheus && { sed '/^spec: # made/q' operator.yaml; sed 's/^./  &/' wattbridge.rules.yaml; } \
		> operator.yaml.new && mv operator.yaml.new operator.yaml

# requirements.lock holds everything by hash; the project itself is installed from this folder. Modules are
# compiled when they are first imported: most never are, and `make demo` is there sooner.
$(READY): requirements.lock pyproject.toml
	@echo "wattbridge: setting up .venv (once)" >&2
	@test -x $(BIN)/python || $(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "wattbridge: needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Peers for the tests that were written by others, in JavaScript. Where they cannot be had, their tests are
# skipped and say so.
$(NODE_READY): tests/interop/node/package-lock.json
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		echo "wattbridge: setting up tests/interop/node (once)" >&2; \
		(cd tests/interop/node && npm ci --silent && touch node_modules/.ready) \
			|| echo "wattbridge: npm could not set up tests/interop/node; its tests are skipped" >&2; \
	fi

# And in C: gSOAP is a package of the system, so it is installed where we are root and have apt. What is made with
# it is in tests/interop/gsoap/build.
gsoap:
	@if command -v wsdl2h >/dev/null && command -v gcc >/dev/null && pkg-config --exists gsoap 2>/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "wattbridge: installing gSOAP (once)" >&2; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
			gsoap libgsoap-dev gcc libc6-dev pkg-config; } >/dev/null \
			|| echo "wattbridge: gSOAP could not be installed; its tests are skipped" >&2; \
	fi

# Prometheus, promtool and amtool watch the gateway in tests. Where the system has them not, Debian's packages are
# only unpacked, in tests/monitoring/build: installed, they would run services.
prometheus:
	@if command -v prometheus >/dev/null && command -v promtool >/dev/null && command -v amtool >/dev/null; then :; \
	elif [ ! -x tests/monitoring/build/usr/bin/amtool ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then \
		echo "wattbridge: fetching Prometheus (once)" >&2; \
		{ [ "$$(id -u)" != 0 ] || apt-get -qq update; \
			mkdir -p tests/monitoring/build && cd tests/monitoring/build \
			&& apt-get -qq download prometheus prometheus-alertmanager \
			&& for package in *.deb; do dpkg -x "$$package" . || exit 1; done && rm -f ./*.deb; } >/dev/null 2>&1 \
			|| echo "wattbridge: Prometheus could not be had; its tests are skipped" >&2; \
	fi

# The browser that the console is tested with, likewise.
chromium:
	@if test -x /usr/bin/chromium; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "wattbridge: installing Chromium (once)" >&2; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
			chromium fonts-dejavu-core; } >/dev/null \
			|| echo "wattbridge: Chromium could not be installed; its tests are skipped" >&2; \
	fi

# The pictures of the README and the guide, taken from the demo.
screenshots: $(READY) chromium
	$(BIN)/python -m tests.operation.screenshots $(ARGS)

clean:
	rm -rf .venv tests/interop/node/node_modules tests/interop/gsoap/build tests/monitoring/build \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
