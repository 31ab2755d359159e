"""One loop for every method: batches to updates, with accumulation, clipping and exact resume.

What a step draws at random depends on (seed, step) alone, and what it reads on the position in the
plan; both are in the checkpoint. A resumed run therefore equals an uninterrupted one, bit for bit
on a CPU, and the number of ranks changes neither batches nor draws.
"""

import copy
import logging
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import micro_batches, to_device
from audiossl.configs import Count, Nonnegative, Whole
from audiossl.data.loading import BatchSource, stream
from audiossl.data.plan import Position
from audiossl.earlier_names import renamed
from audiossl.errors import UserError
from audiossl.methods.method import AfterUpdate, ContrastsBatch, Losses
from audiossl.models.encoder import units_of
from audiossl.nn.weights import write_state
from audiossl.optim.build import SHAPED_STATE, AdamWConfig, OptimizerConfig, build_optimizer
from audiossl.optim.schedules import CosineConfig, HalvedConfig, rate_factor
from audiossl.preemption import Preempted, StopFlag, stop_flag
from audiossl.training.averaging import Averager, AveragingConfig
from audiossl.training.checkpoints import CheckpointWriter, Sharding, read_last_checkpoint
from audiossl.training.compilation import (
    begin_forward,
    check_graphs,
    compile_units,
    release_units,
)
from audiossl.training.gradient_cache import backward_in_two_passes
from audiossl.training.running_means import RunningMeans
from audiossl.training.writers import Records


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and in which precision is trained."""

    steps: Count
    """Number of training steps (updates of the parameters)."""
    optimizer: OptimizerConfig = AdamWConfig()
    """Optimizer of the parameters."""
    seed: Whole = 0
    """Random seed."""
    accumulate: Count = 1
    """Number of micro-batches into which each batch is split to fit into memory. The update is that
    of the whole batch; losses of pairs of crops contrast all of it, for which it is encoded twice,
    but for runs with `forgetting`. Batch norm takes its statistics from each micro-batch."""
    averaging: AveragingConfig | None = None
    """Weight averaging; null disables it."""
    rate_scales: dict[str, Nonnegative] = field(default_factory=dict)
    """Factor of the learning rate for parameters whose name begins with a prefix: {encoder: 0.05};
    0 freezes them."""
    rate_starts: dict[str, Whole] = field(default_factory=dict)
    """Number of steps in which parameters whose name begins with a prefix stay as they are:
    {encoder: 1000}, until new heads are no longer random."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type of the computation. bfloat16: autocast on devices that compute in it; parameters
    and sums stay in float32."""
    compile: bool = False
    """Whether units of encoders (blocks, stacks) are compiled by torch.compile, once for each
    length of batches: minutes at first, faster steps on accelerators, and other last digits."""
    graphs: bool = False
    """Whether kernels of compiled units are recorded as CUDA graphs, one for each length of
    batches, and started all at once: less work for the host, and memory for each of them."""

    def __post_init__(self) -> None:
        """Check that there is something to record.

        Raises:
            UserError: Nothing is compiled.
        """
        if self.graphs and not self.compile:
            raise UserError("loop.graphs is of compiled units: set loop.compile to true, too")

    @property
    def ends(self) -> str:
        """Say what depends on the number of steps, so that a run cannot be extended; or nothing."""
        schedule = self.optimizer.schedule
        if isinstance(schedule, (CosineConfig, HalvedConfig)):
            return f"its schedule ({schedule.kind}) ends with loop.steps; constant and eden do not"
        return "the mean of its weights is over its last steps" if self.averaging else ""


@dataclass(frozen=True, kw_only=True)
class LoopResources:
    """What does not change the result."""

    workers: int = 0
    """Number of processes that load batches beside each rank."""
    log_every: Count = 20
    """Number of steps between log lines."""
    save_every: Count = 500
    """Number of steps between checkpoints."""
    keep: Count = 2
    """Number of checkpoints to keep."""
    sharding: Sharding = "none"
    """Sharding of the parameters. full: parameters, gradients, moments and means of weights are
    spread over ranks (FSDP2). A run keeps to one, whatever the number of ranks."""


@dataclass(frozen=True)
class Place:
    """Where a run works."""

    folder: Path
    """Checkpoints, metrics.jsonl and TensorBoard's files go here."""
    device: torch.device
    resources: LoopResources
    log: logging.Logger


def train(method: nn.Module, source: BatchSource, config: LoopConfig, place: Place) -> None:
    """Train a method on batches, from the last checkpoint in the folder if there is one.

    Args:
        method: A `Method`; trained in place.
        source: Where batches come from.
        config: How long, and with which optimizer.
        place: Where.

    Raises:
        UserError: A loss or a gradient is not finite, or what is asked for does not go together.
        Preempted: A signal asked to stop; a checkpoint has been written.
    """
    spread = place.resources.sharding != "none" and distributed.world_size() > 1
    if spread and config.accumulate > 1 and isinstance(method, ContrastsBatch):
        raise UserError(
            "resources.sharding full cannot contrast a whole batch in micro-batches: set "
            "loop.accumulate to 1, or sharding to none"
        )
    if spread and config.compile:
        raise UserError("loop.compile is of whole parameters: set resources.sharding to none")
    if config.graphs:
        check_graphs(method, place.device)
    placed = _placed(method, place)
    units = compile_units(placed, graphs=config.graphs) if config.compile else []
    run = _Run(placed, config, place)
    state = read_last_checkpoint(place.folder, place.resources.sharding, run.layout())
    if state is not None:
        run.restore(state)
        place.log.info("going on after step %d", run.step)
    records = Records(place.folder, run.step, config.steps, place.log)
    try:
        with stop_flag() as flag:
            batches = stream(source, run.position, place.resources.workers, config.accumulate)
            while run.step < config.steps:
                batch, position = next(batches)
                run.update(batch)
                run.position = position
                records.step()
                run.keep_records(records, flag)
    finally:
        records.close()
        run.checkpoints.close()
        if config.graphs:
            release_units(units)
    run.finish()
    if run.method is not method:
        distributed.copy_whole(run.method, method.to(place.device))


def _placed(method: nn.Module, place: Place) -> nn.Module:
    """Bring a method to its device, or spread a copy of it over the ranks."""
    if place.resources.sharding == "none" or distributed.world_size() == 1:
        return method.to(place.device)
    # The method itself waits where it is, and is given the trained weights in the end.
    spread = copy.deepcopy(method)
    distributed.shard(spread, units_of(spread), place.device)
    return spread


class _Run:
    """A method in training, and where it stands."""

    def __init__(self, method: nn.Module, config: LoopConfig, place: Place) -> None:
        self.method, self.config, self.place = method, config, place
        self.model = distributed.parallel(method, place.device)
        self.optimizer = build_optimizer(
            config.optimizer, method, config.rate_scales, config.rate_starts
        )
        self.means = RunningMeans()
        resources = place.resources
        self.checkpoints = CheckpointWriter(place.folder, resources.keep, resources.sharding)
        self.step, self.position = 0, Position()
        self.headline_metrics: set[str] | None = None
        self.averager: Averager | None = None
        if config.averaging:
            encoder = method.get_submodule("encoder")
            self.averager = Averager(encoder, config.averaging, config.steps)

    def state(self) -> dict[str, Any]:
        """Return what must survive a crash."""
        return {
            "step": self.step,
            "position": asdict(self.position),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "means": self.means.state(),
            "average": self.averager.state() if self.averager else {},
        }

    def layout(self) -> dict[str, Tensor]:
        """Name the tensors of a state that are sharded as parameters are."""
        named = dict(self.method.named_parameters())
        layout: dict[str, Tensor] = {f"method/{name}": named[name] for name in named}
        groups = self.optimizer.param_groups
        for index, parameter in enumerate(p for group in groups for p in group["params"]):
            layout |= {f"optimizer/state/{index}/{key}": parameter for key in SHAPED_STATE}
        for name, parameter in named.items():
            for kind in ("mean", "start"):
                layout[f"average/{kind}/{name.removeprefix('encoder.')}"] = parameter
        return layout

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.step, self.position = state["step"], Position(**state["position"])
        self.method.load_state_dict(renamed(state["method"]))
        self.optimizer.load_state_dict(state["optimizer"])
        self.means.restore(state["means"])
        if self.averager:
            self.averager.restore(state["average"])

    def finish(self) -> None:
        """Leave the encoder with its mean weights, if they were asked for."""
        if self.averager and not self.averager.finish():
            period = self.averager.period
            self.place.log.warning("no mean of weights: the run is shorter than %d steps", period)

    def update(self, batch: Any) -> None:
        """Update the parameters once."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        results = self._backward(batch)
        weight = sum(losses.weight for losses in results)
        norm = self._scale_gradients(weight)
        loss = sum(float(losses.total.detach()) * losses.weight for losses in results)
        loss /= weight or 1.0
        if not distributed.all_ranks(math.isfinite(loss) and bool(norm.isfinite())):
            self._stop_at_nan(batch, loss, float(norm))
        optimizer = self.config.optimizer
        rate = optimizer.rate * rate_factor(optimizer.schedule, self.step, self.config.steps)
        for group in self.optimizer.param_groups:
            # Checkpoints of earlier versions have no start.
            group["lr"] = rate * group["scale"] * (self.step >= group.get("start", 0))
        self.optimizer.step()
        if isinstance(self.method, AfterUpdate):
            self.method.after_update()
        self._note(results, norm, rate)
        self.step += 1
        if self.averager:
            self.averager.after(self.step)

    def keep_records(self, records: Records, flag: StopFlag) -> None:
        """Log and save where it is time, and stop if somebody asked for it."""
        resources, end = self.place.resources, self.step == self.config.steps
        if self.step % resources.log_every == 0 or end:
            records.write(self.step, self.means.take(), self.headline_metrics)
        stop = distributed.any_rank(bool(flag) or self.checkpoints.failed)
        if self.step % resources.save_every == 0 or end or stop:
            self.checkpoints.write(self.step, self.state())
        if stop or end:
            self.checkpoints.wait()
        if stop and not end:
            raise Preempted

    def _backward(self, batch: Any) -> list[Losses]:
        """Add up the gradients of the micro-batches, each times its weight."""
        if self.config.accumulate > 1 and isinstance(self.method, ContrastsBatch):
            return [self._backward_in_two_passes(self.method, batch)]
        generator = seed_step(self.config.seed, self.step, self.place.device)
        start = generator.get_state()
        count, results = self.config.accumulate, []
        for index, micro_batch in enumerate(micro_batches(batch, count)):
            # Each draws for the whole batch, and keeps its own rows (`draw_rows`).
            generator.set_state(start)
            own = to_device(micro_batch, self.place.device)
            last = index == count - 1
            self._begin_forward()
            with distributed.synchronized(self.model, last), distributed.micro_batch(index, count):
                with _autocast(self.place.device, self.config.precision):
                    losses: Losses = self.model(own, self.step, generator)
                (losses.total * losses.weight).backward()
            results.append(losses)
        return results

    def _backward_in_two_passes(self, method: ContrastsBatch, batch: Any) -> Losses:
        """Contrast the whole batch, whose micro-batches are encoded one by one."""
        device, count = self.place.device, self.config.accumulate
        generator = seed_step(self.config.seed, self.step, device)
        start = generator.get_state()

        def encode(micro_batch: Any, index: int) -> Tensor:
            generator.set_state(start)
            own = to_device(micro_batch, device)
            self._begin_forward()
            with distributed.micro_batch(index, count), _autocast(device, self.config.precision):
                vectors = method.vectors(own, self.step, generator)
            # Those of all parts are kept; they may be what a unit gave.
            return vectors.clone() if self.config.graphs else vectors

        def contrast(vectors: Tensor) -> tuple[Losses, Tensor]:
            losses = method.contrast(vectors, batch, self.step)
            return losses, losses.total * losses.weight

        losses = backward_in_two_passes(
            self.method, micro_batches(batch, count), encode, contrast, device
        )
        distributed.average_gradients(self.method)
        return losses

    def _begin_forward(self) -> None:
        if self.config.graphs:
            begin_forward(self.method)

    def _scale_gradients(self, weight: float) -> Tensor:
        """Turn sums into means over the items of all micro-batches, and clip; return the norm."""
        distributed.average_whole(self.model)
        gradients = [p.grad for p in self.method.parameters() if p.grad is not None]
        shards = [distributed.local(gradient) for gradient in gradients]
        whole = torch.tensor(weight, dtype=torch.float64, device=self.place.device)
        # Gradients were averaged over ranks, and are to be divided by what all ranks summed.
        # Where nothing counted, they are zero.
        factor = distributed.world_size() / (float(distributed.total(whole)) or 1.0)
        torch._foreach_mul_(shards, factor)
        norm = distributed.norm(gradients)
        most = self.config.optimizer.clip_norm
        if most is not None:
            torch._foreach_mul_(shards, (most / (norm + 1e-12)).clamp(max=1.0))
        return norm

    def _note(self, results: list[Losses], norm: Tensor, rate: float) -> None:
        """Add the figures of a step to the running means."""
        headlines = results[0].headlines
        self.headline_metrics = (
            None if headlines is None else {"loss", "gradient_norm", "rate", *headlines}
        )
        for losses in results:
            self.means.add("loss", losses.total, losses.weight)
            for name, value in losses.metrics.items():
                self.means.add(name, value, losses.metric_weights.get(name, losses.weight))
        self.means.add("gradient_norm", norm, 1.0)
        self.means.add("rate", torch.tensor(rate, device=norm.device), 1.0)

    def _stop_at_nan(self, batch: Any, loss: float, norm: float) -> None:
        name = f"bad-batch-step-{self.step}-rank-{distributed.rank()}.pt"
        content = {k: v for k, v in vars(batch).items() if isinstance(v, (Tensor, str))}
        write_state(self.place.folder / name, content)
        raise UserError(
            f"step {self.step}: the loss is {loss} and the norm of its gradient {norm}, at batch "
            f"{self.position.batch} of epoch {self.position.epoch} (written to "
            f"{self.place.folder / name}): lower the rate, clip gradients (optimizer.clip_norm) or "
            "look at the batch, and begin again in another output"
        )


def seed_step(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Seed what a step draws, alike on all ranks: torch's global state, and a generator."""
    first, second = np.random.SeedSequence([seed, step]).generate_state(2, np.uint64)
    # torch takes signed 64-bit seeds.
    torch.manual_seed(int(first >> np.uint64(1)))
    return torch.Generator(device).manual_seed(int(second >> np.uint64(1)))


def _autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
