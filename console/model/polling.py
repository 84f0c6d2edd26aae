"""The paths that the console asks again and again to learn whether engines and proxies work, and how loaded they are."""

HEALTH = "/health"
METRICS = "/metrics"
MODELS = "/v1/models"
PROXY_HEALTH = "/healthcheck"
ENGINE_POLLS = (HEALTH, METRICS, MODELS)
"""What an engine's API server is asked."""
POLLS = (*ENGINE_POLLS, PROXY_HEALTH)
