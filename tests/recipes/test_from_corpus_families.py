"""Zero config for recurrent translators, and for separate source and target tokenizers."""

from pathlib import Path

import pytest
from reference.tiny_corpora import draw_sentence_pairs, zero_config


@pytest.mark.parametrize("family", ["rnn", "lstm", "gru"])
def test_size_of_recurrent_translators_is_chosen(family: str, tmp_path: Path) -> None:
    config = zero_config(tmp_path, draw_sentence_pairs(400), model__family=family)
    assert config.model.family == family
    assert config.model.tied_embeddings == "all"
    assert config.model.hidden_size % 8 == 0
    assert config.model.embedding_size == config.model.hidden_size // 2
    separate = zero_config(tmp_path, draw_sentence_pairs(400), model__family=family, data__joint_vocabulary="false")
    assert separate.model.tied_embeddings == "decoder"
    given = zero_config(
        tmp_path, draw_sentence_pairs(400), model__family=family, model__hidden_size="64", model__tied_embeddings="none"
    )
    assert (given.model.hidden_size, given.model.embedding_size) == (64, 32)
    assert given.model.tied_embeddings == "none"


def test_separate_tokenizers_have_separate_vocabularies(tmp_path: Path) -> None:
    given = {"data__tokenizer__kind": "characters", "data__tokenizer_tgt__kind": "words"}
    config = zero_config(tmp_path, draw_sentence_pairs(400), **given)
    assert not config.data.joint_vocabulary
    assert config.data.tokenizers[1].kind == "words"
    assert config.model.tied_embeddings == "decoder"
