"""Parse instructions into `annotators.claims.Claims` by rules (`parse.parse`). The parser does not guess."""
