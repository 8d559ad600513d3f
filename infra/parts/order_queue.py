"""A queue of orders, and where an order ends that nobody could carry out."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra import names

VISIBILITY = Duration.minutes(15)
"""How long an order stays hidden whose function died.

Longer than the functions' 5 minutes, with room for deliveries that Lambda throttles. Longer than the 11 minutes for
which a claim is somebody else's, so that the second reader may take it over. Not six times the timeout, as is the
habit: half an hour would be two of the shortest RPO.
"""

RECEIVES = 10
"""Back-pressure is sent again as a new message, so only failures count."""


class DeadLetters(sqs.Queue):
    """A queue that nothing reads but a person; an alarm of the watch stack tells when it is not empty."""

    def __init__(self, scope: Construct, id: str, *, queue_name: str) -> None:
        super().__init__(
            scope,
            id,
            queue_name=queue_name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )


class OrderQueue(Construct):
    """A queue with its dead letters.

    Encrypted with SQS's own key: orders carry identifiers and no content, and a disabled key of ours must not be what
    keeps dead letters from being seen.
    """

    def __init__(self, scope: Construct, id: str, *, queue_name: str) -> None:
        super().__init__(scope, id)
        self.dead_letters = DeadLetters(self, "Dead", queue_name=names.dead(queue_name))
        self.queue = sqs.Queue(
            self,
            "Queue",
            queue_name=queue_name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(4),
            visibility_timeout=VISIBILITY,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=RECEIVES),
        )

    def feed(
        self,
        function: lambda_.IFunction,
        *,
        batch_size: int,
        max_batching_window: Duration | None = None,
        max_concurrency: int | None = None,
        answers_for_each: bool = True,
    ) -> None:
        """The function gets the queue's messages; those come back that it failed, or all of them when it answers for
        the batch as a whole."""
        function.add_event_source(
            event_sources.SqsEventSource(
                self.queue,
                batch_size=batch_size,
                max_batching_window=max_batching_window,
                max_concurrency=max_concurrency,
                report_batch_item_failures=answers_for_each,
            )
        )
