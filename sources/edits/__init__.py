"""Edits of a scene: what may be proposed, what is derived, what composes with what."""
