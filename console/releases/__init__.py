"""What each release of vLLM and vllm-ascend knows: flags, variables, keys and connectors, as data that ships with the package."""
