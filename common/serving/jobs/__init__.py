"""Long work over HTTP: POST gives 202 and an id, progress comes as server-sent events, the result by GET."""
