// Package deploycheck has only tests: of the Dockerfile, of docker-compose.yml
// and of what they bring along, by the libraries that Docker itself reads them
// with. Where Docker is not there, they do by other means what it would: build
// the image's file system from the Dockerfile's own lines, and run what is in
// it as its user, in a root of its own that cannot be written to.
package deploycheck
