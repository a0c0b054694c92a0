"""Finish batches of LLM requests as fast as a gateway's token budgets allow, and lose nothing on the way."""
