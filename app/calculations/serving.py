"""A workload on a layout: the steps it is made of, timed, and what the queue makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from app.calculations import queueing
from app.calculations.arrays import Numbers, larger, smaller, where
from app.calculations.engine import Engine
from app.calculations.kernels import smooth_maximum
from app.calculations.lengths import expected_longest
from app.calculations.memory import MemoryPlan
from app.calculations.mix import ClassTimes, RequestClass, closed_times, mean_in_flight, mean_steps
from app.calculations.operators import Operator, Pass, Traffic, forward_operators
from app.calculations.queueing import Latency, Scheduler, Steps
from app.calculations.roofline import Machine, Seconds, pass_seconds
from app.calculations.rundown import Rundown, rundown
from app.calculations.speculation import NO_DRAFTS, Speculation

if TYPE_CHECKING:
    from app.calculations.open_loop import Arrivals

#: Exponent with which the GPU's time and host work that runs beside it overlap: the launches of a step without CUDA
#: graphs, and all work of a step where scheduling overlaps.
HOST_OVERLAP = 4
#: A prompt adds at least this share of its time alone to a busy server.
LEAST_ADDED = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Requests as they arrive at the whole instance.

    `mode`: "closed" (`concurrency` always in flight; None: as many as run at once), "static" (a batch of
    `concurrency` starts and ends together), "burst" (so many arrive at once and nothing follows) or "open" (Poisson
    arrivals at `request_rate` per second). `waves`: a
    closed run sends so many requests per slot (infinite: a steady server). `length_spread` is (longest - shortest) /
    longest output. `prefix_hit_rate` is the share of prompt tokens found in the prefix cache. `padded_spread` is
    (longest - shortest) / longest prompt where prompts are padded to the longest of their batch, 0 where padding is
    removed.
    """

    input_tokens: float
    output_tokens: float
    mode: str = "closed"
    concurrency: int | None = None
    request_rate: float | None = None
    #: Sequences that are generated for each request, from one prompt.
    beam_width: int = 1
    waves: float = inf
    #: Requests of a finite run under arrivals; None: a steady server.
    run_requests: int | None = None
    length_spread: float = 1.0
    prefix_hit_rate: float = 0.0
    padded_spread: float = 0.0
    collapsed_routing: bool = False
    #: Speed is asked for even where the memory estimate says that not one request fits: it was seen to run.
    seen_to_run: bool = False
    speculation: Speculation = NO_DRAFTS
    #: Of a mix, whose means over requests are `input_tokens` and `output_tokens`; empty: requests are alike.
    classes: tuple[RequestClass, ...] = ()

    @property
    def each(self) -> tuple[Workload, ...]:
        """The workload with the prompts of each class beside the decoding of all; itself where requests are alike."""
        return tuple(replace(self, input_tokens=float(one.input_tokens)) for one in self.classes) or (self,)

    def mean_tokens(self, prompt: float, output_share: float) -> float:
        """Tokens of a request in flight with its `prompt` and so much of its output; of a mix their mean."""
        if not self.classes:
            return prompt + self.output_tokens * output_share
        return mean_in_flight(
            self.classes, self.steps_of, lambda one: one.input_tokens + one.output_tokens * output_share
        )

    def steps_of(self, output_tokens: float) -> float:
        return 1 + self.speculation.decode_steps(output_tokens)

    @property
    def runs_down(self) -> bool:
        """Whether all requests are there from the start and nothing follows."""
        return self.mode in ("static", "burst")

    def padded_prompt(self, prompts: float) -> float:
        """Tokens that each of `prompts` that are prefilled together takes: the mean, or padded the longest of them."""
        return expected_longest(self.input_tokens, self.padded_spread, prompts)

    def cached_prompt(self, sequences: float) -> float:
        """Tokens of a prompt in the cache: a static batch of `sequences` keeps its padding."""
        return self.padded_prompt(sequences) if self.mode == "static" else self.input_tokens

    @property
    def decode_steps(self) -> float:
        """Steps of a request after the one that gives its first token."""
        return self.speculation.decode_steps(self.output_tokens)

    @property
    def output_steps(self) -> float:
        """Steps that give tokens; without drafts as many as output tokens."""
        return 1 + self.decode_steps

    @property
    def steps_per_token(self) -> float:
        """Decode steps for each token after the first; 1 where there is none."""
        return self.decode_steps / (self.output_tokens - 1) if self.output_tokens > 1 else 1.0

    def token_seconds(self, step_seconds: Numbers) -> float | None:
        """TPOT from the mean time of a decode step; None for one output token: there is no second one."""
        if self.output_tokens <= 1:
            return None
        return float(step_seconds * self.steps_per_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What a planner can turn on an engine; each changes the steps."""

    step_tokens: int
    max_sequences: int
    chunked_prefill: bool = True
    cuda_graphs: bool = True
    fused_attention: bool = True
    expert_imbalance: float = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a replica: its pass, the sequences that its host handles, and how many steps it really is.

    `draft_steps`: before it drafts are made, in so many times the GPU time of a decode step without them.
    """

    work: Pass
    sequences: Numbers
    #: Whether CUDA graphs hold it, so that the host launches no kernels.
    graph: bool
    repeats: float = 1.0
    draft_steps: float = 0.0

    @property
    def undrafted(self) -> Pass:
        """The decode step that the drafts' time is counted in."""
        return replace(self.work, new_tokens=1.0, beside=(), verifies=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """The steps that a workload's latency is made of, on one replica of a layout."""

    #: Sequences of a replica; a mean, so not always whole.
    running: float
    decode: Step
    #: The decode step at the mean number that decode, which falls while a batch runs down; else as `decode`.
    drain: Step
    decoding: float
    alone: Step
    mixed: Step
    burst: Step
    #: Prompts in `mixed` and in `burst`.
    mixed_prompts: float
    burst_prompts: float
    #: Prompts that the tokens of a step allow.
    burst_limit: float
    chunks: float
    fill: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Speed of the whole instance; None where nothing runs. `waiting` requests queue for memory or a slot."""

    running: int
    waiting: int
    prefill: Seconds
    decode: Seconds
    ttft_seconds: float
    #: Median TTFT of a steady server.
    steady_ttft_seconds: float
    #: None for one output token: there is no second one to wait for.
    tpot_seconds: float | None
    e2e_seconds: float
    requests_per_second: float
    #: Median time between two answers of a request, of a token or of the drafts that were accepted: of a step without
    #: prefill, where most are.
    median_step_seconds: float
    #: Share of wall time that GPUs spend in prefill.
    prefill_share: float
    steps: Steps
    #: The steps that these times are of, and what the queue made of them.
    planned: StepPlan
    latency: Latency
    #: Of Poisson arrivals that are served.
    arrivals: Arrivals | None = None
    #: Of a finite run under arrivals: a decode step while the last requests end.
    tail_step_seconds: float = 0.0
    #: Of the classes of a mix.
    classes: tuple[ClassTimes, ...] = ()


def step_plan(
    plan: MemoryPlan,
    workload: Workload,
    switches: Switches,
    running: float,
    pool: float,
    rundown: Rundown | None = None,
) -> StepPlan:
    """The steps at `running` sequences per replica, `pool` of them asked for at once.

    Pipeline stages work on different micro-batches at once, so a pass holds running / pp sequences.
    """
    inputs = workload.input_tokens
    # At least the last token is computed: its logits give the first output token.
    cached = min(max(plan.shared_prefix_tokens, workload.prefix_hit_rate * inputs), inputs - 1.0)
    fresh = inputs - cached
    budget = float(switches.step_tokens)
    stages = plan.layout.pp
    batch = max(1.0, running / stages) * workload.beam_width

    def length(beside: float) -> float:
        """Tokens to compute of each prompt that is padded together with so many; a static batch pads all alike."""
        return fresh + (workload.padded_prompt(running if workload.mode == "static" else beside) - inputs)

    def prompts(count: float) -> Pass:
        return Pass(sequences=count, new_tokens=length(count), cached_tokens=cached)

    one = prompts(1.0)
    per_step = max(1.0, budget / length(max(1.0, budget / fresh)))
    flow = max(1.0, running / max(workload.output_steps, 1.0))
    mixed_prompts = min(flow, per_step, float(running))
    burst_prompts = max(1.0, min(float(int(per_step)), pool))
    drafts = workload.speculation
    decode = Step(
        work=Pass(
            sequences=batch,
            new_tokens=1.0 + drafts.draft_tokens,
            cached_tokens=workload.mean_tokens(workload.cached_prompt(running), 0.5),
            verifies=drafts.draft_tokens > 0,
        ),
        sequences=batch,
        graph=switches.cuda_graphs,
        draft_steps=drafts.draft_steps,
    )
    chunks = -(-length(1.0) // budget) if switches.chunked_prefill else 1.0
    decoding = running if rundown is None else rundown.mean
    drained = max(1.0, decoding / stages) * workload.beam_width
    return StepPlan(
        running=running,
        decode=decode,
        drain=replace(decode, work=replace(decode.work, sequences=drained), sequences=drained),
        decoding=decoding,
        alone=Step(work=one, sequences=1.0, graph=False, repeats=chunks),
        mixed=replace(
            decode,
            work=replace(decode.work, beside=(prompts(mixed_prompts),)),
            sequences=batch + mixed_prompts,
            graph=False,
            repeats=chunks,
        ),
        burst=Step(work=prompts(burst_prompts), sequences=burst_prompts, graph=False, repeats=chunks),
        mixed_prompts=mixed_prompts,
        burst_prompts=burst_prompts,
        burst_limit=per_step,
        chunks=float(chunks),
        fill=min(length(1.0) / budget, 1.0) if switches.chunked_prefill else 1.0,
    )


def step_operators(plan: MemoryPlan, step: Step, traffic: Traffic) -> Iterator[Operator]:
    return forward_operators(plan.model, plan.layout, plan.formats, step.work, traffic)


def step_seconds(plan: MemoryPlan, machine: Machine, step: Step, traffic: Traffic) -> Seconds:
    """A step's time: operators, and the host's work between steps and per sequence. Launching a step's kernels one by
    one overlaps with the GPU and shows where it takes longer. Drafts come before."""
    gpu = pass_seconds(step_operators(plan, step, traffic), machine, 0.0)
    whole = replace(gpu, host=gpu.host + sum(host_terms(plan, machine, step, gpu.total).values()))
    return whole.plus(undrafted_seconds(plan, machine, step, traffic), step.draft_steps) if step.draft_steps else whole


def undrafted_seconds(plan: MemoryPlan, machine: Machine, step: Step, traffic: Traffic) -> Seconds:
    """GPU time of the decode step that drafts are counted in."""
    return pass_seconds(step_operators(plan, replace(step, work=step.undrafted), traffic), machine, 0.0)


def host_terms(plan: MemoryPlan, machine: Machine, step: Step, gpu_seconds: Numbers) -> dict[str, Numbers]:
    """Seconds that the host adds to the `gpu_seconds` of a step, by what for."""
    x = machine.coefficients
    between, sequences = x.step_seconds * step.repeats, x.sequence_seconds * step.sequences
    launches = 0.0 if step.graph else x.layer_seconds * plan.model.num_layers * step.repeats

    def beyond_gpu(seconds: Numbers) -> Numbers:
        return smooth_maximum(gpu_seconds, seconds, HOST_OVERLAP) - gpu_seconds

    if machine.hides_host:
        return {"overlapped": beyond_gpu(between + sequences + launches)}
    terms = {"between steps": between, "sequences": sequences}
    if not step.graph:
        terms["launches"] = beyond_gpu(launches)
    return terms


def most_running(plan: MemoryPlan, engine: Engine, workload: Workload, max_sequences: int) -> int:
    """Requests of one replica that run at once: by memory and by the engine's limit.

    An engine that reserves a request's whole length at its start holds fewer than one that takes blocks as they
    fill; in a static batch all reach their full length together. An engine without continuous batching runs the
    batch that it is given or fails. Of a mix each class must fit by itself.
    """
    outputs = workload.output_tokens * workload.beam_width
    prompt = workload.cached_prompt(inf if workload.concurrency is None else workload.concurrency)
    whole = plan.most_sequences(int(workload.mean_tokens(prompt, 1.0)) if workload.classes else int(prompt + outputs))
    if whole < 1 or not all(plan.most_sequences(one.tokens) for one in workload.classes):
        if not workload.seen_to_run:
            return 0
        return 1 if workload.concurrency is None else max_sequences
    if not engine.continuous:
        return max_sequences
    if workload.mode != "static" and not engine.reserves_whole_length:
        filling = workload.mean_tokens(workload.input_tokens, workload.beam_width / 2)
        whole = max(whole, plan.most_sequences(int(filling)))
    return min(whole, max_sequences)


def simulate(
    plan: MemoryPlan, machine: Machine, workload: Workload, switches: Switches, scheduler: Scheduler
) -> Serving | None:
    """Mean latency and throughput of a workload; None where not even one request fits."""
    if workload.mode == "open":
        from app.calculations.poisson import poisson  # Imports this module, and numpy.

        return poisson(plan, machine, workload, switches, scheduler)
    slots = most_running(plan, plan.engine, workload, switches.max_sequences)
    if slots < 1:
        return None
    traffic = traffic_of(workload, switches)
    crowd = crowd_of(plan, workload, slots, switches.max_sequences)
    steps_of = step_plan(plan, workload, switches, crowd.decoding, crowd.wanted, crowd.rundown)
    prefill, decode, steps = time_steps(plan, machine, steps_of, traffic)
    if not workload.classes:
        return result(queued(steps, scheduler, workload, crowd), prefill, decode, steps, steps_of, workload, crowd)
    planned = [step_plan(plan, one, switches, crowd.decoding, crowd.wanted, crowd.rundown) for one in workload.each]
    each = [time_steps(plan, machine, one, traffic)[2] for one in planned]
    steps = mean_steps(workload.classes, each)
    found = queued(steps, scheduler, workload, crowd)
    whole = result(found, prefill, decode, steps, steps_of, workload, crowd)
    return replace(whole, classes=closed_class_times(found, steps, each, workload, crowd.running))


def closed_class_times(
    found: Latency, mean: Steps, each: Sequence[Steps], workload: Workload, running: Numbers
) -> tuple[ClassTimes, ...]:
    """TTFT and TPOT of each class in a closed loop."""
    return closed_times(
        found,
        mean,
        each,
        workload.classes,
        running=running,
        queue=found.terms["queue"],
        decode_steps=workload.speculation.decode_steps,
    )


def saturate(
    plan: MemoryPlan, machine: Machine, workload: Workload, switches: Switches, scheduler: Scheduler
) -> Serving | None:
    """As many requests as run at once, always in flight: nothing serves more. None where not even one fits."""
    mode = "static" if workload.mode == "static" else "closed"
    return simulate(plan, machine, replace(workload, mode=mode, concurrency=None, waves=inf), switches, scheduler)


def traffic_of(workload: Workload, switches: Switches) -> Traffic:
    return Traffic(
        collapsed_routing=workload.collapsed_routing,
        expert_imbalance=switches.expert_imbalance,
        fused_attention=switches.fused_attention,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Requests of a replica: wanted at once and running at once; `asked` and `replicas` are of the whole instance."""

    wanted: Numbers
    running: Numbers
    asked: Numbers
    replicas: Numbers
    #: Of a batch that starts together.
    rundown: Rundown | None = None

    @property
    def decoding(self) -> float:
        """Requests beside which a token is made."""
        return float(self.running) if self.rundown is None else self.rundown.seen

    @property
    def occupied(self) -> Numbers:
        """Share of the replicas' places that requests take, where they do not divide evenly."""
        return smaller(self.asked / (self.wanted * self.replicas), 1.0)


def crowd_of(plan: MemoryPlan, workload: Workload, slots: int, max_sequences: int) -> Crowd:
    """Requests of a replica of which `slots` run at once, as `most_running` says."""
    replicas = plan.layout.dp
    wanted = slots if workload.concurrency is None else -(-workload.concurrency // replicas)
    running = min(wanted, slots)
    return Crowd(
        wanted=wanted,
        running=running,
        asked=workload.concurrency or running * replicas,
        replicas=replicas,
        rundown=rundown_of(plan, workload, wanted, slots, max_sequences) if workload.runs_down else None,
    )


def rundown_of(plan: MemoryPlan, workload: Workload, wanted: int, slots: int, max_sequences: int) -> Rundown:
    """How a batch of `wanted` requests per replica runs down."""
    prompt = workload.cached_prompt(float(wanted))

    def places(tokens: float) -> float:
        found = plan.most_sequences(int(prompt + (tokens - prompt) * workload.beam_width))
        return float(min(found, max_sequences) if found and plan.engine.continuous else slots)

    return rundown(
        float(wanted),
        places,
        prompt=prompt,
        steps=workload.decode_steps,
        spread=workload.length_spread if workload.mode == "burst" else 0.0,
        reserves=plan.engine.reserves_whole_length or not plan.engine.continuous,
    )


def queued(steps: Steps, scheduler: Scheduler, workload: Workload, crowd: Crowd) -> Latency:
    """What the queue makes of the steps, in a static batch or a closed loop."""
    if crowd.rundown is not None:
        down = crowd.rundown
        if workload.mode == "static":
            return queueing.static_batch(
                steps,
                concurrency=crowd.wanted,
                admitted=down.admitted,
                output_tokens=workload.output_steps,
                decode_steps=down.steps,
                recomputed=down.recomputed,
            )
        return queueing.together(
            steps,
            concurrency=float(crowd.wanted),
            admitted=down.admitted,
            kept=down.kept,
            output_tokens=workload.output_steps,
            decode_steps=down.steps,
            recomputed=down.recomputed,
        )
    return queueing.closed_loop(
        steps,
        scheduler,
        concurrency=float(crowd.wanted),
        running=float(crowd.running),
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_steps,
        waves=workload.waves,
        length_spread=workload.length_spread,
    )


def time_steps(
    plan: MemoryPlan, machine: Machine, steps_of: StepPlan, traffic: Traffic
) -> tuple[Seconds, Seconds, Steps]:
    """Prefill of one prompt alone, a decode step, and the seconds that the queue needs."""
    decode = step_seconds(plan, machine, steps_of.decode, traffic)
    alone = step_seconds(plan, machine, steps_of.alone, traffic)
    mixed = step_seconds(plan, machine, steps_of.mixed, traffic).total
    burst = step_seconds(plan, machine, steps_of.burst, traffic).total
    same = steps_of.drain == steps_of.decode
    drain = decode.total if same else step_seconds(plan, machine, steps_of.drain, traffic).total
    stages = plan.layout.pp
    return (
        alone,
        decode,
        Steps(
            decode=decode.total,
            alone=alone.total,
            added=max(mixed - decode.total, LEAST_ADDED * alone.total) / steps_of.mixed_prompts / stages,
            burst=burst / steps_of.burst_prompts / stages,
            request=machine.coefficients.request_seconds,
            chunks=steps_of.chunks,
            fill=steps_of.fill,
            drain=drain,
        ),
    )


def result(
    found: Latency,
    prefill: Seconds,
    decode: Seconds,
    steps: Steps,
    steps_of: StepPlan,
    workload: Workload,
    crowd: Crowd,
) -> Serving:
    tpot = workload.token_seconds(found.tpot)
    places = int(crowd.running * crowd.replicas)
    return Serving(
        running=min(places, int(crowd.asked)),
        waiting=max(0, int(crowd.asked) - places),
        prefill=prefill,
        decode=decode,
        ttft_seconds=float(found.ttft),
        steady_ttft_seconds=float(found.steady),
        tpot_seconds=tpot,
        e2e_seconds=float(found.ttft + (workload.output_tokens - 1) * (tpot or 0.0)),
        requests_per_second=float(found.rate * crowd.replicas * crowd.occupied),
        median_step_seconds=float(median_step(steps, crowd.running, workload.output_steps)),
        prefill_share=float(found.prefill_share),
        steps=steps,
        planned=steps_of,
        latency=found,
    )


def median_step(steps: Steps, running: Numbers, output_steps: Numbers) -> Numbers:
    """The median step of a steady server: prompts join running / output_steps of the steps, at random; while less
    than half of them do, the median step has none."""
    joining = running / larger(output_steps, 1.0)
    return steps.decode + where(joining > LOG_2, steps.added * larger(joining, 1.0), 0.0 * steps.added)


#: Poisson arrivals leave half of the steps without one at this mean.
LOG_2 = 0.6931


def decode_seconds(plan: MemoryPlan, machine: Machine, sequences: float, context_tokens: float) -> Seconds:
    """One token for each of `sequences`, through all stages one after the other."""
    work = Pass(sequences=sequences, new_tokens=1.0, cached_tokens=context_tokens)
    return step_seconds(plan, machine, Step(work=work, sequences=sequences, graph=False), Traffic())
