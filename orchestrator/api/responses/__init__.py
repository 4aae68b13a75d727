"""What callers are sent: results, events and errors, as HTTP and the WebSocket show them."""
