# Everything that is done with this repository. `make help` lists it.

GO       ?= go
BIN      := bin
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X pupil/internal/version.version=$(VERSION)
# Tools and other things that tests need are kept here, outside of the tree.
CACHE    ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pupil
TOOLS    := $(CACHE)/tools
GOFUMPT     := $(TOOLS)/gofumpt-v0.12.0
STATICCHECK := $(TOOLS)/staticcheck-v0.8.2
CYCLONEDX   := $(TOOLS)/cyclonedx-gomod-v1.10.0
# The report of the soak test.
SOAK     ?= $(BIN)/soak.json
# Kubernetes' control plane and what else make e2e-k8s runs, of the versions that its module names. The API server tells Helm its own.
KUBEVERSION := -X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37
KUBERNETES  := $(CACHE)/kubernetes-v1.37.2-$(shell cksum deploy/check/cluster/go.sum | cut -d ' ' -f 1)

export CGO_ENABLED ?= 0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## both binaries into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./coordinator ./worker

.PHONY: demo
demo: build ## train a student on real images, with two workers (about a minute on 2 cores)
	$(BIN)/coordinator run deploy/examples/fashion.yaml --workers 2

.PHONY: test
test: ## all tests but the long ones
	$(GO) test -timeout 20m ./...

# How long each fuzzer runs.
FUZZTIME ?= 30s

.PHONY: fuzz
fuzz: ## look for inputs that break a decoder, 30 s with each fuzzer (8 minutes; FUZZTIME=5m for longer; make test runs their seeds)
	@git grep -n '^func Fuzz' -- '*_test.go' | sed 's/^\(.*\)\/[^/]*:func \(Fuzz[A-Za-z0-9]*\).*/\1 \2/' | while read -r package name; do \
		echo "$$package $$name"; $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$$package" || exit 1; done

.PHONY: check
check: $(GOFUMPT) $(STATICCHECK) ## format, vet, staticcheck, plain-Go kernels, generated files, licences, other systems, alert rules, the Helm chart, races
	@found=$$(git ls-files '*.go' | xargs $(GOFUMPT) -l); test -z "$$found" || { echo "not formatted: $$found; run make format"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) mod tidy -diff
	$(GO) test -tags noasm ./internal/kernel/... ./worker/nn/...
	.ci/generated
	$(GO) run ./internal/licences --check
	GOOS=linux GOARCH=arm64 $(GO) build ./coordinator ./worker
	GOOS=darwin GOARCH=arm64 $(GO) build ./coordinator ./worker
	rm -rf $(BIN)/scrapes && mkdir -p $(BIN)/scrapes
	PUPIL_SCRAPES=$(CURDIR)/$(BIN)/scrapes $(GO) test -count=1 -run 'Metrics$$' ./internal/testcluster
	cd deploy/prometheus/_check && $(GO) run . ../pupil-alerts.yaml ../../grafana/pupil.json ../../../$(BIN)/scrapes
	$(MAKE) chart
	$(MAKE) race

.PHONY: format
format: $(GOFUMPT) ## format the Go files
	git ls-files '*.go' | xargs $(GOFUMPT) -w

.PHONY: chart
chart: ## the Helm chart, the images, the compose file and the systemd units: rendered, held to rules, run (4 minutes, at the first time)
	@command -v systemd-analyze >/dev/null || { apt-get update -q && apt-get install -y -q systemd; }
	cd deploy/check && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) test -count=1 -timeout 15m ./...
	cd deploy/images && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) test -count=1 ./...

# The ring's simulation (ringsim) is slow under the detector, and has one goroutine.
.PHONY: race
race: ## the tests of everything concurrent under the race detector (installs gcc where it is missing)
	@command -v gcc >/dev/null || { apt-get update -q && apt-get install -y -q gcc libc6-dev; }
	CGO_ENABLED=1 $(GO) test -race -timeout 15m $$($(GO) list ./allreduce/... | grep -v /ringsim) ./storage/... ./worker/feed ./worker/train \
		./worker/student/... ./worker/agent ./coordinator/... ./loss/...

.PHONY: e2e
e2e: build ## the whole demo job, the commands of the quick start, a job on MinIO (built at the first time: 5 minutes), S3 on MinIO, students in onnxruntime, pages in a browser; as root partitions, too
	$(GO) test -count=1 -timeout 20m -tags e2e -run 'Demo|Quickstart|Student|Dash' -v ./internal/testcluster
	@if test "$$(id -u)" = 0; then $(MAKE) partitions; else echo "not root: partitions are left out"; fi
	$(GO) test -count=1 -timeout 20m -tags e2e -run MinIO ./storage/s3 ./worker

.PHONY: e2e-k8s
e2e-k8s: $(KUBERNETES)/whole ## the Helm chart on a real API server with controllers, scheduler and simulated nodes (built at the first time: 25 CPU minutes)
	cd deploy/check/cluster && $(GO) mod tidy -diff && $(GO) vet -trimpath ./... && \
		PUPIL_KUBERNETES=$(KUBERNETES) $(GO) test -trimpath -count=1 -timeout 40m -v ./...

.PHONY: pictures
pictures: ## take the pictures of docs/dashboard.md anew, of a run in a browser (5 minutes; gets Chromium)
	PUPIL_PICTURES=$(CURDIR)/docs $(GO) test -count=1 -timeout 20m -tags e2e -run 'Dash$$' -v ./internal/testcluster

.PHONY: partitions
partitions: build ## hosts of a cluster are cut off and parted, in network namespaces (2 minutes; needs root, gets iproute2 and nftables)
	@dpkg -s iproute2 nftables >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q iproute2 nftables; }
	@if ip netns add pupil-probe; then ip netns del pupil-probe; $(GO) test -count=1 -timeout 20m -tags e2e -run Partitions -v ./internal/testcluster; \
		else echo "no network namespaces can be made here (in a container?): partitions are left out"; fi

.PHONY: dist
dist: ## archives and container images for Linux on amd64 and arm64 with their checksums, in dist/
	deploy/make-dist dist '$(VERSION)'

.PHONY: dist-check
dist-check: ## make archives and images again, in another folder and without caches: the bytes must be the same (needs a clean tree)
	.ci/dist '$(VERSION)'

.PHONY: sbom
sbom: $(CYCLONEDX) ## bills of materials of both programs (CycloneDX JSON), in dist/
	mkdir -p dist
	for program in coordinator worker; do \
		$(CYCLONEDX) app -json -licenses -std -noserial -notimestamp -main ./$$program -output dist/$$program.cdx.json . || exit 1; \
	done

.PHONY: licences
licences: ## list the licences of all that is linked into the programs, in docs/licences.md
	$(GO) run ./internal/licences

# A few faults may find nobody to strike, so a few more than 200 are drawn.
.PHONY: soak
soak: build ## 200 random faults, one every 10 s, and the quiet run: 70 minutes (report: bin/soak.json; ARGS='--random SEED')
	$(BIN)/coordinator chaos deploy/examples/fashion.yaml --workers 3 --coordinators 3 --count 203 --every 10s --fit-steps --report $(SOAK) \
		--set student.width=0.25 --set dataset.test= --set checkpoint.every=100 --set collapse.used_classes=0 $(ARGS)

.PHONY: bench
bench: ## benchmarks of the kernels, networks, optimisers, ring, feed and loss
	$(GO) test -run '^$$' -bench . -benchtime 1s ./internal/kernel ./worker/nn ./worker/optim ./allreduce/... ./augment ./worker/feed ./loss

.PHONY: bench-storage
bench-storage: ## import, streaming and checkpoints on MinIO (streaming on versitygw, too), beside minio-go alone and plain copies (2 minutes; builds MinIO at first)
	$(GO) test -run '^$$' -bench . -benchtime 5x ./storage
	$(GO) test -run '^$$' -bench CheckpointCopy -benchtime 50x ./worker/train

# Without libopenblas0, PyTorch's matrix products would be those of the slow reference BLAS.
TORCH := python3-torch python3-torchvision libopenblas0

.PHONY: test-torch
test-torch: ## a network of PyTorch's, converted as docs/networks.md says, computes the same here (gets PyTorch)
	@dpkg -s $(TORCH) >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q $(TORCH); }
	$(GO) test -count=1 -tags torch -run Converted -v ./worker/nn

.PHONY: bench-torch
bench-torch: ## steps, networks and kernels against PyTorch's, in one run (18 minutes; gets PyTorch; ARGS='--only REGEXP')
	@dpkg -s $(TORCH) >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q $(TORCH); }
	$(GO) run -ldflags '$(LDFLAGS)' ./internal/bench $(ARGS)

.PHONY: bench-ring
bench-ring: build ## the all-reduce against gloo's and a plain TCP ring, in one run, with a table in bin/ring.md (15 minutes; gets PyTorch, needs root; ARGS='--only REGEXP')
	@dpkg -s python3-torch iproute2 >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q python3-torch iproute2; }
	$(GO) build -ldflags '$(LDFLAGS)' -o $(CACHE)/ringbench ./internal/ringbench
	$(CACHE)/ringbench --table $(BIN)/ring.md $(ARGS)

.PHONY: bench-student
bench-student: ## a student in use beside PyTorch and onnxruntime, and worker serve under load (5 minutes; gets them; ARGS='--rounds 3')
	@dpkg -s $(TORCH) >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q $(TORCH); }
	$(GO) run -ldflags '$(LDFLAGS)' ./internal/usebench --modules "$$(.ci/node)" $(ARGS)

.PHONY: data
data: build ## pack the Fashion-MNIST subset anew from the full set
	deploy/examples/make-data

.PHONY: teacher
teacher: build ## train the example's teacher anew on the full set (about 7 minutes on 2 cores)
	deploy/examples/make-teacher

.PHONY: scaling
scaling: ## compute the tables of docs/scaling.md anew: bytes and times of the ring for up to 1,000 workers (a minute)
	$(GO) run ./allreduce/scaling --page docs/scaling.md

.PHONY: sweep
sweep: build ## train with each loss of a table, three seeds each (hours; goes on where it was ended; ARGS='--only REGEXP')
	$(GO) run ./internal/sweep --cache $(CACHE) $(ARGS)

$(KUBERNETES)/whole:
	mkdir -p $(KUBERNETES)
	cd deploy/check/cluster && nice $(GO) build -trimpath -ldflags '-s -w $(KUBEVERSION)' -o $(KUBERNETES)/ tool
	touch $@

$(GOFUMPT):
	mkdir -p $(TOOLS) && GOBIN=$(TOOLS) $(GO) install mvdan.cc/gofumpt@v0.12.0 && mv $(TOOLS)/gofumpt $@

$(STATICCHECK):
	mkdir -p $(TOOLS) && GOBIN=$(TOOLS) $(GO) install honnef.co/go/tools/cmd/staticcheck@v0.8.2 && mv $(TOOLS)/staticcheck $@

$(CYCLONEDX):
	mkdir -p $(TOOLS) && GOBIN=$(TOOLS) $(GO) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 && mv $(TOOLS)/cyclonedx-gomod $@
