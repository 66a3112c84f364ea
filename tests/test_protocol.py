"""How a measurement was made is read off its table's words: the engine's era, arrivals, what was assumed."""

import pytest

from app import catalog
from app.calculations.goodput import Limits
from app.calculations.speculation import Speculation
from app.measurements.benchmarks import benchmarks, release
from app.measurements.protocol import WAVES, engine_of, protocol
from app.measurements.serving import predict_serving

ROW = {
    "source": "s", "source_date": "2025-12", "engine": "vllm", "engine_version": "0.11.0", "input_tokens": "1024",
    "output_tokens": "1024", "concurrency": "16", "notes": "",
}  # fmt: skip


def read(notes="", **changes):
    return protocol(ROW | {"notes": notes} | changes)


@pytest.mark.parametrize(
    ("text", "found"),
    [("0.6.3.post2", (0, 6)), ("v1.2.0rc1", (1, 2)), ("vllm 0.11", (0, 11)), ("main", None), ("", None)],
)
def test_a_release_is_major_and_minor(text, found):
    assert release(text) == found


@pytest.mark.parametrize(
    ("name", "version", "era"),
    [
        ("vllm", "0.2.1", "vllm-v0"),
        ("vllm", "0.7.3", "vllm-v0"),
        ("vllm", "0.8.0", "vllm-v1"),
        ("vllm", "v0.10.2", "vllm-v1"),
        ("vllm", "vllm 0.11.0", "vllm-0.11"),
        ("vllm", "0.12.0", "vllm-0.11"),
        ("vllm", "0.14.1", "vllm"),
        ("vllm", "1.0", "vllm"),
        ("trtllm", "0.9.0", "trtllm-static"),
        ("trtllm", "0.10", "trtllm-0"),
        ("tensorrt-llm", "0.21.0", "trtllm-0"),
        ("trtllm", "1.1.0rc2", "trtllm"),
    ],
)
def test_a_version_decides_the_era_whatever_the_date(name, version, era):
    engine, assumed = engine_of(name, version, "2020-01")
    assert engine.name == era and not assumed


@pytest.mark.parametrize(
    ("date", "era"),
    [
        ("2022-01", "vllm-v0"),
        ("2025-01", "vllm-v0"),
        ("2025-02", "vllm-v1"),
        ("2025-10", "vllm-0.11"),
        ("2026-01", "vllm"),
        ("", "vllm"),
    ],
)
def test_without_a_version_the_date_decides_and_says_so(date, era):
    engine, assumed = engine_of("vllm", "", date)
    assert engine.name == era and "version not stated" in assumed and (date or "today") in assumed


def test_a_version_of_other_software_is_none_of_the_engine():
    assert engine_of("vllm", "CUDA 12.4", "2024-05")[0].name == "vllm-v0"


def test_an_engine_of_one_era_needs_no_version():
    assert engine_of("sglang", "", "") == (engine_of("sglang", "0.4", "2025-01")[0], "")


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("hf-transformers", "hf"),
        ("llama.cpp", "llamacpp"),
        ("lmdeploy-turbomind", "lmdeploy"),
        ("autoawq", "autoawq"),
    ],
)
def test_engines_are_found_as_tables_spell_them(spelled, name):
    assert engine_of(spelled, "", "")[0].name == name


def test_an_unknown_engine_is_predicted_as_vllm_and_says_so():
    found = read(engine="lightspeed")
    assert found.stands_in and found.engine.name == "vllm" and "lightspeed is not known" in found.assumed[0]
    assert not read().stands_in


@pytest.mark.parametrize("notes", ["static batch of 16", "one static run", "whole-batch time"])
def test_a_batch_that_starts_and_ends_together_is_static(notes):
    found = read(notes)
    assert (found.arrival, found.concurrency, found.waves) == ("static", 16, None)


@pytest.mark.parametrize("notes", ["all sent at once", "16 prompts submitted at once"])
def test_requests_sent_at_once_are_a_batch_only_where_the_engine_cannot_batch_continuously(notes):
    assert (read(notes).arrival, read(notes).concurrency) == ("burst", 16)
    assert read(notes, engine="hf").arrival == "static"


def test_a_number_of_requests_without_a_limit_arrives_at_once():
    found = read("1,000 ShareGPT prompts", concurrency="")
    assert (found.arrival, found.concurrency, found.length_spread) == ("burst", 1000, 1.0)


QUANTISED = {"source": "inferencex-v2", "weight_precision": "fp8", "gpu": "b200"}


@pytest.mark.parametrize(
    ("model", "changes", "precision"),
    [
        ("meta-llama/Llama-3.1-70B", {}, "fp8"),
        ("meta-llama/Llama-3.1-70B", {"engine": "trtllm", "weight_precision": "fp4", "gpu": "h200-sxm"}, "fp8"),
        ("meta-llama/Llama-3.1-70B", {"weight_precision": ""}, ""),
        ("meta-llama/Llama-3.1-70B", {"input_tokens": "128"}, ""),
        ("meta-llama/Llama-3.1-70B", {"source": "s"}, ""),
        ("meta-llama/Llama-3.1-70B", {"kv_precision": "bf16"}, "bf16"),
        ("deepseek-ai/DeepSeek-R1", {"engine": "sglang"}, "fp8"),
        ("deepseek-ai/DeepSeek-R1", {"engine": "sglang", "gpu": "h200-sxm"}, ""),
        ("deepseek-ai/DeepSeek-R1", {"engine": "trtllm", "gpu": "h200-sxm"}, "fp8"),
        ("moonshotai/Kimi-K2.5", {"weight_precision": "fp4"}, ""),
        ("MiniMaxAI/MiniMax-M2.5", {"engine_version": "0.17.0"}, ""),
        ("MiniMaxAI/MiniMax-M2.5", {"engine_version": "0.19.0"}, "fp8"),
        ("MiniMaxAI/MiniMax-M2.5", {"engine_version": "nightly-5b8c", "source_date": "2026-03"}, ""),
        ("MiniMaxAI/MiniMax-M2.5", {"engine_version": "nightly-5b8c", "source_date": "2026-04"}, "fp8"),
    ],
)
def test_the_cache_of_inferencex_has_the_precision_that_its_launch_script_sets(model, changes, precision):
    found = read(**(QUANTISED | {"model": model} | changes))
    assert found.kv_precision == precision
    assert any("launch scripts" in text for text in found.assumed) == (precision == "fp8")


R1 = QUANTISED | {"model": "deepseek-ai/DeepSeek-R1", "engine": "trtllm", "source_date": "2026-02"}


@pytest.mark.parametrize(
    ("changes", "drafts"),
    [
        ({"engine_version": "1.2.0rc6.post3"}, 3),
        ({"engine_version": "1.2.0rc6.post3", "dp": "8"}, 1),
        ({"engine_version": "1.2.0rc6.post2"}, 0),
        ({"engine_version": "1.1.0rc2.post2", "gpu": "h200-sxm"}, 3),
        ({"engine_version": "1.1.0rc2.post2", "source_date": "2025-12"}, 0),
        ({"engine_version": "1.2.0rc6.post3", "model": "deepseek-ai/DeepSeek-V3"}, 0),
        ({"engine_version": "1.2.0rc6.post3", "source": "s"}, 0),
    ],
)
def test_an_image_that_only_scripts_with_drafts_used_means_drafts(changes, drafts):
    found = read(**(R1 | changes))
    assert (found.draft_tokens, found.acceptance_rate) == ((drafts, 0.7) if drafts else (0, None))
    assert any("drafted" in text for text in found.assumed) == (drafts > 0)


def test_drafts_of_a_row_speed_its_tokens_up():
    row = ROW | R1 | {"id": "x", "num_gpus": "8", "tp": "8", "metric": "tpot_ms", "value": "5"}
    drafted, plain = (
        next(predict_serving(row | {"engine_version": version})) for version in ("1.2.0rc6.post3", "1.2.0rc6.post2")
    )
    fewest = 1 / Speculation(draft_tokens=3, acceptance_rate=0.7).tokens_per_step
    assert fewest < drafted.predicted / plain.predicted < 0.9


def test_the_acceptance_of_drafts_is_that_of_its_source():
    """3.20 tokens a step with 7 drafts: huggingface.co/nebius/MTP-DeepSeek-V3-0324."""
    (rate,) = {option.acceptance_rate for benchmark in benchmarks() for option in benchmark.drafts}
    assert Speculation(draft_tokens=7, acceptance_rate=rate).tokens_per_step == pytest.approx(3.20, rel=0.03)


def test_every_option_of_a_launch_script_names_its_script_and_known_engines_and_gpus():
    families = {engine.family for engine in catalog.engines().values()}
    for benchmark in benchmarks():
        assert benchmark.reference
        for option in (*benchmark.kv_cache, *benchmark.drafts):
            assert ".sh" in option.reference and set(option.engines) <= families
            assert set(option.gpus) <= catalog.gpus().keys()


def test_where_the_limit_of_sequences_is_swept_it_is_the_concurrency():
    assert read("steady-state window; avg_batch_size=15.9").max_sequences == 16


def test_a_fixed_concurrency_is_a_closed_loop_of_some_waves():
    assert (read().arrival, read().concurrency, read().waves) == ("closed", 16, WAVES)
    assert read("160 prompts").waves == 10 and read("8 prompts").waves == 1


def test_a_steady_state_has_no_first_wave():
    assert (read("steady-state mean").arrival, read("steady state").waves) == ("closed", None)


@pytest.mark.parametrize("notes", ["QPS=2.5", "QPS 2.5", "request rate 2.5", "1000 prompts, request rate 2.5/s"])
def test_a_rate_is_an_open_loop(notes):
    found = read(notes, concurrency="")
    assert (found.arrival, found.request_rate, found.concurrency, found.waves) == ("open", 2.5, None, None)


@pytest.mark.parametrize("notes", ["request rate inf", "rate QPS=INF", "all queued at once"])
def test_an_infinite_rate_is_none(notes):
    found = read(notes, concurrency="")
    assert (found.arrival, found.request_rate, found.concurrency) == ("closed", None, None)


def test_limits_that_a_rate_was_sought_within_are_read():
    notes = "Poisson arrivals scheduled 8.62 req/s, limits p99 TTFT 2000 ms TPOT 200 ms, measured p99 TTFT 785.3"
    found = read(notes, concurrency="")
    assert found.request_rate == 8.62
    assert found.limits == Limits(ttft_seconds=2.0, tpot_seconds=0.2, statistic="p99")
    assert read("QPS=2.5", concurrency="").limits is None and read(notes).limits is None


def test_latency_is_predicted_at_the_highest_rate_within_the_limits_and_throughput_at_the_stated_rate():
    """Whatever rate is stated: two rates give one latency and two throughputs."""
    notes = "Poisson arrivals scheduled {} req/s, limits p99 TTFT 2000 ms TPOT 30 ms"
    row = ROW | {
        "id": "x", "model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm", "num_gpus": "1", "tp": "1",
        "concurrency": "", "value": "1",
    }  # fmt: skip
    found = {
        (metric, rate): next(predict_serving(row | {"metric": metric, "notes": notes.format(rate)}))
        for metric in ("tpot_ms", "requests_per_s")
        for rate in (1, 4)
    }
    first, second = (found["tpot_ms", rate] for rate in (1, 4))
    assert first.predicted == second.predicted < 30 and "highest rate within the stated limits" in first.reason
    assert found["requests_per_s", 4].predicted == 4 * found["requests_per_s", 1].predicted


def test_a_stated_concurrency_counts_before_a_rate():
    found = read("request rate 8")
    assert (found.arrival, found.concurrency, found.request_rate) == ("closed", 16, None)


def test_saturated_is_as_many_as_run():
    found = read("request rate 8", concurrency="saturated")
    assert (found.arrival, found.concurrency, found.request_rate) == ("closed", None, None)


@pytest.mark.parametrize(
    ("notes", "spread"), [("random tokens", 0.0), ("ShareGPT", 1.0), ("MLPerf Server", 1.0), ("real dataset", 1.0)]
)
def test_real_requests_spread_and_synthetic_ones_are_equal(notes, spread):
    assert read(notes).length_spread == spread


def test_the_shapes_of_inferencex_vary_by_a_fifth():
    assert read(source="inferencex-v2").length_spread == 0.2
    assert read(source="inferencex-v2", input_tokens="128").length_spread == 0.0


def test_limits_are_read_off_the_notes():
    found = read("max_num_seqs=256, --max-num-batched-tokens 4096")
    assert (found.max_sequences, found.step_tokens) == (256, 4096)
    assert (read().max_sequences, read().step_tokens) == (None, None)


def test_attention_data_parallelism_of_mixtures_is_seen():
    assert read("doc llm_options enable attention DP for MoE models").attention_dp
    assert not read("attention of 8 heads").attention_dp


def test_dummy_weights_and_median_steps_are_seen():
    found = read("median ITL; fake weights")
    assert found.collapsed_routing and found.median_step
    assert not read("mean ITL").median_step and not read("real weights").collapsed_routing
