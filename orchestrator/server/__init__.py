"""The HTTP server under the API: bounded connections and headers, listening sockets, several processes."""
