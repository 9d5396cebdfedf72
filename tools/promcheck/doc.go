// Package promcheck holds the tests of the alerts and dashboards that need
// Prometheus' own parser. It is a module of its own because that parser brings
// more modules than the product has.
package promcheck
