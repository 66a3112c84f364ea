"""Every key that the API and `--json` show: its type, unit and meaning. The inputs declare their own.

A dot leads into an object, a star stands for any name in it. Types are those of JSON Schema, and
"quantity": {"value", "low", "high"}, each a number or null; "texts": a list of strings. A "?" means: or null.
"""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """What stands under a key."""

    type: str
    unit: str
    meaning: str


RUN_KEYS = {
    "schema": Key("integer", "", "Version of the log's format."),
    "run_id": Key("string", "", "Identifies a run; later runs sort after earlier ones."),
    "time": Key("string", "", "When the run was made, UTC, RFC 3339."),
    "source": Key("string", "", "Where it came from: web, api, cli or desktop."),
    "kind": Key("string", "", "What was asked: estimate, train or plan."),
    "app_version": Key("string", "", "Version of the calculator."),
    "inputs": Key("object", "", "The inputs with their values, defaults included; automatic ones are left out."),
    "results": Key("object", "", "The answer."),
}

#: Only where the log could not be written.
NOT_SAVED_KEYS = {
    "saved": Key("boolean", "", "False where the run could not be logged; left out otherwise."),
    "warning": Key("string", "", "Why it could not be logged."),
}

RESULT_KEYS = {
    "fits": Key("boolean", "", "Whether the most loaded GPU holds everything."),
    "verdict": Key("string", "", "The answer in one sentence."),
    "model": Key("object", "", "The model that was estimated."),
    "model.name": Key("string", "", "Its name."),
    "model.total_params": Key("integer", "parameters", "Unique parameters; tied weights once."),
    "model.active_params": Key("integer", "parameters", "Those that one token runs through."),
    "model.kv_bytes_per_token": Key("integer", "bytes", "KV cache that one token adds, whole model."),
    "model.weight_bytes": Key("integer", "bytes", "One copy of the weights as they are stored."),
    "gpu": Key("object", "", "The accelerator that was estimated."),
    "gpu.slug": Key("string", "", "Its short name."),
    "gpu.name": Key("string", "", "Its full name."),
    "gpu.memory_bytes": Key("integer", "bytes", "Memory that its driver reports."),
    "gpu.memory_bandwidth_bytes_per_s": Key("number", "bytes/s", "Peak of its datasheet."),
    "engine": Key("object", "", "The serving software."),
    "engine.name": Key("string", "", "Its short name."),
    "engine.label": Key("string", "", "Its name as it writes it."),
    "layout": Key("object", "", "How the model is laid out over the GPUs of one instance."),
    "layout.num_gpus": Key("integer", "GPUs", "tp x pp x dp, and those that only prefill."),
    "layout.tp": Key("integer", "GPUs", "Tensor parallel: parts that every matrix is cut into."),
    "layout.pp": Key("integer", "stages", "Pipeline parallel: parts that the stack of layers is cut into."),
    "layout.ep": Key("integer", "GPUs", "Expert parallel: parts that the experts are dealt out to."),
    "layout.dp": Key("integer", "replicas", "Data parallel: copies of the attention part."),
    "layout.automatic": Key("boolean", "", "Whether the calculator chose any of it."),
    "layout.strategy": Key("string", "", "The layout in words."),
    "layout.reason": Key("string", "", "Why this layout."),
    "layout.alternatives": Key("array", "", "Layouts that were weighed and not chosen, best first, up to five."),
    "layout.alternatives.strategy": Key("string", "", "The layout in words."),
    "layout.alternatives.fits": Key("boolean", "", "Whether it fits."),
    "layout.alternatives.total_bytes_per_gpu": Key("integer", "bytes", "Memory of its most loaded GPU."),
    "layout.alternatives.output_tokens_per_s": Key("number?", "tokens/s", "Its throughput; null if it does not fit."),
    "layout.alternatives.tpot_ms": Key("number?", "ms", "Its time per output token; null if it does not fit."),
    "disaggregation": Key("object?", "", "GPUs that only prefill; null where all do both."),
    "disaggregation.prefill_gpus": Key("integer", "GPUs", "How many; the others only decode, and layout is theirs."),
    "disaggregation.prefill_tp": Key("integer", "GPUs", "Tensor parallel of a prefill replica."),
    "disaggregation.prefill_ep": Key("integer", "GPUs", "Expert parallel on the prefill side."),
    "disaggregation.prefill_dp": Key("integer", "replicas", "Prefill replicas."),
    "disaggregation.prefill_busy": Key("number?", "", "Share of the time that they compute; null where nothing runs."),
    "disaggregation.kv_transfer_ms": Key("number?", "ms", "Sending a prompt's cache, its wait included; not in TTFT."),
    "disaggregation.decoding": Key("number?", "requests", "Requests that decode at once, on average."),
    "precision": Key("object", "", "Number formats, after automatic ones were chosen."),
    "precision.weights": Key("string", "", "Format that the linear layers are stored in."),
    "precision.activations": Key("string", "", "Format that is multiplied."),
    "precision.kv_cache": Key("string", "", "Format of cached keys and values."),
    "memory_bytes_per_gpu": Key("object", "", "Memory of the most loaded GPU."),
    "memory_bytes_per_gpu.weights": Key("integer", "bytes", "Its share of the weights."),
    "memory_bytes_per_gpu.kv_cache": Key("integer", "bytes", "Cache and state of the requests in flight."),
    "memory_bytes_per_gpu.activations": Key("integer", "bytes", "Peak working set of one step."),
    "memory_bytes_per_gpu.runtime": Key("integer", "bytes", "Context, communication buffers and graphs."),
    "memory_bytes_per_gpu.total": Key("integer", "bytes", "Sum of the four above."),
    "memory_bytes_per_gpu.capacity": Key("integer", "bytes", "What the engine may use. It fits if total is not more."),
    "memory_bytes_per_gpu.device": Key("integer", "bytes", "Memory of the GPU."),
    "memory_terms": Key("array", "", "What each part of that memory is made of."),
    "memory_terms.part": Key("string", "", "The part: weights, kv_cache, activations or runtime."),
    "memory_terms.detail": Key(
        "string", "", "Tensor group and format, scales of a format, kind of cache, or what the bytes are for."
    ),
    "memory_terms.bytes": Key("integer", "bytes", "Its bytes on the most loaded GPU."),
    "max_concurrency": Key("integer", "requests", "Requests of this length that memory holds at once, whole instance."),
    "max_context_tokens": Key("integer", "tokens", "Longest prompt plus output that each request in flight can have."),
    "kv_cache_tokens": Key("integer", "tokens", "Tokens that the cache of the instance holds at this length."),
    "batch": Key("object", "", "Requests in flight."),
    "batch.requested": Key("integer|string", "requests", "As asked: a number, or saturated."),
    "batch.running": Key("integer", "requests", "Those that run at once; the others wait."),
    "calibration": Key("string", "", "Measurements that the speeds are calibrated on: published, or a name of yours."),
    "nearness": Key("string", "", "Whether this was measured: nearby, interpolated or extrapolated. Sets the ranges."),
    "ttft_ms": Key("quantity", "ms", "Time to first token: waiting and prefill included."),
    "tpot_ms": Key("quantity", "ms", "Time per output token after the first."),
    "e2e_latency_ms": Key("quantity", "ms", "Time from request to last token."),
    "output_tokens_per_s": Key("quantity", "tokens/s", "Generated tokens, whole instance."),
    "total_tokens_per_s": Key("quantity", "tokens/s", "Prompt and generated tokens, whole instance."),
    "requests_per_s": Key("quantity", "requests/s", "Finished requests, whole instance."),
    "output_tokens_per_s_per_user": Key("quantity", "tokens/s", "What one user sees: 1 / time per output token."),
    "max_requests_per_s": Key("quantity", "requests/s", "Most that are served at this length, whole instance."),
    "goodput_requests_per_s": Key(
        "quantity",
        "requests/s",
        "Highest rate of Poisson arrivals at which the mean request meets its goals; null without goals or a rate.",
    ),
    "utilization": Key("number?", "share", "Arrivals over the most that are served; null without an arrival rate."),
    "ttft_ms_p50": Key("quantity", "ms", "Median TTFT under Poisson arrivals; null elsewhere, or without end."),
    "ttft_ms_p90": Key("quantity", "ms", "TTFT that nine of ten requests stay below."),
    "ttft_ms_p99": Key("quantity", "ms", "TTFT that 99 of 100 requests stay below."),
    "tpot_ms_p50": Key("quantity", "ms", "Median over requests of their mean time per output token."),
    "tpot_ms_p90": Key("quantity", "ms", "That which nine of ten requests stay below."),
    "tpot_ms_p99": Key("quantity", "ms", "That which 99 of 100 requests stay below."),
    "energy_j_per_token": Key("quantity", "J", "Energy of all GPUs per generated token."),
    "power_w_per_gpu": Key("quantity", "W", "Mean electric power of one GPU."),
    "power_w_total": Key("quantity", "W", "Mean electric power of all GPUs with their share of the site: times PUE."),
    "energy_wh_per_request": Key("quantity", "Wh", "Energy of a request, prompt included, times PUE."),
    "kwh_per_million_output_tokens": Key("quantity", "kWh", "All energy charged to generated tokens, times PUE."),
    "gco2_per_million_output_tokens": Key("quantity", "gCO2e", "What that energy emits on the grid of the region."),
    "electricity_usd_per_hour": Key("quantity", "USD/h", "Price of that power; null without a price of electricity."),
    "electricity_usd_per_million_output_tokens": Key("quantity", "USD", "Price of that energy, likewise."),
    "grid": Key("object?", "", "The electricity that was counted with; null where no region is known."),
    "grid.slug": Key("string", "", "Short name of the region."),
    "grid.name": Key("string", "", "Its full name."),
    "grid.gco2_per_kwh": Key("number", "gCO2e/kWh", "Yearly mean."),
    "grid.year": Key("integer", "", "Year of that mean."),
    "grid.basis": Key("string", "", "What it counts: life cycle, or power plants only."),
    "grid.source": Key("string", "", "Where it comes from."),
    "usd_per_hour": Key("quantity", "USD/h", "Price of all GPUs."),
    "usd_per_million_output_tokens": Key("quantity", "USD", "All cost charged to generated tokens."),
    "usd_per_million_input_tokens": Key("quantity", "USD", "All cost charged to prompt tokens."),
    "usd_per_million_tokens": Key("quantity", "USD", "All cost charged to both kinds alike."),
    "flops": Key("object", "", "Floating-point operations of the whole model."),
    "flops.prefill": Key("object", "FLOP", "Of one prompt, by component."),
    "flops.prefill.*": Key("number", "FLOP", "Of one component."),
    "flops.decode_per_token": Key("object", "FLOP", "Of one generated token at the mean context, by component."),
    "flops.decode_per_token.*": Key("number", "FLOP", "Of one component."),
    "bound": Key("object", "", "What limits the speed; empty where nothing runs."),
    "bound.prefill": Key("object?", "", "Of one prompt's prefill."),
    "bound.prefill.by": Key("string", "", "The largest share of the time."),
    "bound.prefill.seconds": Key("object", "s", "Where the time goes: compute, memory, network, host."),
    "bound.prefill.seconds.*": Key("number", "s", "One share of the time."),
    "bound.decode": Key("object?", "", "Of one decode step."),
    "bound.decode.by": Key("string", "", "The largest share of the time."),
    "bound.decode.seconds": Key("object", "s", "Where the time goes: compute, memory, network, host."),
    "bound.decode.seconds.*": Key("number", "s", "One share of the time."),
    "offload": Key("object?", "", "Where llama.cpp leaves layers to the CPU because one GPU is too small; else null."),
    "offload.gpu_layers": Key("integer", "layers", "Layers on the GPU."),
    "offload.layers": Key("integer", "layers", "Layers in all."),
    "offload.gpu_bytes": Key("integer", "bytes", "Memory used on the GPU."),
    "offload.cpu_bytes": Key("integer", "bytes", "Main memory used."),
    "offload.tpot_ms": Key("number", "ms", "Time per output token with this split."),
    "offload.output_tokens_per_s_per_user": Key("number", "tokens/s", "What one user sees with this split."),
    "remedies": Key("texts", "", "Where it does not fit: single changes that would make it fit."),
    "warnings": Key("texts", "", "What to know before trusting the numbers."),
}

#: What each word of `nearness` says of the engine, the accelerator and the model of a question.
NEARNESS = {
    "nearby": "the engine was measured on this accelerator with this model",
    "interpolated": "the engine was measured on this accelerator, with other models",
    "extrapolated": "the engine was not measured on this accelerator; it is predicted from others",
}

#: Only where it is asked for: `estimate --work`, `?work=1`.
WORK_KEYS = {
    "work": Key("object?", "", "What the estimate is made of, made again from the inputs; null where it cannot be."),
    "work.same": Key("boolean", "", "Whether it leads to the logged results; false after a change of the calculator."),
    "work.mode": Key("string", "", "closed, static or open: whose formulas are in the chain."),
    "work.peak_flops_per_s": Key("object", "FLOP/s", "Peaks of the formats that are multiplied in."),
    "work.peak_flops_per_s.*": Key("number", "FLOP/s", "Of one format."),
    "work.memory_bandwidth_bytes_per_s": Key("number", "bytes/s", "Peak of the datasheet."),
    "work.steps": Key("object", "", "prefill: one prompt's; decode: one step. Empty where nothing runs."),
    "work.steps.*": Key(
        "object", "", "seconds, sequences, new_tokens, cached_tokens, and rows whose seconds add up to the step's."
    ),
    "work.chain": Key("array", "", "Lines from the steps to latency and throughput, each from those before it."),
    "work.chain.symbol": Key("string", "", "Its name in the expressions below it."),
    "work.chain.meaning": Key("string", "", "What it is."),
    "work.chain.expression": Key("string", "", "How it follows, as Python; empty for what is given."),
    "work.chain.value": Key("number?", "", "Its value."),
    "work.chain.unit": Key("string", "", "Unit of the value."),
    "work.chain.numbers": Key("string", "", "The expression with numbers in it."),
}

#: A row of `work.steps.*.rows`: equal operators of a step on one GPU, or what the host or guessing drafts add.
WORK_ROW_KEYS = {
    "name": Key("string", "", "The operator, what the host does, or drafts."),
    "component": Key("string", "", "A component of FLOPs, elementwise, network, host or draft."),
    "count": Key("integer", "", "How often it runs in the step."),
    "flops": Key("number", "FLOP", "What the arithmetic needs, all of them."),
    "bytes": Key("number", "bytes", "Read and written, all of them; of the network: the messages."),
    "flops_per_byte": Key("number?", "FLOP/byte", "Arithmetic intensity; null where nothing is calculated."),
    "seconds": Key("number", "s", "All of them."),
    "share": Key("number", "", "Of the step's time."),
    "bound_by": Key(
        "string", "", "The largest part of its time: compute, memory, network, launch (with serial parts) or host."
    ),
    "peak": Key("string", "", "Format multiplied in; empty where nothing is."),
    "share_of_peak": Key("number?", "", "FLOPs / (seconds x peak)."),
    "share_of_bandwidth": Key("number?", "", "bytes / (seconds x memory bandwidth)."),
}

#: Components of `flops`.
COMPONENTS = {
    "attention_projections": "Query, key, value and output projections.",
    "attention_scores": "Scores and weighted values, causal.",
    "feed_forward": "Dense MLP and shared experts.",
    "experts": "Routed experts that a token runs through.",
    "router": "Choice of the experts.",
    "state_space": "Recurrent layers: Mamba, linear attention.",
    "lm_head": "Logits of the last position.",
}

MODEL_KEYS = {
    "model": Key("string", "", "Name of the model."),
    "family": Key("string", "", "Family, as its config.json names it."),
    "total_params": Key("integer", "parameters", "Unique parameters; tied weights once."),
    "active_params": Key("integer", "parameters", "Those that one token runs through."),
    "params_by_group": Key("object", "parameters", "Parameters by what they belong to."),
    "params_by_group.*": Key("integer", "parameters", "Of one group."),
    "num_layers": Key("integer", "layers", "Transformer blocks."),
    "hidden_size": Key("integer", "elements", "Width of the residual stream."),
    "attention": Key("string", "", "Kinds of attention in it: MHA, GQA, MQA, MLA, sparse, sliding window, recurrent."),
    "num_heads": Key("integer", "heads", "Query heads of the first attention layer; 0 without attention."),
    "num_kv_heads": Key("integer", "heads", "Its key/value heads; 1 for a latent cache."),
    "num_experts": Key("integer", "experts", "Routed experts of a layer; 0 for a dense model."),
    "vocab_size": Key("integer", "tokens", "Rows of the embedding table."),
    "tied_embeddings": Key("boolean", "", "Whether lm_head shares the embedding table."),
    "max_position": Key("integer?", "tokens", "Longest context that the configuration names."),
    "kv_bytes_per_token_bf16": Key("integer", "bytes", "16-bit KV cache that one token adds before windows are full."),
    "kv_bytes_per_token_past_windows_bf16": Key("integer", "bytes", "The same once all windows are full."),
    "window_bytes_per_sequence_bf16": Key("integer", "bytes", "What full windows hold per sequence, 16-bit."),
    "state_bytes_per_sequence_bf16": Key("integer", "bytes", "Recurrent state per sequence, 16-bit."),
    "weight_bytes_bf16": Key("integer", "bytes", "All parameters at 2 bytes."),
    "checkpoint_precision": Key("string", "", "Format that the published checkpoint stores its linear layers in."),
    "checkpoint_bytes": Key("number", "bytes", "The checkpoint as it is stored, scales included."),
    "checkpoint_bytes_by_format": Key("object", "bytes", "The same by number format."),
    "checkpoint_bytes_by_format.*": Key("number", "bytes", "In one format."),
    "tower_params": Key("integer?", "parameters", "Vision or audio tower, not in the total; null if not known."),
    "mtp_layers": Key("integer", "layers", "Multi-token-prediction layers, not in the total."),
    "own": Key("boolean", "", "Whether a user has saved it; false for presets."),
    "source": Key("string", "", "Where the configuration comes from."),
    "warnings": Key("texts", "", "What the reader assumed or did not understand."),
}

MODEL_ROW_KEYS = {
    "id": Key("string", "", "Name to ask for."),
    **{
        name: MODEL_KEYS[name]
        for name in (
            "family",
            "total_params",
            "active_params",
            "attention",
            "kv_bytes_per_token_bf16",
            "checkpoint_precision",
            "own",
            "source",
        )
    },
}

GPU_KEYS = {
    "gpu": Key("string", "", "Short name to ask for."),
    "name": Key("string", "", "Full name."),
    "vendor": Key("string", "", "Maker."),
    "architecture": Key("string", "", "Generation."),
    "year": Key("integer", "", "Year of release."),
    "memory_bytes": Key("number", "bytes", "Memory that the driver reports."),
    "marketing_memory_gb": Key("number", "GB", "Memory that it is sold with."),
    "memory_bandwidth_bytes_per_s": Key("number", "bytes/s", "Peak of the datasheet."),
    "peak_flops_per_s": Key("object", "FLOP/s", "Dense peaks by format; a format that is missing has no units."),
    "peak_flops_per_s.*": Key("number", "FLOP/s", "Of one format."),
    "link": Key("string", "", "Link to other GPUs."),
    "link_bytes_per_s": Key("number", "bytes/s", "Its rate per GPU and one direction."),
    "domain_gpus": Key("integer", "GPUs", "How many GPUs it joins."),
    "tdp_w": Key("number?", "W", "Board power; null if not known."),
    "price_usd_per_gpu_hour": Key("number?", "USD/h", "Price of one GPU; null if not known."),
    "price_source": Key("string", "", "Where the price comes from."),
    "own": Key("boolean", "", "Whether a user has saved it; false for presets."),
    "source": Key("string", "", "Where the specification comes from."),
    "notes": Key("string", "", "What to know about it."),
}

ERROR_KEYS = {
    "error": Key("object", "", "What is wrong."),
    "error.field": Key("string", "", "The input to change; empty where it is none of them."),
    "error.message": Key("string", "", "The value and what is wrong with it."),
    "error.allowed": Key("string", "", "What is accepted."),
}
