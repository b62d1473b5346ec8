//go:build e2e

package main

import (
	"testing"

	"pupil/internal/teststore"
)

func TestStudentOnMinIO(t *testing.T) { onStore(t, teststore.MinIO(t)) }
