package s3

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pupil/storage"
)

// Config says where a bucket is and how it is reached.
type Config struct {
	Bucket string
	Prefix string // before all keys, without slashes at its ends; may be empty

	Endpoint  string // scheme://host[:port] of the store; default AWS
	Region    string // default: us-east-1 for an endpoint that is not AWS's; of AWS, the bucket's
	PathStyle *bool  // bucket in the path (true) or in the host's name; nil: path for all but AWS
	CA        string // file of PEM certificates that the store's may be signed by, beside the system's

	Credentials string // where keys come from: one of the constants below; default auto
	AccessKey   string // from the environment; never from a URL
	SecretKey   Secret
	Session     Secret
	File        string // credentials file in the format of AWS; default ~/.aws/credentials
	Profile     string // section of that file; default "default"
	STS         string // endpoint that web identities are exchanged at; default AWS's

	PartSize int64         // bytes of a part; objects up to one part are put whole. Default 16 MiB, and the least is 5 MiB
	Parallel int           // parts of an object that are under way at the same time; default 4
	Retries  int           // tries of a request; default 60, which take about half a minute
	Stall    time.Duration // a connection that moves no byte for so long is broken; default 60 s
}

// Where keys come from.
const (
	Auto        = "auto" // environment, else file, else the machine's role
	Environment = "env"
	File        = "file"
	Role        = "iam"  // web identity, container or machine role
	Anonymous   = "none" // no signature, for public buckets
)

// Secret is text that formats as "(secret)" wherever it is printed.
type Secret string

// String implements fmt.Stringer.
func (Secret) String() string { return "(secret)" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "(secret)" }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// parameters are what a URL's query may hold, and the variables that stand in for each.
var parameters = map[string][]string{
	"endpoint":         {"PUPIL_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"},
	"region":           {"PUPIL_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"},
	"path_style":       {"PUPIL_S3_PATH_STYLE"},
	"ca":               {"PUPIL_S3_CA", "AWS_CA_BUNDLE"},
	"credentials":      {"PUPIL_S3_CREDENTIALS"},
	"credentials_file": {"PUPIL_S3_CREDENTIALS_FILE", "AWS_SHARED_CREDENTIALS_FILE"},
	"profile":          {"PUPIL_S3_PROFILE", "AWS_PROFILE"},
	"sts":              {"PUPIL_S3_STS", "AWS_ENDPOINT_URL_STS"},
}

// Parameter tells whether a URL's query may hold a parameter of that name. None of these is a secret.
func Parameter(name string) bool { return parameters[name] != nil }

// Parse reads a URL; getenv is os.Getenv but in tests. Its errors never repeat the value of a parameter that it does not
// know, which may be a secret.
func Parse(u *url.URL, getenv func(string) string) (Config, error) {
	if u.User != nil {
		return Config{}, errors.New("keys do not belong into a URL, which is shown and stored; give them as " +
			"PUPIL_S3_ACCESS_KEY and PUPIL_S3_SECRET_KEY, or in a credentials file")
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Credentials: Auto}
	if c.Bucket == "" || u.Opaque != "" {
		return c, errors.New("the URL names no bucket; it is written s3://bucket/prefix")
	}
	if u.Port() != "" {
		return c, errors.New("a bucket has no port; the store's address is written ?endpoint=https://host:port")
	}
	if u.Fragment != "" {
		return c, errors.New("the URL has a '#'; write it as %23")
	}
	if c.Prefix != "" {
		if err := storage.ValidateKey(c.Prefix); err != nil {
			return c, err
		}
	}
	value, err := lookup(u.RawQuery, getenv)
	if err != nil {
		return c, err
	}
	c.Endpoint, c.Region, c.CA, c.STS = value["endpoint"], value["region"], value["ca"], value["sts"]
	c.Credentials, c.File, c.Profile = cmp.Or(value["credentials"], Auto), value["credentials_file"], value["profile"]
	if text := value["path_style"]; text != "" {
		style, err := strconv.ParseBool(text)
		if err != nil {
			return c, fmt.Errorf("path_style is %q; it must be true or false", text)
		}
		c.PathStyle = &style
	}
	c.keys(getenv)
	return c, c.check()
}

// lookup returns the parameters' values by name, those of the URL first.
func lookup(query string, getenv func(string) string) (map[string]string, error) {
	given, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the part behind '?' cannot be read; it is written name=value&name=value")
	}
	value := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := parameters[name]; !known {
			return nil, fmt.Errorf("unknown parameter %q; known are %s. Keys and passwords belong into the environment or a "+
				"credentials file", name, strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		}
		if len(given[name]) != 1 {
			return nil, fmt.Errorf("the parameter %q stands there %d times", name, len(given[name]))
		}
		value[name] = given[name][0]
	}
	for name, variables := range parameters {
		for _, v := range variables {
			value[name] = cmp.Or(value[name], getenv(v))
		}
	}
	return value, nil
}

// keys takes access key, secret and session from one family of variables: never the key of one with the secret of another.
func (c *Config) keys(getenv func(string) string) {
	for _, f := range [][3]string{
		{"PUPIL_S3_ACCESS_KEY", "PUPIL_S3_SECRET_KEY", "PUPIL_S3_SESSION_TOKEN"},
		{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"},
	} {
		if getenv(f[0]) != "" || getenv(f[1]) != "" {
			c.AccessKey, c.SecretKey, c.Session = getenv(f[0]), Secret(getenv(f[1])), Secret(getenv(f[2]))
			return
		}
	}
}

func (c *Config) check() error {
	if c.Endpoint != "" {
		if err := checkEndpoint("endpoint", c.Endpoint); err != nil {
			return err
		}
	}
	if c.STS != "" {
		if err := checkEndpoint("sts", c.STS); err != nil {
			return err
		}
	}
	if !slices.Contains([]string{Auto, Environment, File, Role, Anonymous}, c.Credentials) {
		return fmt.Errorf("credentials must be %s, %s, %s, %s or %s", Auto, Environment, File, Role, Anonymous)
	}
	if (c.AccessKey == "") != (c.SecretKey == "") && (c.Credentials == Auto || c.Credentials == Environment) {
		return errors.New("of access key and secret key only one is in the environment; set both PUPIL_S3_ACCESS_KEY and " +
			"PUPIL_S3_SECRET_KEY (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)")
	}
	return nil
}

// checkEndpoint checks the address of a server. It does not repeat one that may hold a password.
func checkEndpoint(name, address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.User != nil:
		return fmt.Errorf("%s is no address without a user; it is written https://host:port", name)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%s is %q; it must begin with http:// or https:// and name a host", name, address)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s has something behind the host; it is written https://host:port", name)
	}
	return nil
}

// withDefaults fills in what is left open.
func (c Config) withDefaults() Config {
	const least = 5 << 20 // the protocol's bound on every part but the last
	if c.Endpoint == "" {
		c.Endpoint = "https://s3.amazonaws.com"
	} else if c.Region == "" {
		c.Region = "us-east-1"
	}
	c.PartSize = max(cmp.Or(c.PartSize, 16<<20), least)
	c.Parallel = max(cmp.Or(c.Parallel, 4), 1)
	c.Retries = max(cmp.Or(c.Retries, 60), 1)
	c.Stall = cmp.Or(c.Stall, time.Minute)
	return c
}
