"""A serving scenario to its estimate: memory, speed, energy, cost. Everything that is shown comes from here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, inf

from app.calculations import disaggregation, memory, serving
from app.calculations.accelerator import Gpu, Hardware
from app.calculations.activity import activity, pools_activity
from app.calculations.architecture import Model
from app.calculations.collectives import Links
from app.calculations.energy import Activity, power_watts
from app.calculations.errors import InvalidInput
from app.calculations.formats import Formats, resolve
from app.calculations.kernel_library import library
from app.calculations.kernels import Chip
from app.calculations.memory import Load, MemoryPlan
from app.calculations.parallelism import Layout, candidates, check
from app.calculations.queueing import Scheduler
from app.calculations.roofline import Machine
from app.calculations.scenario import ServingScenario
from app.calculations.serving import Serving, Switches, Workload
from app.calculations.speculation import Speculation

#: Automatic numbers of GPUs tried, smallest first: servers come in powers of two.
GPU_COUNTS = tuple(2**n for n in range(11))
GIB = 1024.0**3


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Equal GPUs with the most loaded one: `sequences` of `tokens` each are held on a replica."""

    plan: MemoryPlan
    load: Load
    sequences: int
    tokens: int

    @property
    def total_bytes(self) -> float:
        return self.load.weights + self.load.kv_cache + self.plan.activations + self.plan.runtime


@dataclass(frozen=True, kw_only=True)
class LayoutEstimate:
    """One layout of one scenario."""

    scenario: ServingScenario
    formats: Formats
    layout: Layout
    plan: MemoryPlan
    #: The most loaded GPU.
    load: Load
    #: Sequences in flight that the KV cache was sized for, over the whole instance.
    resident: int
    #: GPUs that only prefill; the others then only decode.
    prefill: Pool | None = None

    @property
    def num_gpus(self) -> int:
        """GPUs of the instance."""
        return self.layout.num_gpus + (self.prefill.plan.layout.num_gpus if self.prefill else 0)

    @cached_property
    def machine(self) -> Machine:
        return machine(self.scenario, self.formats)

    @cached_property
    def speed(self) -> Serving | None:
        """Latency and throughput; None where not even one request fits."""
        asked, turned = workload(self.scenario), switches(self.scenario)
        if self.prefill:
            return disaggregation.simulate(self.prefill.plan, self.plan, self.machine, asked, turned)
        return serving.simulate(self.plan, self.machine, asked, turned, scheduler(self.scenario))

    @cached_property
    def fullest(self) -> Pool:
        """The GPUs with the least room left."""
        sequences = -(-self.resident // self.layout.dp)
        tokens = held_tokens(self.scenario, sequences)
        own = Pool(plan=self.plan, load=self.load, sequences=sequences, tokens=tokens)
        pools = [own, self.prefill] if self.prefill else [own]
        return max(pools, key=lambda pool: pool.total_bytes - pool.load.capacity)

    @property
    def total_bytes(self) -> float:
        return self.fullest.total_bytes

    @property
    def capacity(self) -> float:
        """Most bytes that the GPU may hold by the engine's rule."""
        return self.fullest.load.capacity

    @property
    def fits(self) -> bool:
        return self.total_bytes <= self.capacity

    @property
    def shortfall_bytes(self) -> float:
        return max(0.0, self.total_bytes - self.capacity)

    @property
    def max_concurrency(self) -> int:
        """Requests of this length that memory holds at once, whole instance."""
        return self.plan.most_sequences(held_tokens(self.scenario, inf)) * self.layout.dp

    @cached_property
    def max_requests_per_second(self) -> float | None:
        """Requests of this length that are served with all places taken, whole instance; None where nothing runs."""
        asked, turned = workload(self.scenario), switches(self.scenario)
        if self.prefill:
            full = replace(asked, concurrency=None)
            found = disaggregation.simulate(self.prefill.plan, self.plan, self.machine, full, turned)
        else:
            found = serving.saturate(self.plan, self.machine, asked, turned, scheduler(self.scenario))
        return None if found is None else found.requests_per_second

    @property
    def max_context_tokens(self) -> int:
        """Longest prompt plus output that each of the requests in flight can have."""
        limit = self.scenario.model.max_position or 10_000_000
        per_replica = -(-self.resident // self.layout.dp)
        return self.plan.longest_context(max(1, per_replica), limit)

    @property
    def activity(self) -> Activity | None:
        """What a GPU does per second; None where nothing runs."""
        if self.speed is None:
            return None
        load = workload(self.scenario)
        traffic, gpu = serving.traffic_of(load, switches(self.scenario)), self.scenario.gpu
        if self.prefill:
            return pools_activity(self.prefill.plan, self.plan, self.speed, traffic, gpu, load.output_steps)
        return activity(self.plan, self.speed, traffic, gpu, load.output_steps, load.mode)

    @property
    def power_watts_per_gpu(self) -> float | None:
        gpu, model, active = self.scenario.gpu, self.scenario.hardware.power, self.activity
        if active is None or gpu.tdp_watts is None:
            return None
        return float(power_watts(gpu.tdp_watts, model, active, model.factor(gpu.architecture, gpu.slug)))

    @property
    def price_usd_per_gpu_hour(self) -> float | None:
        asked = self.scenario.price_usd_per_gpu_hour
        return self.scenario.gpu.price_usd_per_hour if asked is None else asked


def links(gpu: Gpu, hardware: Hardware) -> Links:
    """The fast domain of a GPU and what joins domains: PCIe inside a node, the network beyond."""
    fabric = gpu.domain_gpus > 1
    return Links(
        domain_gpus=gpu.domain_gpus if fabric else hardware.node_gpus,
        fabric=fabric,
        in_network=fabric and gpu.domain_gpus > 2 and gpu.architecture in hardware.in_network,
        link_bytes_per_second=gpu.link_bytes_per_second,
        pcie_bytes_per_second=gpu.pcie_bytes_per_second if fabric else gpu.link_bytes_per_second,
        node_gpus=hardware.node_gpus,
        network_bytes_per_second=hardware.network_bytes_per_second,
        network_latency_seconds=hardware.network_latency_seconds,
        network_efficiency=hardware.network_efficiency,
    )


def machine(scenario: ServingScenario, formats: Formats) -> Machine:
    """The GPU as the engine uses it: curves of its kernels, calibrated coefficients, or what was set by hand."""
    gpu, engine, hardware = scenario.gpu, scenario.engine, scenario.hardware
    generations = hardware.generations
    pcie = f"{gpu.architecture} pcie" if gpu.domain_gpus == 1 else gpu.architecture
    names = generations.get(pcie) or generations.get(gpu.architecture) or generations["other"]
    found = scenario.efficiency.coefficients(engine, gpu, formats, scenario.model)
    if scenario.shows_host:
        found = found.with_hidden_host_work
    if scenario.step_overhead_ms is not None:
        found = replace(found, step_seconds=scenario.step_overhead_ms / 1000)
    if scenario.compute_efficiency is not None:
        found = replace(found, matrix_compute=1.0)
    if scenario.bandwidth_efficiency is not None:
        found = replace(found, matrix_memory=1.0)
    return Machine(
        gpu=gpu,
        chip=Chip(
            peaks=gpu.peak_flops_per_second,
            bytes_per_second=gpu.memory_bandwidth_bytes_per_second,
            multiprocessors=gpu.multiprocessors,
        ),
        links=links(gpu, hardware),
        library=library(scenario.curves, names, engine),
        coefficients=found,
        hides_host=scenario.hides_host,
        compute_efficiency=scenario.compute_efficiency,
        bandwidth_efficiency=scenario.bandwidth_efficiency,
    )


def workload(scenario: ServingScenario) -> Workload:
    arrival = scenario.arrival
    return Workload(
        input_tokens=scenario.mean_input_tokens,
        output_tokens=scenario.mean_output_tokens,
        classes=scenario.mix,
        mode="static" if arrival == "closed" and not scenario.engine.continuous else arrival,
        concurrency=scenario.concurrency,
        request_rate=scenario.request_rate,
        beam_width=scenario.beam_width,
        waves=scenario.waves or inf,
        run_requests=scenario.run_requests,
        length_spread=scenario.length_spread,
        prefix_hit_rate=scenario.prefix_hit_rate,
        padded_spread=scenario.padded_spread,
        collapsed_routing=scenario.collapsed_routing,
        seen_to_run=scenario.seen_to_run,
        speculation=Speculation(
            draft_tokens=scenario.draft_tokens,
            acceptance_rate=scenario.acceptance_rate,
            draft_cost=scenario.draft_cost,
        ),
    )


def switches(scenario: ServingScenario) -> Switches:
    return Switches(
        step_tokens=scenario.step_tokens,
        max_sequences=scenario.sequence_limit,
        chunked_prefill=scenario.chunks_prefill,
        cuda_graphs=scenario.uses_graphs,
        fused_attention=scenario.fused_attention != "off",
        expert_imbalance=scenario.hardware.expert_imbalance,
    )


def scheduler(scenario: ServingScenario) -> Scheduler:
    engine = scenario.engine
    return Scheduler(
        prefill_first=float(engine.prefill_first),
        whole_prompts=0.0 if scenario.chunks_prefill else 1.0,
        gang=engine.gang_prompts,
        gang_tokens=float(engine.whole_prompt_tokens),
    )


def formats_of(scenario: ServingScenario) -> Formats:
    return resolve(
        scenario.model,
        scenario.gpu,
        weights=scenario.weight_precision,
        activations=scenario.activation_precision,
        kv_cache=scenario.kv_precision,
        value_cache=scenario.value_precision,
        cache_follows_weights=scenario.engine.cache_follows_weights,
    )


def memory_plan(scenario: ServingScenario, layout: Layout, formats: Formats) -> MemoryPlan:
    runtime = scenario.runtime_gib
    return memory.plan(
        scenario.model,
        layout,
        formats,
        scenario.engine,
        gpu=scenario.gpu,
        reserved_bytes=scenario.hardware.driver_bytes,
        utilization=scenario.utilization,
        step_tokens=scenario.step_tokens,
        max_sequences=scenario.sampled_sequences,
        runtime_bytes=None if runtime is None else runtime * GIB,
        shared_prefix_tokens=min(scenario.shared_prefix_tokens, scenario.input_tokens - 1),
        draft_tokens=scenario.draft_tokens,
    )


def held_tokens(scenario: ServingScenario, sequences: float) -> int:
    """Tokens that the cache holds of each of so many requests at their end; of a mix one is of its longest class."""
    asked = workload(scenario)
    if scenario.mix:
        middle = asked.mean_tokens(asked.input_tokens, 1.0)
        return ceil(middle + (scenario.longest_tokens - middle) / sequences)
    padded = asked.cached_prompt(sequences)
    return scenario.request_tokens + ceil(padded) - scenario.input_tokens


def sequences_per_replica(scenario: ServingScenario, plan: MemoryPlan) -> int:
    """Sequences whose cache is held at once: those asked for, at most the engine's limit; saturated: what fits."""
    slots = scenario.sequence_limit
    if scenario.concurrency is None:
        return max(1, min(slots, plan.most_sequences(held_tokens(scenario, inf))))
    return min(slots, -(-scenario.concurrency // plan.layout.dp))


def largest_batch(scenario: ServingScenario, layout: Layout) -> int:
    """The most requests that fit as one batch, whose working memory grows with it; at least one for each replica."""

    def fits(batch: int) -> bool:
        return of_layout(replace(scenario, concurrency=batch * layout.dp), layout).fits

    most = 1
    while 2 * most <= scenario.sequence_limit and fits(2 * most):
        most *= 2
    low, high = most, min(2 * most, scenario.sequence_limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low * layout.dp


def of_layout(scenario: ServingScenario, layout: Layout) -> LayoutEstimate:
    """The estimate of one given layout."""
    if scenario.concurrency is None and scenario.arrival != "open" and not scenario.engine.continuous:
        scenario = replace(scenario, concurrency=largest_batch(scenario, layout))
    formats = formats_of(scenario)
    plan = memory_plan(scenario, layout, formats)
    resident = sequences_per_replica(scenario, plan)
    load = plan.worst(resident, held_tokens(scenario, resident))
    found = LayoutEstimate(
        scenario=scenario,
        formats=formats,
        layout=layout,
        plan=plan,
        load=load,
        resident=resident * layout.dp,
        prefill=prefill_pool(scenario, layout, formats) if scenario.prefill_gpus else None,
    )
    return holding_arrivals(found) if scenario.arrival == "open" else found


def holding_arrivals(found: LayoutEstimate) -> LayoutEstimate:
    """The same with the cache of as many requests as run at once 99 % of the time; all places where too many arrive."""
    speed, replicas = found.speed, found.layout.dp
    running = 1
    if speed is not None:
        running = speed.arrivals.found.p99_running if speed.arrivals else -(-speed.running // replicas)
    load = found.plan.worst(running, held_tokens(found.scenario, running))
    held = replace(found, load=load, resident=running * replicas)
    held.__dict__["speed"] = speed  # It depends on neither, and a copy would compute it again.
    return held


def prefill_layout(scenario: ServingScenario, layout: Layout) -> Layout:
    """The layout of the GPUs that only prefill, beside one of those that decode."""
    return disaggregation.prefill_layout(layout, scenario.prefill_gpus or 0, scenario.prefill_tp)


def prefill_pool(scenario: ServingScenario, decode: Layout, formats: Formats) -> Pool:
    """GPUs that only prefill: they hold the prompts of two steps, one computed and one being sent."""
    layout = check(scenario.model, prefill_layout(scenario, decode))
    plan = memory_plan(scenario, layout, formats)
    sequences = 2 * max(1, scenario.step_tokens // scenario.input_tokens)
    if scenario.concurrency is not None:
        sequences = min(sequences, -(-scenario.concurrency // layout.dp))
    load = plan.worst(sequences, scenario.input_tokens)
    return Pool(plan=plan, load=load, sequences=sequences, tokens=scenario.input_tokens)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The chosen layout's estimate and the others that were weighed, best first."""

    best: LayoutEstimate
    others: tuple[LayoutEstimate, ...]
    #: Set by hand: nothing was chosen.
    by_hand: bool
    #: GPU counts that were tried and were too few, with the smallest shortfall of each in bytes.
    too_few: tuple[tuple[int, float], ...]


#: Layouts whose throughput differs by less are equal for us: the estimate is not more exact than that.
INDIFFERENCE = 0.8


def ranked(weighed: list[LayoutEstimate]) -> list[LayoutEstimate]:
    """Best first: those that fit before those that do not (by their shortfall).

    Pipeline stages come last where GPUs have a fast fabric: they add bubbles and latency that tensor parallelism
    and replicas do not. Then highest throughput, where all within 20 % of it count as equal and latency decides.
    """
    fitting = [e for e in weighed if e.fits and e.speed]

    def staged(e: LayoutEstimate) -> bool:
        fabric = e.scenario.gpu.domain_gpus > 1 and e.scenario.engine.tensor_parallel
        return e.layout.pp > 1 and fabric and not e.scenario.pp

    rates = {s: [e.speed.requests_per_second for e in fitting if e.speed and staged(e) is s] for s in (False, True)}

    def order(e: LayoutEstimate) -> tuple[bool, bool, float, float]:
        if not e.fits or not e.speed:
            return (True, False, 0.0, e.shortfall_bytes)
        rate, most = e.speed.requests_per_second, max(rates[staged(e)])
        return (False, staged(e), -most if rate >= INDIFFERENCE * most else -rate, e.speed.e2e_seconds)

    return sorted(weighed, key=order)


def layouts(scenario: ServingScenario, num_gpus: int) -> Iterator[Layout]:
    """Legal layouts of so many GPUs; of those that decode where others only prefill and can be cut alike."""
    for layout in candidates(
        scenario.model,
        num_gpus,
        domain_gpus=scenario.gpu.domain_gpus,
        tp=scenario.tp or (None if scenario.engine.tensor_parallel else 1),
        pp=scenario.pp,
        ep=scenario.ep,
        dp=scenario.dp,
    ):
        if not scenario.prefill_gpus or is_legal(
            scenario.model, scenario.prefill_gpus, prefill_layout(scenario, layout)
        ):
            yield layout


def is_legal(model: Model, num_gpus: int, layout: Layout) -> bool:
    """Whether a layout uses just so many GPUs and the model can be cut so."""
    try:
        return check(model, layout).num_gpus == num_gpus
    except InvalidInput:
        return False


def estimate(scenario: ServingScenario) -> Estimate:
    """The estimate of a scenario; what was left automatic is chosen: the smallest number of GPUs that holds all
    requests, and of its layouts the best of `ranked`."""
    if scenario.tp and scenario.pp and scenario.dp:
        layout = Layout(tp=scenario.tp, pp=scenario.pp, dp=scenario.dp, ep=scenario.ep or 1)
        return Estimate(best=of_layout(scenario, check(scenario.model, layout)), others=(), by_hand=True, too_few=())
    too_few: list[tuple[int, float]] = []
    fallback: list[LayoutEstimate] = []
    for num_gpus in [scenario.decode_gpus] if scenario.decode_gpus else counts(scenario):
        weighed = [of_layout(scenario, check(scenario.model, layout)) for layout in layouts(scenario, num_gpus)]
        if not weighed:
            continue
        weighed = ranked(weighed)
        if weighed[0].fits or scenario.num_gpus:
            return Estimate(best=weighed[0], others=tuple(weighed[1:]), by_hand=False, too_few=tuple(too_few))
        too_few.append((weighed[0].num_gpus, weighed[0].shortfall_bytes))
        fallback = weighed
    if not fallback:
        raise no_layout(scenario)
    return Estimate(best=fallback[0], others=tuple(fallback[1:]), by_hand=False, too_few=tuple(too_few[:-1]))


def counts(scenario: ServingScenario) -> Iterator[int]:
    """Numbers of GPUs to try: powers of two that what was set by hand divides, or its multiples by them."""
    set_by_hand = (scenario.tp or 1) * (scenario.pp or 1) * (scenario.dp or 1)
    smallest = max(set_by_hand, scenario.ep or 1)
    for power in GPU_COUNTS:
        count = set_by_hand * power
        if count >= smallest and count <= GPU_COUNTS[-1] * set_by_hand:
            yield count


def no_layout(scenario: ServingScenario) -> InvalidInput:
    """Why no legal layout exists, named by the input that can be changed."""
    number = f"{scenario.num_gpus} GPUs" if scenario.num_gpus else "no number of GPUs"
    field = "num_gpus" if scenario.num_gpus else "ep" if scenario.ep else "tp"
    return InvalidInput(
        field,
        f"{number} cannot be cut into a legal layout of {scenario.model.name} with tp {scenario.tp or 'automatic'}, "
        f"pp {scenario.pp or 'automatic'}, dp {scenario.dp or 'automatic'}, ep {scenario.ep or 'automatic'}.",
        "leave one of them empty, or use numbers that divide",
    )
