"""The text by which `caravan-reward` judges: a conversation with its answer, as the checkpoint's own chat template writes it.

The score is the model's one logit at the last token. Nothing asks for a judgement: that is what TRL's `RewardTrainer` trains on and what
the inference service's ScoreAnswers sends.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from models.recipe.dialog import Dialog
from models.recipe.render import messages, tool_definition
from services.inference.prompts.families import to_template_messages, to_template_tools

CHAT_TEMPLATE = Path(__file__).with_name("reward_chat_template.jinja").read_text()
"""That of the chat model without the date, which would move scores from day to day."""


def judged_ids(dialog: Dialog, tokenizer: PreTrainedTokenizerBase, *, unanswered: bool = False) -> list[int]:
    """The token ids of a conversation.

    Args:
        dialog: The conversation.
        tokenizer: The reward model's, with its chat template.
        unanswered: It waits for its answer, and ends in the opening of the assistant's turn.
    """
    tools = to_template_tools(tool_definition(tool) for tool in dialog.tools)
    text = tokenizer.apply_chat_template(
        to_template_messages(messages(dialog)), tools=tools or None, add_generation_prompt=unanswered, tokenize=False
    )
    return list(tokenizer.encode(str(text), add_special_tokens=False))
