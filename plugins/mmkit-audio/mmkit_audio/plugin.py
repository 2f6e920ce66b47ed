"""What this plugin offers. Imports no torch."""

from mmkit import Component, Importer, Renderer, ReportSection, hookimpl


def _encoder(name: str, module: str, config: str, summary: str) -> Component:
    return Component(
        kind="encoder",
        name=name,
        summary=summary,
        builder=f"mmkit_audio.{module}:build",
        config=f"mmkit_audio.config:{config}",
        modality="audio",
        cases=f"mmkit_audio.conformance:{name.replace('-', '_')}",
    )


def _codec(name: str, module: str, config: str, summary: str) -> Component:
    return Component(
        kind="vocabulary",
        name=name,
        summary=summary,
        builder=f"mmkit_audio.{module}:build",
        config=f"mmkit_audio.codec_config:{config}",
        modality="audio",
        cases=f"mmkit_audio.codec_conformance:{module}",
    )


CODECS = [
    Component(
        kind="encoder",
        name="fsq-audio",
        summary="Log-mel and convolutions, rounded to a few steps: the encoder of a codec to be trained.",
        builder="mmkit_audio.fsq_audio:build",
        config="mmkit_audio.codec_config:FsqAudioConfig",
        modality="audio",
        cases="mmkit_audio.codec_conformance:fsq_audio",
    ),
    Component(
        kind="head",
        name="rebuild-mel",
        summary="The sound that an encoder read, from its rows: log-mel frames, and Griffin-Lim.",
        builder="mmkit_audio.rebuild_mel:build",
        config="mmkit_audio.codec_config:RebuildMelConfig",
        cases="mmkit_audio.codec_conformance:rebuild_mel",
    ),
    _codec(
        "audio-codes", "audio_codes", "AudioCodesConfig", "Sounds as codes of a model trained with fsq-audio, and back."
    ),
    _codec(
        "hf-audio-codes",
        "hf_audio_codes",
        "HfAudioCodesConfig",
        "Sounds as codes of EnCodec, Mimi or DAC of transformers, and back.",
    ),
]


@hookimpl
def mmkit_components() -> list[Component]:
    """Encoders and codecs of sound, frames that heads write, and a metric of generated sound."""
    return [
        _encoder("log-mel", "log_mel", "LogMelConfig", "Log-mel spectrogram, computed on the model's device."),
        _encoder("conformer", "conformer", "ConformerConfig", "Log-mel and torchaudio's Conformer, from scratch."),
        _encoder(
            "hf-audio", "hf_audio", "HfAudioConfig", "Audio encoders of transformers: Whisper, wav2vec 2.0, HuBERT …"
        ),
        *CODECS,
        Component(
            kind="continuous",
            name="mel-frames",
            summary="A sound as log-mel frames, for heads that write vectors; back by Griffin-Lim.",
            builder="mmkit_audio.mel_frames:build",
            config="mmkit_audio.config:MelFramesConfig",
            modality="audio",
            cases="mmkit_audio.conformance:mel_frames",
        ),
        Component(
            kind="metric",
            name="mel-distance",
            summary="Distance of predicted sounds to their references: log-mel and mel-cepstral, in decibels.",
            builder="mmkit_audio.mel_distance:build",
            config="mmkit_audio.metric_config:MelDistanceConfig",
            cases="mmkit_audio.conformance:mel_distance",
        ),
    ]


@hookimpl
def mmkit_report_sections() -> list[ReportSection]:
    """What the model heard."""
    return [ReportSection("sounds", "Sounds", "mmkit_audio.report:sounds")]


@hookimpl
def mmkit_renderers() -> list[Renderer]:
    """What the model said."""
    made = "mmkit_audio.render"
    drawn = "mmkit_audio.attribution:draw"
    return [Renderer("audio", f"{made}:takes", f"{made}:html", f"{made}:file", media="audio/wav", attribution=drawn)]


@hookimpl
def mmkit_importers() -> list[Importer]:
    """Models that hear."""
    return [Importer("whisper", "Whisper's encoder, and its decoder.", "mmkit_audio.whisper:read")]
