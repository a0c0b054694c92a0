"""What a person is shown of a run: progress while it goes, a summary when it is done."""
