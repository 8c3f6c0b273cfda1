"""Free text to `annotators.claims.Claims`, by rules: `parse.parse`. What is not understood is left out, not guessed."""
