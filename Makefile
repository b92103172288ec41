# `make` lists the targets. Each target is one line that calls a program.
# Variables: make up GATEWAY_PORT=8090 … (all of them: docs/configuration.md)

MAKEFLAGS += --no-print-directory
NODE := node_modules/.bin/node
INSTALLED := node_modules/.gavel-installed
FILE ?= manifests/samples/spring-sale.yaml

.DEFAULT_GOAL := help
.PHONY: help up down status token sql logs reset test check coverage bench faults generate install image kind-up kind-down chaos chaos-all chaos-knee chaos-clean scale

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(INSTALLED): package-lock.json
	@sh operator/local/install.sh

install: $(INSTALLED) ## install the dependencies (npm ci); the other targets do it when needed

up: $(INSTALLED) ## run an Auction on this machine: FILE=auction.yaml; DETACH=1 in the background
	@exec $(NODE) operator/local/main.ts up "$(FILE)"

down: $(INSTALLED) ## stop the processes that `make up` started
	@$(NODE) cli/main.ts down

status: $(INSTALLED) ## show tiers, stores, archive lag, lots and endpoints
	@$(NODE) cli/main.ts status

token: $(INSTALLED) ## print a bidder's token: BIDDER=alice; SCOPE=admin prints the owner's
	@$(NODE) cli/main.ts token

sql: $(INSTALLED) ## run a read-only SQL statement on the archive: Q="select * from bids"
	@$(NODE) cli/main.ts sql

logs: $(INSTALLED) ## print the last log lines of every process: TIER=gateway, LINES=100
	@$(NODE) cli/main.ts logs

reset: $(INSTALLED) ## delete all data of `make up`; asks first
	@$(NODE) cli/main.ts reset

test: $(INSTALLED) ## run all tests that this machine can run: T=services/lot for a part
	@$(NODE) cli/test-run/main.ts $(T)

check: $(INSTALLED) ## check types and format
	@npm run --silent check

coverage: $(INSTALLED) ## run the tests and measure code coverage
	@$(NODE) cli/test-run/main.ts --coverage

bench: $(INSTALLED) ## measure bids and fan-out, compared with a baseline in the same run
	@$(NODE) load/bench.ts

faults: $(INSTALLED) ## inject faults under load and check every bid: DURATION=seconds, SEED=n
	@exec $(NODE) faults/main.ts

image: $(INSTALLED) ## build the container image: IMAGE=gavel:dev, BASE=node:24-bookworm-slim
	@$(NODE) operator/kind/main.ts image

kind-up: $(INSTALLED) ## run an Auction on a kind cluster: FILE=auction.yaml, KIND_CLUSTER=gavel
	@$(NODE) operator/kind/main.ts up

kind-down: $(INSTALLED) ## delete the kind cluster
	@$(NODE) operator/kind/main.ts down

KIND_CLUSTER ?= gavel
CHAOS = $(NODE) chaos/run.ts --context kind-$(KIND_CLUSTER) --duration "$(DURATION)" --rounds "$(ROUNDS)" \
  --rate "$(RATE)" --seed "$(SEED)" --image "$(LOAD_IMAGE)" \
  --prometheus "$(PROMETHEUS)" --grafana "$(GRAFANA)" --grafana-token-file "$(GRAFANA_TOKEN_FILE)"

chaos: $(INSTALLED) ## run one experiment on the kind cluster: SCENARIO=postgres-killed, DURATION=seconds
	@exec $(CHAOS) $(SCENARIO)

chaos-all: $(INSTALLED) ## run all experiments except random-hour, and write their reports
	@exec $(CHAOS) --all

chaos-knee: $(INSTALLED) ## measure the highest rate of bids before they become slow: chaos/knee.json
	@exec $(CHAOS) --knee

chaos-clean: $(INSTALLED) ## remove what an interrupted experiment left
	@exec $(CHAOS) --clean

scale: $(INSTALLED) ## measure 1, 2 and 4 gateways and broadcasts, per core; KIND=1 on the cluster
	@$(if $(KIND),$(CHAOS) --scale,$(NODE) load/scale.ts)

generate: $(INSTALLED) ## write the generated files: CRD, chart parts, dashboards, alerts, references
	@$(NODE) cli/generate/main.ts
