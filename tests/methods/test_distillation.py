import pytest
import torch
from torch import nn

from audiossl import distributed
from audiossl.batches import CropBatch, DataFacts, micro_batches
from audiossl.errors import UserError
from audiossl.methods.distillation import (
    Distillation,
    DistillationConfig,
    TeacherConfig,
    vectors_at,
)
from audiossl.methods.distortions import DistortionsConfig
from audiossl.models.encoder import Context, units_of
from audiossl.models.layered import Layered, LayeredConfig
from audiossl.nn.frames import Frames
from audiossl.teachers.teacher import FrozenTeacher
from audiossl.training.running_means import RunningMeans
from tests.methods.codes import SMALL

DOMAINS = ("speech", "music")
UNDISTORTED = DistortionsConfig(probability=0.0)


class Levels(FrozenTeacher):
    """Mean, power and largest value of each 50 ms; a clip has their means."""

    def __init__(self, sample_rate: int = 16000) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate, self.dim = sample_rate, 20.0, 3
        self.convention = "levels"
        self.batch_sizes: list[int] = []

    def forward(self, waveforms, lengths):
        self.batch_sizes.append(len(waveforms))
        windows = 100 * waveforms.unfold(1, self.sample_rate // 20, self.sample_rate // 20)
        vectors = torch.stack([windows.mean(2), windows.square().mean(2), windows.amax(2)], dim=2)
        counts = lengths * 20 // self.sample_rate
        pooled = torch.stack([row[:n].mean(0) for row, n in zip(vectors, counts, strict=True)])
        return Frames(vectors, counts, 20.0, pooled=pooled)


def _batch(rows: int = 8) -> CropBatch:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([16000, 12000] * (rows // 2))
    waveforms = torch.rand(rows, 1, generator=generator) * torch.randn(
        rows, 16000, generator=generator
    )
    waveforms *= torch.arange(16000) < lengths[:, None]
    return CropBatch(waveforms, lengths, torch.tensor([0, 0, 1, 1] * (rows // 4)))


def _method(networks=None, **settings) -> Distillation:
    torch.manual_seed(0)
    teachers = networks or {"levels": Levels()}
    config = DistillationConfig(
        **{
            "teachers": {name: TeacherConfig(source="") for name in teachers},
            "distortions": UNDISTORTED,
            **settings,
        }
    )
    encoder = Layered(LayeredConfig(network=SMALL, layers=(0, 2)))
    return Distillation(encoder, config, DataFacts(domains=DOMAINS, teachers=teachers))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_frames_are_interpolated_at_their_times():
    vectors = torch.tensor([[[0.0], [1.0], [4.0], [99.0]]])
    frames = Frames(vectors, torch.tensor([3]), 10.0)
    # Centers are at 0.05, 0.15 and 0.25 s; the fourth row is padding.
    times = torch.tensor([0.0, 0.05, 0.1, 0.2, 0.25, 0.9])
    found = vectors_at(frames, times[None])[0, :, 0]
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 0.5, 2.5, 4.0, 4.0]))


def test_the_loss_is_that_of_heads_that_say_nothing():
    method = _method(angle_weight=0.0)
    for heads in method.heads.values():
        for head in (heads.frames, heads.clip):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
    # Standardized targets have a mean square of 1; frames and clips count alike.
    assert float(method(_batch(), 0, _generator()).total.detach()) == pytest.approx(2.0, abs=0.01)


def test_the_teacher_is_learned():
    method = _method()
    optimizer = torch.optim.Adam(method.parameters(), 0.01)
    batch = _batch(8)
    losses = []
    for step in range(20):
        found = method(batch, step, _generator())
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
        losses.append(float(found.total.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert float(found.metrics["levels/clip_cosine"]) > 0.8


def test_only_crops_of_its_domains_and_long_enough_reach_a_teacher():
    teachers = {"all": Levels(), "music": Levels(), "long": Levels()}
    config = {
        "all": TeacherConfig(source=""),
        "music": TeacherConfig(source="", domains=("music",)),
        "long": TeacherConfig(source="", shortest=0.9),
    }
    method = _method(teachers, teachers=config)
    method(_batch(), 0, _generator())
    # What comes before is the silence of which heads learn their size.
    assert [teachers[name].batch_sizes[-1] for name in teachers] == [8, 4, 4]
    speech = micro_batches(_batch(), 4)[0]
    alone = method(
        CropBatch(speech.waveforms, speech.lengths, torch.zeros_like(speech.domains)),
        0,
        _generator(),
    )
    assert alone.total.isfinite()
    assert float(alone.metrics["music/frame_cosine"]) == 0.0


def test_teachers_encode_the_crop_and_the_student_its_distortion():
    quiet = DistortionsConfig(probability=1.0, gain=20.0, mixing_probability=1.0)
    plain, distorted = _method(), _method(distortions=quiet)
    batch = _batch()
    targets = [
        method._targets("levels", batch.waveforms, batch.lengths, batch.domains).frames.vectors
        for method in (plain, distorted)
    ]
    assert torch.equal(*targets)
    outputs = [
        method._student(batch.waveforms, batch.lengths, Context(generator=_generator())).vectors
        for method in (plain, distorted)
    ]
    assert not torch.allclose(*outputs, atol=0.1)


def test_speed_changes_length_for_both():
    method = _method(speeds=(1.0, 0.8, 1.25))
    batch = _batch()
    for step, (samples, first) in enumerate([(16000, 16000), (20000, 20000), (12800, 12800)]):
        waveforms, lengths = method._played(batch, step)
        assert waveforms.shape[1] == samples
        assert lengths[0] == first
        assert method(batch, step, _generator()).total.isfinite()


def test_teachers_of_other_rates_encode_resampled_crops():
    method = _method({"levels": Levels(22050)})
    assert method(_batch(), 0, _generator()).total.isfinite()


def test_teachers_are_no_part_of_the_state_and_have_no_gradient():
    teacher = Levels()
    teacher.weight = nn.Parameter(torch.ones(1), requires_grad=False)
    method = _method({"levels": teacher})
    assert not any("weight" in n and n.startswith("teachers") for n in method.state_dict())
    assert all(p is not teacher.weight for p in method.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"teachers": {"levels": TeacherConfig(source="", domains=("speechs",))}},
        {"mixtures": {"speechs": 0.5}},
    ],
)
def test_unknown_domains_are_named(settings):
    with pytest.raises(UserError, match=r"'speechs'.*did you mean"):
        _method(**settings)


def _loss_and_gradients(*, sharded=False):
    """The gradient of a batch of which ranks have a share; the first has all of the speech."""
    teachers = {
        "all": TeacherConfig(source=""),
        "speech": TeacherConfig(source="", domains=("speech",), weight=3.0, clip_weight=2.0),
        "long": TeacherConfig(source="", shortest=0.9),
    }
    method = _method({name: Levels() for name in teachers}, teachers=teachers)
    whole = _batch()
    lengths = torch.tensor([16000, 16000, 12000, 16000, 12000, 12000, 16000, 12000])
    domains = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    own = [distributed.own_rows(values) for values in (whole.waveforms, lengths, domains)]
    if sharded:
        distributed.shard(method, units_of(method), torch.device("cpu"))
    losses = method(CropBatch(*own), 0, _generator())
    losses.total.backward()
    means = RunningMeans()
    for name, value in losses.metrics.items():
        means.add(name, value, losses.metric_weights[name])
    if sharded:
        distributed.average_whole(method)
        gradients = [distributed.norm([p.grad for p in method.parameters() if p.requires_grad])]
    else:
        gradients = [distributed.mean(p.grad) for p in method.parameters() if p.requires_grad]
    return float(distributed.mean(losses.total)), means.take(), gradients


def _sharded():
    return _loss_and_gradients(sharded=True)


def test_one_process_and_two_agree_where_ranks_have_unequal_shares_of_targets(two_processes):
    loss, cosines, gradients = _loss_and_gradients()
    for other, figures, others in two_processes.run(_loss_and_gradients):
        assert other == pytest.approx(loss, rel=1e-5)
        assert figures == pytest.approx(cosines, abs=1e-5)
        for mine, theirs in zip(gradients, others, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-5)


def test_an_encoder_that_holds_another_is_sharded_once(two_processes):
    loss, cosines, gradients = _loss_and_gradients()
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    for other, figures, (norm_of_shards,) in two_processes.run(_sharded):
        assert other == pytest.approx(loss, rel=1e-5)
        assert figures == pytest.approx(cosines, abs=1e-5)
        torch.testing.assert_close(norm_of_shards, norm, rtol=1e-4, atol=0.0)


def test_a_batch_without_targets_of_a_teacher_has_no_part_in_its_figures():
    config = {"music": TeacherConfig(source="", domains=("music",))}
    method, batch = _method({"music": Levels()}, teachers=config), _batch()
    found = method(
        CropBatch(batch.waveforms, batch.lengths, torch.zeros_like(batch.domains)), 0, _generator()
    )
    assert float(found.metric_weights["music/frame_cosine"]) == 0.0
    assert float(found.total.detach()) == 0.0


def test_the_loss_is_added_up_in_single_precision_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        losses = _method()(_batch(), 0, _generator())
    assert losses.total.dtype == torch.float32
