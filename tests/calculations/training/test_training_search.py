"""The search for a layout: it keeps what was given, ranks by speed, says why others lose and what would fit."""

from __future__ import annotations

from contextlib import suppress

import pytest

from app.calculations.errors import InvalidInput
from app.calculations.training.remedies import gpu_numbers, remedies
from app.calculations.training.report import results
from app.calculations.training.search import Candidate, Found, reason, search
from app.calculations.training.space import DEGREES, TOKENS_THAT_PAY, chunk_choices, context_choices, expert_choices
from app.runs import train_run
from app.training_scenarios import question


def asked(**raw):
    return question({name: str(value) for name, value in raw.items()})[0]


@pytest.fixture(scope="module")
def llama_70b():
    return asked(model="meta-llama/Llama-3.1-70B", num_gpus=64, global_batch_size=128).candidates()


def test_those_that_fit_come_first_by_speed(llama_70b):
    fitting = [one for one in llama_70b if one.fits]
    assert llama_70b[: len(fitting)] == fitting
    speeds = [one.tokens_per_second for one in fitting]
    assert speeds == sorted(speeds, reverse=True)
    excess = [one.excess_bytes for one in llama_70b if not one.fits]
    assert excess == sorted(excess)


def test_every_layout_uses_all_gpus(llama_70b):
    for one in llama_70b:
        s = one.scenario.setting
        assert s.tp * s.pp * s.cp * s.dp == 64
        assert s.global_batch_size % (s.micro_batch_size * s.dp) == 0
        assert s.tp <= s.gpu.domain_gpus


def test_reasons(llama_70b):
    best, *others = llama_70b
    assert reason(best, best) == "the fastest that fits"
    slowest = [one for one in others if one.fits][-1]
    assert "slower, most of it" in reason(slowest, best)
    assert reason(others[-1], best).endswith("more than the GPU has")


@pytest.mark.parametrize(
    "given",
    [
        {"tp": 4}, {"pp": 2}, {"sharding": "fsdp-full"}, {"activation_recompute": "full"}, {"micro_batch_size": 2},
        {"framework": "torchtitan"}, {"tp": 2, "pp": 2}, {"cp": 2}, {"dp": 4},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_given_is_kept(given):
    for one in asked(num_gpus=16, **given).candidates():
        assert {name: one.layout[name] for name in given} == given


def test_a_smaller_gpu_count_that_does_not_fit_says_what_would():
    question_ = asked(gpu="a100-sxm-80gb", num_gpus=8, tp=1, pp=1, cp=1, sharding="zero1", framework="megatron",
                      activation_recompute="none", micro_batch_size=1)  # fmt: skip
    best = question_.candidates()[0]
    assert not best.fits
    found = remedies(best, question_.make, question_.space)
    assert found
    for _, tried in found:
        assert tried.fits


def named_remedies(**raw):
    one = asked(**raw)
    best = one.candidates()[0]
    assert not best.fits
    return dict(remedies(best, one.make, one.space))


def test_more_gpus_make_it_fit_where_the_sharding_follows():
    """One GPU has nothing to shard over; the frozen 4-bit weights of 70 B parameters are 35 GB, and a card has 24."""
    raw = {"model": "meta-llama/Llama-3.1-70B", "gpu": "rtx-4090", "method": "qlora", "seq_len": 512}
    assert list(named_remedies(**raw, num_gpus=1)) == ["3 GPUs with fsdp-full sharding"]
    assert not asked(**raw, num_gpus=2).candidates()[0].fits
    best = asked(**raw, num_gpus=3).candidates()[0]
    assert best.fits
    assert best.layout["sharding"] == "fsdp-full"


def test_remedies_are_what_the_framework_can_do():
    """torchtune cuts neither matrices nor layers."""
    found = named_remedies(
        model="meta-llama/Llama-3.1-70B", gpu="rtx-4090", method="qlora", seq_len=8192, num_gpus=4
    )  # fmt: skip
    assert found
    assert not [label for label in found if "parallel" in label]
    for one in found.values():
        assert one.layout["tp"] == one.layout["pp"] == one.layout["cp"] == 1


def test_megatron_does_not_shard_weights_but_torchtitan_would():
    found = named_remedies(gpu="a100-sxm-40gb", num_gpus=8, tp=1, pp=1, sharding="zero1", seq_len=2048)
    assert "full sharding (FSDP)" not in found
    assert found["full sharding (FSDP) with torchtitan"].layout["framework"] == "torchtitan"


def test_a_global_batch_that_was_given_grows_only_where_no_layout_keeps_it():
    raw = {"gpu": "rtx-4090", "tp": 1, "pp": 1, "cp": 1, "seq_len": 4096, "global_batch_size": 8, "num_gpus": 8,
           "sharding": "fsdp-full"}  # fmt: skip
    assert "24 GPUs and a global batch of 24" in named_remedies(**raw)
    assert not asked(**raw | {"num_gpus": 16, "global_batch_size": 16}).candidates()[0].fits
    assert asked(**raw | {"num_gpus": 24, "global_batch_size": 24}).candidates()[0].fits


@pytest.mark.parametrize("num_gpus", [1, 4, 8, 12, 100])
def test_gpus_are_tried_one_by_one_in_a_node_and_then_by_nodes(num_gpus):
    found = list(gpu_numbers(num_gpus, 8))
    assert found == sorted(set(found))
    assert found[0] > num_gpus
    assert {n for n in found if n > 8 and n % 8} == set()
    assert set(range(num_gpus + 1, 9)) <= set(found)
    assert found[-1] >= 32 * num_gpus


def test_where_nothing_helps_the_verdict_says_so():
    raw = {"gpu": "t4", "num_gpus": 1, "precision": "fp16", "seq_len": 100_000_000, "method": "qlora"}
    found = train_run(raw, source="cli").results
    assert found["remedies"] == []
    assert "No single change would make it fit, and no number of GPUs up to 64 times as many." in found["verdict"]


def test_experts_are_dealt_over_what_divides_them():
    model = asked(model="mistralai/Mixtral-8x7B-v0.1").model
    assert expert_choices(model, 8) == [1, 2, 4, 8]
    assert expert_choices(model, 6) == [1, 2]
    assert expert_choices(asked().model, 8) == [1]


def test_chunks_divide_the_layers_of_a_stage():
    assert chunk_choices(32, 1) == [1]
    assert chunk_choices(32, 4) == [1, 8]
    assert chunk_choices(30, 4) == [1]
    assert chunk_choices(96, 8) == [1, 6]


BAD = [
    ({"tp": 3}, "tp", "try 1 or 2 or 4"),
    ({"tp": 2, "pp": 2, "dp": 4}, "num_gpus", "try dp 2"),
    ({"num_gpus": 12, "tp": 8, "pp": 1, "dp": 1}, "num_gpus", "try 8 GPUs"),
    ({"tp": 1, "pp": 1, "micro_batch_size": 3, "global_batch_size": 100}, "global_batch_size", "try 96 or 120"),
    ({"pp": 40, "num_gpus": 40}, "pp", "more than the 32 layers"),
    ({"vpp": 2, "tp": 8, "pp": 1}, "vpp", "pp is 1"),
    ({"vpp": 16, "tp": 1, "pp": 4}, "vpp", "try 8"),
    ({"vpp": 18, "tp": 4, "pp": 2}, "vpp", "try 17"),
    ({"vpp": 2, "pp": 4, "tp": 2, "micro_batch_size": 1, "global_batch_size": 6}, "vpp", "multiples of the 4 stages"),
    ({"ep": 2}, "ep", "has no experts"),
    ({"model": "mistralai/Mixtral-8x7B-v0.1", "ep": 3, "num_gpus": 6}, "ep", "must divide the 8 experts"),
    ({"cp": 3, "num_gpus": 3}, "cp", "does not divide a sequence"),
    ({"gpu": "a100-sxm-80gb", "precision": "fp8"}, "precision", "try bf16"),
    ({"gpu": "v100-sxm-32gb", "precision": "bf16"}, "precision", "try fp16"),
    ({"method": "lora", "lora_rank": 0}, "lora_rank", "out of range"),
    ({"method": "lora", "lora_rank": 5000}, "lora_rank", "try 8 to 128"),
    ({"lora_rank": 8}, "lora_rank", "the method is full"),
    ({"recompute_layers": 4, "activation_recompute": "none"}, "recompute_layers", "counts only with full recompute"),
    ({"optimizer": "adam"}, "optimizer", "Did you mean adamw"),
    ({"framework": "megatronn"}, "framework", "Did you mean megatron"),
    ({"epochs": 3}, "dataset_tokens", "epochs need its tokens"),
    ({"epochs": 3, "dataset_tokens": 1e9, "tokens": 1e9}, "tokens", "either tokens or epochs"),
    ({"dataset_tokens": 5e9, "tokens": 1e9}, "tokens", "either tokens or epochs of a data set, and dataset_tokens is"),
    ({"hsdp_gpus": 3}, "hsdp_gpus", "counts only with hsdp sharding, and it is auto"),
    ({"hsdp_gpus": 4, "sharding": "zero1"}, "hsdp_gpus", "counts only with hsdp sharding, and it is zero1"),
    ({"document_tokens": 9000}, "document_tokens", "do not fit into a sequence of 8192"),
    ({"sharding": "hsdp", "hsdp_gpus": 3, "tp": 1, "pp": 1}, "hsdp_gpus", "does not divide"),
    ({"micro_batch": 1}, "micro_batch", "Did you mean micro_batch_size"),
]


def test_embedding_and_head_may_be_chunks_of_their_own():
    """32 layers and the two ends are 17 chunks on each of two stages (Llama 3, section 3.3.2)."""
    assert asked(vpp=17, tp=4, pp=2).candidates()


@pytest.mark.parametrize(("raw", "field", "message"), BAD, ids=[f"{field}-{n}" for n, (_, field, _) in enumerate(BAD)])
def test_bad_input_names_the_field_and_the_nearest_legal_choice(raw, field, message):
    with pytest.raises(InvalidInput) as found:
        asked(**raw).candidates()
    assert found.value.field == field
    assert message in found.value.message


def suggested(error):
    """The changes that a refusal names: "try 2 or 4, or 16 GPUs" -> one dict each."""
    found = []
    for part in error.message.partition("; try ")[2].rstrip(".").split(", or "):
        name, _, rest = part.partition(" ")
        number = part.removesuffix(" GPUs")
        names = {"num_gpus"} if part.endswith(" GPUs") else {error.field}
        if name in DEGREES:
            names, number = {name}, rest
        found += [{one: number_.replace(",", "")} for one in names for number_ in number.split(" or ")]
    return found


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        ({"dp": 4, "micro_batch_size": 2, "global_batch_size": 12}, "global_batch_size", "no multiple of 8"),
        ({"global_batch_size": 13, "dp": 8}, "global_batch_size", "try 8 or 16"),
        ({"cp": 3}, "cp", "try 1 or 2 or 4"),
        ({"cp": 3, "seq_len": 6144}, "cp", "does not divide 8 GPUs; try 1 or 2 or 4, or 6 or 9 GPUs"),
        ({"pp": 5}, "pp", "does not divide 8 GPUs; try 2 or 4 or 8, or 5 or 10 GPUs"),
        ({"tp": 16}, "tp", "does not divide 8 GPUs; try 2 or 4 or 8, or 16 GPUs"),
        ({"dp": 3}, "dp", "does not divide 8 GPUs"),
        ({"dp": 4, "method": "lora"}, "dp", "leaves GPUs that nothing else can use; try 8, or 4 GPUs"),
        ({"tp": 2, "dp": 3}, "num_gpus", "cannot be dealt out as tp 2 x dp 3; try dp 2, or 6 or 12 GPUs"),
        ({"tp": 2, "pp": 2, "cp": 2, "dp": 4}, "num_gpus", "not tp 2 x pp 2 x cp 2 x dp 4 = 32; try dp 1, or 32 GPUs"),
        ({"tp": 3, "pp": 3}, "tp", "does not divide the 32 attention heads"),
        (
            {"pp": 40, "num_gpus": 40},
            "pp",
            "more than the 32 layers of meta-llama/Meta-Llama-3.1-8B; try 8 or 10 or 20",
        ),
        (
            {"sharding": "hsdp", "hsdp_gpus": 3},
            "hsdp_gpus",
            "does not divide the 8 data-parallel GPUs; try 1 or 2 or 4",
        ),
        ({"vpp": 16, "tp": 1, "pp": 4}, "vpp", "try 8"),
        ({"seq_len": 100_000_000, "cp": 3}, "cp", "does not divide a sequence"),
    ],
    ids=str,
)
def test_a_refusal_blames_what_was_given_and_its_suggestions_are_accepted(raw, field, message):
    with pytest.raises(InvalidInput) as found:
        asked(**raw).candidates()
    assert found.value.field == field
    assert message in found.value.message
    others = {"pp": "1"} if raw == {"tp": 3, "pp": 3} else {}  # Two faults, told one after the other.
    changes = suggested(found.value)
    assert changes
    for change in changes:
        assert asked(**raw | others | change).candidates()


# --- context parallelism ----------------------------------------------------------------------------------------


def test_long_sequences_are_cut_where_it_pays():
    raw = {"model": "meta-llama/Llama-3.1-8B", "num_gpus": 64, "seq_len": 131_072}
    best = asked(**raw).candidates()[0]
    given = [asked(**raw, cp=cp).candidates()[0] for cp in (1, 2, 4, 8, 16)]
    assert best.tokens_per_second == max(one.tokens_per_second for one in given if one.fits)
    assert best.layout["cp"] == 8
    assert best.tokens_per_second > 1.2 * given[0].tokens_per_second


def test_a_model_that_fits_only_with_cut_sequences_fits():
    raw = {"model": "meta-llama/Llama-3.1-405B", "num_gpus": 1024, "seq_len": 131_072, "global_batch_size": 128}
    assert not asked(**raw, cp=1).candidates()[0].fits
    assert asked(**raw).candidates()[0].fits


def test_short_sequences_are_not_cut_where_something_fits():
    assert {one.layout["cp"] for one in asked(seq_len=8192).candidates()} == {1}
    assert context_choices(8192, 64, TOKENS_THAT_PAY) == [1]
    assert context_choices(32_768, 64, TOKENS_THAT_PAY) == [1, 2, 4]
    assert context_choices(32_768, 2, TOKENS_THAT_PAY) == [1, 2]
    assert context_choices(3 * 8192, 64, TOKENS_THAT_PAY) == [1, 2]
    assert context_choices(100_000_000, 1024, TOKENS_THAT_PAY)[-1] == 64


def test_memory_asks_for_short_parts_of_sequences():
    """70 B in BF16 with FP32 states on 32 GPUs of 80 GB, fully sharded: 1.4 GiB are missing with whole sequences."""
    raw = {"model": "meta-llama/Llama-3.1-70B", "num_gpus": 32, "tp": 1, "framework": "torchtitan"}
    assert not asked(**raw, cp=1).candidates()[0].fits
    best = asked(**raw).candidates()[0]
    assert best.fits
    assert best.layout["cp"] in (2, 4)


def test_a_batch_of_one_sequence_leaves_only_its_parts_to_gpus():
    best = asked(tp=2, framework="torchtitan", global_batch_size=1).candidates()[0]
    assert (best.layout["cp"], best.layout["dp"]) == (4, 1)


def test_torchtune_does_not_cut_sequences():
    found = asked(method="lora", seq_len=65_536).candidates()
    assert {one.layout["cp"] for one in found} == {1}


def test_an_empty_degree_is_searched_and_what_was_logged_with_one_is_kept():
    assert asked(cp="", seq_len=65_536).candidates()[0].layout["cp"] > 1
    assert {one.layout["cp"] for one in asked(cp=1, seq_len=65_536).candidates()} == {1}


# --- large searches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        {"num_gpus": 64, "global_batch_size": 128, "model": "meta-llama/Llama-3.1-70B"},
        {"num_gpus": 16, "seq_len": 32_768, "global_batch_size": 8},
        {"num_gpus": 32, "model": "mistralai/Mixtral-8x7B-v0.1", "tp": 2},
    ],
    ids=["dense", "long", "experts"],
)
def test_what_is_skipped_is_no_better(raw):
    one = asked(**raw)
    every = []
    for choice in one.combinations():
        with suppress(InvalidInput):
            every.append(Candidate(one.make(choice)))
    found = one.candidates()
    assert len(found) < len(every)
    assert found[0].layout == Found(every, tried=0, possible=0)[0].layout


def test_of_too_many_combinations_the_promising_ones_are_tried_and_the_answer_says_so():
    one = asked(num_gpus=64, model="mistralai/Mixtral-8x7B-v0.1")
    every = one.candidates()
    few = search(one.make, one.combinations(), most=300)
    assert every.tried == every.possible == few.possible > 300
    assert few.tried == 300
    assert few[0].layout == every[0].layout
    found = results(few, one.make, one.space)
    assert (found["layouts_tried"], found["layouts_possible"]) == (300, every.possible)
    assert any(f"300 of {every.possible:,} possible layouts were tried" in text for text in found["warnings"])
    assert not any("possible layouts were tried" in text for text in results(every, one.make, one.space)["warnings"])


def test_all_layouts_of_deepseek_v3_on_5040_gpus_are_tried():
    """Beyond the first 3,000 is the best one, with 21 stages."""
    found = asked(model="deepseek-ai/DeepSeek-V3", num_gpus=5040).candidates()
    assert found.tried == found.possible == 3520
    assert found[0].layout["pp"] == 21
