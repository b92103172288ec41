# Gavel on one machine. `make` alone lists what there is; each target is one line that calls a program.
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

install: $(INSTALLED) ## install what the programs need (npm ci); the others do it by themselves

up: $(INSTALLED) ## run an Auction here: FILE=auction.yaml, DETACH=1 in the background
	@exec $(NODE) operator/local/main.ts up "$(FILE)"

down: $(INSTALLED) ## stop what `make up` started
	@$(NODE) cli/main.ts down

status: $(INSTALLED) ## tiers, stores, archive lag, lots, endpoints
	@$(NODE) cli/main.ts status

token: $(INSTALLED) ## print a bidder's token: BIDDER=alice; SCOPE=admin for the owner's
	@$(NODE) cli/main.ts token

sql: $(INSTALLED) ## ask the archive: Q="select * from bids"
	@$(NODE) cli/main.ts sql

logs: $(INSTALLED) ## the last lines of each process: TIER=gateway, LINES=100
	@$(NODE) cli/main.ts logs

reset: $(INSTALLED) ## delete all data of `make up`; asks first
	@$(NODE) cli/main.ts reset

test: $(INSTALLED) ## everything that can be tested on this machine: T=services/lot for a part
	@$(NODE) cli/test-run/main.ts $(T)

check: $(INSTALLED) ## types and format
	@npm run --silent check

coverage: $(INSTALLED) ## the tests, with how much of the code they reach
	@$(NODE) cli/test-run/main.ts --coverage

bench: $(INSTALLED) ## first figures, beside a floor in the same run
	@$(NODE) load/bench.ts

faults: $(INSTALLED) ## break everything under load and judge every bid: DURATION=seconds, SEED=n
	@exec $(NODE) faults/main.ts

image: $(INSTALLED) ## build the image: IMAGE=gavel:dev, BASE=node:24-bookworm-slim
	@$(NODE) operator/kind/main.ts image

kind-up: $(INSTALLED) ## an Auction on a kind cluster: FILE=auction.yaml, KIND_CLUSTER=gavel
	@$(NODE) operator/kind/main.ts up

kind-down: $(INSTALLED) ## delete the kind cluster
	@$(NODE) operator/kind/main.ts down

KIND_CLUSTER ?= gavel
CHAOS = $(NODE) chaos/run.ts --context kind-$(KIND_CLUSTER) --duration "$(DURATION)" --rounds "$(ROUNDS)" \
  --rate "$(RATE)" --seed "$(SEED)" --image "$(LOAD_IMAGE)" \
  --prometheus "$(PROMETHEUS)" --grafana "$(GRAFANA)" --grafana-token-file "$(GRAFANA_TOKEN_FILE)"

chaos: $(INSTALLED) ## one experiment on the kind cluster: SCENARIO=postgres-killed, DURATION=seconds
	@exec $(CHAOS) $(SCENARIO)

chaos-all: $(INSTALLED) ## all of them but random-hour, with their reports
	@exec $(CHAOS) --all

chaos-knee: $(INSTALLED) ## how many bids a second this cluster bears: chaos/knee.json
	@exec $(CHAOS) --knee

chaos-clean: $(INSTALLED) ## remove what an interrupted experiment left
	@exec $(CHAOS) --clean

scale: $(INSTALLED) ## 1, 2 and 4 gateways and broadcasts and what each does a core; KIND=1 on the cluster
	@$(if $(KIND),$(CHAOS) --scale,$(NODE) load/scale.ts)

generate: $(INSTALLED) ## write what is generated: CRD, chart parts, dashboards, alerts, references
	@$(NODE) cli/generate/main.ts
