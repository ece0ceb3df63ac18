"""A small sequence classifier in Hugging Face's form. Its weights are set by hand: it is sure of a few words, wherever they stand."""

from pathlib import Path

WORDS = {"ignore": "JAILBREAK", "disregard": "JAILBREAK", "attachment": "INJECTION"}
LABELS = ["BENIGN", "INJECTION", "JAILBREAK"]
HARMLESS = ["hello", "please", "tell", "story", "cats", "dogs", "garden", "tea", "cake", "the", "me", "about"]

_SIZE = 16


def make_classifier(folder: Path, labels: list[str] | None = None, window: int = 32) -> Path:
    """Writes a classifier that finds WORDS.

    Each token looks at all others alike. What the words of a label have in common adds up in a component of its own, at the place after
    the label's; the classifier reads those of the first token.

    Args:
        folder: Where to write it.
        labels: Names of its labels, the benign one first. Default: LABELS.
        window: Tokens that it reads.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    names = labels or LABELS
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *HARMLESS, *WORDS])}
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=_SIZE, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=_SIZE, max_position_embeddings=window, num_labels=len(names),
        id2label=dict(enumerate(names)),
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    layer = model.bert.encoder.layer[0]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name:
                parameter.zero_()
        embeddings = model.bert.embeddings.word_embeddings.weight
        embeddings[:, _SIZE - 1] = 1.0
        embeddings[vocabulary["[CLS]"]] = torch.eye(_SIZE)[0]
        for word, label in WORDS.items():
            embeddings[vocabulary[word]] = torch.eye(_SIZE)[min(LABELS.index(label), len(names) - 1)]
        layer.attention.self.value.weight.copy_(torch.eye(_SIZE))
        model.bert.pooler.dense.weight.copy_(torch.eye(_SIZE))
        # After normalization a component is -1/sqrt(15) where nothing is, and sqrt(15) where something is.
        nothing = (_SIZE - 1) ** -0.5
        for place in range(1, len(names)):
            layer.attention.output.dense.weight[place, place] = 100.0
            layer.attention.output.dense.bias[place] = 100.0 * nothing
            model.classifier.weight[place, place] = 10.0
            model.classifier.bias[place] = -5.0
    model.save_pretrained(folder)
    _tokenizer(vocabulary, window).save_pretrained(folder)
    return folder


def _tokenizer(vocabulary: dict[str, int], window: int):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=window
    )
