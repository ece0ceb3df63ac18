# Made from caravan/_async/reward_scoring.py by tools/sync_client.py. Do not edit.
"""Scoring answers by reward models."""

from collections.abc import Iterable, Mapping

from caravan._sync.calls import Calls
from caravan.messages import MessageLike, conversation
from caravan.reward_scoring.v1 import reward_scoring_pb2


class RewardScoring:
    """`caravan.reward_scoring.v1.RewardScoringService`."""

    def __init__(self, calls: Calls) -> None:
        """Keeps the way to call.

        Args:
            calls: Makes the calls.
        """
        self._calls = calls

    def score(self, model: str, dialog: MessageLike | Iterable[MessageLike], answers: Iterable[str]) -> list[float]:
        """Scores several answers to a dialog; higher is better.

            best = max(zip(client.reward_scoring.score("judge", question, answers), answers))

        Args:
            model: Reward model.
            dialog: What is answered: one message or several, oldest first.
            answers: The answers' texts.

        Raises:
            FailedPreconditionError: It is no reward model.
        """
        response = self.score_dialogs(model, [(dialog, answers)])
        return [scored.score for scored in response.scored_generations[0].scored_generations]

    def score_dialogs(
        self,
        model: str,
        dialogs: Iterable[tuple[MessageLike | Iterable[MessageLike], Iterable[str | Mapping[str, object]]]],
    ) -> reward_scoring_pb2.ScoreResponse:
        """Scores several answers to each of several dialogs.

        Args:
            model: Reward model.
            dialogs: Dialogs with their answers: texts, or assistant messages.
        """
        request = reward_scoring_pb2.ScoreRequest(model=model)
        for dialog, answers in dialogs:
            said = [{"role": "assistant", "content": one} if isinstance(one, str) else one for one in answers]
            request.dialog_generations.add(dialog=conversation(dialog), sampled_generations=conversation(said))
        return self._calls.unary(request, reward_scoring_pb2.ScoreResponse)
