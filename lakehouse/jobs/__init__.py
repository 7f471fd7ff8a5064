"""The durable queue, progress and cancelling, and the steps that compose the stations."""
