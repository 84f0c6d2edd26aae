"""The simulated proxy has the routes, the counts and the faults of the real example."""

from __future__ import annotations

import asyncio
import json

from console.demo.http import fetch
from tests.demo.bench import KV, Bench, Engine
from tests.waiting import STEP_S, until

READY = "Application startup complete."
SCRIPT = "/vllm-workspace/vllm-ascend/examples/disaggregated_prefill_v1/load_balance_proxy_server_example.py"
CHAT = {"model": "dsv4", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}


def _kv(role: str, port: int) -> str:
    return json.dumps({**KV, "kv_role": role, "kv_port": str(port)})


async def _pair(bench: Bench) -> tuple[Engine, Engine]:
    prefill = bench.serve(0, "-tp", "2", "--kv-transfer-config", _kv("kv_producer", 30200))
    decode = bench.serve(1, "-tp", "1", "--kv-transfer-config", _kv("kv_consumer", 30800))
    for engine in (prefill, decode):
        await engine.says(READY)
    return prefill, decode


def _proxy(bench: Bench, *more: str) -> Engine:
    words = [
        "--host",
        "0.0.0.0",
        "--port",
        "1999",
        "--prefiller-hosts",
        bench.addresses[0],
        "--prefiller-ports",
        "7100",
    ]
    words += ["--decoder-hosts", bench.addresses[1], "--decoder-ports", "7100", *more]
    return bench.start(0, ["python", SCRIPT, *words], 1999)


async def test_a_request_goes_through_prefill_and_comes_from_decode(bench: Bench) -> None:
    prefill, decode = await _pair(bench)
    proxy = _proxy(bench)
    await proxy.says("Uvicorn running on http://0.0.0.0:1999")
    assert "Initialized 1 prefill clients and 1 decode clients in worker" in proxy.text()
    status, body = await proxy.post("/v1/chat/completions", CHAT)
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"]
    status, stream = await proxy.post("/v1/chat/completions", {**CHAT, "stream": True})
    assert stream.endswith("data: [DONE]\n\n")
    assert '"POST /v1/chat/completions HTTP/1.1" 200 OK' in prefill.text()
    assert '"POST /v1/chat/completions HTTP/1.1" 200 OK' in decode.text()
    assert (await proxy.get("/v1/models"))[0] == 404
    assert (await proxy.get("/metrics"))[0] == 404
    counts = {"status": "ok", "prefill_instances": 1, "decode_instances": 1, "request_num": 0}
    assert json.loads((await proxy.get("/healthcheck"))[1]) == counts


async def test_a_dead_decoder_is_an_empty_200_and_a_dead_prefill_a_bare_500(bench: Bench) -> None:
    prefill, decode = await _pair(bench)
    proxy = _proxy(bench)
    await proxy.says("Uvicorn running")
    decode.process.terminate()
    await decode.ends()
    assert await proxy.post("/v1/chat/completions", CHAT) == (200, "")
    assert "All 3 attempts failed for /chat/completions." in proxy.text()
    prefill.process.terminate()
    await prefill.ends()
    assert await proxy.post("/v1/chat/completions", CHAT) == (500, "Internal Server Error")
    assert await proxy.post("/v1/chat/completions", b"{bad") == (500, "Internal Server Error")
    assert json.loads((await proxy.get("/healthcheck"))[1])["decode_instances"] == 1
    proxy.process.terminate()
    assert await proxy.ends() == 143


async def test_a_decode_engine_fails_when_the_prefill_that_has_the_cache_is_gone(bench: Bench) -> None:
    prefill, decode = await _pair(bench)
    status, body = await prefill.post(
        "/v1/completions", {"prompt": "x", "max_tokens": 1, "kv_transfer_params": {"do_remote_decode": True}}
    )
    assert status == 200
    handover = json.loads(body)["kv_transfer_params"]
    assert (handover["remote_host"], handover["remote_port"]) == (bench.addresses[0], 30200)
    ask = {"prompt": "x", "max_tokens": 1, "kv_transfer_params": handover}
    assert (await decode.post("/v1/completions", ask))[0] == 200
    prefill.process.terminate()
    await prefill.ends()
    assert (await decode.post("/v1/completions", ask))[0] == 500
    await decode.says("Mooncake transfer failed for request.")


async def test_instances_come_and_go(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "1")
    proxy = _proxy(bench)
    await engine.says(READY)
    await proxy.says("Uvicorn running")
    new, dead = f"{bench.addresses[0]}:7100", f"{bench.addresses[0]}:9999"

    async def change(verb: str, kind: str, instances: object) -> dict[str, object]:
        status, body = await proxy.post(f"/instances/{verb}", {"type": kind, "instances": instances})
        assert status == 200
        answer = json.loads(body)
        assert isinstance(answer, dict)
        return answer

    assert (await change("add", "decode", [new]))["message"] == f"Instances ['{new}'] are waiting to be added."
    await proxy.says(f"Add decode instance: {new}.")
    assert new in str((await change("add", "decode", new))["current_decode_instances"])
    await change("add", "decode", dead)
    await proxy.says(f"Instance {dead} was not added to the proxy.")
    assert "not supported" in str((await change("add", "both", [new]))["error"])
    assert (await change("remove", "decode", [new]))["message"] == f"remove decode instances: ['{new}']."
    assert new not in str((await change("remove", "decode", "1.2.3.4:5"))["current_decode_instances"])
    assert (await proxy.post("/instances/add", {"type": "decode", "instances": ["noport"]}))[0] == 500


async def test_an_instance_removed_under_load_is_isolated_until_nothing_runs(bench: Bench) -> None:
    prefill, decode = await _pair(bench)
    other = bench.serve(
        1, "-tp", "1", "--kv-transfer-config", _kv("kv_consumer", 30900), port=7200, ASCEND_RT_VISIBLE_DEVICES="4"
    )
    await other.says(READY)
    first, second = f"{bench.addresses[1]}:7100", f"{bench.addresses[1]}:7200"
    proxy = _proxy(bench)
    await proxy.says("Uvicorn running")
    await proxy.post("/instances/add", {"type": "decode", "instances": second})
    await proxy.says(f"Add decode instance: {second}.")
    asking = asyncio.create_task(proxy.post("/v1/chat/completions", {**CHAT, "max_tokens": 4000}))
    await until(lambda: '"POST /v1/chat/completions' in prefill.text())

    async def change(verb: str) -> dict[str, object]:
        return dict(json.loads((await proxy.post(f"/instances/{verb}", {"type": "decode", "instances": first}))[1]))

    gone = await change("remove")
    assert gone["message"] == f"Instances ['{first}'] are isolated and waiting to be removed."
    assert first in str(gone["current_decode_instances"])
    assert (await change("add"))["message"] == f"add decode instances: ['{first}'].", (
        "the real one does not take it back"
    )
    assert (await proxy.post("/v1/chat/completions", CHAT))[0] == 200
    assert "POST" in other.text(), "new requests go elsewhere"
    decode.process.kill()
    assert (await asking)[0] == 200
    for _ in range(200):
        counted = json.loads((await proxy.get("/healthcheck"))[1])["decode_instances"]
        if counted == 1:
            break
        await asyncio.sleep(STEP_S)
    assert counted == 1, "idle, it forgets the isolated one"


async def test_a_taken_port_is_exit_3_and_wrong_lists_exit_1(bench: Bench) -> None:
    first, second = _proxy(bench), None
    await first.says("Uvicorn running")
    second = _proxy(bench)
    assert await second.ends() == 3
    assert "error while attempting to bind on address" in second.text()
    done = bench.run(0, "python", SCRIPT, "--prefiller-hosts", "a", "b", "--prefiller-ports", "1")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: Number of prefiller hosts must match number of prefiller ports\n")


async def test_the_plain_proxy_spreads_over_ranks(bench: Bench) -> None:
    engine = bench.serve(0, "-tp", "1")
    await engine.says(READY)
    words = ["--host", "0.0.0.0", "--port", "1998", "--dp-hosts", bench.addresses[0], "--dp-ports", "7100"]
    proxy = bench.start(1, ["python", "/x/dp_load_balance_proxy_server.py", *words], 1998)
    await proxy.says("Uvicorn running")
    assert json.loads((await proxy.get("/healthcheck"))[1]) == {"status": "ok", "dp_instances": 1}
    assert (await proxy.post("/v1/chat/completions", CHAT))[0] == 200
    assert (await proxy.post("/instances/add", {}))[0] == 404


async def test_a_decoder_that_dies_in_mid_stream_cuts_the_answer_short(bench: Bench) -> None:
    _, decode = await _pair(bench)
    proxy = _proxy(bench)
    await proxy.says("Uvicorn running")
    body = json.dumps({**CHAT, "max_tokens": 4000, "stream": True}).encode()
    answer = await fetch(proxy.host, proxy.port, "POST", "/v1/chat/completions", body)
    pieces = []
    async for piece in answer.pieces:
        pieces.append(piece)
        if len(pieces) == 3:
            decode.process.kill()
    assert answer.status == 200
    assert not b"".join(pieces).endswith(b"[DONE]\n\n")
    await until(lambda: "Error during streaming from decoder" in proxy.text())
