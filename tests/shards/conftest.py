"""Property tests draw the same examples on every machine, and are not judged by how busy it is."""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")
