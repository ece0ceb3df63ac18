"""A shield that classifies texts."""

import asyncio
from collections.abc import Iterator, Sequence

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.core.batching import Batcher
from services.safety.passages import Passage, passages
from services.safety.ports import ConversationShield, Steps, Verdict
from services.safety.providers.prompt_guard.classifier import Classifier, Span
from services.safety.providers.prompt_guard.config import PromptGuardParams
from services.safety.texts import View

_DESCRIPTIONS = {
    "jailbreak": "an attempt to make the model disregard its instructions",
    "injection": "instructions hidden in content that should hold none",
    "malicious": "an attempt to make the model disregard its instructions",
}
_STRIDE, _WINDOW = 256, 1024

_Window = tuple[Passage, View, Span]


class ClassifierShield(ConversationShield):
    """Judges each text of the messages by itself, long ones window by window; the worst window counts."""

    steps = Steps(stride=_STRIDE, window=_WINDOW)

    def __init__(self, batcher: Batcher[str, list[float]], classifier: Classifier, params: PromptGuardParams) -> None:
        """Makes the shield.

        Args:
            batcher: Runs the model.
            classifier: The model.
            params: The shield's parameters.
        """
        self._batcher = batcher
        self._classifier = classifier
        self._threshold = params.threshold
        counted = set(params.labels or classifier.unsafe_labels)
        self._counted = [(place, label) for place, label in enumerate(classifier.labels) if label in counted]

    async def judge(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Verdict:
        """Judges messages, together with those of concurrent calls."""
        windows = await asyncio.to_thread(lambda: list(self._windows(messages, judged)))
        if not windows:
            return Verdict()
        texts = [view.text[span.start : span.end] for _, view, span in windows]
        results = await self._batcher.run(self._classifier.classify, texts)
        scores = [sum(result[place] for place, _ in self._counted) for result in results]
        findings = [
            self._finding(window, result, score)
            for window, result, score in zip(windows, results, scores, strict=True)
            if score >= self._threshold
        ]
        return Verdict(findings, max(scores))

    def _windows(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Iterator[_Window]:
        for passage in passages(messages, judged):
            view = passage.as_text().normalized
            for span in self._classifier.windows(view.text):
                yield passage, view, span

    def _finding(self, window: _Window, result: Sequence[float], score: float) -> results_pb2.ShieldFinding:
        passage, view, span = window
        label = max(self._counted, key=lambda counted: result[counted[0]])[1].lower()
        return results_pb2.ShieldFinding(
            category=label,
            description=_DESCRIPTIONS.get(label, label),
            violation_level=types_pb2.VIOLATION_LEVEL_ERROR,
            score=min(1.0, score),
            location=next(passage.locations(*view.span(span.start, span.end)), None),
        )
