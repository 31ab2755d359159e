"""Which entries to add up: the beam search of the direct-sum quantizer, over inner products.

A frame x is approximated by a sum of entries, one of each codebook. Let z_n be the current choice
and e = Σ z_n - x its error. Replacing z_n by the entry c moves the error by δ = c - z_n and changes
its square by

    change(δ) = ‖e + δ‖² - ‖e‖² = 2⟨δ, e⟩ + ‖δ‖².

For disjoint sets A and B of codebooks, with moves δ_A and δ_B that are sums of such δ,

    change(δ_A + δ_B) = change(δ_A) + change(δ_B) + 2⟨δ_A, δ_B⟩.

So codebooks are merged in neighboring pairs, pairs of pairs and so on, and after each merge only
the best few candidates of each group stay: the search of the public `multi_quantization` library
(`Quantizer._refine_indexes`), with the same widths and therefore the same codes.

Where we leave the source: it gathers the moved vectors and multiplies them, 87 MB of memory
traffic a frame for 16 codebooks of 1024 dimensions. Here every product is a sum of products
between entries, which are computed once for all frames, and between entries and the frame. A frame
that a pass has left as it was would be left so by all further passes, and is not looked at again.
"""

from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor


@dataclass(frozen=True)
class EntryProducts:
    """Inner products between entries; an entry is numbered `codebook * codebook_size + code`."""

    between: Float[Tensor, "entries entries"]
    """Products of every entry with every other."""
    within: Float[Tensor, "entries codebook_size"]
    """Products of every entry with those of its own codebook."""

    @property
    def codebook_size(self) -> int:
        """Entries a codebook has."""
        return self.within.shape[1]


def entry_products(entries: Float[Tensor, "codebooks size dim"]) -> EntryProducts:
    """Compute all inner products between entries; entries around zero lose the fewest digits."""
    num_codebooks, size, _ = entries.shape
    flat = entries.flatten(0, 1)
    between = flat @ flat.T
    blocks = between.view(num_codebooks, size, num_codebooks, size)
    within = torch.cat([blocks[n, :, n] for n in range(num_codebooks)])
    return EntryProducts(between, within)


def beam_search(
    codes: Int64[Tensor, "frames codebooks"],
    with_frames: Float[Tensor, "frames entries"],
    products: EntryProducts,
    *,
    refinements: int,
) -> Int64[Tensor, "frames codebooks"]:
    """Improve `codes` by up to `refinements` passes of the search.

    Args:
        codes: Where to start.
        with_frames: Inner product of each entry with each frame.
        products: Inner products between entries.
        refinements: Passes; 0 returns `codes`.

    Example:
        >>> entries = torch.tensor([[[0.0], [3.0]], [[0.0], [1.0]]])  # 2 codebooks of 2 entries
        >>> frames, start = torch.tensor([[4.0]]), torch.tensor([[0, 0]])
        >>> with_frames = frames @ entries.view(4, 1).T
        >>> beam_search(start, with_frames, entry_products(entries), refinements=1)
        tensor([[1, 1]])
    """
    codes = codes.clone()
    moving = torch.arange(len(codes), device=codes.device)
    for _ in range(refinements):
        refined = refine(codes[moving], with_frames[moving], products)
        changed = (refined != codes[moving]).any(dim=1)
        codes[moving] = refined
        moving = moving[changed]
        if not len(moving):
            break
    return codes


def refine(
    codes: Int64[Tensor, "frames codebooks"],
    with_frames: Float[Tensor, "frames entries"],
    products: EntryProducts,
) -> Int64[Tensor, "frames codebooks"]:
    """Search once for entries whose sum is nearer to the frame than that of `codes`."""
    size = products.codebook_size
    first = torch.arange(codes.shape[1], device=codes.device) * size
    # 32-bit numbers of entries are looked up three times as fast, and suffice for 46340 entries.
    old = (codes + first).int()
    beam = _leaves(old, with_frames, products)
    while beam.entries.shape[1] > 1:
        beam = _merged(beam, old, products)
    return beam.entries[:, 0, 0].long() - first


@dataclass(frozen=True)
class _Beam:
    """The best candidates of each group of codebooks."""

    change: Float[Tensor, "frames groups width"]
    """Change of the squared error by each candidate alone."""
    entries: Int32[Tensor, "frames groups width leaves"]
    """The entries it consists of, one of each codebook of the group."""


def _leaves(
    old: Int32[Tensor, "frames codebooks"],
    with_frames: Float[Tensor, "frames entries"],
    products: EntryProducts,
) -> _Beam:
    """Begin with groups of one codebook each."""
    size = products.codebook_size
    norms = products.between.diagonal()
    with_error = F.embedding_bag(old, products.between, mode="sum") - with_frames
    with_error = with_error.view(*old.shape, size)
    current = (old % size).long()[..., None]
    distance = norms.view(-1, size) + norms[old][..., None] - 2 * products.within[old]
    change = 2 * (with_error - with_error.gather(2, current)) + distance
    change, pick = _best(change, _beam_width(old.shape[1], size, _width(size, leaves=1)))
    return _Beam(change, (old[..., None] - current + pick)[..., None].int())


def _merged(beam: _Beam, old: Int32[Tensor, "frames codebooks"], products: EntryProducts) -> _Beam:
    """Join neighboring groups: every pair of their candidates is one of the new group's."""
    num_frames, num_groups, width, leaves = beam.entries.shape
    num_best = _beam_width(
        num_groups // 2, width * width, _width(products.codebook_size, 2 * leaves)
    )
    if _is_fusible(products.between, width):
        from audiossl.quantization.beam_triton import merged  # only where there is CUDA

        return _Beam(*merged(beam.change, beam.entries, old, products.between, num_best))
    choices = old.view(num_frames, num_groups, 1, leaves)
    # The current choice comes last, so that moves can be measured from it.
    candidates = torch.cat([beam.entries, choices], dim=2)
    cross = _products_of_moves(candidates[:, 0::2], candidates[:, 1::2], products.between)
    change = beam.change[:, 0::2, :, None] + beam.change[:, 1::2, None, :] + 2 * cross
    change, pick = _best(change.flatten(2), num_best)
    pick = pick[..., None].expand(-1, -1, -1, leaves)
    left = beam.entries[:, 0::2].gather(2, pick // width)
    right = beam.entries[:, 1::2].gather(2, pick % width)
    return _Beam(change, torch.cat([left, right], dim=3))


def _products_of_moves(
    left: Int32[Tensor, "frames groups rows leaves"],
    right: Int32[Tensor, "frames groups columns leaves"],
    between: Float[Tensor, "entries entries"],
) -> Float[Tensor, "frames groups moves_left moves_right"]:
    """Multiply sums of entries, each less the sum that stands last."""
    table = between.view(-1)
    sums = table.new_zeros((*left.shape[:3], right.shape[2]))
    for row in (left * len(between)).unbind(3):
        for column in right.unbind(3):
            places = row[..., :, None] + column[..., None, :]
            sums += table.index_select(0, places.view(-1)).view(places.shape)
    sums = sums[:, :, :-1] - sums[:, :, -1:]
    return sums[..., :-1] - sums[..., -1:]


def _best(
    change: Float[Tensor, "frames groups candidates"], num_best: int
) -> tuple[Float[Tensor, "frames groups best"], Int64[Tensor, "frames groups best"]]:
    """Find the candidates that lower the error most."""
    best = change.topk(num_best, dim=2, largest=False, sorted=False)
    return best.values, best.indices


def _beam_width(num_groups: int, num_candidates: int, width: int) -> int:
    """Count the candidates that stay: of the last group the best alone."""
    return 1 if num_groups == 1 else min(width, num_candidates)


def _is_fusible(between: Float[Tensor, "entries entries"], width: int) -> bool:
    power_of_two = width & (width - 1) == 0
    fits = between.is_cuda and between.dtype == torch.float32 and power_of_two
    return fits and find_spec("triton") is not None


def _width(codebook_size: int, leaves: int) -> int:
    """Number of candidates that a group of `leaves` codebooks keeps: doubles with each factor 4."""
    narrowest = 8 if codebook_size <= 16 else 16
    return min(128, narrowest << (leaves.bit_length() - 1) // 2)
