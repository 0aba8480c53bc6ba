"""Overriding config fields by key, and round trips through YAML."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seqlab.models import (
    CnnConfig,
    CnnEncoderConfig,
    EncoderConfig,
    EncoderLmConfig,
    EncoderPredictorConfig,
    FrequencyLabellerConfig,
    GaussianClassifierConfig,
    LabelerConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
    NgramConfig,
    RecognizerConfig,
    RecordingLabelerConfig,
    RecurrentConfig,
    RecurrentEncoderConfig,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtcConfig,
    TransformerEncoderConfig,
    TransformerLmConfig,
    TransformerNatConfig,
)
from seqlab.models.table import TableConfig
from seqlab.objectives import (
    AbsoluteErrorConfig,
    CmlmConfig,
    CrossEntropyConfig,
    CtcConfig,
    HuberConfig,
    MinimumRiskConfig,
    ParallelCrossEntropyConfig,
    PolicyGradientConfig,
    RDropConfig,
    ScheduledSamplingConfig,
    SigmoidConfig,
    SoftmaxConfig,
    SquaredErrorConfig,
)
from seqlab.optim import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    ConstantScheduleConfig,
    CosineScheduleConfig,
    ExponentialScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    MuonConfig,
    OneCycleScheduleConfig,
    OptimConfig,
    PlateauScheduleConfig,
    RAdamConfig,
    RmspropConfig,
    SamConfig,
    ScheduleFreeConfig,
    SgdConfig,
)
from seqlab.recipes.find import config_for
from seqlab.runs.config import Config, to_dict, write_config
from seqlab.runs.fields import list_fields
from seqlab.runs.migrate import OLDER_FAMILIES
from seqlab.runs.overrides import config_from_yaml, override
from seqlab.runs.validate import ConfigError
from seqlab.tasks.control.ddpg import DdpgConfig
from seqlab.tasks.control.episode_policy_gradient import EpisodePolicyGradientConfig
from seqlab.tasks.control.values import QLearningConfig, SarsaConfig, TdConfig
from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SameConfig,
    SavedConfig,
    SentencePieceBpeConfig,
    SentencePieceUnigramConfig,
    WordsConfig,
)

CORPUS: dict[str, Any] = {"data": {"train_src": ["a.en"], "train_tgt": ["a.de"]}}
LANGUAGE_MODELLING: dict[str, Any] = {
    "data": {"kind": "language_modelling", "train": ["a.txt"]},
    "model": {"family": "transformer_lm"},
}
SEPARATE_VOCABULARIES: dict[str, Any] = {
    "data": {**CORPUS["data"], "joint_vocabulary": False},
    "model": {"family": "transformer", "tied_embeddings": "none"},
}
LABELLING: dict[str, Any] = {
    "data": {**CORPUS["data"], "kind": "labelling", "labels_of": "words", "tokenizer": {"kind": "words"}},
    "model": {"family": "transformer_labeller"},
}
NON_AUTOREGRESSIVE_OBJECTIVES = {
    "transformer_ctc": "ctc",
    "transformer_nat": "parallel_cross_entropy",
    "transformer_cmlm": "cmlm",
}
"""Objective of each non-autoregressive model."""
TARGET_TYPES = {"softmax": "class", "sigmoid": "labels"}
"""Type of the target by objective; others predict numbers."""
PREDICTION: dict[str, Any] = {
    "data": {"kind": "prediction", "train": ["a.csv"], "target": ["y"]},
    "model": {"family": "mlp"},
    "objective": {"family": "squared_error"},
}
CLASSIFIERS = ("gaussian_classifier",)
"""Models that support only class targets."""
PREDICTORS = (
    *CLASSIFIERS,
    "linear_model",
    "mlp",
    "cnn",
    "transformer_predictor",
    "rnn_predictor",
    "lstm_predictor",
    "gru_predictor",
    "predictor",
)
PREDICTION_TAGS = (*PREDICTORS, "squared_error", "absolute_error", "huber", *TARGET_TYPES)
_TRANSCRIPTION: dict[str, Any] = {
    "data": {"kind": "transcription", "train": ["a.jsonl"]},
    "model": {"family": "recognizer"},
    "objective": {"family": "ctc"},
}
_RECORDING_LABELS: dict[str, Any] = {
    "data": {"kind": "recording_labels", "train": ["a.jsonl"]},
    "model": {"family": "recording_labeler"},
    "objective": {"family": "softmax"},
}
RECORDING_BASES: dict[str, Any] = {
    "recogniser": _TRANSCRIPTION,
    "recognizer": _TRANSCRIPTION,
    "recording_labeller": _RECORDING_LABELS,
    "recording_labeler": _RECORDING_LABELS,
}
"""Base config by the suffix of the family's name."""
MASKED_LANGUAGE_MODELLING: dict[str, Any] = {
    "data": {**LANGUAGE_MODELLING["data"], "mask_share": 0.15},
    "model": {"family": "transformer_mlm"},
}

LM_LAYERS: dict[str, Any] = {
    **{"hidden_size": 512, "num_layers": 2, "bidirectional": False},
    **{"dropout": 0.1, "input_dropout": 0.1, "output_dropout": 0.1},
}
FAMILIES: dict[str, dict[str, object]] = {
    "model.family": {
        "transformer": TransformerConfig(),
        "rnn": RecurrentConfig(family="rnn"),
        "lstm": RecurrentConfig(family="lstm"),
        "gru": RecurrentConfig(family="gru"),
        "transformer_ctc": TransformerCtcConfig(),
        "transformer_nat": TransformerNatConfig(),
        "transformer_cmlm": TransformerCmlmConfig(),
        "transformer_lm": TransformerLmConfig(),
        **{
            f"{name}_lm": EncoderLmConfig(encoder=RecurrentEncoderConfig(family=name, **LM_LAYERS))
            for name in ("rnn", "lstm", "gru")
        },
        "language_model": EncoderLmConfig(),
        "ngram_lm": NgramConfig(),
        "transformer_mlm": EncoderLmConfig(encoder=TransformerEncoderConfig()),
        "rnn_labeller": LabelerConfig(encoder=RecurrentEncoderConfig(family="rnn")),
        "lstm_labeller": LabelerConfig(encoder=RecurrentEncoderConfig(family="lstm")),
        "gru_labeller": LabelerConfig(encoder=RecurrentEncoderConfig(family="gru")),
        "transformer_labeller": LabelerConfig(
            encoder=TransformerEncoderConfig(d_model=128, d_ff=512, num_layers=2, dropout=0.3)
        ),
        "cnn_labeller": LabelerConfig(encoder=CnnEncoderConfig()),
        "frequency_labeller": FrequencyLabellerConfig(),
        "linear_model": EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        "mlp": EncoderPredictorConfig(encoder=MlpEncoderConfig()),
        "cnn": CnnConfig(),
        "transformer_predictor": EncoderPredictorConfig(
            encoder=TransformerEncoderConfig(d_model=64, d_ff=256, num_layers=2, positions="learned")
        ),
        "gaussian_classifier": GaussianClassifierConfig(),
        "rnn_predictor": EncoderPredictorConfig(
            encoder=RecurrentEncoderConfig(
                family="rnn", hidden_size=64, bidirectional=False, dropout=0.0, input_dropout=0.0
            )
        ),
        "lstm_predictor": EncoderPredictorConfig(
            encoder=RecurrentEncoderConfig(
                family="lstm", hidden_size=64, bidirectional=False, dropout=0.0, input_dropout=0.0
            )
        ),
        "gru_predictor": EncoderPredictorConfig(
            encoder=RecurrentEncoderConfig(
                family="gru", hidden_size=64, bidirectional=False, dropout=0.0, input_dropout=0.0
            )
        ),
        "table": TableConfig(),
        "cnn_recording_labeller": RecordingLabelerConfig(
            encoder=LinearEncoderConfig(activation="relu", input_dropout=0.1),
            channels=(32, 64, 128),
            depth=2,
            frame_size=256,
            frame_dropout=0.1,
        ),
        "gru_recording_labeller": RecordingLabelerConfig(
            encoder=RecurrentEncoderConfig(
                family="gru", hidden_size=320, num_layers=3, dropout=0.2, output_dropout=0.2
            ),
            frame_size=320,
        ),
        "lstm_recording_labeller": RecordingLabelerConfig(
            encoder=RecurrentEncoderConfig(
                family="lstm", hidden_size=320, num_layers=3, dropout=0.2, output_dropout=0.2
            ),
            frame_size=320,
        ),
        "transformer_recording_labeller": RecordingLabelerConfig(encoder=TransformerEncoderConfig()),
        "gru_recogniser": RecognizerConfig(
            encoder=RecurrentEncoderConfig(
                family="gru", hidden_size=320, num_layers=3, dropout=0.2, output_dropout=0.2
            ),
            frame_size=320,
        ),
        "lstm_recogniser": RecognizerConfig(
            encoder=RecurrentEncoderConfig(
                family="lstm", hidden_size=320, num_layers=3, dropout=0.2, output_dropout=0.2
            ),
            frame_size=320,
        ),
        "transformer_recogniser": RecognizerConfig(encoder=TransformerEncoderConfig()),
        "labeler": LabelerConfig(),
        "predictor": EncoderPredictorConfig(),
        "recognizer": RecognizerConfig(),
        "recording_labeler": RecordingLabelerConfig(),
    },
    "objective.family": {
        "cross_entropy": CrossEntropyConfig(),
        "r_drop": RDropConfig(),
        "scheduled_sampling": ScheduledSamplingConfig(),
        "ctc": CtcConfig(),
        "minimum_risk": MinimumRiskConfig(),
        "policy_gradient": PolicyGradientConfig(),
        "episode_policy_gradient": EpisodePolicyGradientConfig(),
        "q_learning": QLearningConfig(),
        "sarsa": SarsaConfig(),
        "td": TdConfig(),
        "ddpg": DdpgConfig(),
        "parallel_cross_entropy": ParallelCrossEntropyConfig(),
        "cmlm": CmlmConfig(),
        "squared_error": SquaredErrorConfig(),
        "absolute_error": AbsoluteErrorConfig(),
        "huber": HuberConfig(),
        "softmax": SoftmaxConfig(),
        "sigmoid": SigmoidConfig(),
    },
    "optim.optimizer.family": {
        "sgd": SgdConfig(),
        "adam": AdamConfig(),
        "adamw": AdamWConfig(),
        "radam": RAdamConfig(),
        "muon": MuonConfig(),
        "adagrad": AdagradConfig(),
        "rmsprop": RmspropConfig(),
        "sam": SamConfig(),
        "schedule_free": ScheduleFreeConfig(),
    },
    "optim.schedule.family": {
        "constant": ConstantScheduleConfig(),
        "linear": LinearScheduleConfig(),
        "inverse_sqrt": InverseSqrtScheduleConfig(),
        "cosine": CosineScheduleConfig(),
        "exponential": ExponentialScheduleConfig(),
        "one_cycle": OneCycleScheduleConfig(),
        "plateau": PlateauScheduleConfig(),
    },
    "data.tokenizer.kind": {
        "sentencepiece_bpe": SentencePieceBpeConfig(),
        "sentencepiece_unigram": SentencePieceUnigramConfig(),
        "bpe": BpeConfig(),
        "characters": CharactersConfig(),
        "words": WordsConfig(),
        "saved": SavedConfig(),
    },
    "data.tokenizer_tgt.kind": {
        "same": SameConfig(),
        "sentencepiece_bpe": SentencePieceBpeConfig(),
        "sentencepiece_unigram": SentencePieceUnigramConfig(),
        "bpe": BpeConfig(),
        "characters": CharactersConfig(),
        "words": WordsConfig(),
        "saved": SavedConfig(),
    },
}
CONTROL: dict[str, Any] = {
    "data": {"kind": "control", "environment": "CartPole-v1"},
    "model": {"family": "mlp"},
    "objective": {"family": "sarsa"},
}
CONTROL_TAGS = ("table", "episode_policy_gradient", "q_learning", "sarsa", "td", "ddpg")
EVERY_FAMILY = [(key, tag) for key, tags in FAMILIES.items() for tag in tags]


def base_for(key: str, tag: str) -> dict[str, Any]:
    """Return a base config in which a family is valid."""
    if tag == "transformer_mlm":
        return MASKED_LANGUAGE_MODELLING
    if tag in TARGET_TYPES:
        data = {**PREDICTION["data"], "predicts": TARGET_TYPES[tag]}
        return {**PREDICTION, "data": data, "objective": {"family": tag}}
    if tag in CLASSIFIERS:
        return {**PREDICTION, "data": {**PREDICTION["data"], "predicts": "class"}, "objective": {"family": "softmax"}}
    if tag in PREDICTION_TAGS:
        return PREDICTION
    if tag in CONTROL_TAGS:
        return CONTROL
    for family, objective in NON_AUTOREGRESSIVE_OBJECTIVES.items():
        if tag in (family, objective):
            return {**CORPUS, "model": {"family": family}, "objective": {"family": objective}}
    for suffix, base in RECORDING_BASES.items():
        if tag.endswith(suffix):
            return base
    if tag.endswith(("_labeller", "labeler")):
        return LABELLING
    if key == "data.tokenizer_tgt.kind":
        return SEPARATE_VOCABULARIES
    return LANGUAGE_MODELLING if key == "model.family" and tag.endswith(("_lm", "language_model")) else CORPUS


def section_of(config: Config, key: str) -> object:
    """Return the config section that contains a key."""
    section: object = config
    for part in key.split(".")[:-1]:
        section = getattr(section, part, None)  # language models have no `tokenizer_tgt`
    return section


def test_all_families_are_covered() -> None:
    tags = {field.key: set(field.type.split(" | ")) for field in list_fields(Config) if field.key in FAMILIES}
    tags["data.tokenizer.kind"].remove("same")  # only valid for a target tokenizer
    tags["model.family"] |= OLDER_FAMILIES.keys()
    assert tags == {key: set(families) for key, families in FAMILIES.items()}
    tags_of_sections = {field.key for field in list_fields(Config) if field.key.endswith((".family", ".kind"))}
    assert tags_of_sections == {*FAMILIES, "data.kind", "model.encoder.family"}


@pytest.mark.parametrize(("key", "tag"), EVERY_FAMILY)
def test_a_tag_resets_its_section_to_the_defaults_of_the_family(key: str, tag: str) -> None:
    settings = [("optim.optimizer.lr", "0.7"), ("optim.schedule.warmup_steps", "7")]
    if tag not in (*PREDICTION_TAGS, *CONTROL_TAGS) and not tag.endswith(tuple(RECORDING_BASES)):
        settings += [
            ("model.d_model", "64"),
            ("data.tokenizer.vocab_size", "777"),
            ("objective.label_smoothing", "0.3"),
        ]
    base = override(base_for(key, tag), settings)
    changed = override(base, [(key, tag)])
    assert section_of(changed, key) == with_task_defaults(FAMILIES[key][tag])
    if changed.model.is_count_based:  # not optimized
        base = replace(base, optim=OptimConfig(), objective=changed.objective)
    for other in FAMILIES.keys() - {key}:
        assert section_of(changed, other) == section_of(base, other)


@pytest.mark.parametrize(
    ("tag", "encoder"),
    [
        ("gru", RecurrentEncoderConfig(family="gru", hidden_size=96, num_layers=3, dropout=0.1)),
        ("cnn", CnnEncoderConfig(dropout=0.1)),
        ("transformer", TransformerEncoderConfig(num_layers=3, dropout=0.1)),
    ],
)
def test_another_encoder_keeps_the_fields_with_the_same_meaning(tag: str, encoder: EncoderConfig) -> None:
    lstm = RecurrentEncoderConfig(family="lstm", hidden_size=96, num_layers=3, dropout=0.1)
    base = replace(override(LABELLING, []), model=LabelerConfig(encoder=lstm))
    assert override(base, [("model.encoder.family", tag)]).model == LabelerConfig(encoder=encoder)


@pytest.mark.parametrize(
    ("family", "key", "keys"),
    [
        ("lstm_labeller", "dropout", ["encoder.dropout", "spelling_dropout"]),
        ("transformer_labeller", "num_encoder_layers", ["encoder.num_layers"]),
        ("gru_recogniser", "hidden_size", ["encoder.hidden_size", "frame_size"]),
        ("lstm_labeller", "embedding_size", ["embedding_size"]),
    ],
)
@pytest.mark.parametrize("is_chosen", [True, False])
def test_keys_of_older_families_set_the_current_fields(family: str, key: str, keys: list[str], is_chosen: bool) -> None:
    """Whether the family is given under its older name, too, or is already that of the config."""
    base, value = base_for("model.family", family), "0.5" if key == "dropout" else "6"
    chosen = [("model.family", family)]
    base = base if is_chosen else to_dict(override(base, chosen))
    changed = override(base, [*(chosen if is_chosen else []), (f"model.{key}", value)])
    expected = override(override(base_for("model.family", family), chosen), [(f"model.{each}", value) for each in keys])
    assert changed == expected != override(base, [])


def test_fields_of_an_encoder_are_refused_for_models_without_one() -> None:
    with pytest.raises(ConfigError, match=r"no `model.encoder` with `model.family: transformer`; `language_model` and"):
        override(CORPUS, [("model.encoder.hidden_size", "4")])


def with_task_defaults(section: object) -> object:
    """Set the default label smoothing of the translation task."""
    return CrossEntropyConfig(label_smoothing=0.1) if section == CrossEntropyConfig() else section


@pytest.mark.parametrize(("key", "tag"), EVERY_FAMILY)
def test_yaml_round_trip_of_every_family(key: str, tag: str, tmp_path: Path) -> None:
    config = override(base_for(key, tag), [(key, tag), ("seed", "3")])
    write_config(config, tmp_path / "config.yaml")
    assert config_from_yaml(tmp_path / "config.yaml") == config


def test_a_model_family_selects_its_only_objective() -> None:
    overrides = [("model.family", "transformer_ctc"), ("objective.glancing", "0.5")]
    config = override(CORPUS, overrides)
    assert config.objective == CtcConfig(glancing=0.5)
    assert override(config, [("model.family", "lstm")]).objective == CrossEntropyConfig(label_smoothing=0.1)
    assert override(config, [("model.family", "transformer_ctc")]).objective == config.objective
    r_drop = override(CORPUS, [("objective.family", "r_drop")])
    assert override(r_drop, [("model.family", "lstm")]).objective == r_drop.objective
    with pytest.raises(ConfigError, match=r"transformer_ctc` is trained by `objective\.family: ctc`, not by `r_drop`"):
        override(CORPUS, [*overrides[:1], ("objective.family", "r_drop")])
    with pytest.raises(ConfigError, match=r"lstm` is trained by `objective\.family: cross_entropy`, not by `ctc`"):
        override(CORPUS, [("model.family", "lstm"), ("objective.family", "ctc")])
    with_length_weight = [("model.family", "transformer_nat"), ("objective.length_weight", "0.5")]
    assert override(CORPUS, with_length_weight).objective == ParallelCrossEntropyConfig(length_weight=0.5)
    with pytest.raises(ConfigError, match=r"`objective\.length_weight` has no effect, because `model\.length"):
        override(CORPUS, [*with_length_weight, ("model.length", "end_mark")])


def test_overrides_do_not_depend_on_their_order() -> None:
    settings = [("optim.optimizer.momentum", "0.5"), ("optim.optimizer.family", "sgd"), ("seed", "2")]
    assert override(CORPUS, settings) == override(CORPUS, settings[::-1])
    assert override(CORPUS, settings).optim.optimizer == SgdConfig(momentum=0.5)
    objective, model = ("objective.family", "r_drop"), ("model.family", "transformer_ctc")
    for order in ([objective, model], [model, objective]):
        with pytest.raises(
            ConfigError, match=r"transformer_ctc` is trained by `objective\.family: ctc`, not by `r_drop`"
        ):
            override(CORPUS, order)


def test_a_new_model_family_keeps_tied_embeddings() -> None:
    separate = override(CORPUS, [("data.joint_vocabulary", "false"), ("model.tied_embeddings", "decoder")])
    for family in ("gru", "transformer_ctc"):
        changed = override(separate, [("model.family", family), ("model.dropout", "0.1")])
        assert changed.model.tied_embeddings == "decoder"  # type: ignore[union-attr]
    untied = override(separate, [("model.family", "gru"), ("model.tied_embeddings", "none")])
    assert untied.model.tied_embeddings == "none"  # type: ignore[union-attr]


def test_the_last_value_of_a_repeated_key_is_used() -> None:
    assert override(CORPUS, [("seed", "2"), ("seed", "3")]).seed == 3


def test_setting_one_field_of_a_missing_section_keeps_its_other_defaults() -> None:
    schedule = override(CORPUS, [("optim.schedule.warmup_steps", "5")]).optim.schedule
    assert schedule == InverseSqrtScheduleConfig(warmup_steps=5)
    assert override(CORPUS, [("training.valid_search.max_length", "9")]).training.valid_search.beam_size == 1


def test_overriding_does_not_modify_the_base_config() -> None:
    base = to_dict(override(CORPUS, []))
    before = repr(base)
    override(base, [("optim.optimizer.family", "sgd"), ("data.max_length", "3")])
    assert repr(base) == before


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optim.optimizer.lr", "1e-3", 0.001),
        ("optim.optimizer.lr", "1", 1.0),
        ("optim.optimizer.betas", ["0.8", "0.9"], (0.8, 0.9)),
        ("optim.optimizer.betas", "[0.8, 0.9]", (0.8, 0.9)),
        ("optim.max_grad_norm", "null", None),
        ("optim.max_grad_norm", "2", 2.0),
        ("data.joint_vocabulary", "true", True),
        ("data.train_src", "b.en", ["b.en"]),
        ("data.train_src", ["b.en"], ["b.en"]),
        ("data.train_src", "[b.en]", ["b.en"]),
        ("data.train_src", "2016", ["2016"]),
        ("data.train_src", "[1e3]", ["1e3"]),
        ("data.train_src", "null", ["null"]),
        ("data.train_src", "a.tsv#0", ["a.tsv#0"]),
        ("data.tokenizer.normalization", "none", "none"),
        ("training.device", "null", "null"),
        ("training.threads", "~", None),
        ("init_from", "null", None),
        ("init_from", "2016", "2016"),
    ],
)
def test_strings_are_parsed_by_field_type(key: str, text: str | list[str], value: object) -> None:
    assert getattr(section_of(override(CORPUS, [(key, text)]), key), key.split(".")[-1]) == value


def test_lists_of_values_are_parsed() -> None:
    overrides = [("data.train_src", ["a", "b"]), ("data.train_tgt", "[c, d]"), ("data.train_weights", ["1", "0.5"])]
    data = override({}, overrides).data
    assert (data.train_src, data.train_tgt, data.train_weights) == (["a", "b"], ["c", "d"], [1.0, 0.5])
    references = override(CORPUS, [("data.valid_src", "v"), ("data.valid_tgt", ["a.de", "b.tsv#1"])])
    assert references.data.valid_tgt == ["a.de", "b.tsv#1"]
    assert override(references, [("data.valid_src", "null"), ("data.valid_tgt", "[]")]) == override(CORPUS, [])


@pytest.mark.parametrize("way", ["option", "yaml", "zero config"])
def test_the_current_name_of_an_older_family_is_logged_once(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = tmp_path / "text"
    text.write_text("a b c\n" * 50)
    caplog.set_level("INFO", "seqlab.runs.migrate")
    if way == "option":
        config = override(LANGUAGE_MODELLING, [("model.family", "gru_lm")])
    elif way == "yaml":
        path = tmp_path / "config.yaml"
        path.write_text(f"data: {{kind: language_modelling, train: ['{text}']}}\nmodel: {{family: gru_lm}}\n")
        config = config_from_yaml(path)
    else:
        config = config_for({"data.train": str(text), "model.family": "gru_lm"})
    assert str(config.model) == "language_model (gru)"
    assert [record.getMessage() for record in caplog.records if record.name == "seqlab.runs.migrate"] == [
        "`model.family: gru_lm` is now `model.family: language_model` with `model.encoder.family: gru`"
    ]
