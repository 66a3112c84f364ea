"""Memory rows of training tables: what notes say, published peaks, and the fit of what lies beside the tensors."""

from __future__ import annotations

import numpy as np
import pytest

from app import training_catalog
from app.calibration.training_memory import SPREADS, Problem, compile_rows
from app.measurements.predictors import predict
from app.measurements.training_memory import memory_run
from tests.test_training_measurements import LLAMA_70B, row

TITAN = LLAMA_70B | {
    "id": "titan-mem", "metric": "peak_memory_gb", "source_date": "2024-12", "model": "meta-llama/Llama-3.1-8B",
    "num_gpus": "8", "dp": "8", "tp": "1", "micro_batch_size": "2", "global_batch_size": "16", "precision": "bf16",
    "activation_recompute": "selective",
}  # fmt: skip
LITGPT = {
    "id": "lit", "source": "litgpt", "source_date": "2024-07", "metric": "peak_memory_gb", "gpu": "a10g",
    "model": "meta-llama/Meta-Llama-3-8B", "num_gpus": "1", "dp": "1", "tp": "1", "pp": "1", "cp": "1", "ep": "1",
    "micro_batch_size": "1", "global_batch_size": "8", "seq_len": "512", "sharding": "none", "precision": "bf16",
    "activation_recompute": "none", "framework": "litgpt",
}  # fmt: skip
LORA = "'lora_query': True, 'lora_key': False, 'lora_value': True, 'lora_projection': False, 'lora_mlp': False"
LITGPT_LORA = f"unit=GB (torch.cuda.max_memory_allocated/1e9 in litgpt); method=lora; lora {{'lora_r': 32, {LORA}}}"
LITGPT_QLORA = LITGPT_LORA.replace("method=lora", "method=qlora; quantize=bnb.nf4")
BLOOM = {
    "id": "bloom", "source": "bigscience", "source_date": "2022-03", "metric": "peak_memory_gb", "model": "BLOOM test",
    "num_layers": "70", "hidden_size": "14336", "num_heads": "112", "num_kv_heads": "112", "ffn_size": "57344",
    "vocab_size": "250880", "gated_mlp": "0", "tied_embeddings": "1", "seq_len": "2048", "gpu": "a100-sxm-80gb",
    "num_gpus": "384", "micro_batch_size": "2", "global_batch_size": "2048", "tp": "4", "pp": "12", "vpp": "1",
    "dp": "8", "cp": "1", "ep": "1", "sharding": "zero1", "precision": "bf16", "activation_recompute": "full",
    "framework": "Megatron-DeepSpeed", "notes": "unit=GB rounded, nvidia-smi (device-level)",
}  # fmt: skip

#: Row, what it measured, how near the prediction must be.
PUBLISHED = [
    pytest.param(TITAN | {"notes": "unit=GiB; peak reserved; no torch.compile"}, 82.4, 0.05, id="torchtitan 2024-12"),
    pytest.param(TITAN | {"notes": "unit=GiB; peak reserved; torch.compile"}, 77.0, 0.05, id="torchtitan compiled"),
    pytest.param(LITGPT | {"notes": LITGPT_LORA}, 19.73, 0.05, id="litgpt resource tables, Llama 3 8B LoRA"),
    pytest.param(LITGPT | {"notes": LITGPT_QLORA, "micro_batch_size": 2}, 17.41, 0.08, id="litgpt, QLoRA"),
    pytest.param(BLOOM, 59.0, 0.12, id="bigscience chronicles-prequel, 176B tp 4 pp 12"),
]


@pytest.mark.parametrize(("base", "measured", "tolerance"), PUBLISHED)
def test_published_peaks(base, measured, tolerance):
    (found,) = predict("training", row(base, value=measured))
    assert found.predicted == pytest.approx(measured, rel=tolerance)
    assert found.low <= found.predicted <= found.high


@pytest.mark.parametrize(
    ("base", "quantity", "gigabyte"),
    [
        (TITAN | {"notes": "unit=GiB; peak reserved by the CUDA caching allocator"}, "reserved", 1024**3),
        (LITGPT | {"notes": LITGPT_LORA}, "allocated", 1e9),
        (BLOOM, "process", 1e9),
    ],
)
def test_rows_are_predicted_in_what_they_print(base, quantity, gigabyte):
    run = memory_run(row(base, value=1))
    assert (run.quantity, run.unit) == (quantity, gigabyte)


def test_adapters_are_read_from_the_configuration():
    adapter = memory_run(row(LITGPT | {"notes": LITGPT_LORA}, value=1)).setting.adapter
    assert adapter is not None
    assert (adapter.rank, adapter.targets, adapter.head) == (32, "qv", False)
    wide = LITGPT_LORA.replace("'lora_mlp': False", "'lora_mlp': True")
    assert memory_run(row(LITGPT | {"notes": wide}, value=1)).setting.adapter.targets == "all"


@pytest.mark.parametrize(
    ("notes", "optimizer"),
    [("AdamW", "adamw"), ("PagedAdamW8bit, fused in backward", "paged-adamw-8bit"), ("Adafactor", "adafactor")],
)
def test_optimizers_are_read_from_notes(notes, optimizer):
    assert memory_run(row(TITAN | {"notes": notes}, value=1)).memory.optimizer.name == optimizer


def test_an_unknown_framework_says_what_it_is_taken_for():
    (found,) = predict("training", row(TITAN | {"framework": "Frobnicator", "notes": ""}, value=50))
    assert "framework taken as torchtitan" in found.reason


def test_a_fit_to_what_was_predicted_moves_nothing():
    rows = [row(TITAN | {"id": f"made-{n}", "micro_batch_size": n, "global_batch_size": 8 * n,
                         "notes": "unit=GiB; torch.compile"}, value=1) for n in (1, 2, 4)]  # fmt: skip
    expected = training_catalog.expected_recipes()["torchtitan"]
    peaks = compile_rows(rows)
    exact = [
        peak.__class__(
            identifier=peak.identifier,
            source=peak.source,
            run=peak.run,
            bytes=float(np.exp(Problem(peaks).predicted(np.zeros(len(SPREADS)))[place])),
        )
        for place, peak in enumerate(peaks)
    ]
    assert peaks[0].run.memory.recipe.name == expected.name
    found, _ = Problem(exact).fit()
    assert found == pytest.approx(np.zeros(len(SPREADS)), abs=1e-6)
