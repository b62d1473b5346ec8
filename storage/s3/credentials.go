package s3

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

var errKeys = errors.New("no keys for the store")

// keyring returns where requests take their keys from, after it was tried once, so that missing keys are told at the start.
func (c Config) keyring(client *http.Client) (*credentials.Credentials, error) {
	if c.Credentials == Anonymous {
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous), nil
	}
	var tried []error
	for _, source := range []struct {
		name     string
		provider credentials.Provider
	}{
		{Environment, c.static()},
		{File, &credentials.FileAWSCredentials{Filename: c.File, Profile: c.Profile}},
		{Role, &credentials.IAM{Client: &http.Client{Transport: client.Transport, Timeout: 10 * time.Second}, Endpoint: c.STS, Region: c.Region}},
	} {
		if source.provider == nil || c.Credentials != Auto && c.Credentials != source.name {
			continue
		}
		ring := credentials.New(source.provider)
		value, err := ring.GetWithContext(&credentials.CredContext{Client: client, Endpoint: c.Endpoint})
		if err == nil && (value.AccessKeyID == "" || value.SecretAccessKey == "") {
			err = errors.New("there is no key")
		}
		if err == nil {
			return ring, nil
		}
		tried = append(tried, fmt.Errorf("%s: %w", source.name, err))
	}
	return nil, fmt.Errorf("%w: set PUPIL_S3_ACCESS_KEY and PUPIL_S3_SECRET_KEY, or name a credentials file; for a public bucket "+
		"write ?credentials=none (tried: %w)", errKeys, errors.Join(tried...))
}

// static is the provider of the environment's keys, nil without them.
func (c Config) static() credentials.Provider {
	if c.AccessKey == "" || c.SecretKey == "" {
		return nil
	}
	return &credentials.Static{Value: credentials.Value{
		AccessKeyID: c.AccessKey, SecretAccessKey: string(c.SecretKey), SessionToken: string(c.Session),
		SignerType: credentials.SignatureV4,
	}}
}
