// Shows this service's own OpenAPI document. Keys that are typed in are forgotten with the page.
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: new URL("schema/openapi.json", document.baseURI).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: false,
    validatorUrl: null,
  });
});
