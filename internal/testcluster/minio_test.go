//go:build e2e

package testcluster_test

import (
	"testing"

	"pupil/internal/teststore"
)

func TestDemoOnMinIO(t *testing.T) { jobOnStore(t, teststore.MinIO(t), 30) }
