"""Zero config for other translators than the Transformer, and for sides with tokenizers of their own."""

from pathlib import Path

import pytest
from reference.tiny_corpora import choose, sentences


@pytest.mark.parametrize("family", ["rnn", "lstm", "gru"])
def test_a_recurrent_translator_is_sized_too(family: str, tmp_path: Path) -> None:
    config = choose(tmp_path, sentences(400), model__family=family)
    assert config.model.family == family
    assert config.model.tied_embeddings == "all"
    assert config.model.hidden_size % 8 == 0
    assert config.model.embedding_size == config.model.hidden_size // 2
    apart = choose(tmp_path, sentences(400), model__family=family, data__joint_vocabulary="false")
    assert apart.model.tied_embeddings == "decoder"
    given = choose(
        tmp_path, sentences(400), model__family=family, model__hidden_size="64", model__tied_embeddings="none"
    )
    assert (given.model.hidden_size, given.model.embedding_size) == (64, 32)
    assert given.model.tied_embeddings == "none"


def test_a_target_with_its_own_tokenizer_has_its_own_vocabulary(tmp_path: Path) -> None:
    given = {"data__tokenizer__kind": "characters", "data__tokenizer_tgt__kind": "words"}
    config = choose(tmp_path, sentences(400), **given)
    assert not config.data.joint_vocabulary
    assert config.data.tokenizers[1].kind == "words"
    assert config.model.tied_embeddings == "decoder"
