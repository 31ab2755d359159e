"""Small networks of real architectures with random weights, saved as users have them."""

import json
import zlib

import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2ForPreTraining,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
PRE_NORM = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}


def _filled(network):
    """Weights that hang on their names alone; biases and norms differ from 0 and 1, as trained."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2:
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
            elif name.endswith("original0"):
                parameter.copy_(2.0 + 0.1 * noise)
            else:
                parameter.copy_(noise / (parameter.numel() / len(parameter)) ** 0.5)
    return network


def networks():
    small_codebook = {"codevector_dim": 8, "proj_codevector_dim": 8, "num_codevectors_per_group": 4}
    made = {
        "wavlm-base": WavLMModel(WavLMConfig(**SIZES)),
        "wavlm-large": WavLMModel(WavLMConfig(**SIZES, **PRE_NORM)),
        "hubert-base": HubertModel(HubertConfig(**SIZES)),
        "hubert-large": HubertModel(HubertConfig(**SIZES, **PRE_NORM)),
        "wav2vec2-base": Wav2Vec2ForPreTraining(Wav2Vec2Config(**SIZES, **small_codebook)),
        "data2vec-audio": Data2VecAudioModel(
            Data2VecAudioConfig(**{**SIZES, "num_conv_pos_embeddings": 3}, conv_pos_kernel_size=5)
        ),
        "w2v-bert": Wav2Vec2BertModel(
            Wav2Vec2BertConfig(
                hidden_size=32,
                num_hidden_layers=3,
                num_attention_heads=2,
                intermediate_size=64,
                conv_depthwise_kernel_size=5,
            )
        ),
        "whisper": WhisperForConditionalGeneration(
            WhisperConfig(
                vocab_size=40,
                d_model=32,
                encoder_layers=3,
                encoder_attention_heads=2,
                encoder_ffn_dim=64,
                decoder_layers=1,
                decoder_attention_heads=2,
                decoder_ffn_dim=32,
                max_source_positions=50,
                max_target_positions=20,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                decoder_start_token_id=1,
            )
        ),
    }
    return {name: _filled(network.eval()) for name, network in made.items()}


def save(network, folder, *, normalize=True):
    network.save_pretrained(folder)
    settings = {"do_normalize": normalize, "sampling_rate": 16000}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
