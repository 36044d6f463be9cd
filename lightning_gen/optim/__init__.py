"""All of one optimizer step: averaging over ranks, clipping, schedules, weight averages."""
