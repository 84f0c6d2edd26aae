"""A stand-in for `vllm serve` with vllm-ascend: real processes, ports, signals and log text; no model and no NPU."""
