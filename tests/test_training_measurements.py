"""Rows of training tables: what their columns and notes mean, what is assumed, and how close published tables are."""

import csv

import pytest

from app import training_catalog
from app.calculations.errors import InvalidInput
from app.measurements.predictors import kind, predict
from app.measurements.training import run_of, speed, step_seconds
from app.measurements.training_notes import convention_of, stack_of

COLUMNS = (
    "id", "source", "source_ref", "source_date", "model", "n_params", "num_layers", "hidden_size", "num_heads",
    "num_kv_heads", "ffn_size", "vocab_size", "gated_mlp", "num_experts", "experts_per_token", "tied_embeddings",
    "seq_len", "gpu", "num_gpus", "micro_batch_size", "global_batch_size", "grad_accum", "tp", "pp", "vpp", "dp", "cp",
    "ep", "sequence_parallel", "sharding", "precision", "activation_recompute", "framework", "metric", "value", "notes",
)  # fmt: skip

LLAMA_70B = {
    "id": "titan-tps", "source": "torchtitan", "source_date": "2025-06", "model": "meta-llama/Llama-3.1-70B",
    "seq_len": "8192", "gpu": "h100-sxm-96gb-hbm2e-500w", "num_gpus": "256", "micro_batch_size": "16",
    "global_batch_size": "512", "tp": "8", "pp": "1", "vpp": "1", "dp": "32", "cp": "1", "ep": "1",
    "sharding": "fsdp-full", "precision": "fp8", "activation_recompute": "full",
    "framework": "torchtitan (FSDP2, PyTorch nightly)", "metric": "tokens_per_s_per_gpu", "value": "942.4",
    "notes": "float8 tensorwise, async TP; 400Gb/s per GPU; torch.compile",
}  # fmt: skip


def row(base=LLAMA_70B, **changes):
    return dict.fromkeys(COLUMNS, "") | base | {name: str(value) for name, value in changes.items()}


def gpt(layers, hidden, heads, **changes):
    """A GPT of Megatron-LM: plain MLP of 4 h, 51,200 tokens, tied embeddings."""
    architecture = {
        "source": "megatron", "source_date": "2021-04", "model": f"GPT {layers} x {hidden}", "num_layers": layers,
        "hidden_size": hidden, "num_heads": heads, "num_kv_heads": heads, "ffn_size": 4 * hidden, "vocab_size": 51_200,
        "gated_mlp": 0, "tied_embeddings": 1, "seq_len": 2048, "gpu": "a100-sxm-80gb", "cp": 1, "ep": 1,
        "sharding": "none", "precision": "fp16", "activation_recompute": "full", "framework": "Megatron-LM",
    }  # fmt: skip
    return row({}, **architecture | changes)


def test_a_training_table_is_known_by_its_columns():
    assert kind(set(COLUMNS)) == "training"


def test_columns_and_notes_become_a_setting():
    found = run_of(row()).setting
    assert (found.tp, found.dp, found.sharding, found.precision) == (8, 32, "fsdp-full", "fp8")
    assert found.asynchronous_tp and found.compiled and not found.rowwise
    assert found.links.network_bytes_per_second == pytest.approx(0.9 * 50e9)
    assert run_of(row()).assumed == ()


@pytest.mark.parametrize(
    ("notes", "field", "expected"),
    [
        ("float8 rowwise, vanilla TP; torch.compile", "rowwise", True),
        ("float8 rowwise, vanilla TP; torch.compile", "asynchronous_tp", False),
        ("FSDP; no torch.compile", "compiled", False),
        ("AC selective layer = every 2nd layer", "recomputed", (0.5, 0.5)),
        ("recompute_modules=moe+layernorm+core_attn+moe_act", "recomputed", (0.5, 1.0)),
        ("recompute_modules=mla_up_proj", "recomputed", (0.0, 0.0)),
        ("method=QLoRA; batch 2", "method", "qlora"),
        ("recipe: FSDP with CPU offload, AdamW fused", "offload", "all"),
        ("PagedAdamW8bit; activation checkpointing on", "offload", "paged"),
    ],
)
def test_what_notes_say(notes, field, expected):
    assert getattr(run_of(row(notes=notes)).setting, field) == expected


@pytest.mark.parametrize(
    ("framework", "date", "expected"),
    [
        ("Megatron-Bridge (Megatron-Core)", "2026-06", "megatron"),
        ("Megatron-LM", "2021-04", "megatron-2021"),
        ("Megatron-LM", "2022-05", "megatron-2022"),
        ("Meta internal (FSDP+TP+CP+PP)", "2024-11", "llama-3"),
        ("Megatron-DeepSpeed", "2022-02", "megatron-deepspeed"),
        ("llm-foundry (Composer FSDP)", "2023-10", "llm-foundry"),
        ("MaxText (JAX)", "2025-06", "maxtext"),
        ("something new", "2025-06", "torchtitan"),
    ],
)
def test_frameworks_and_their_eras(framework, date, expected):
    assert stack_of(row(framework=framework, source_date=date)).name == expected


def test_what_is_left_open_is_assumed_and_said():
    found = run_of(row(micro_batch_size="", global_batch_size=256, num_gpus=512, pp=8, dp=8, vpp=""))
    assert (found.setting.micro_batch_size, found.setting.vpp) == (4, 1)  # torchtitan: as many micro-batches as stages
    assert found.assumed == ("1 model chunks per pipeline stage", "micro-batches of 4")


def test_layers_follow_from_the_parameters():
    found = run_of(gpt("", 14_336, 64, n_params=181_180_116_992, vocab_size=250_880, num_gpus=384, tp=8, pp=12,
                       micro_batch_size=1, global_batch_size=2048))  # fmt: skip
    assert found.setting.model.num_layers == 72
    assert "72 layers from the number of parameters" in found.assumed


def test_an_open_layout_is_the_fastest_that_fits():
    nemo = {"framework": "NeMo", "gpu": "h100-sxm", "sharding": "zero1", "micro_batch_size": "", "tp": "", "pp": "",
            "vpp": "", "dp": "", "seq_len": 4096, "global_batch_size": 128}  # fmt: skip
    small = run_of(row(**nemo, model="meta-llama/Llama-2-7b-hf", num_gpus=8)).setting
    large = run_of(row(**nemo, model="meta-llama/Llama-2-70b-hf", num_gpus=64)).setting
    assert (small.tp, small.pp, small.dp) == (1, 1, 8)
    assert large.tp * large.pp >= 8
    assert large.tp * large.pp * large.dp == 64


@pytest.mark.parametrize(
    ("notes", "metric", "name", "hardware"),
    [
        (
            "flops_def=model:6N+12*L*d*s per token (full, non-causal attention; N=all params)",
            "mfu",
            "all_params",
            False,
        ),
        ("flops_def=hardware:96*B*s*l*h^2*(1+s/6h+V/16lh)", "tflops_per_gpu", "palm", True),
        ("flops_def=model: flop_utils (causal attention counted at HALF)", "tflops_per_gpu", "causal", False),
        ("flops_def=model per Korthikanti: FULL attention; causal not halved", "tflops_per_gpu", "palm", False),
        ("flops_def=hardware: 8*N*tokens (approximate)", "tflops_per_gpu", "params", True),
    ],
)
def test_conventions_are_read_from_the_notes(notes, metric, name, hardware):
    convention, counts = convention_of(row(notes=notes, metric=metric))
    assert (convention.name, counts) == (name, hardware)


@pytest.mark.parametrize("metric", ["tokens_per_s_per_gpu", "step_time_s", "tflops_per_gpu", "mfu", "hfu"])
def test_a_metric_and_its_step_time_are_two_ways_to_say_the_same(metric):
    run = run_of(row(metric=metric))
    assert step_seconds(metric, speed(metric, 17.0, run), run) == pytest.approx(17.0)


def test_a_prediction_has_a_range_and_says_what_was_assumed():
    [found] = predict("training", row(micro_batch_size=""))
    assert found.low < found.predicted < found.high
    assert found.reason == "micro-batches of 4"
    [unknown] = predict("training", row(model="no such model"))
    assert not unknown.supported
    assert "is not known" in unknown.reason


def test_a_batch_smaller_than_its_micro_batches_is_refused():
    with pytest.raises(InvalidInput, match="fewer than one micro-batch"):
        run_of(row(global_batch_size=8))


# --- published tables -------------------------------------------------------------------------------------------


def predicted(one):
    [found] = predict("training", one)
    return found.predicted


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "tp", "pp", "gpus", "batch", "tflops"),
    [
        (24, 2304, 24, 1, 1, 32, 512, 137),
        (30, 3072, 32, 2, 1, 64, 512, 138),
        (36, 4096, 32, 4, 1, 128, 512, 142),
        (40, 6144, 48, 8, 1, 256, 1024, 135),
        (48, 8192, 64, 8, 2, 512, 1536, 138),
        (60, 10_240, 80, 8, 4, 1024, 1792, 140),
        (80, 12_288, 96, 8, 8, 1536, 2304, 148),
        (96, 16_384, 128, 8, 16, 1920, 2160, 155),
        (105, 20_480, 128, 8, 35, 2520, 2520, 163),
        (128, 25_600, 160, 8, 64, 3072, 3072, 163),
    ],
)
def test_narayanan_2021_table_1(layers, hidden, heads, tp, pp, gpus, batch, tflops):
    """TFLOPS per A100 of GPTs from 1.7 B to 1 T parameters, recomputation counted: arXiv:2104.04473, table 1.

    The fit has seen seven of the ten, not those of 3.6, 39 and 76 B."""
    one = gpt(layers, hidden, heads, tp=tp, pp=pp, num_gpus=gpus, global_batch_size=batch, metric="tflops_per_gpu",
              value=tflops, notes="flops_def=hardware:96*B*s*l*h^2*(1+s/6h+V/16lh)")  # fmt: skip
    assert predicted(one) == pytest.approx(tflops, rel=0.06)


@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "pp", "vpp", "micro_batch", "batch", "recompute", "seconds"),
    [
        (48, 6144, 64, 1, 1, 4, 4, "full", 1.42),
        (48, 6144, 64, 1, 1, 4, 4, "selective", 1.10),
        (96, 12_288, 96, 8, 3, 1, 64, "full", 18.13),
        (96, 12_288, 96, 8, 3, 1, 64, "selective", 13.75),
        (105, 20_480, 128, 35, 3, 1, 280, "full", 49.05),
        (105, 20_480, 128, 35, 3, 1, 280, "selective", 37.83),
        (128, 25_600, 160, 64, 1, 1, 512, "full", 94.42),
        (128, 25_600, 160, 64, 1, 1, 512, "selective", 71.49),
    ],
)
def test_korthikanti_2022_table_5(layers, hidden, heads, pp, vpp, micro_batch, batch, recompute, seconds):
    """Seconds per iteration with full recomputation, and selective with sequence parallelism: arXiv:2205.05198,
    table 5. The fit has seen the two larger of its four models."""
    one = gpt(layers, hidden, heads, tp=8, pp=pp, vpp=vpp, num_gpus=8 * pp, global_batch_size=batch,
              micro_batch_size=micro_batch, activation_recompute=recompute,
              sequence_parallel=int(recompute == "selective"), source_date="2022-05", metric="step_time_s",
              value=seconds)  # fmt: skip
    assert predicted(one) == pytest.approx(seconds, rel=0.06)


@pytest.mark.parametrize(
    ("gpus", "cp", "dp", "seq_len", "batch", "tflops"),
    [(8192, 1, 64, 8192, 2048, 430), (16_384, 1, 128, 8192, 2048, 400), (16_384, 16, 8, 131_072, 128, 380)],
)
def test_llama_3_table_4(gpus, cp, dp, seq_len, batch, tflops):
    """BF16 TFLOPS per H100 of Llama 3.1 405B: arXiv:2407.21783, table 4. The fit has seen all three rows."""
    one = row(model="meta-llama/Llama-3.1-405B", gpu="h100-sxm", num_gpus=gpus, cp=cp, dp=dp, tp=8, pp=16, vpp="",
              micro_batch_size="", global_batch_size=batch, seq_len=seq_len, sharding="fsdp-grad-op",
              precision="bf16", activation_recompute="none", source_date="2024-11", metric="tflops_per_gpu",
              value=tflops, framework="Meta internal (FSDP+TP+CP+PP)", notes="flops_def=model, PaLM-style")  # fmt: skip
    assert predicted(one) == pytest.approx(tflops, rel=0.06)


def test_every_deviation_belongs_to_a_level_that_may_move_it():
    priors = training_catalog.priors()
    with training_catalog.EFFICIENCY.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            assert line["level"] in priors[line["coefficient"]].spread
            assert int(line["runs"]) > 0
