"""How fast the service is, beside a bare handler in the same run; ``README.md`` says how to read it."""
