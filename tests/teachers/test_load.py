import sys

import pytest
import torch

import audiossl
from audiossl.errors import UserError
from audiossl.teachers.dasheng import DashengTeacher
from audiossl.teachers.load import LAYERED, SCHEMES, load_teacher
from audiossl.teachers.spectral import LogMelTeacher
from audiossl.teachers.teacher import Teacher
from tests.teachers import tiny


def test_a_teacher_is_named_by_kind_and_path(tmp_path):
    assert load_teacher("log_mel:40").dim == 40
    assert load_teacher("mfcc:").dim == 39
    folder = tiny.save(tiny.networks()["hubert-base"], tmp_path)
    teacher = load_teacher(f"hf:{folder}")
    assert isinstance(teacher, Teacher)
    assert "hubert layer 3," in teacher.convention
    assert "hubert layer 2," in load_teacher(f"hf:{folder}#2").convention


def test_several_are_an_ensemble():
    both = load_teacher("log_mel:40+mfcc:")
    frames = both(torch.randn(1, 8000), torch.tensor([8000]))
    assert frames.vectors.shape[2] == 79


def test_the_same_kinds_are_encoders(tmp_path):
    folder = tiny.save(tiny.networks()["wavlm-large"], tmp_path)
    encoder = audiossl.load_encoder(f"hf:{folder}")
    assert "output behind the final norm" in encoder.convention
    assert isinstance(audiossl.load_encoder("log_mel:"), LogMelTeacher)


def test_says_which_kinds_there_are():
    with pytest.raises(UserError, match=r"unknown kind of teacher 'hff'; did you mean 'hf'"):
        load_teacher("hff:x")
    with pytest.raises(UserError, match=r"unknown kind of teacher 'exp/run'.*load_encoder"):
        load_teacher("exp/run")
    with pytest.raises(UserError, match="mfcc teachers have no layers to choose from"):
        load_teacher("mfcc:x#3")
    assert set(LAYERED) < set(SCHEMES)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "audiossl.teachers.huggingface", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs transformers.*audiossl\[teachers\]"):
        load_teacher("hf:x")


def test_no_teacher_needs_anothers_packages(monkeypatch):
    # Dasheng and the wheels' networks are written here: torch and torchaudio suffice.
    for name in ("transformers", "dasheng", "resemblyzer", "aisfx", "librosa"):
        monkeypatch.setitem(sys.modules, name, None)
    assert DashengTeacher is not None
    with pytest.raises(UserError, match="no such file"):
        load_teacher("dasheng:none.pt")
