package setup

import (
	"fmt"

	"pupil/internal/kernel"
	"pupil/internal/version"
	"pupil/storage/diskcache"
	"pupil/worker/teachercache"
)

// TeacherCache returns the part of a cache that belongs to this job's teacher and its views, or nil without a cache or a
// teacher.
func (j *Job) TeacherCache(disk *diskcache.Cache) (*teachercache.Cache, error) {
	if disk == nil || j.Teacher == nil {
		return nil, nil
	}
	executable, err := version.Executable()
	if err != nil {
		return nil, fmt.Errorf("teacher cache: the digest of this program, without which nothing can be kept: %w", err)
	}
	o := j.Order
	return teachercache.New(disk, teachercache.Identity{
		Teacher: j.TeacherDigest, Direct: j.TeacherFreeze().Direct, Dataset: j.Data.Digest(), Broken: j.Spec.Dataset.Broken,
		Channels: j.Spec.Student.Channels, Background: j.Views.Background(), View: j.Views.Teacher().Config(),
		Seed: o.Seed, Batch: o.Batch, Lanes: o.Lanes, Chunk: o.Chunk, Kernel: kernel.Class(), Executable: executable,
	}, teachercache.Shape{Images: o.Batch / o.Lanes, Pooled: j.Teacher.Features(), Logits: j.TeacherConfig.Outputs})
}
