"""A shield that asks a moderation endpoint."""

import asyncio
from collections.abc import Iterator, Sequence

from caravan.safety.v1 import results_pb2
from caravan.types.v1 import types_pb2
from services.core.rest import fill
from services.safety.parameters import LEVELS
from services.safety.passages import Passage, passages
from services.safety.ports import ConversationShield, Verdict
from services.safety.providers.remote_http.answers import UNNAMED, Judgement, of_openai, of_template
from services.safety.providers.remote_http.config import OpenAIFormat, RemoteHttpParams, TemplateFormat
from services.safety.providers.remote_http.endpoint import Endpoint, broken

_TEXTS_A_REQUEST = 32
_REQUESTS_AT_ONCE = 8


class RemoteHttpShield(ConversationShield):
    """Has every text of the messages judged."""

    def __init__(self, params: RemoteHttpParams, chosen: OpenAIFormat | TemplateFormat, endpoint: Endpoint) -> None:
        """Makes the shield.

        Args:
            params: The parameters.
            chosen: How requests and answers look.
            endpoint: Whom to ask.
        """
        self._params = params
        self._format = chosen
        self._endpoint = endpoint

    async def judge(self, messages: Sequence[types_pb2.Message], judged: Sequence[int]) -> Verdict:
        """Judges messages.

        Raises:
            CaravanError: The endpoint does not answer, or its answer cannot be read.
        """
        read = [passage for passage in passages(messages, judged) if passage.text.strip()]
        size = _TEXTS_A_REQUEST if isinstance(self._format, OpenAIFormat) else 1
        groups = [read[start : start + size] for start in range(0, len(read), size)]
        judgements: list[Judgement] = []
        for start in range(0, len(groups), _REQUESTS_AT_ONCE):
            tasks = [asyncio.ensure_future(self._ask(group)) for group in groups[start : start + _REQUESTS_AT_ONCE]]
            try:
                judgements += [one for answer in await asyncio.gather(*tasks) for one in answer]
            finally:
                for task in tasks:
                    task.cancel()
        findings = [
            finding
            for passage, judgement in zip(read, judgements, strict=True)
            for finding in self._findings(passage, judgement)
        ]
        scores = [score for judgement in judgements for score in judgement.scores.values()]
        return Verdict(findings, max(scores, default=None))

    async def _ask(self, group: Sequence[Passage]) -> list[Judgement]:
        if isinstance(self._format, OpenAIFormat):
            body = {"model": self._format.model, "input": [passage.text for passage in group]}
            return of_openai(await self._endpoint.ask("POST", body), len(group))
        passage = group[0]
        values = {"text": passage.text, "role": passage.role.value}
        body = fill(self._format.body, values, "format.body")
        return [of_template(await self._endpoint.ask(self._format.method, body), self._format)]

    def _findings(self, passage: Passage, judgement: Judgement) -> Iterator[results_pb2.ShieldFinding]:
        for category in self._categories(judgement):
            for location in passage.locations(0, len(passage.text)):
                yield results_pb2.ShieldFinding(
                    category=category,
                    description="The moderation endpoint flags the text.",
                    violation_level=LEVELS[self._params.level or "error"],
                    score=judgement.scores.get(category, judgement.scores.get("")),
                    location=location,
                )

    def _categories(self, judgement: Judgement) -> list[str]:
        threshold = self._params.threshold
        excluded = self._params.excluded_categories
        if threshold is not None:
            if not judgement.scores:
                raise broken("has no scores to compare with the threshold")
            over = [name or UNNAMED for name, score in judgement.scores.items() if score >= threshold]
            return [name for name in over if name not in excluded]
        if not judgement.flagged:
            return []
        named = list(judgement.categories)
        # Flagged for nothing that has a name is still flagged.
        return [name for name in named or [UNNAMED] if name not in excluded]
