"""A local page to play with an artifact, or with a server that serves one."""
