// Package openapi checks that the document of the admin API is one of OpenAPI.
package openapi

import (
	"os"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

func TestDocumentIsOpenAPI(t *testing.T) {
	data, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := libopenapi.NewDocument(data)
	if err != nil {
		t.Fatalf("read the document: %v", err)
	}
	model, err := doc.BuildV3Model()
	if err != nil {
		t.Fatalf("build its model: %v", err)
	}
	ids := map[string]string{}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, op := range item.GetOperations().FromOldest() {
			if before := ids[op.OperationId]; before != "" {
				t.Errorf("%s %s has the operationId %s of %s", method, path, op.OperationId, before)
			}
			ids[op.OperationId] = method + " " + path
		}
	}
	if len(ids) < 20 {
		t.Errorf("the document describes %d operations, want 20 at least", len(ids))
	}
	v, errs := validator.NewValidator(doc)
	if len(errs) > 0 {
		t.Fatalf("set up the validator: %v", errs)
	}
	if ok, problems := v.ValidateDocument(); !ok {
		for _, p := range problems {
			t.Errorf("%s: %s", p.Message, p.Reason)
			for _, e := range p.SchemaValidationErrors {
				t.Errorf("  %s: %s", e.KeywordLocation, e.Reason)
			}
		}
	}
}
