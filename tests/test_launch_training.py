"""What starts a training run says every choice of its plan, in numbers that multiply to the plan."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import pytest

from app import catalog
from app.calculations.errors import InvalidInput
from app.calculations.parallelism import stage_sizes
from app.deploy.launch_torchtitan import dealt, flavors
from app.deploy.launch_training import LAUNCHERS, snippet
from app.deploy.megatron_pipeline import pipeline_options
from app.history.run_log import Run
from app.runs import train_run
from app.training_scenarios import TRAINING_INPUTS

LLAMA, MIXTRAL = "meta-llama/Meta-Llama-3.1-8B", "mistralai/Mixtral-8x7B-v0.1"
#: Launcher -> a plan of its own framework that it does without a comment on the layout.
OWN: Mapping[str, dict[str, str]] = {
    "torchrun": {"framework": "torchtitan", "sharding": "fsdp-full"},
    "accelerate": {"framework": "huggingface", "sharding": "fsdp-full"},
    "deepspeed": {"framework": "deepspeed", "sharding": "zero2"},
    "megatron": {"framework": "megatron", "sharding": "zero1"},
}
RAW = {
    "model": LLAMA, "gpu": "b200", "num_gpus": "16", "seq_len": "8192", "micro_batch_size": "1", "tp": "1", "pp": "1",
    "global_batch_size": "256", "activation_recompute": "none",
}  # fmt: skip
#: Inputs that describe the world, the data or the report: nothing that a launcher is told.
FACTS = {
    "gpu", "network_gb_s", "expert_imbalance", "flops_convention", "gpu_mtbf_hours", "checkpoint_seconds",
    "restart_minutes", "price_usd_per_gpu_hour", "budget_usd", "region", "pue",
}  # fmt: skip
#: Inputs that reach the snippet as steps of the run and between checkpoints.
LENGTHS = {"tokens", "epochs", "dataset_tokens", "checkpoint_interval_minutes"}
FULL, TENSORS, ADAPTERS = {"activation_recompute": "full"}, {"tp": 2, "dp": 8}, {"method": "lora"}
EXPERTS = {"model": MIXTRAL}
#: Field -> what the plan is before, and the changes.
CHANGES: Mapping[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "model": ({}, [EXPERTS]),
    "num_gpus": ({}, [{"num_gpus": 8, "dp": 8}, {"num_gpus": 32, "dp": 32}]),
    "seq_len": ({}, [{"seq_len": 4096}]),
    "micro_batch_size": ({}, [{"micro_batch_size": 2}]),
    "global_batch_size": ({}, [{"global_batch_size": 512}]),
    "document_tokens": ({}, [{"document_tokens": 512}]),
    "method": ({}, [{"method": name} for name in ("lora", "dora", "qlora", "adapter")]),
    "lora_rank": (ADAPTERS, [{"lora_rank": 64}]),
    "lora_targets": (ADAPTERS, [{"lora_targets": "qv"}, {"lora_targets": "attention"}]),
    "optimizer": (
        {},
        [
            {"optimizer": name}
            for name in ("adamw-8bit", "paged-adamw", "paged-adamw-8bit", "adafactor", "lion", "muon", "sgd",
                         "sgd-momentum")
        ],
    ),
    "precision": ({}, [{"precision": name} for name in ("fp16", "fp32", "fp8", "mxfp8", "nvfp4")]),
    "tp": ({}, [TENSORS]),
    "pp": ({}, [{"pp": 2, "dp": 8}]),
    "vpp": ({"pp": 2, "dp": 8}, [{"vpp": 2}]),
    "cp": ({}, [{"cp": 2, "dp": 8}]),
    "ep": (EXPERTS, [{"ep": 8}]),
    "dp": ({}, [{"num_gpus": 8, "dp": 8}]),
    # zero3 is fsdp-full, to the estimate as well.
    "sharding": ({}, [{"sharding": name} for name in ("none", "zero1", "zero2", "fsdp-full", "fsdp-grad-op", "hsdp")]),
    "sequence_parallel": (TENSORS, [{"sequence_parallel": False}]),
    "hsdp_gpus": ({"sharding": "hsdp"}, [{"hsdp_gpus": 4}]),
    "activation_recompute": ({}, [{"activation_recompute": "selective"}, FULL]),
    "recompute_layers": (FULL, [{"recompute_layers": 8}]),
    "recompute_group": (FULL, [{"recompute_group": 4}]),
    "loss": ({}, [{"loss": name} for name in ("compiled", "chunked", "fused")]),
    "master_weights": ({}, [{"master_weights": "on"}, {"master_weights": "off"}]),
    "gradient_precision": ({}, [{"gradient_precision": "fp32"}, {"gradient_precision": "bf16"}]),
    "state_precision": ({}, [{"state_precision": name} for name in ("fp32", "bf16", "fp8")]),
    "offload": ({}, [{"offload": name} for name in ("optimizer", "all", "activations")]),
    "framework": ({}, [{"framework": "oneflow"}]),
    "compiled": ({}, [{"compiled": False}]),
    "asynchronous_tp": (TENSORS, [{"asynchronous_tp": True}]),
    "dropless": (EXPERTS, [{"dropless": False}]),
}  # fmt: skip
CASES = [
    pytest.param(launcher, field, before, change, id=f"{launcher}-{field}-{change.get(field)}")
    for launcher in LAUNCHERS
    for field, (before, changes) in CHANGES.items()
    for change in changes
]


@cache
def own_run(launcher: str) -> Run:
    return train_run(RAW | OWN[launcher], source="cli")


def launched(launcher: str, changes: Mapping[str, Any]) -> str:
    """The snippet of the launcher's own plan with changes; the run's length stays, so that only they can change it."""
    run = own_run(launcher)
    inputs, layout = dict(run.inputs), dict(run.results["layout"])
    for name, value in changes.items():
        (layout if name in layout else inputs)[name] = value
    model = catalog.read_model(changes.get("model", LLAMA))
    return snippet(launcher, inputs, {**run.results, "layout": layout}, model)


def planned(launcher: str, **raw: Any) -> str:
    """The snippet of a plan from the question on."""
    run = train_run({name: str(value) for name, value in raw.items()}, source="cli")
    return snippet(launcher, run.inputs, run.results, catalog.model(run.inputs["model"]))


def option(text: str, name: str) -> str | None:
    """The value of an option of the command; "" for a bare flag, None where it is missing."""
    found = re.search(rf"--{re.escape(name)}(?: ([^\\\n]*?))?(?: \\)?$", text, re.MULTILINE)
    return None if found is None else (found[1] or "").strip()


def number(text: str, name: str) -> int:
    found = option(text, name)
    assert found is not None, f"--{name} is missing"
    return int(found)


# --- nothing is dropped ------------------------------------------------------------------------------------------


def test_every_input_of_training_is_a_choice_that_is_tried_here_a_length_or_a_fact() -> None:
    assert CHANGES.keys() | LENGTHS | FACTS == TRAINING_INPUTS.keys()


@pytest.mark.parametrize(("launcher", "field", "before", "change"), CASES)
def test_a_choice_changes_the_snippet_or_is_refused_by_name(
    launcher: str, field: str, before: dict[str, Any], change: dict[str, Any]
) -> None:
    try:
        usual = launched(launcher, before)
    except InvalidInput:
        pytest.skip("What the choice is about is refused by itself.")
    if own_value(launcher, field, before) == change.get(field):
        return
    try:
        changed = launched(launcher, {**before, **change})
    except InvalidInput as error:
        assert error.field == "launch"
        assert f"{field} {change[field]}" in error.message, error.message
        assert error.allowed
    else:
        assert changed != usual


def own_value(launcher: str, field: str, before: Mapping[str, Any]) -> object:
    """What the plan has without the change, with "auto" as the framework takes it."""
    run = own_run(launcher)
    automatic = {
        "master_weights": {"huggingface": "off"},
        "gradient_precision": {"torchtitan": "fp32", "megatron": "fp32", "huggingface": "bf16", "deepspeed": "bf16"},
        "state_precision": {"torchtitan": "fp32", "megatron": "fp32", "huggingface": "bf16", "deepspeed": "fp32"},
    }
    found = {**run.inputs, **run.results["layout"], **before}.get(field)
    framework = run.results["layout"]["framework"]
    return automatic[field].get(framework, "on") if found == "auto" and field in automatic else found


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_plan_of_its_own_framework_says_how_long_the_run_is(launcher: str) -> None:
    run = own_run(launcher)
    text = launched(launcher, {})
    steps = {"torchrun": "training.steps", "megatron": "train-iters"}.get(launcher, "max_steps")
    between = {"torchrun": "checkpoint.interval", "megatron": "save-interval"}.get(launcher, "save_steps")
    assert number(text, steps) == run.results["run"]["steps"]
    seconds = number(text, between) * run.results["step_time_s"]["value"]
    interval = run.results["run"]["checkpoint_interval_s"]
    assert seconds == pytest.approx(interval, abs=run.results["step_time_s"]["value"])


def test_a_plan_of_another_framework_says_so_in_a_comment() -> None:
    assert launched("torchrun", {"framework": "megatron"}).startswith("# framework megatron: estimated for")


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("change", [change for _, changes in CHANGES.values() for change in changes], ids=str)
def test_comments_are_lines_before_the_command(launcher: str, change: dict[str, Any]) -> None:
    """A comment inside a command that goes on in the next line would end it."""
    try:
        text = launched(launcher, change)
    except InvalidInput:
        return
    command = text[re.search(r"^.*(torchrun|accelerate launch|deepspeed) -", text, re.MULTILINE).start() :]  # type: ignore[union-attr]
    assert "#" not in command
    assert all(line.endswith(" \\") for line in command.splitlines()[:-1])


# --- numbers multiply to the plan --------------------------------------------------------------------------------


def processes(text: str) -> int:
    if (found := re.search(r"num_processes: (\d+)", text)) is not None:
        return int(found[1])
    name = "--num_gpus" if "--num_gpus" in text else "--nproc-per-node"
    each = re.search(rf"{name} (\d+)", text)
    count = re.search(r"--(?:nnodes|num_nodes) (\d+)", text)
    assert each is not None
    return int(each[1]) * int(count[1] if count else 1)


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("gpus", [1, 6, 8, 12, 14, 16, 21, 24, 64])
def test_as_many_processes_start_as_the_plan_has_gpus(launcher: str, gpus: int) -> None:
    assert processes(launched(launcher, {"num_gpus": gpus, "dp": gpus, "global_batch_size": 256 * gpus})) == gpus


def test_twelve_gpus_are_two_nodes_of_six_and_thirteen_are_refused() -> None:
    assert "--nnodes 2 --nproc-per-node 6" in launched("torchrun", {"num_gpus": 12, "dp": 12})
    with pytest.raises(InvalidInput) as refused:
        launched("torchrun", {"num_gpus": 13, "dp": 13})
    assert "num_gpus 13" in refused.value.message
    assert refused.value.allowed == "num_gpus 12 or 14"


def test_tensor_parallel_groups_across_nodes_are_named() -> None:
    assert "# num_gpus 12: groups of tp 4" in launched("megatron", {"num_gpus": 12, "tp": 4, "dp": 3})


@pytest.mark.parametrize("launcher", ["accelerate", "deepspeed"])
def test_processes_times_micro_batches_are_the_global_batch(launcher: str) -> None:
    text = launched(launcher, {"micro_batch_size": 2})
    micro, count = number(text, "per_device_train_batch_size"), number(text, "gradient_accumulation_steps")
    assert processes(text) * micro * count == 256
    if launcher == "deepspeed":
        config = json.loads(text[text.index("{") : text.rindex("}") + 1])
        assert config["train_batch_size"] == 256
        assert config["train_micro_batch_size_per_gpu"] * config["gradient_accumulation_steps"] * 16 == 256


def test_accelerate_refuses_context_parallelism_which_its_batch_does_not_know() -> None:
    with pytest.raises(InvalidInput, match="cp 2"):
        launched("accelerate", {"cp": 2, "dp": 8})


@pytest.mark.parametrize("sharding", ["none", "zero1", "zero2", "fsdp-full", "fsdp-grad-op", "hsdp"])
@pytest.mark.parametrize("cut", [{}, {"tp": 2, "dp": 8}, {"pp": 2, "dp": 8}, {"cp": 2, "dp": 8}], ids=str)
def test_degrees_of_torchtitan_multiply_to_its_processes(sharding: str, cut: dict[str, int]) -> None:
    try:
        text = launched("torchrun", {"sharding": sharding, **cut})
    except InvalidInput as error:
        assert sharding == "none" and "sharding none" in error.message, "DDP is there without other kinds only"
        return
    names = ("data_parallel_shard", "data_parallel_replicate", "tensor_parallel", "context_parallel")
    degrees = [number(text, f"parallelism.{name}_degree") for name in names]
    pp = number(text, "parallelism.pipeline_parallel_degree") if "pp" in cut else 1
    assert degrees[0] * degrees[1] * degrees[2] * degrees[3] * pp == processes(text) == 16
    local = number(text, "training.local_batch_size")
    assert 256 % (local * degrees[0] * degrees[1]) == 0
    if pp > 1:
        micro = number(text, "parallelism.pipeline_parallel_microbatch_size")
        assert local // micro == 256 // 8, "a pipeline runs all micro-batches of a step in one schedule"


@pytest.mark.parametrize(
    ("sharding", "shard", "reshard"),
    [
        ("fsdp-full", 16, None),
        ("fsdp-grad-op", 16, "never"),
        ("zero1", 16, "never"),
        ("hsdp", 8, None),
        ("none", 1, None),
    ],
)
def test_torchtitan_shards_what_the_plan_shards(sharding: str, shard: int, reshard: str | None) -> None:
    text = launched("torchrun", {"sharding": sharding})
    assert number(text, "parallelism.data_parallel_shard_degree") == shard
    assert option(text, "parallelism.fsdp_reshard_after_forward") == reshard


@pytest.mark.parametrize(("layers", "pp", "vpp"), [(32, 4, 1), (126, 16, 1), (30, 4, 1), (32, 4, 2), (126, 16, 8)])
def test_torchtitan_deals_layers_as_planned(layers: int, pp: int, vpp: int) -> None:
    ends = [
        (first, last)
        for first, last in product((0, 1), repeat=2)
        if [sum(dealt(layers, pp * vpp, first, last)[stage::pp]) for stage in range(pp)] == stage_sizes(layers, pp)
    ]
    assert ends
    assert all(sum(dealt(layers, pp * vpp, *one)) == layers for one in ends)


def test_flavors_of_torchtitan_are_of_presets() -> None:
    assert flavors().keys() <= catalog.preset_models().keys()


# --- Megatron-LM: its own assertions, and its arguments for a model ------------------------------------------------


def megatron_stages(layers: int, pp: int, vpp: int, options: Mapping[str, Any]) -> list[int]:
    """Layers of each stage as Megatron-LM makes them of its arguments; asserts what it asserts (arguments.py,
    pipeline_parallel_layer_layout.py)."""
    if (text := options.get("pipeline-model-parallel-layout")) is not None:
        text = re.sub(r"\(([^)]+)\)\*(\d+)", lambda found: found[1] * int(found[2]), text.strip("'"))
        text = re.sub(r"(.)\*(\d+)", lambda found: found[1] * int(found[2]), text)
        chunks = text.split("|")
        assert text[0] == "E" and text[-1] == "L" and set(text) <= set("EtL|")
        assert len(chunks) == pp * vpp
        return [sum(chunk.count("t") for chunk in chunks[stage::pp]) for stage in range(pp)]
    first = options.get("decoder-first-pipeline-num-layers")
    last = options.get("decoder-last-pipeline-num-layers")
    rest, middle = layers - (first or 0) - (last or 0), pp - (first is not None) - (last is not None)
    assert rest % middle == 0
    if vpp > 1:
        assert first is None and last is None
        assert options["num-layers-per-virtual-pipeline-stage"] * vpp * pp == layers
    ends = ([] if first is None else [first]), ([] if last is None else [last])
    return [*ends[0], *[rest // middle] * middle, *ends[1]]


@pytest.mark.parametrize("layers", [12, 30, 31, 32, 61, 80, 94, 126])
def test_megatron_holds_as_many_layers_on_each_stage_as_the_estimate(layers: int) -> None:
    for pp, vpp in product((2, 3, 4, 8, 16), (1, 2, 4, 8)):
        if pp * vpp <= layers + 2:
            options = pipeline_options(layers, pp, vpp)
            assert megatron_stages(layers, pp, vpp, options) == stage_sizes(layers, pp), (pp, vpp, options)


def test_uneven_stages_of_llama_405b() -> None:
    text = planned("megatron", model="Llama-3.1-405B", gpu="H100", num_gpus=1024, tp=8, pp=16, vpp=1)
    assert number(text, "decoder-first-pipeline-num-layers") == number(text, "decoder-last-pipeline-num-layers") == 7


@pytest.mark.parametrize("sharding", ["none", "zero1", "fsdp-full"])
@pytest.mark.parametrize(("cp", "dp", "tp"), [(1, 1, 8), (2, 1, 4), (1, 2, 4), (2, 2, 2)])
def test_gathers_overlap_only_beside_reductions_and_the_distributed_optimizer(
    sharding: str, cp: int, dp: int, tp: int
) -> None:
    text = launched("megatron", {"sharding": sharding, "num_gpus": 8, "cp": cp, "dp": dp, "tp": tp})
    gathers = option(text, "overlap-param-gather") is not None
    assert gathers == (sharding != "none" and cp * dp > 1)
    if gathers:
        assert option(text, "overlap-grad-reduce") == option(text, "use-distributed-optimizer") == ""


@pytest.mark.parametrize(("ep", "expert_tp"), [(8, 1), (1, 2)])
def test_experts_are_whole_where_they_are_dealt_out(ep: int, expert_tp: int) -> None:
    text = planned("megatron", model="Mixtral-8x7B-v0.1", gpu="H100", num_gpus=64, tp=2, pp=2, ep=ep)
    assert number(text, "expert-model-parallel-size") == ep
    assert number(text, "expert-tensor-parallel-size") == expert_tp
    assert option(text, "moe-token-dispatcher-type") == "alltoall"


def test_fsdp_of_megatron_has_its_checkpoints_and_its_connections() -> None:
    text = launched("megatron", {"sharding": "fsdp-full", "tp": 2, "dp": 8})
    assert option(text, "data-parallel-sharding-strategy") == "optim_grads_params"
    assert option(text, "ckpt-format") == "fsdp_dtensor"
    assert "CUDA_DEVICE_MAX_CONNECTIONS" not in text
    assert launched("megatron", {"tp": 2, "dp": 8}).startswith("CUDA_DEVICE_MAX_CONNECTIONS=1 torchrun")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "sgd"}, "optimizer sgd with sharding zero1"),
        ({"optimizer": "lion"}, "optimizer lion"),
        ({"precision": "fp16", "model": MIXTRAL, "ep": 8}, "precision fp16 with ep 8"),
        ({"cp": 2, "dp": 8, "seq_len": 8190}, "seq_len 8190 with cp 2"),
        ({"model": MIXTRAL, "tp": 2, "dp": 8, "sequence_parallel": False}, "sequence_parallel false"),
        ({"offload": "activations", "pp": 2, "dp": 8}, "offload activations"),
        ({"offload": "all"}, "offload all"),
        ({"model": "openai/gpt-oss-20b", "tp": 2, "dp": 8}, "tp 2 with ep 1"),
    ],
)
def test_megatron_is_not_given_what_it_asserts_against(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        launched("megatron", changes)
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"state_precision": "bf16"}, ["--use-precision-aware-optimizer", "--exp-avg-dtype bf16"]),
        ({"gradient_precision": "bf16"}, ["--grad-reduce-in-bf16", "--main-grads-dtype bf16"]),
        ({"offload": "optimizer"}, ["--optimizer-cpu-offload", "--use-precision-aware-optimizer"]),
        ({"precision": "nvfp4"}, ["--bf16", "--fp4-format e2m1"]),
        ({"optimizer": "muon"}, ["--optimizer dist_muon", "--ckpt-format torch"]),
        ({"optimizer": "sgd", "sharding": "none"}, ["--optimizer sgd", "--sgd-momentum 0"]),
        ({**EXPERTS, "dropless": False}, ["--moe-expert-capacity-factor 1.0", "--moe-pad-expert-input-to-capacity"]),
        ({"sharding": "hsdp"}, ["--use-megatron-fsdp", "--num-distributed-optimizer-instances 2"]),
        ({"loss": "compiled"}, ["--cross-entropy-loss-fusion"]),
        ({"offload": "activations"}, ["--cpu-offloading-num-layers 30"]),
    ],
)  # fmt: skip
def test_choices_have_their_arguments(changes: dict[str, Any], flags: list[str]) -> None:
    text = launched("megatron", changes)
    assert all(flag in text for flag in flags), text


def test_the_distributed_optimizer_is_never_given_to_muon_and_sgd() -> None:
    for changes in ({"optimizer": "muon"}, {"optimizer": "sgd", "sharding": "none", "offload": "none"}):
        text = launched("megatron", changes)
        assert "distributed-optimizer" not in text and "overlap-param-gather" not in text


LLAMA_ARGUMENTS = {
    "num-layers": "32", "hidden-size": "4096", "num-attention-heads": "32", "kv-channels": "128",
    "group-query-attention": "", "num-query-groups": "8", "ffn-hidden-size": "14336", "swiglu": "",
    "disable-bias-linear": "", "add-qkv-bias": None, "normalization": "RMSNorm", "norm-epsilon": "1e-05",
    "position-embedding-type": "rope", "rotary-base": "500000", "use-rope-scaling": "", "rope-scaling-factor": "8.0",
    "attention-dropout": "0", "hidden-dropout": "0", "vocab-size": "128256",
    "tokenizer-model": "meta-llama/Meta-Llama-3.1-8B", "untie-embeddings-and-output-weights": "",
    "multi-latent-attention": None, "num-experts": None,
}  # fmt: skip
#: The values of deepseek-ai/DeepSeek-V3's config.json.
DEEPSEEK_ARGUMENTS = {
    "multi-latent-attention": "", "q-lora-rank": "1536", "kv-lora-rank": "512", "qk-head-dim": "128",
    "qk-pos-emb-head-dim": "64", "v-head-dim": "128", "qk-layernorm": "", "ffn-hidden-size": "18432",
    "moe-ffn-hidden-size": "2048", "moe-shared-expert-intermediate-size": "2048", "num-experts": "256",
    "moe-router-topk": "8", "moe-layer-freq": "'[0]*3+[1]*58'", "moe-router-score-function": "sigmoid",
    "moe-router-enable-expert-bias": "", "moe-router-num-groups": "8", "moe-router-group-topk": "4",
    "moe-router-topk-scaling-factor": "2.5", "rope-type": "yarn", "rotary-scaling-factor": "40", "kv-channels": None,
    "group-query-attention": None, "num-query-groups": None,
}  # fmt: skip
GPT2_ARGUMENTS = {
    "normalization": "LayerNorm", "position-embedding-type": "learned_absolute", "disable-bias-linear": None,
    "swiglu": None, "untie-embeddings-and-output-weights": None, "ffn-hidden-size": "3072",
}  # fmt: skip
QWEN_ARGUMENTS = {"disable-bias-linear": "", "add-qkv-bias": "", "rotary-base": "1000000"}
GPT_OSS_ARGUMENTS = {
    "window-size": "127,0", "window-attn-skip-freq": "'[1,0]*18'", "softmax-type": "learnable", "quick-geglu": "",
    "swiglu": None, "activation-func-clamp-value": "7.0", "glu-linear-offset": "1.0", "disable-bias-linear": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (LLAMA, LLAMA_ARGUMENTS),
        ("deepseek-ai/DeepSeek-V3", DEEPSEEK_ARGUMENTS),
        ("openai-community/gpt2", GPT2_ARGUMENTS),
        ("Qwen/Qwen2.5-7B-Instruct", QWEN_ARGUMENTS),
        ("openai/gpt-oss-120b", GPT_OSS_ARGUMENTS),
    ],
)
def test_arguments_describe_the_model(model: str, arguments: dict[str, str | None]) -> None:
    text = launched("megatron", {"model": model})
    assert {name: option(text, name) for name in arguments} == arguments


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("google/gemma-2-9b", "post_feedforward_layernorm"),
        ("google/gemma-2-9b", "its activation is gelu_pytorch_tanh, and SiLU is given"),
        ("google/gemma-2-9b", "attn_logit_softcapping, final_logit_softcapping"),
        ("deepseek-ai/DeepSeek-V3.2", "index_k"),
        ("bigscience/bloom", "other positions"),
        ("microsoft/phi-2", "side by side"),
        ("openai/gpt-oss-120b", "router_bias"),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", "not each layer has attention"),
        ("state-spaces/mamba-130m-hf", "not each layer has attention"),
    ],
)
def test_what_no_argument_says_of_a_model_is_named(model: str, words: str) -> None:
    try:
        comments = [line for line in launched("megatron", {"model": model}).splitlines() if line.startswith("# model")]
    except InvalidInput as error:
        comments = [error.message]
    assert any(words in line for line in comments), comments


def test_every_preset_has_arguments_or_a_refusal() -> None:
    for name in catalog.preset_models():
        try:
            text = launched("megatron", {"model": name})
        except InvalidInput as error:
            assert name in error.message
        else:
            assert number(text, "num-layers") == catalog.read_model(name).num_layers


# --- the other launchers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sharding", "strategy"),
    [("zero1", "SHARD_GRAD_OP"), ("zero2", "SHARD_GRAD_OP"), ("zero3", "FULL_SHARD"), ("hsdp", "HYBRID_SHARD"),
     ("none", "NO_SHARD")],
)  # fmt: skip
def test_strategies_of_accelerate(sharding: str, strategy: str) -> None:
    assert f"fsdp_sharding_strategy: {strategy}\n" in launched("accelerate", {"sharding": sharding})


@pytest.mark.parametrize(
    ("changes", "mixed", "dtype"),
    [
        ({}, "'no'", "bfloat16"),
        ({"master_weights": "on"}, "bf16", "float32"),
        ({"precision": "fp32"}, "'no'", "float32"),
        ({"precision": "fp8", "master_weights": "on"}, "fp8", "float32"),
    ],
)
def test_formats_of_accelerate(changes: dict[str, Any], mixed: str, dtype: str) -> None:
    text = launched("accelerate", changes)
    assert f"mixed_precision: {mixed}\n" in text
    assert option(text, "dtype") == dtype


@pytest.mark.parametrize("launcher", ["accelerate", "deepspeed"])
def test_adapters_have_their_rank_and_modules(launcher: str) -> None:
    text = launched(launcher, {"method": "qlora", "lora_targets": "qv", "lora_rank": 64})
    assert option(text, "lora_target_modules") == "q_proj v_proj"
    assert option(text, "lora_r") == "64"
    assert option(text, "load_in_4bit") == option(text, "use_bnb_nested_quant") == ""
    with pytest.raises(InvalidInput, match="method adapter"):
        launched(launcher, {"method": "adapter"})


def test_deepspeed_keeps_what_the_plan_keeps() -> None:
    def config(changes: dict[str, Any]) -> dict[str, Any]:
        text = launched("deepspeed", changes)
        found: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
        return found

    assert config({})["optimizer"]["type"] == "AdamW"
    assert config({"gradient_precision": "fp32"})["data_types"] == {"grad_accum_dtype": "fp32"}
    assert config({"sharding": "none", "gradient_precision": "fp32"})["data_types"] == {"grad_accum_dtype": "bf16"}
    narrow = config({"master_weights": "off"})["bf16"]
    assert narrow == {"enabled": True, "bf16_master_weights_and_grads": True, "bf16_optimizer_states": True}
    zero = config({"sharding": "zero3", "offload": "all"})["zero_optimization"]
    assert zero["stage"] == 3 and zero["offload_param"] == zero["offload_optimizer"]
    assert "optimizer" not in config({"optimizer": "lion"})
    assert option(launched("deepspeed", {"optimizer": "lion"}), "optim") == "lion_32bit"
