"""Many records in one task: batches, checkpoint, outcomes, what is reported."""
