"""What is written is opened by the programs it is for. They are large, and no part of the extras:

python -m pip install xares mteb espnet-s3prl kaldi_native_io kaldiio
"""

import importlib

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

from audiossl import embed, load_encoder
from audiossl.pretrained.embed import embed_files
from tests.pretrained.exports.exported import KINDS, export, export_apart, make_encoders, module_of

pytestmark = [
    pytest.mark.long,
    # Of the consumers, about themselves.
    pytest.mark.filterwarnings("ignore"),
]
SOUND = 0.1 * torch.randn(2, 50000, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return make_encoders(tmp_path_factory.mktemp("encoders"))


def consumer(module: str, package: str):
    """Import what opens an export; whoever lacks it is told what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        pytest.fail(f"needs {error.name}: python -m pip install {package}", pytrace=False)


@pytest.mark.parametrize("kind", KINDS)
def test_xares_accepts_and_loads_the_encoder(encoders, tmp_path, capsys, monkeypatch, kind):
    checker = consumer("xares.audio_encoder_checker", "xares")
    utils = consumer("xares.utils", "xares")
    export(encoders / kind, tmp_path / f"out_{kind}", "xares", capsys)
    monkeypatch.syspath_prepend(str(tmp_path))
    encoder = utils.attr_from_py_path(f"out_{kind}/xares_encoder.py", endswith="Encoder")()
    assert checker.check_audio_encoder(encoder)
    found = embed_files(list(SOUND), str(encoders / kind), frames=True, device="cpu")
    assert_close(encoder(SOUND), torch.stack(found.values))


def test_mteb_evaluates_the_model(encoders, tmp_path, capsys, monkeypatch):
    mteb = consumer("mteb", "'mteb>=2.8'")
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "cache"))
    export(encoders / "layered", tmp_path / "out", "mteb", capsys)
    model = module_of(tmp_path / "out" / "mteb_model.py").load_model()
    meta = model.mteb_model_meta
    assert meta.embed_dim == load_encoder(encoders / "layered").clip_dim
    result = mteb.evaluate(model, _noise_or_tone(mteb), cache=None, show_progress_bar=False)
    assert result.task_results[0].get_score() == 1.0
    clips = [{"audio": {"array": row.numpy(), "sampling_rate": 16000}} for row in SOUND]
    vectors = model.encode(torch.utils.data.DataLoader(clips, batch_size=2))
    expected = embed(list(SOUND), str(encoders / "layered"), device="cpu")
    assert_close(torch.from_numpy(np.asarray(vectors)), expected)


def _noise_or_tone(mteb):
    """A task of two classes of sound, without a network."""
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.classification import AbsTaskClassification

    class NoiseOrTone(AbsTaskClassification):
        input_column_name, label_column_name = "audio", "label"
        metadata = mteb.TaskMetadata(
            name="NoiseOrTone", description="Noise or a tone.", reference=None,
            dataset={"path": "nowhere", "revision": "1"}, type="AudioClassification",
            category="a2c", eval_splits=["test"], eval_langs=["zxx-Zxxx"],
            main_score="accuracy", date=None, domains=None, task_subtypes=None, license=None,
            annotations_creators=None, dialect=[], modalities=["audio"], sample_creation=None,
            bibtex_citation=None,
        )  # fmt: skip

        def load_data(self, **options):
            generator = np.random.default_rng(0)
            time = np.arange(16000) / 16000
            splits = {}
            for split in ("train", "test"):
                labels = [0, 1] * 12
                sounds = [
                    0.1 * (generator.normal(size=16000), np.sin(3000 * time))[label]
                    for label in labels
                ]
                audio = [{"array": sound, "sampling_rate": 16000} for sound in sounds]
                splits[split] = Dataset.from_dict({"audio": audio, "label": labels})
            self.dataset, self.data_loaded = DatasetDict(splits), True

    return NoiseOrTone()


@pytest.mark.parametrize("kind", KINDS)
def test_s3prl_takes_the_upstream(encoders, tmp_path, capsys, kind):
    hub = consumer("s3prl.hub", "espnet-s3prl")
    nn = consumer("s3prl.nn", "espnet-s3prl")
    export(encoders / kind, tmp_path / "out", "s3prl", capsys)
    hub.audiossl_local = module_of(tmp_path / "out" / "hubconf.py").audiossl_local
    upstream = nn.S3PRLUpstream("audiossl_local").eval()
    hidden, lengths = upstream(SOUND, torch.tensor([50000, 30000]))
    assert upstream.num_layers == len(hidden)
    featurizer = nn.Featurizer(upstream)
    weighted, _ = featurizer(hidden, lengths)
    assert weighted.shape == hidden[0].shape


def test_lhotse_and_kaldi_read_the_archives(encoders, tmp_path, capsys):
    native = consumer("kaldi_native_io", "kaldi_native_io")
    kaldiio = consumer("kaldiio", "kaldiio")
    import lhotse

    soundfile.write(tmp_path / "a.wav", SOUND[0].numpy(), 16000, subtype="FLOAT")
    out = tmp_path / "out"
    export(encoders / "zipformer", out, "features", capsys, "--clips", str(tmp_path / "a.wav"))
    expected = embed_files(tmp_path / "a.wav", str(encoders / "zipformer"), frames=True)
    with native.SequentialFloatMatrixReader(f"scp:{out / 'feats.scp'}") as reader:
        (matrix,) = (np.array(value) for _, value in reader)  # the reader's memory is its own
    np.testing.assert_array_equal(matrix, expected.values[0].numpy())
    (again,) = kaldiio.load_scp(str(out / "feats.scp")).values()
    np.testing.assert_array_equal(again, matrix)
    (features,) = lhotse.FeatureSet.from_file(out / "features.jsonl.gz")
    np.testing.assert_array_equal(features.load(), matrix)


@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize("kind", [*KINDS, "audiossl:small", "mfcc:", "log_mel_statistics:"])
def test_graphs_of_every_kind(encoders, tmp_path, kind, form):
    source = kind if ":" in kind else encoders / kind
    (difference,) = export_apart([(source, tmp_path / "out", form)])
    assert difference < 1e-2
    if form == "onnx":
        linear = kind in KINDS[1:] or kind == "audiossl:small"
        assert (tmp_path / "out" / "model.int8.onnx").exists() == linear


def test_a_program_is_compiled_ahead_of_time(encoders, tmp_path):
    export_apart([(encoders / "zipformer", tmp_path / "out", "torch")])
    program = torch.export.load(tmp_path / "out" / "model.pt2")
    path = str(tmp_path / "model.aoti.pt2")
    torch._inductor.aoti_compile_and_package(program, package_path=path)
    compiled = torch._inductor.aoti_load_package(path)
    lengths = torch.tensor([50000, 30000])
    frames = load_encoder(encoders / "zipformer")(SOUND, lengths)
    vectors, counts, _ = compiled(SOUND, lengths)
    assert_close(counts, frames.lengths)
    assert_close(vectors[0], frames.vectors[0], rtol=1e-3, atol=1e-4)
