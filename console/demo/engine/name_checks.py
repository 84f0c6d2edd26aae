"""Names that the parser accepts and the start refuses later: parsers, tokenizer mode, quantization, connector.
Texts as captured from vLLM 0.21."""

from __future__ import annotations

from typing import Final

from console.demo.engine.log_lines import Frame
from console.demo.engine.serve_config import Launch
from console.demo.release import since

_TOOL_PARSERS: Final = """
cohere_command3,cohere_command4,deepseek_v3,deepseek_v31,deepseek_v32,deepseek_v4,ernie45,functiongemma,gemma4,gigachat3,glm45,glm47,
granite,hermes,hunyuan_a13b,internlm,jamba,kimi_k2,llama3_json,llama4_pythonic,longcat,minimax,minimax_m2,mistral,openai,phi4_mini_json,pythonic,
qwen3_coder,qwen3_xml,seed_oss,step3,xlam
"""
_REASONING_PARSERS: Final = """
cohere_command3, cohere_command4, deepseek_r1, deepseek_v3, deepseek_v4, ernie45, gemma4, glm45, granite, holo2,
hunyuan_a13b, hy_v3, kimi_k2, minimax_m2, mistral, nemotron_v3, olmo3, openai_gptoss, qwen3, seed_oss, step3, step3p5
"""
_QUANTIZATIONS: Final = """
awq fp8 fbgemm_fp8 fp_quant modelopt modelopt_fp4 modelopt_mxfp8 modelopt_mixed gguf gptq_marlin awq_marlin
gptq humming compressed-tensors bitsandbytes experts_int8 quark moe_wna16 torchao inc mxfp4 gpt_oss_mxfp4 deepseek_v4_fp8
"""
_TOKENIZER_MODES: Final = (
    "auto",
    "hf",
    "slow",
    "mistral",
    "deepseek_v32",
    "deepseek_v4",
    "grok2",
    "qwen_vl",
    "terratorch",
)

_CONFIG: Final[tuple[Frame, ...]] = (
    (
        "entrypoints/openai/api_server.py",
        124,
        "build_async_engine_client_from_engine_args",
        "vllm_config = engine_args.create_engine_config(",
    ),
    ("engine/arg_utils.py", 1669, "create_engine_config", "model_config = self.create_model_config()"),
)
_SETUP: Final[tuple[Frame, ...]] = (
    ("entrypoints/openai/api_server.py", 692, "run_server", "listen_address, sock = setup_server(args)"),
    ("entrypoints/openai/api_server.py", 533, "validate_api_server_args", "raise KeyError("),
)
_MORE: Final = "    For further information visit https://errors.pydantic.dev/2.14/v/value_error"


def refused(launch: Launch, *, plugin: bool = True) -> tuple[tuple[Frame, ...], str] | None:
    """The trace and the error of the first name that is wrong; None when all are known. `plugin`: whether
    vllm-ascend is active."""
    args = launch.args
    later = ("deepseek_v41",) if since(0, 30) else ()  # parsers and tokenizer modes that stand in no captured text
    tools = "".join(_TOOL_PARSERS.split())
    if (
        args.tool_call_parser
        and args.enable_auto_tool_choice
        and args.tool_call_parser not in (*tools.split(","), *later)
    ):
        return _SETUP, f"KeyError: 'invalid tool call parser: {args.tool_call_parser} (chose from {{ {tools} }})'"
    reasoning = " ".join(_REASONING_PARSERS.split())
    if args.reasoning_parser and args.reasoning_parser not in (*reasoning.split(", "), *later):
        return (
            _CONFIG,
            f"KeyError: \"Reasoning parser '{args.reasoning_parser}' not found. Available parsers: {reasoning}\"",
        )
    known = [*_QUANTIZATIONS.split(), *(["ascend"] if plugin else [])]
    if args.quantization and args.quantization not in known:
        said = (
            f"  Value error, Unknown quantization method: {args.quantization}. Must be one of {known}."
            " [type=value_error]"
        )
        return (
            _CONFIG,
            f"pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n{said}\n{_MORE}",
        )
    if args.tokenizer_mode and args.tokenizer_mode not in (*_TOKENIZER_MODES, *later):
        return _CONFIG, f"ValueError: No tokenizer registered for tokenizer_mode='{args.tokenizer_mode}'."
    return None
