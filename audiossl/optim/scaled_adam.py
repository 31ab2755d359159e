"""ScaledAdam: Adam whose updates are relative to the size of each tensor, and which learns sizes.

A tensor of more than one element is changed in two ways: by an Adam update times its root mean
square, and by an Adam update of the logarithm of its scale. Gradients are clipped at a multiple of
the median of recent norms, which are relative to sizes too.

Source: Zipformer (Yao et al., 2024), section 3.5 and appendix, and its public implementation, which
is followed to the digit. Tensors of one shape are updated together; the state is that of each.

Tensors may be sharded over ranks: each rank updates its shards, and what is of a whole tensor, its
size and the sums behind changes of size, is added up over ranks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from audiossl import distributed

SIZE_PERIOD = 4
"""Steps from one update of sizes to the next."""
CLIPPING_PERIOD = 100
"""Steps from one change of the clipping threshold to the next, and norms it is found from."""
SCALAR_LIMIT = 10.0
"""Parameters of one element stay within ± this."""
TINY = 1e-20
SHAPED_STATE = ("delta", "square")
"""What is kept for each element of a parameter, and is sharded as it is."""
STATE = (*SHAPED_STATE, "rms", "scale_square", "scale_gradients")
"""What is kept for each parameter."""


class ScaledAdam(Optimizer):
    """Adam with updates relative to the size of each tensor.

    Learning rates are large beside those of Adam: 0.045 is usual.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.03,
        *,
        clipping_scale: float | None = 2.0,
        betas: tuple[float, float] = (0.9, 0.98),
        scalar_lr_scale: float = 0.1,
        eps: float = 1e-8,
        param_rms: tuple[float, float] = (1e-5, 3.0),
    ) -> None:
        """Prepare to train `params`.

        Args:
            params: Tensors, or groups of them as torch's optimizers take them.
            lr: Learning rate.
            clipping_scale: Norms are clipped at this multiple of their median; None: never.
            betas: Decay of the mean of gradients and of their squares.
            scalar_lr_scale: Multiplies the rate of sizes and of parameters of one element.
            eps: Added to the root of mean squares.
            param_rms: Least and greatest root mean square of a tensor.

        Raises:
            ValueError: A decay is not in [0, 1).
        """
        if not 0.0 <= betas[0] < 1.0 or not 0.0 <= betas[1] < 1.0:
            raise ValueError(f"betas must be in [0, 1), found {betas}")
        defaults = {
            "lr": lr,
            "clipping_scale": clipping_scale,
            "betas": betas,
            "scalar_lr_scale": scalar_lr_scale,
            "eps": eps,
            "param_rms": param_rms,
            "step": 0,
        }
        self._stacks: list[list[_Stack]] | None = None
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Train more parameters, with a step count and a clipping threshold of their own."""
        super().add_param_group(param_group)
        self._stacks = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        super().load_state_dict(state_dict)
        self._stacks = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters from their gradients; one without counts as zero."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._stacks is None:
            self._stacks = [_stacks(group, self.state) for group in self.param_groups]
        for group, stacks in zip(self.param_groups, self._stacks, strict=True):
            gradients = [stack.gradients() for stack in stacks]
            _clip(group, stacks, gradients)
            for stack, gradient in zip(stacks, gradients, strict=True):
                _update(group, stack, gradient)
            group["step"] += 1
        return loss


@dataclass
class _Stack:
    """Parameters of one shape, and their state, stacked; the states of each are views of it.

    Of sharded parameters, this rank's shards are stacked, which may be empty.
    """

    params: list[Tensor]
    delta: Float[Tensor, "count *shape"]
    """Change of the last step: the momentum."""
    square: Float[Tensor, "count *shape"]
    """Mean square of gradients."""
    rms: Float[Tensor, " count"]
    """Root mean square of each parameter, as it was at the last update of sizes."""
    scale_square: Float[Tensor, " count"]
    """Mean square of gradients by the logarithm of scale."""
    scale_gradients: Float[Tensor, "count period"]
    """These gradients since the last update of sizes."""

    def gradients(self) -> Float[Tensor, "count *shape"]:
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.params]
        return torch.stack([distributed.local(grad) for grad in grads])

    def sums(self, values: Float[Tensor, "count *shape"]) -> Float[Tensor, " count"]:
        """Add up the elements of each parameter, all ranks' shards of it."""
        sums = _flat(values).sum(dim=1)
        return distributed.total(sums) if self.is_sharded else sums

    @property
    def is_sharded(self) -> bool:
        return distributed.is_sharded(self.params[0])

    @property
    def is_scalar(self) -> bool:
        return self.params[0].numel() == 1


def _stacks(group: dict[str, Any], state: dict[Tensor, dict[str, Tensor]]) -> list[_Stack]:
    by_shape: dict[Any, list[Tensor]] = defaultdict(list)
    for param in group["params"]:
        kind = (param.shape, param.dtype, param.device, distributed.is_sharded(param))
        by_shape[kind].append(param)
    stacks = []
    for params in by_shape.values():
        for param in params:
            if not state[param]:
                state[param] = _first_state(param)
        stacked = {
            key: torch.stack([distributed.local(state[p][key]) for p in params]) for key in STATE
        }
        stack = _Stack(params, **stacked)
        for key, values in stacked.items():
            for param, value in zip(params, values, strict=True):
                shaped = key in SHAPED_STATE
                state[param][key] = distributed.sharded_like(value, param) if shaped else value
        stacks.append(stack)
    return stacks


def _first_state(param: Tensor) -> dict[str, Tensor]:
    here = distributed.local(param)
    square = here.square().sum()
    if distributed.is_sharded(param):
        square = distributed.total(square)
    return {
        "delta": torch.zeros_like(param),
        "square": torch.zeros_like(param),
        "rms": (square / param.numel()).sqrt(),
        "scale_square": here.new_zeros(()),
        "scale_gradients": here.new_zeros(SIZE_PERIOD),
    }


def _clip(group: dict[str, Any], stacks: list[_Stack], gradients: list[Tensor]) -> None:
    """Scale gradients down where their norm is large beside recent ones; zero where not finite.

    Nothing is asked back from the device.
    """
    if group["clipping_scale"] is None or not stacks:
        return
    norms = [
        torch.linalg.vector_norm(_flat(gradient), dim=1) * (1.0 if stack.is_scalar else stack.rms)
        for stack, gradient in zip(stacks, gradients, strict=True)
    ]
    sharded = [stack.is_sharded for stack in stacks for _ in stack.params]
    norm = distributed.norm_of_norms(torch.cat(norms), sharded)
    finite = torch.isfinite(norm)
    scale = _clipping_factor(group, torch.where(finite, norm, torch.inf))
    for gradient in gradients:
        # Infinity times zero is not zero: it is replaced.
        gradient.mul_(scale).masked_fill_(~finite, 0.0)


def _clipping_factor(group: dict[str, Any], norm: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Remember a norm, and find by what the gradients it is of are multiplied."""
    step = group["step"]
    if step == 0:
        group["norms"] = norm.new_zeros(CLIPPING_PERIOD)
        return torch.ones_like(norm)
    group["norms"] = recent = group["norms"].to(norm.device)
    recent[step % CLIPPING_PERIOD] = norm
    if step % CLIPPING_PERIOD == 0:
        group["threshold"] = group["clipping_scale"] * _median(recent)
    if step < CLIPPING_PERIOD:
        return torch.ones_like(norm)
    return (group["threshold"].to(norm.device) / norm.clamp(min=TINY)).clamp(max=1.0)


def _median(norms: Float[Tensor, " norms"]) -> Float[Tensor, ""]:
    """Find the median of the norms above zero, the larger middle one; infinity if there is none.

    Batches in which nothing counts have a norm of zero: a threshold of zero would stop training.
    """
    zeros = (norms == 0).sum()
    middle = (zeros + (len(norms) - zeros) // 2).clamp(max=len(norms) - 1)
    median = norms.sort().values[middle]
    return torch.where(median > 0, median, torch.inf)


def _update(group: dict[str, Any], stack: _Stack, gradient: Tensor) -> None:
    mean_decay, square_decay = group["betas"]
    step, rate = group["step"], group["lr"]
    shards = [distributed.local(param) for param in stack.params]
    params = torch.stack(shards)
    stack.delta.mul_(mean_decay)
    factor: float | Tensor = -rate * (1.0 - mean_decay)
    if stack.is_scalar:
        factor *= group["scalar_lr_scale"]
        params.clamp_(-SCALAR_LIMIT, SCALAR_LIMIT)
    else:
        stack.scale_gradients[:, step % SIZE_PERIOD] = stack.sums(params * gradient)
        if step % SIZE_PERIOD == SIZE_PERIOD - 1:
            _update_size(group, stack, params)
        factor = _like(stack.rms.clamp(min=group["param_rms"][0]) * factor, params)
    stack.square.mul_(square_decay).addcmul_(gradient, gradient, value=1.0 - square_decay)
    correction = 1.0 - square_decay ** (step + 1)
    unbiased = stack.square / correction if correction < 0.99 else stack.square
    stack.delta.add_(gradient.div_(unbiased.sqrt().add_(group["eps"])).mul_(factor))
    params.add_(stack.delta)
    torch._foreach_copy_(shards, list(params.unbind()))


def _update_size(group: dict[str, Any], stack: _Stack, params: Tensor) -> None:
    """Let the change of the logarithm of each parameter's scale into `delta`."""
    mean_decay, square_decay = group["betas"]
    least, greatest = group["param_rms"]
    period_decay = square_decay**SIZE_PERIOD
    stack.rms.copy_((stack.sums(params.square()) / stack.params[0].numel()).sqrt())
    gradients = stack.scale_gradients
    mean_square = gradients.square().mean(dim=1)
    stack.scale_square.mul_(period_decay).add_(mean_square, alpha=1.0 - period_decay)
    correction = 1.0 - square_decay ** (group["step"] + 1)
    rate = -group["lr"] * group["scalar_lr_scale"] * correction**0.5
    change = rate * gradients.sum(dim=1) / (stack.scale_square.sqrt() + group["eps"])
    # Tiny parameters grow by their own updates only; large ones do not grow beyond the limit.
    change.masked_fill_(stack.rms < least, 0.0)
    change = torch.minimum(change, (greatest - stack.rms) / stack.rms)
    stack.delta.add_(params * _like(change, params), alpha=1.0 - mean_decay)


def _flat(stacked: Tensor) -> Float[Tensor, "count elements"]:
    # The number of elements is said: a shard without any could have any shape.
    return stacked.reshape(len(stacked), stacked[0].numel())


def _like(values: Float[Tensor, " count"], stacked: Tensor) -> Tensor:
    return values.view(-1, *[1] * (stacked.ndim - 1))
