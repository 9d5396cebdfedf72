package console

import (
	_ "embed"
	"net/http"

	"github.com/labstack/echo/v4"
)

// openAPI is generated from the table of routes and the types of their bodies
// and answers, with their comments.
//
//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the OpenAPI 3.1 document of the admin API.
func OpenAPI() []byte { return openAPI }

// describe answers with the document.
func describe(c echo.Context) error {
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, openAPI)
}
