// Package dash is the web page of the coordinators: the embedded files of the page, and the endpoints that it reads. The
// page shows nothing without a token: Page holds no data, and who serves the Endpoints checks the token first.
package dash
