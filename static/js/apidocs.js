/* The page that explores the API. In a browser session requests carry the CSRF token. */

const place = document.getElementById("api");

window.SwaggerUIBundle({
  url: place.dataset.schema,
  dom_id: "#api",
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor(request) {
    const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
    if (token && !request.headers.Authorization) request.headers["X-CSRFToken"] = token[1];
    return request;
  },
});
