"""The demo model dressed as one of another family: ChatML instead of Llama 3's headers."""

import json
import shutil
from pathlib import Path

RENAMED = {
    "<|start_header_id|>": "<|im_start|>",
    "<|end_header_id|>": "<|im_sep|>",
    "<|eot_id|>": "<|im_end|>",
    "<|begin_of_text|>": "<|bos|>",
}
TEMPLATE = (
    "{%- if tools %}<|im_start|>tools<|im_sep|>\n{{ tools | tojson }}<|im_end|>{% endif -%}"
    "{%- for message in messages %}<|im_start|>{{ message.role }}<|im_sep|>\n{{ message.content }}<|im_end|>{% endfor -%}"
    "{%- if add_generation_prompt %}<|im_start|>assistant<|im_sep|>\n{% endif -%}"
)


def make_chatml(source: Path, folder: Path) -> Path:
    """Copies a checkpoint of the Llama 3 family and renames its control tokens."""
    shutil.copytree(source, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        file = folder / name
        if file.exists():
            text = file.read_text()
            for old, new in RENAMED.items():
                text = text.replace(old, new)
            file.write_text(text)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
