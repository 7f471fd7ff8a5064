// The page /api/docs: Swagger UI over the API's own documentation; who is logged in may try the operations.
SwaggerUIBundle({
  domNode: document.getElementById("docs"),
  url: "/api/v1/openapi.json",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // nothing is asked elsewhere
});

// Swagger UI has a word of its own for what theme.js sets on the body
function apply() {
  document.documentElement.classList.toggle("dark-mode", document.body.classList.contains("dark"));
}

apply();
new MutationObserver(apply).observe(document.body, { attributeFilter: ["class"] });
