GO ?= go
TOOL = $(GO) tool -modfile=tools/go.mod

.PHONY: help
help: ## print what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

.PHONY: build
build: ## build the program: ./infinia
	$(GO) build -o infinia ./cmd/infinia

.PHONY: demo
demo: ## the whole job on real parts, explained step by step
	$(GO) run ./cmd/infinia demo

.PHONY: test
test: ## run the tests
	$(GO) test ./...

.PHONY: check
check: generated vet lint deadcode race ## everything that CI runs

.PHONY: vet
vet:
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo 'run gofmt -w on these files'; exit 1; }
	$(GO) vet ./...

.PHONY: lint
lint: ## staticcheck
	$(TOOL) staticcheck ./...

.PHONY: deadcode
deadcode: ## code that nothing reaches
	@out="$$($(TOOL) deadcode -test ./... | grep -v /pgdb/)"; test -z "$$out" || { echo "$$out"; exit 1; }

.PHONY: race
race: ## the tests under the race detector
	$(GO) test -race ./...

.PHONY: generate
generate: ## write what is generated: queries and pages
	$(TOOL) sqlc -f internal/store/sqlc.yaml generate
	$(TOOL) templ generate -path internal/console
	$(GO) test ./internal/gate ./internal/op ./internal/trade -run 'Stories|Reference' -update

.PHONY: generated
generated: generate ## fail when generated files are not committed
	git diff --exit-code

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 20s)
	@for f in envelope:FuzzParseRequest envelope:FuzzOpen envelope:FuzzParseKey internal/jsonwalk:FuzzMembers money:FuzzAmount internal/trade:FuzzCheck internal/trade:FuzzFix internal/trade:FuzzCell; do \
		$(GO) test ./$${f%%:*} -run '^$$' -fuzz "^$${f##*:}$$" -fuzztime $${FUZZTIME:-20s} -fuzzminimizetime 1x || exit 1; done

.PHONY: sim
sim: ## simulate the books: ENGINE (sqlite or postgres), SEED (default 1), STEPS (default 100000); TMPDIR=/dev/shm is faster
	$(GO) test ./internal/sim -run "TestSim$$/^$${ENGINE:-sqlite}$$" -v -count 1 -timeout 0 -seed=$${SEED:-1} -steps=$${STEPS:-100000}

SECONDS ?= 120

.PHONY: stress
stress: ## kill servers under load and judge the answers, on each engine for SECONDS (default 120); SEED=n repeats
	$(GO) test ./internal/server -run TestStress -timeout 0 -v -artifacts -outputdir . -stress $(SECONDS)s $(if $(SEED),-seed $(SEED))

.PHONY: bench
bench: ## the figures, each with what it was measured by; books of POSTINGS (default 1000000) against none
	$(GO) test ./envelope -run '^$$' -bench . -benchtime 1s
	$(GO) test ./internal/op -run '^$$' -bench Shares -benchtime 20000x -timeout 30m
	$(GO) test ./internal/op -run '^$$' -bench FullBooks -benchtime 20000x -postings $${POSTINGS:-1000000} -timeout 60m
	$(GO) test ./internal/gate -run '^$$' -bench WithoutRSA -benchtime 10000x
	$(GO) test ./internal/content -run '^$$' -bench . -benchtime 5x
	$(GO) test ./internal/server -run '^$$' -bench 'Calls$$|Start' -benchtime 2s

.PHONY: bench-files
bench-files: ## trade files of up to ROWS rows (default 1000000): judged, booked and reported, beside what they are held against; and calls beside one
	$(GO) test ./internal/trade -run '^$$' -bench 'CSV|Check|Stored|Files' -benchtime 1x -rows $${ROWS:-1000000} -timeout 60m
	$(GO) test ./internal/server -run '^$$' -bench 'BesideFile/.*/clients=1$$' -benchtime 1000x -rows $${ROWS:-1000000} -timeout 60m
	$(GO) test ./internal/server -run '^$$' -bench 'BesideFile/.*/clients=8$$' -benchtime 3000x -rows $${ROWS:-1000000} -timeout 60m

.PHONY: try-failover
try-failover: ## a cluster from deploy/ loses its primary, standbys and a node, and no acknowledged share (Debian packages, 2 min)
	deploy/try.sh
