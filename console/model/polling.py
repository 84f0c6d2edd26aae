"""The HTTP paths that the console polls to learn the health and the load of engines and proxies."""

HEALTH = "/health"
METRICS = "/metrics"
MODELS = "/v1/models"
PROXY_HEALTH = "/healthcheck"
ENGINE_POLLS = (HEALTH, METRICS, MODELS)
"""The paths of the API server of an engine."""
POLLS = (*ENGINE_POLLS, PROXY_HEALTH)
