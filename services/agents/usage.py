"""Usage, summed over the inferences of a turn."""

from collections.abc import Iterable

from caravan.types.v1 import types_pb2


def summed(
    before: Iterable[types_pb2.MetricInResponse], more: Iterable[types_pb2.MetricInResponse]
) -> list[types_pb2.MetricInResponse]:
    """Adds measurements up by name.

    Args:
        before: What there was.
        more: What comes to it.

    Returns:
        The sums, in the order in which the names first came up.
    """
    sums: dict[str, types_pb2.MetricInResponse] = {}
    for metric in (*before, *more):
        if metric.metric in sums:
            sums[metric.metric].value += metric.value
        else:
            sums[metric.metric] = types_pb2.MetricInResponse(metric=metric.metric, value=metric.value, unit=metric.unit)
    return list(sums.values())
