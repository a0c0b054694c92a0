"""How we talk to the gateway: HTTP, its four dialects, and the counting of tokens."""
