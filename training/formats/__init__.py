"""Dataset formats: pure functions from votes to rows, and from rows to files. Nothing here knows a database."""
